// Package backend is one PBX as the proxy sees it: it keeps its links logged
// in, sends actions, matches answers and hands out events.
//
// One link carries events and no actions, since Asterisk delivers no event
// while it runs an action of the same connection; the others carry actions,
// pipelined:
//
//	b, err := backend.New(options, handler, logger)
//	go b.Run(ctx)                    // until ctx ends; keeps reconnecting
//	stream := b.NewStream(session)   // one for every session
//	err = stream.Do(backend.Request{Action: action, Done: func(a backend.Answer) { … }})
//
// A PBX that is away costs its callers nothing but an error. Every request
// that was accepted is answered exactly once, also when its link dies.
//
// The files: link.go is one connection, login.go how it gets ready, answer.go
// what comes back on it, stream.go which action goes out when and where,
// house.go what happens with time, authority.go what the PBX lets us do.
package backend
