// Package ami is the wire protocol of the Asterisk Manager Interface: bytes in,
// frames and actions out, and back. It knows nothing of sockets, users or PBXes.
//
// The two directions differ, as they do in Asterisk, and so do their readers:
//
//   - A client sends actions. [ActionReader] cuts them exactly as Asterisk
//     does, limits and quirks included, into an [Action].
//   - A PBX sends responses and events. [Reader] cuts its output, which has
//     looser rules and no limits, into a [Frame]: the bytes of one message.
//
// Reading what a PBX says:
//
//	r := ami.NewReader(conn, 64<<20)
//	banner, err := r.ReadLine()
//	for {
//		f, err := r.ReadFrame() // valid until the next read
//		if err != nil {
//			return err
//		}
//		if name := f.Event(); name != nil {
//			class := f.Class()
//			…
//		}
//	}
//
// Answering a client:
//
//	r := ami.NewActionReader(conn)
//	a, err := r.Read()
//	reply := ami.AppendResponse(nil, "Error", a.ID(), "Permission denied")
//
// A [Class] is a set of permission bits; [LookupAction] is what the newest
// Asterisk says of an action.
package ami
