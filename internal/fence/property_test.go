package fence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

func frame(lines ...string) ami.Frame {
	return ami.Frame(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// twoTenants are acme and beta, who have contexts, queues, conferences and
// parking lots of that name.
func twoTenants(t interface{ Fatal(...any) }) []*acl.Tenant {
	var all []*acl.Tenant
	for _, name := range []string{"acme", "beta"} {
		tenant := acl.NewTenant(name)
		for m, line := range map[acl.Mark]string{
			acl.ByContext: name + "-*", acl.ByQueue: name + "-q", acl.ByConference: name + "-room", acl.ByParkingLot: name + "-lot",
			acl.ByChannel: "PJSIP/" + name + "-*", acl.ByDID: map[string]string{"acme": "111*", "beta": "222*"}[name], acl.ByAccountCode: name,
		} {
			if err := tenant.Add(m, line); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, tenant)
	}
	return all
}

// The model: a PBX that knows which calls there are, and who may see them, by the
// definition and not by what it tells.
type model struct {
	next     int
	channels []*mChannel
	bridges  []*mBridge
}

type mCall struct{ own, seen map[string]bool }

type mChannel struct {
	uniqueid, linkedid, name, context string
	call                              *mCall
	bridge                            *mBridge
}

type mBridge struct {
	id, name string
	waiting  bool
	own      map[string]bool
	seen     map[string]bool
	creator  string
}

// component is the calls in conversation with k.
func (m *model) component(k *mCall) map[*mCall]bool {
	in := map[*mCall]bool{k: true}
	for grew := true; grew; {
		grew = false
		for _, a := range m.channels {
			for _, b := range m.channels {
				if a.bridge != nil && a.bridge == b.bridge && !a.bridge.waiting && in[a.call] && !in[b.call] {
					in[b.call], grew = true, true
				}
			}
		}
	}
	return in
}

// settle says anew who sees what. new is a call that did something, and so is no
// longer seen by those who saw it only from a conversation.
func (m *model) settle(new *mCall) {
	seen := map[*mCall]map[string]bool{}
	for _, c := range m.channels {
		if seen[c.call] != nil {
			continue
		}
		in := m.component(c.call)
		all := map[string]bool{}
		for k := range in {
			maps.Copy(all, k.own)
		}
		for _, other := range m.channels {
			if b := other.bridge; b != nil && in[other.call] && (!b.waiting || other.call == c.call) {
				maps.Copy(all, b.own)
			}
		}
		if len(in) == 1 && c.call != new {
			maps.Copy(all, c.call.seen)
		}
		seen[c.call] = all
	}
	for k, s := range seen {
		k.seen = s
	}
	for _, b := range m.bridges {
		all, used := maps.Clone(b.own), false
		for _, c := range m.channels {
			if c.bridge == b && !b.waiting {
				for k := range m.component(c.call) {
					maps.Copy(all, k.own)
				}
				for _, other := range m.channels {
					if o := other.bridge; o != nil && !o.waiting && m.component(c.call)[other.call] {
						maps.Copy(all, o.own)
					}
				}
				used = true
			}
		}
		if used || b.waiting {
			b.seen = all
		}
	}
}

func set(of map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(of)), " ") }

func (c *mChannel) lines(prefix string) []string {
	return []string{
		prefix + "Channel: " + c.name, prefix + "Context: " + c.context, prefix + "Exten: s",
		prefix + "Uniqueid: " + c.uniqueid, prefix + "Linkedid: " + c.linkedid,
	}
}

func (b *mBridge) lines() []string {
	technology := "simple_bridge"
	if b.waiting {
		technology = "holding_bridge"
	}
	return []string{"BridgeUniqueid: " + b.id, "BridgeTechnology: " + technology, "BridgeCreator: " + b.creator, "BridgeName: " + b.name}
}

func event(name string, lines ...[]string) ami.Frame {
	return frame(append([]string{"Event: " + name, "Privilege: call,all"}, slices.Concat(lines...)...)...)
}

var mContexts = []string{"acme-in", "beta-in", "public", "public", "public"}

func owner(context string) map[string]bool {
	name, _, _ := strings.Cut(context, "-")
	if name == "acme" || name == "beta" {
		return map[string]bool{name: true}
	}
	return map[string]bool{}
}

// step does one thing. It returns the event and who is to see it.
func (m *model) step(rt *rapid.T) (f ami.Frame, want string) {
	m.next++
	pick := func() *mChannel { return rapid.SampledFrom(m.channels).Draw(rt, "channel") }
	do := rapid.SampledFrom([]string{"call", "dial", "dial", "hangup", "context", "bridge", "enter", "enter", "enter", "leave", "destroy", "queue", "user"}).Draw(rt, "do")
	if len(m.channels) == 0 {
		do = "call"
	}
	seen := map[string]bool{}
	switch do {
	case "call", "dial":
		c := &mChannel{
			uniqueid: fmt.Sprintf("1.%d", m.next), name: fmt.Sprintf("PJSIP/x-%08x", m.next),
			context: rapid.SampledFrom(mContexts).Draw(rt, "context"), call: &mCall{},
		}
		c.linkedid = c.uniqueid
		c.call.own = owner(c.context)
		var from *mChannel
		if do == "dial" {
			from = pick()
			c.linkedid, c.call = from.linkedid, from.call
			for _, other := range m.channels {
				if other.linkedid == c.linkedid && other.call != c.call {
					from.linkedid, c.linkedid = c.uniqueid, c.uniqueid // see TestOrphan
				}
			}
			if from.linkedid == c.uniqueid {
				return event("NewCallerid", from.lines("")), set(from.call.seen)
			}
			maps.Copy(c.call.own, owner(c.context))
		}
		m.channels = append(m.channels, c)
		m.settle(c.call)
		return event("Newchannel", c.lines("")), set(c.call.seen)
	case "hangup", "leave":
		c := pick()
		maps.Copy(seen, c.call.seen)
		if do == "leave" && c.bridge == nil {
			break
		}
		lines := c.lines("")
		if do == "leave" {
			lines = append(c.bridge.lines(), lines...)
			maps.Copy(seen, c.bridge.seen)
		}
		c.bridge = nil
		if do == "hangup" {
			m.channels = slices.DeleteFunc(m.channels, func(other *mChannel) bool { return other == c })
			m.settle(nil)
			return event("Hangup", lines), set(seen)
		}
		m.settle(nil)
		return event("BridgeLeave", lines), set(seen)
	case "context":
		c := pick()
		c.context = rapid.SampledFrom(mContexts).Draw(rt, "context")
		maps.Copy(c.call.own, owner(c.context))
		m.settle(nil)
		return event("Newexten", c.lines("")), set(c.call.seen)
	case "bridge":
		b := &mBridge{id: fmt.Sprintf("b-%d", m.next), own: map[string]bool{}, name: "<unknown>", creator: "<unknown>"}
		switch rapid.IntRange(0, 4).Draw(rt, "kind") {
		case 0:
			b.name, b.creator, b.own = "beta-room", "ConfBridge", owner("beta-")
		case 1:
			b.name, b.creator, b.waiting, b.own = "acme-lot", "Parking", true, owner("acme-")
		case 2:
			b.name, b.creator, b.waiting = "default", "Parking", true
		}
		b.seen = b.own
		m.bridges = append(m.bridges, b)
		return event("BridgeCreate", b.lines()), set(b.own)
	case "enter":
		c := pick()
		if len(m.bridges) == 0 || c.bridge != nil {
			break
		}
		b := rapid.SampledFrom(m.bridges).Draw(rt, "bridge")
		c.bridge = b
		m.settle(c.call)
		maps.Copy(seen, c.call.seen)
		maps.Copy(seen, b.seen)
		return event("BridgeEnter", b.lines(), c.lines("")), set(seen)
	case "destroy":
		if len(m.bridges) == 0 {
			break
		}
		b := rapid.SampledFrom(m.bridges).Draw(rt, "bridge")
		if slices.ContainsFunc(m.channels, func(c *mChannel) bool { return c.bridge == b }) {
			break
		}
		m.bridges = slices.DeleteFunc(m.bridges, func(other *mBridge) bool { return other == b })
		return event("BridgeDestroy", b.lines()), set(b.seen)
	case "queue":
		c := pick()
		queue := rapid.SampledFrom([]string{"acme-q", "q"}).Draw(rt, "queue")
		if queue == "acme-q" {
			c.call.own["acme"] = true
		}
		m.settle(nil)
		return event("QueueCallerJoin", c.lines(""), []string{"Queue: " + queue}), set(c.call.seen)
	case "user":
		c := pick()
		return event("UserEvent", []string{"UserEvent: Newchannel"}, c.lines(""), []string{"Context: acme-in"}), ""
	}
	c := pick()
	return event("VarSet", c.lines("")), set(c.call.seen)
}

// Whatever happens on a PBX, every event is seen by those tenants, and no others,
// that the definition says; and what a tenant comes to see it is told of.
func TestSightProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := New(1000)
		x.SetTenants(twoTenants(rt))
		m := &model{}
		var told [2]map[string]bool // channels that a tenant was told of
		for i := range told {
			told[i] = map[string]bool{}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			f, want := m.step(rt)
			sight, introductions := x.Learn(f, nil)
			if got := strings.Join(sight.Tenants, " "); got != want {
				rt.Fatalf("%q\nseen by %q, want %q", f, got, want)
			}
			for i, name := range []string{"acme", "beta"} {
				tell := func(f ami.Frame) {
					if string(f.Event()) == "Newchannel" {
						id, _ := f.Get("Uniqueid")
						told[i][string(id)] = true
					}
				}
				for _, in := range introductions {
					if slices.Contains(in.Now, name) && !slices.Contains(in.Before, name) {
						tell(in.Frame)
					}
				}
				if slices.Contains(sight.Tenants, name) {
					tell(f)
					if id, ok := f.Get("Uniqueid"); ok && string(f.Event()) != "UserEvent" && !told[i][string(id)] {
						rt.Fatalf("%s sees %q, but was never told of the channel", name, f)
					}
				}
			}
		}
		if channels, bridges := x.Len(); channels != len(m.channels) || bridges != len(m.bridges) {
			rt.Fatalf("%d channels and %d bridges, want %d and %d", channels, bridges, len(m.channels), len(m.bridges))
		}
		for _, c := range slices.Clone(m.channels) {
			x.Learn(event("Hangup", c.lines("")), nil)
		}
		if len(x.channels)+len(x.names)+len(x.linked) > 0 {
			rt.Fatalf("what is over is still known: %v %v %v", x.channels, x.names, x.linked)
		}
	})
}
