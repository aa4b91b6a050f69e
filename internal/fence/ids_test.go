package fence

import (
	"fmt"
	"testing"
)

// An event may overtake the beginning of its channel. Who comes to see that gets
// the event then, unless he has had it.
func TestEarly(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "", "OriginateResponse", "Uniqueid: 1", "Response: Success")
	sight, _ := x.Learn(event("OriginateResponse", []string{"Uniqueid: 2"}), []string{"beta"})
	if fmt.Sprint(sight.Tenants) != "[beta]" {
		t.Error(sight)
	}
	for id, before := range map[string]string{"1": "[]", "2": "[beta]"} {
		in := x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)...)
		if len(in) != 1 || string(in[0].Frame.Event()) != "OriginateResponse" || fmt.Sprint(in[0].Before, in[0].Now) != before+" [acme]" {
			t.Errorf("%s: %q", id, in)
		}
		x.expect(t, "acme", "Hangup", channelLines("PJSIP/a-"+id, "acme-in", id, id)...)
		x.expect(t, "acme", "OriginateResponse", "Uniqueid: "+id)
		if in := x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)...); len(in) != 0 {
			t.Errorf("%s again: %q", id, in)
		}
	}
}

// It may be of several channels, and those of several tenants.
func TestEarlyOfTwo(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "", "UnParkedCall", "ParkeeUniqueid: 1", "RetrieverUniqueid: 2")
	for id, tenant := range map[string]string{"1": "acme", "2": "beta"} {
		in := x.expect(t, tenant, "Newchannel", channelLines("PJSIP/x-"+id, tenant+"-in", id, id)...)
		if len(in) != 1 || string(in[0].Frame.Event()) != "UnParkedCall" || fmt.Sprint(in[0].Now) != "["+tenant+"]" {
			t.Errorf("%s: %q", id, in)
		}
	}
	if x.early[0].frame != nil {
		t.Error("it is kept")
	}
}

// What was early is not of the next channel with that id: not when the first was
// listed, nor when it ended before it was known.
func TestEarlyOfAnother(t *testing.T) {
	x := newIndex(t)
	l := x.List()
	for _, id := range []string{"1", "2", "3"} {
		x.expect(t, "", "VarSet", channelLines("PJSIP/b-0"+id, "beta-in", id, id)...)
	}
	l.Add(frame(append([]string{"Event: CoreShowChannel"}, channelLines("PJSIP/b-01", "beta-in", "1", "1")...)...))
	if in := x.expect(t, "beta", "Newstate", channelLines("PJSIP/b-01", "beta-in", "1", "1")...); len(in) > 0 {
		t.Errorf("introduced with a state: %q", in)
	}
	x.expect(t, "beta", "Newexten", channelLines("PJSIP/b-03", "beta-in", "3", "3")...)
	for _, id := range []string{"1", "2", "3"} {
		x.Learn(event("Hangup", channelLines("PJSIP/b-0"+id, "beta-in", id, id)), nil)
		if in := x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-0"+id, "acme-in", id, id)...); len(in) > 0 {
			t.Errorf("%s: introduced %q", id, in)
		}
	}
}

// An Originate that came to nothing tells the Uniqueid that was asked for, which
// may be that of a channel that is there, or comes later.
func TestFailedOriginate(t *testing.T) {
	x := newIndex(t)
	failure := []string{"Response: Failure", "Channel: Local/w@beta-in", "Context: beta-in", "Uniqueid: 1"}
	x.expect(t, "", "OriginateResponse", failure...)
	if in := x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...); len(in) > 0 {
		t.Errorf("introduced %q", in)
	}
	x.expect(t, "", "OriginateResponse", failure...)
	sight, _ := x.Learn(event("OriginateResponse", failure), []string{"beta"})
	if fmt.Sprint(sight.Tenants, sight.Named) != "[beta] true" {
		t.Error(sight)
	}
	x.expect(t, "acme", "OriginateResponse", "Response: Success", "Uniqueid: 1")
}

// A client may choose the Uniqueid of a channel: with that of one that began a
// conversation, and is gone, it is no part of that.
func TestIdAgain(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "beta", "Newchannel", channelLines("PJSIP/b-01", "beta-in", "1", "1")...)
	x.expect(t, "beta", "Newchannel", channelLines("PJSIP/c-01", "public", "2", "1")...)
	x.expect(t, "beta", "Hangup", channelLines("PJSIP/b-01", "beta-in", "1", "1")...)
	if !x.Linked("1") || x.Linked("2") {
		t.Error("a Linkedid is not known")
	}
	x.expect(t, "acme", "Newchannel", channelLines("Local/a@acme-in-01;1", "acme-in", "1", "1")...)
	x.expect(t, "beta", "VarSet", channelLines("PJSIP/c-01", "public", "2", "1")...)
}

// Nor if it is not known who began that.
func TestIdOfOrphan(t *testing.T) {
	x := newIndex(t)
	x.List().Add(frame(append([]string{"Event: CoreShowChannel"}, channelLines("PJSIP/b-01", "beta-in", "2", "1")...)...))
	x.expect(t, "acme", "Newchannel", channelLines("Local/a@acme-in-01;1", "acme-in", "1", "1")...)
	x.expect(t, "beta", "VarSet", channelLines("PJSIP/b-01", "beta-in", "2", "1")...)
}

// What comes late of a channel is not for who has one with that id since, nor for
// who had one before.
func TestLate(t *testing.T) {
	x := newIndex(t)
	late := func(want string) {
		t.Helper()
		x.expect(t, want, "Cdr", "UniqueID: 1", "DestinationContext: beta-in")
		x.expect(t, want, "CEL", "EventName: HANGUP", "UniqueID: 1", "LinkedID: 1", "Context: beta-in")
		x.expect(t, want, "CEL", "EventName: CHAN_START", "Channel: PJSIP/b-01", "UniqueID: 1", "LinkedID: 1", "Context: beta-in")
	}
	b, a := channelLines("PJSIP/b-01", "beta-in", "1", "1"), channelLines("PJSIP/a-01", "acme-in", "1", "1")
	x.expect(t, "beta", "Newchannel", b...)
	x.expect(t, "beta", "Hangup", b...)
	late("beta")
	x.expect(t, "beta", "Newchannel", b...)
	late("beta")
	x.expect(t, "beta", "Hangup", b...)
	late("beta")
	x.expect(t, "acme", "Newchannel", a...)
	late("")
	x.expect(t, "acme", "VarSet", a...)
	x.expect(t, "acme", "Hangup", a...)
	late("")
	// One of nobody, of which only the end was seen.
	x.expect(t, "", "Hangup", channelLines("PJSIP/n-01", "public", "3", "3")...)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-03", "acme-in", "3", "3")...)
	x.expect(t, "", "Cdr", "UniqueID: 3")
}

// A channel that begins is not the one that had its id when events were missed.
func TestIdFromBefore(t *testing.T) {
	x := newIndex(t)
	a, b := channelLines("PJSIP/a-01", "public", "1", "1"), channelLines("PJSIP/b-01", "public", "1", "1")
	x.expect(t, "acme", "Newchannel", append(a[:1:1], "Context: acme-in", "Uniqueid: 1", "Linkedid: 1")...)
	x.List()
	x.expect(t, "acme", "Newexten", a...) // it goes on
	x.List()
	x.expect(t, "", "Newchannel", b...)
	x.List()
	x.expect(t, "", "Newexten", b...)
}
