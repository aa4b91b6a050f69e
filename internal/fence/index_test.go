package fence

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
)

func newIndex(t testing.TB) *Index {
	x := New(100)
	x.SetTenants(twoTenants(t))
	return x
}

func (x *Index) expect(t *testing.T, want string, name string, lines ...string) []Introduction {
	t.Helper()
	sight, introductions := x.Learn(event(name, lines), nil)
	if got := strings.Join(sight.Tenants, " "); got != want {
		t.Fatalf("%s %q: seen by %q, want %q", name, lines, got, want)
	}
	return introductions
}

func channelLines(name, context, uniqueid, linkedid string) []string {
	return []string{"Channel: " + name, "Context: " + context, "Exten: s", "Uniqueid: " + uniqueid, "Linkedid: " + linkedid}
}

// A bridge gives its channels one Linkedid. What is dialled after that cannot be
// told by it, and waits for who says that he dialled it.
func TestOrphan(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "", "Newchannel", channelLines("PJSIP/b-01", "public", "2", "2")...)
	x.expect(t, "", "Newstate", channelLines("PJSIP/b-01", "public", "2", "1")...)
	if in := x.expect(t, "", "Newchannel", channelLines("Local/c@public-01;1", "public", "3", "1")...); len(in) != 0 {
		t.Errorf("introduced %q", in)
	}
	x.expect(t, "", "Newchannel", channelLines("Local/c@public-01;2", "public", "4", "1")...)
	x.expect(t, "", "LocalBridge", "LocalOneUniqueid: 3", "LocalTwoUniqueid: 4")
	in := x.expect(t, "acme", "DialBegin", "Uniqueid: 1", "DestUniqueid: 3")
	if len(in) != 2 || string(in[0].Frame.Event()) != "Newchannel" || string(in[1].Frame.Event()) != "Newchannel" {
		t.Errorf("introduced %q", in)
	}
	x.expect(t, "acme", "Newstate", channelLines("Local/c@public-01;2", "public", "4", "1")...)
	x.expect(t, "", "Newstate", channelLines("PJSIP/b-01", "public", "2", "1")...)
}

// A channel that was given to a call by its Linkedid, and wrongly, goes alone.
func TestAdoptOne(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "", "Newchannel", channelLines("PJSIP/b-01", "public", "2", "2")...)
	x.expect(t, "", "Newchannel", channelLines("PJSIP/c-01", "public", "3", "2")...)
	x.expect(t, "acme", "DialBegin", "Uniqueid: 1", "DestUniqueid: 3")
	x.expect(t, "", "Newstate", channelLines("PJSIP/b-01", "public", "2", "2")...)
}

func TestRecognised(t *testing.T) {
	for _, c := range []struct {
		want  string
		lines []string
	}{
		{"acme", channelLines("PJSIP/acme-100-0000002a", "public", "1", "1")},
		{"", channelLines("PJSIP/ACME-100-0000002a", "public", "1", "1")},
		{"", channelLines("PJSIP/acme-1/2-0000002a", "public", "1", "1")},
		{"beta", channelLines("Local/1@x-1;2", "beta-x", "1", "1")},
		{"acme", []string{"Channel: PJSIP/trunk-01", "Context: public", "Exten: 111555", "Uniqueid: 1", "Linkedid: 1"}},
		{"", []string{"Channel: PJSIP/trunk-01", "Context: public", "Exten: 111555", "Uniqueid: 1", "Linkedid: 0"}},
		{"acme beta", []string{"Channel: PJSIP/acme-7-01", "Context: public", "Exten: 1", "AccountCode: beta", "Uniqueid: 1", "Linkedid: 1"}},
	} {
		newIndex(t).expect(t, c.want, "Newchannel", c.lines...)
	}
}

// A call becomes a tenant's by an account code that it gets on its way.
func TestNewAccountCode(t *testing.T) {
	x := newIndex(t)
	lines := channelLines("PJSIP/a-01", "public", "1", "1")
	x.expect(t, "", "Newchannel", lines...)
	in := x.expect(t, "beta", "NewAccountCode", append(lines, "AccountCode: beta", "OldAccountCode: ")...)
	if len(in) != 1 || string(in[0].Frame.Event()) != "Newchannel" {
		t.Errorf("introduced %q", in)
	}
}

// A tenant has what it has where it is, and nowhere else.
func TestOn(t *testing.T) {
	tenant := acl.NewTenant("Acme", "East")
	if !tenant.On("east") || tenant.On("west") || !acl.NewTenant("x").On("west") {
		t.Error("wrong PBXes")
	}
	if tenant.Name() != "acme" {
		t.Error(tenant.Name())
	}
}

// CEL comes by a way of its own: it may be there before the channel, and after it.
func TestCELFirst(t *testing.T) {
	x := newIndex(t)
	cel := func(what string) []string {
		return []string{"EventName: " + what, "Exten: 1", "Context: acme-in", "Channel: PJSIP/a-01", "UniqueID: 1", "LinkedID: 1"}
	}
	x.expect(t, "", "CEL", cel("ANSWER")...)
	x.expect(t, "acme", "CEL", cel("CHAN_START")...)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "acme", "Hangup", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "acme", "CEL", cel("CHAN_START")...)
	x.expect(t, "acme", "CEL", cel("LINKEDID_END")...)
	x.expect(t, "acme", "Cdr", "UniqueID: 1")
	if n, _ := x.Len(); n != 0 {
		t.Errorf("%d channels", n)
	}
}

// Who comes to see a call is told where it came from, how it is and where.
func TestIntroduction(t *testing.T) {
	x := newIndex(t)
	b := []string{"BridgeUniqueid: b", "BridgeTechnology: softmix", "BridgeCreator: ConfBridge", "BridgeName: room"}
	lines := channelLines("PJSIP/q-01", "public", "1", "1")
	x.expect(t, "", "Newchannel", lines...)
	x.expect(t, "", "Newstate", append(lines, "ChannelState: 4")...)
	x.expect(t, "", "Newstate", append(lines, "ChannelState: 6")...)
	x.expect(t, "", "Rename", "Channel: PJSIP/q-01", "Newname: PJSIP/r-01", "Uniqueid: 1")
	x.expect(t, "", "BridgeCreate", b...)
	x.expect(t, "", "ConfbridgeStart", append(b, "Conference: room")...)
	x.expect(t, "", "BridgeEnter", append(b, lines...)...)
	a := channelLines("PJSIP/a-01", "acme-in", "2", "2")
	x.expect(t, "acme", "Newchannel", a...)
	var got []string
	for _, in := range x.expect(t, "acme", "BridgeEnter", append(b, a...)...) {
		state, _ := in.Frame.Get("ChannelState")
		got = append(got, string(in.Frame.Event())+string(state))
		if len(in.Before) != 0 || fmt.Sprint(in.Now) != "[acme]" {
			t.Errorf("%s to %v, not %v", in.Frame.Event(), in.Now, in.Before)
		}
	}
	if fmt.Sprint(got) != "[Newchannel BridgeCreate Rename ConfbridgeStart Newstate6 BridgeEnter]" {
		t.Error(got)
	}
	if got := x.Channel("pjsip/R-01"); fmt.Sprint(got) != "[acme]" {
		t.Error(got)
	}
	// It is left, and does nothing more: its end is seen. Then it does.
	x.expect(t, "acme", "BridgeLeave", append(b, a...)...)
	x.expect(t, "acme", "BridgeLeave", append(b, lines...)...)
	x.expect(t, "acme", "Newstate", lines...)
	x.expect(t, "", "Newchannel", channelLines("PJSIP/s-01", "public", "3", "1")...)
	x.expect(t, "", "Newstate", lines...)
	x.expect(t, "", "BridgeEnter", append(b, lines...)...)
}

// A channel is carried elsewhere by another that bears its name.
func TestAsyncGoto(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "acme", "Newchannel", channelLines("AsyncGoto/PJSIP/a-01", "public", "2", "2")...)
	x.expect(t, "", "Newchannel", channelLines("AsyncGoto/PJSIP/b-01", "public", "3", "3")...)
}

// What was known of calls when the PBX was lost counts for those that are
// still there.
func TestListing(t *testing.T) {
	x := newIndex(t)
	trunk := []string{"Channel: PJSIP/trunk-01", "Context: public", "Exten: 111", "Uniqueid: 1", "Linkedid: 1"}
	x.expect(t, "acme", "Newchannel", trunk...)
	stale := x.List()
	l := x.List()
	stale.Add(frame("Event: CoreShowChannel", "Channel: PJSIP/acme-1-01", "Uniqueid: 7", "Linkedid: 7"))
	stale.Done()
	x.expect(t, "", "VarSet", "Uniqueid: 7")
	x.expect(t, "", "VarSet", trunk...)
	l.Add(frame("Event: BridgeListItem", "BridgeUniqueid: b", "BridgeTechnology: simple_bridge"))
	l.Add(frame("Event: CoreShowChannel", "Channel: PJSIP/trunk-01", "Context: public", "Uniqueid: 1", "Linkedid: 1", "BridgeId: b"))
	l.Add(frame("Event: CoreShowChannel", "Channel: PJSIP/y-01", "Context: public", "Exten: 111", "Uniqueid: 2", "Linkedid: 2", "BridgeId: b"))
	l.Add(frame("Event: CoreShowChannel", "Channel: PJSIP/z-01", "Context: public", "Exten: 111", "Uniqueid: 3", "Linkedid: 3", "BridgeId: "))
	l.Done()
	x.expect(t, "acme", "VarSet", trunk...)
	x.expect(t, "acme", "VarSet", "Uniqueid: 2")
	x.expect(t, "", "VarSet", "Uniqueid: 3")
	x.List().Done()
	x.expect(t, "", "Newchannel", "Channel: PJSIP/trunk-01", "Context: public", "Uniqueid: 1", "Linkedid: 1")
}

func TestThings(t *testing.T) {
	x := newIndex(t)
	for _, c := range []struct {
		want  string
		named bool
		lines []string
	}{
		{"acme", false, []string{"Event: QueueMemberStatus", "Queue: acme-q"}},
		{"", false, []string{"Event: QueueMemberStatus", "Queue: q"}},
		{"beta", false, []string{"Event: ConfbridgeListRooms", "Conference: beta-room"}},
		{"", true, []string{"Event: QueueEntry", "Queue: q", "Uniqueid: 9"}},
		{"acme", true, []string{"Event: QueueEntry", "Queue: acme-q", "Uniqueid: 9"}},
		{"", false, []string{"Event: UserEvent", "UserEvent: x", "Queue: acme-q", "Uniqueid: 1", "Context: acme-in"}},
		{"acme", false, []string{"Event: ExtensionStatus", "Exten: 1", "Context: acme-hints"}},
		{"", false, []string{"Event: Nonsense", "Queue: acme-q"}},
	} {
		got := x.Look(frame(c.lines...))
		if strings.Join(got.Tenants, " ") != c.want || got.Named != c.named {
			t.Errorf("%q: %v", c.lines, got)
		}
	}
}

// A PBX with more than fits costs no more, and nobody sees the rest.
func TestLimit(t *testing.T) {
	x := newIndex(t)
	for i := range 1000 {
		id := fmt.Sprint(i)
		x.Learn(event("Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)), nil)
		x.Learn(event("BridgeCreate", []string{"BridgeUniqueid: b" + id}), nil)
	}
	if channels, bridges := x.Len(); channels != 100 || bridges != 100 {
		t.Errorf("%d channels, %d bridges", channels, bridges)
	}
	x.expect(t, "", "VarSet", "Uniqueid: 500")
	for i := range 3 * maxEnded {
		id := fmt.Sprint("e", i)
		x.Learn(event("Hangup", channelLines("PJSIP/a-0", "acme-in", "0", "0")), nil)
		x.Learn(event("Newchannel", channelLines("PJSIP/a-0", "acme-in", "0", "0")), nil)
		x.Learn(event("Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)), nil)
		x.Learn(event("Hangup", channelLines("PJSIP/a-"+id, "acme-in", id, id)), nil)
	}
	if len(x.ended) > maxEnded || len(x.endings) > maxEnded {
		t.Errorf("%d endings", len(x.ended))
	}
}

func TestNoTenants(t *testing.T) {
	x := New(10)
	sight, _ := x.Learn(event("Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")), nil)
	if n, _ := x.Len(); n != 0 || len(sight.Tenants) > 0 || !sight.Named {
		t.Error(n, sight)
	}
	if !x.SetTenants(twoTenants(t)) || x.SetTenants(twoTenants(t)) {
		t.Error("begins to learn once")
	}
	x.SetTenants(nil)
	x.expect(t, "", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
}

// FuzzLearn: whatever a PBX says, nothing breaks.
func FuzzLearn(f *testing.F) {
	f.Add("Event: Newchannel\r\nChannel: a\r\nUniqueid: 1\r\nContext: acme-in\r\n\r\nEvent: BridgeEnter\r\nUniqueid: 1\r\nBridgeUniqueid: 2\r\n\r\n")
	f.Add("Event: DialBegin\r\nUniqueid: 1\r\nDestUniqueid: 1\r\n\r\nEvent: Rename\r\nUniqueid: 1\r\nNewname: \r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		x := newIndex(t)
		l := x.List()
		for one := range strings.SplitAfterSeq(text, "\r\n\r\n") {
			x.Learn([]byte(one), nil)
			l.Add([]byte(one))
			x.Look([]byte(one))
		}
	})
}

// BenchmarkLearn is the cost of an event of a PBX with 10,000 calls.
func BenchmarkLearn(b *testing.B) {
	x := New(50_000)
	x.SetTenants(twoTenants(b))
	for i := range 10_000 {
		id := fmt.Sprint("1795338405.", i)
		x.Learn(event("Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)), nil)
	}
	f := event("VarSet", []string{
		"Channel: PJSIP/a-1795338405.77", "ChannelState: 6", "ChannelStateDesc: Up", "CallerIDNum: 100", "CallerIDName: Alice",
		"ConnectedLineNum: 101", "ConnectedLineName: Bob", "Language: en", "AccountCode: ", "Context: acme-in", "Exten: s", "Priority: 1",
		"Uniqueid: 1795338405.77", "Linkedid: 1795338405.77", "Variable: X", "Value: 1",
	})
	b.ReportAllocs()
	for b.Loop() {
		x.Learn(f, nil)
	}
}

// A CEL of a channel that is parked names all who are parked there.
func TestPeersOfWhoWaits(t *testing.T) {
	x := newIndex(t)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-01", "acme-in", "1", "1")...)
	x.expect(t, "acme", "Newchannel", channelLines("PJSIP/a-02", "acme-in", "2", "2")...)
	x.expect(t, "beta", "Newchannel", channelLines("PJSIP/b-01", "beta-in", "3", "3")...)
	const waits, talks = `Extra: {"bridge_id":"b","bridge_technology":"holding_bridge"}`, `Extra: {"bridge_id":"b","bridge_technology":"simple_bridge"}`
	for _, c := range []struct{ want, peer, extra string }{
		{"acme", "Peer: PJSIP/a-02", waits},
		{"", "Peer: PJSIP/a-02,PJSIP/b-01", waits},
		{"acme", "Peer: PJSIP/gone-01", waits},
		{"acme", "Peer:", waits},
		{"acme", "Peer: PJSIP/b-01", talks}, // they are, or were, in conversation
	} {
		x.expect(t, c.want, "CEL", "EventName: BRIDGE_ENTER", "Channel: PJSIP/a-01", "UniqueID: 1", "LinkedID: 1", c.peer, c.extra)
	}
}
