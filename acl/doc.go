// Package acl turns a user's configured rules into an immutable verdict: may
// this client log in, may it send this action, may it see this event. It does
// no I/O, knows nothing of sessions, and holds no state that changes.
//
// The rules are Asterisk's, as its newest version has them. They are judged
// here and not by the PBX, because to the PBX every action comes from one user
// with every right.
//
//	office := &acl.List{}
//	office.Add(false, "0.0.0.0/0,::/0")
//	office.Add(true, "192.168.0.0/24")
//	p := acl.New(acl.Options{
//		Name: "crm", Secret: "…", Lists: []*acl.List{office},
//		Read: ami.ClassCall, Write: ami.ClassOriginate, Hardening: true,
//	})
//
//	if !p.Admits(remote) || p.CheckSecret(a.Get("Secret")) == acl.NoMatch {
//		… Authentication failed
//	}
//	if v := p.May(a, authority, directories); !v.Allowed() {
//		… Response: Error, Message: v.Refusal
//	}
//	if p.Sees(mask, frame.Class()) && p.Filters().Pass(frame) {
//		… the event is for this session
//	}
package acl
