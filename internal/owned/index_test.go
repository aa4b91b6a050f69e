package owned

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

func frame(lines ...string) ami.Frame {
	return ami.Frame(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// simulated is a PBX as the property test moves it.
type simulated struct {
	next     int
	channels map[string]string // names by Uniqueid
	things   map[string]bool   // bridges
}

func (p *simulated) items() (all []ami.Frame) {
	for _, uniqueid := range slices.Sorted(maps.Keys(p.channels)) {
		all = append(all, frame("Event: CoreShowChannel", "Channel: "+p.channels[uniqueid], "Uniqueid: "+uniqueid))
	}
	for _, b := range slices.Sorted(maps.Keys(p.things)) {
		all = append(all, frame("Event: BridgeListItem", "BridgeUniqueid: "+b))
	}
	return all
}

func (p *simulated) step(rt *rapid.T) ami.Frame {
	uniqueids := slices.Sorted(maps.Keys(p.channels))
	bridges := slices.Sorted(maps.Keys(p.things))
	do := rapid.IntRange(0, 5).Draw(rt, "step")
	if len(uniqueids) == 0 && do < 4 || len(bridges) == 0 && do == 5 {
		do = 0
	}
	switch do {
	case 0:
		p.next++
		uniqueid := fmt.Sprintf("1.%d", p.next)
		name := fmt.Sprintf("PJSIP/%d-%d", rapid.IntRange(1, 3).Draw(rt, "peer"), p.next)
		p.channels[uniqueid] = strings.ToLower(name)
		return frame("Event: Newchannel", "Privilege: call,all", "Channel: "+name, "Uniqueid: "+uniqueid)
	case 4:
		p.next++
		b := fmt.Sprintf("b-%d", p.next)
		p.things[b] = true
		return frame("Event: BridgeCreate", "Privilege: call,all", "BridgeUniqueid: "+b)
	case 5:
		b := rapid.SampledFrom(bridges).Draw(rt, "bridge")
		delete(p.things, b)
		return frame("Event: BridgeDestroy", "Privilege: call,all", "BridgeUniqueid: "+b)
	}
	uniqueid := rapid.SampledFrom(uniqueids).Draw(rt, "channel")
	name := p.channels[uniqueid]
	switch do {
	case 1:
		delete(p.channels, uniqueid)
		return frame("Event: Hangup", "Privilege: call,all", "Channel: "+name, "Uniqueid: "+uniqueid)
	case 2:
		p.next++
		to := fmt.Sprintf("pjsip/new-%d", rapid.IntRange(1, 5).Draw(rt, "name"))
		for _, other := range p.channels {
			if other == to { // as one that takes the place of another is called on its way
				to = fmt.Sprintf("pjsip/new-%d<masq>", p.next)
			}
		}
		p.channels[uniqueid] = to
		return frame("Event: Rename", "Privilege: call,all", "Channel: "+name, "Newname: "+to, "Uniqueid: "+uniqueid)
	}
	return frame("Event: Newstate", "Privilege: call,all", "Channel: "+name, "Uniqueid: "+uniqueid)
}

// Whenever a listing is taken, and however its items and the events that come
// meanwhile are mixed, the index is what the PBX has: nothing more, nothing less.
func TestIndexProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pbx := &simulated{channels: map[string]string{}, things: map[string]bool{}}
		for range rapid.IntRange(0, 10).Draw(rt, "before") {
			pbx.step(rt) // nobody saw it
		}
		x := New(1000)
		l := x.List()
		var items []ami.Frame
		taken := false
		for !taken || len(items) > 0 {
			switch {
			case rapid.Bool().Draw(rt, "event"):
				x.Learn(pbx.step(rt))
			case !taken:
				items, taken = pbx.items(), true
			default:
				l.Add(items[0])
				items = items[1:]
			}
		}
		if x.Complete() {
			rt.Fatal("complete before the end")
		}
		l.Done()
		for range rapid.IntRange(0, 20).Draw(rt, "after") {
			x.Learn(pbx.step(rt))
		}
		if !x.Complete() {
			rt.Fatal("not complete")
		}
		want := newNames()
		for uniqueid, name := range pbx.channels {
			want.add(name, uniqueid)
		}
		if got, want := describe(&x.names), describe(&want); got != want {
			rt.Fatalf("got\n%s\nwant\n%s", got, want)
		}
		if got, want := slices.Sorted(maps.Keys(pbx.things)), x.bridges(); !slices.Equal(got, want) {
			rt.Fatalf("bridges %q, want %q", want, got)
		}
	})
}

func describe(n *names) string {
	var all []string
	for name, c := range n.channels {
		all = append(all, fmt.Sprintf("%s %s %s", name, c.name, c.uniqueid))
	}
	for uniqueid, c := range n.uniqueids {
		all = append(all, fmt.Sprintf("%s %s", uniqueid, c.name))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (x *Index) bridges() (all []string) {
	for o := range x.others {
		all = append(all, o.name)
	}
	slices.Sort(all)
	return all
}

func TestNobodyTeachesByUserEvent(t *testing.T) {
	x := New(10)
	x.Learn(frame("Event: UserEvent", "Privilege: user,all", "UserEvent: Newchannel", "Event: Newchannel", "Channel: SIP/a", "Uniqueid: 1"))
	x.Learn(frame("Event: VarSet", "Privilege: dialplan,all", "Channel: SIP/a", "Uniqueid: 1"))
	if x.Len() != 0 {
		t.Error("it learned")
	}
}

func TestHas(t *testing.T) {
	x := New(10)
	x.Learn(frame("Event: Newchannel", "Privilege: call,all", "Channel: SIP/A-1", "Uniqueid: U.1"))
	x.Learn(frame("Event: ConfbridgeStart", "Privilege: call,all", "Conference: Room"))
	for _, c := range []struct {
		kind Kind
		name string
		want bool
	}{
		{Channel, "sip/a-1", true}, {Channel, "U.1", true}, {Channel, "SIP/A", false}, {Channel, "u.1", true},
		{Uniqueid, "U.1", true}, {Uniqueid, "u.1", true}, {Uniqueid, "SIP/A-1", false},
		{Conference, "Room", true}, {Conference, "room", true}, {Bridge, "room", false},
	} {
		if got := x.Has(c.kind, c.name); got != c.want {
			t.Errorf("%d %s: %v", c.kind, c.name, got)
		}
	}
}

// A PBX with more than fits is not known completely, and costs no more.
func TestLimit(t *testing.T) {
	x := New(3)
	l := x.List()
	for i := range 10 {
		l.Add(frame("Event: CoreShowChannel", fmt.Sprintf("Channel: SIP/%d", i), fmt.Sprintf("Uniqueid: %d", i)))
		l.Add(frame("Event: BridgeListItem", fmt.Sprintf("BridgeUniqueid: %d", i)))
	}
	l.Done()
	if x.Len() != 3 || len(x.others) != 3 || x.Complete() {
		t.Errorf("%d channels, %d others, complete %v", x.Len(), len(x.others), x.Complete())
	}
}

// Neither names without end nor one that is too long cost more than the limit, in
// whatever event they come.
func TestLimitOfEvents(t *testing.T) {
	long := strings.Repeat("x", maxName)
	for _, lines := range [][]string{
		{"Event: Newchannel", "Channel: SIP/%d", "Uniqueid: %d"},
		{"Event: Rename", "Channel: SIP/x%d", "Newname: SIP/%d", "Uniqueid: %d"},
		{"Event: Rename", "Channel: SIP/x%d", "Newname: SIP/%d"},
		{"Event: BridgeEnter", "BridgeUniqueid: b%d", "Channel: SIP/%d", "Uniqueid: %d"},
		{"Event: ConfbridgeStart", "Conference: c%d"},
		{"Event: Newchannel", "Channel: " + long + "%d"},
		{"Event: Newchannel", "Channel: SIP/%d", "Uniqueid: " + long + "%d"},
		{"Event: Rename", "Channel: SIP/%d", "Newname: " + long + "%d"},
		{"Event: BridgeCreate", "BridgeUniqueid: " + long + "%d"},
	} {
		for _, listing := range []bool{false, true} {
			x := New(3)
			l := x.List()
			if !listing {
				l.Done()
			}
			for i := range 20 {
				x.Learn(frame(strings.ReplaceAll(strings.Join(lines, "\r\n"), "%d", fmt.Sprint(i))))
			}
			if listing && (len(l.told) > 6 || len(l.channels) > 3) {
				t.Errorf("%s: the listing has %d channels, %d names", lines[0], len(l.channels), len(l.told))
			}
			l.Done()
			if len(x.channels)+len(x.others) > 6 || x.Complete() {
				t.Errorf("%q: %d channels, %d others, complete: %v", lines, len(x.channels), len(x.others), x.Complete())
			}
			for name := range x.channels {
				if len(name) > maxName {
					t.Errorf("%q: a name of %d bytes", lines, len(name))
				}
			}
		}
	}
}

func TestListingGivenUp(t *testing.T) {
	x := New(10)
	old := x.List()
	x.Lose()
	old.Add(frame("Event: CoreShowChannel", "Channel: SIP/1", "Uniqueid: 1"))
	old.Done()
	if x.Complete() || x.Len() != 0 {
		t.Error("a listing from before the loss counts")
	}
}

func BenchmarkBytesPerChannel(b *testing.B) {
	const n = 100_000
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := New(n)
		for i := range n {
			x.Learn(frame("Event: Newchannel", "Privilege: call,all", fmt.Sprintf("Channel: PJSIP/alice-%08x", i),
				fmt.Sprintf("Uniqueid: 1795327054.%d", i)))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/channel")
		runtime.KeepAlive(x)
	}
}

func BenchmarkHas(b *testing.B) {
	x := New(100_000)
	for i := range 100_000 {
		x.Learn(frame("Event: Newchannel", "Privilege: call,all", fmt.Sprintf("Channel: PJSIP/alice-%08x", i), fmt.Sprintf("Uniqueid: 1.%d", i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		x.Has(Channel, "pjsip/alice-00001234")
	}
}
