// Package proxy is the server that clients talk to: it listens, holds a
// [Session] for every client, routes actions to the PBXes, and gives every
// event to all who may read it.
//
//	srv, err := proxy.New(cfg, logger)
//	if err := srv.Start(); err != nil { … }   // listening from here on
//	<-ctx.Done()
//	srv.Shutdown(timeout)                     // answers what is pending first
//
// The files: server.go composes, listen.go accepts, session.go is the life of
// one client's connection, action.go what happens to an action, route.go and
// merge.go which PBX it is for or how several become one, login.go, local.go,
// waitevent.go, admin.go and reload.go the actions that the proxy answers itself, slots.go
// the order of what goes out, bounds.go how much of it may wait, writer.go how it
// is written, pbx.go the fan-out of events, audience.go which of them filters let
// through.
//
// Concurrency: every client has a goroutine that reads its actions and one
// that writes what is queued; answers and events are queued by the goroutines
// of the links, which never wait for a client. Locks are taken in this order:
// Server.changing, pbx.mu, Session.mu, Server.mu, that of a queue. No method of a
// backend that locks is called under any of them. What depends on the
// configuration is in a snapshot, which a reload replaces.
package proxy
