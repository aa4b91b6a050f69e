// Package fence knows which tenants the calls on a PBX are of. It recognises
// calls as they start and follows them through transfers, queues, parking and
// conferences, by what the PBX's events say:
//
//	x := fence.New(50_000)
//	x.SetTenants(tenants)
//	sight, introductions := x.Learn(event)      // every event of the PBX, in order
//	user.Fence().Within(sight.Tenants)          // may he see it?
//	x.Look(item)                                // the same of an item of a list
//	x.Channel("PJSIP/alice-00000001")           // whose is it?
//
// The words: a call is the channels that were born of each other, a channel and
// all that it dialled. It has tenants of its own from the moment on when one of its channels
// shows a tenant's mark (a context, an account code, its name, the number first
// dialled, a queue), and keeps them to its end. Calls that meet in a bridge are
// one conversation: as long as they are, whoever may see one of them sees all.
// A call that is left alone stays visible to those until it does something else,
// so that its end is seen.
//
// A bridge in which channels only wait, such as that of a parking lot, joins
// nothing.
//
// Nothing is learned from what a client can write at will, such as UserEvent,
// and what is not known is nobody's.
package fence
