// Package simpbx is a simulated PBX: the server side of the Asterisk Manager
// Interface with telephone calls behind it that come and go. It is what the
// demo runs behind the proxy, and the peer of in-process tests and benchmarks.
// It carries no media, runs no dialplan and opens no file.
//
//	p := simpbx.New(simpbx.Options{Calls: 0.5})
//	defer p.Close()
//	go p.Serve(listener)       // or go p.ServeConn(one end of a net.Pipe)
//
// On the wire it does what Asterisk does: banner, Login, one action at a time
// on a connection with the events between them, Asterisk's texts and orders of
// headers. The calls are a model, not a recording: the channels that events
// announce are those that CoreShowChannels lists and that Hangup ends.
//
// Tests script it: [PBX.Handle] replaces or adds an action, [PBX.Emit] sends
// any event, [PBX.Crash], [PBX.Hang] and [PBX.Boot] do what PBXes do at night,
// and [PBX.Received] tells which actions arrived.
//
// What a number called does is in its name, wherever it is called (a Local
// channel, an Exten of Originate or Redirect):
//
//	name or number of an endpoint   rings, is answered after Options.Ring
//	name of a queue                 the caller waits for an agent
//	nosuch…                         does not exist
//	busy…, noanswer…                do not answer
//	anything else                   answers at once, for Options.Talk
//
// PJSIP/NAME and PJSIP/NUMBER@NAME reach endpoints, the trunk, busy… and
// noanswer…, and nothing else.
//
// Concurrency: all methods of [PBX] may be called from any goroutine. Each
// connection has a goroutine that reads its actions and one that runs them and
// writes; one more goroutine moves all calls. [PBX.Close] ends them all and
// returns when they are gone. All time comes from timers, so that a PBX can
// live in a testing/synctest bubble. Lock order: PBX.mu, then conn.mu; nothing
// is read or written under either.
package simpbx
