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
// that was accepted is answered exactly once, also when its link dies, unless
// its stream was closed before it was sent.
//
// The files: link.go is one connection, login.go how it gets ready, answer.go
// what comes back on it; stream.go is what a session sees, request.go what it
// asks for, schedule.go which action goes out when and where, and who is
// answered first; state.go says whether the PBX is there, house.go does what
// happens with time, authority.go and rights.go know what the PBX lets us do,
// directories.go where it keeps its files.
//
// Concurrency: a link has a goroutine that reads (it also connects, and logs
// in) and one that writes; one more keeps house. The reader of the events link
// calls the Handler. Done is called by whoever finds out the answer, always by
// settle, which keeps the order of a stream. Lock order: Backend.mu, then that
// of a queue; nothing is called, logged or written under either.
package backend
