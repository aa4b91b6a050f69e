package proxy

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// idle is a world of PBXes on which some channels are up: east has two, west
// has three, of which the first two have the names of those on east.
func idle() setup {
	return setup{
		pbxs: []string{"east", "west"}, general: "mergetimeout = 500ms", users: routingUsers,
		sim: map[string]simpbx.Options{
			"east": {Idle: 2, SystemName: "east"}, "west": {Idle: 3, SystemName: "west"},
		},
	}
}

// awaitNames waits until the names on the PBXes are known.
func (w *world) awaitNames(names ...string) {
	w.tb.Helper()
	for _, name := range names {
		eventually(w.tb, "the names on "+name, w.pbx(name).Names().Complete)
	}
}

// channelsOf returns which PBXes the items of a list are of, in their order.
func channelsOf(list []amiclient.Frame) (servers string) {
	for _, f := range list {
		if header(f, "Event") == "CoreShowChannel" {
			servers += header(f, "Server") + " "
		}
	}
	return strings.TrimSpace(servers)
}

func TestListOfSeveralPBXes(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	c := w.login("full", "Events: off")
	list := c.List("Action: CoreShowChannels", "ActionID: 7")
	if got := channelsOf(list); got != "east east west west west" {
		t.Errorf("items of %s", got)
	}
	first, last := list[0], list[len(list)-1]
	if header(last, "ListItems") != "5" || header(last, "Missing") != "" || header(first, "Server")+header(last, "Server") != "" {
		t.Errorf("%q … %q", first, last)
	}
	for _, f := range list {
		if header(f, "ActionID") != "7" {
			t.Errorf("%q", f)
		}
	}
	// One PBX alone is asked by its name.
	if got := channelsOf(c.List("Action: CoreShowChannels", "Server: west")); got != "west west west" {
		t.Errorf("items of %s", got)
	}
	// Nothing but lists goes to more than one.
	for _, lines := range [][]string{{"Action: Getvar", "Variable: x"}, {"Action: Hangup", "Channel: nosuch"}, {"Action: Command", "Command: core show channels"}} {
		if got := header(c.Do(lines...), "Message"); got != "Server header required" {
			t.Errorf("%q: %s", lines, got)
		}
	}
}

func TestListWithoutAPBXThatIsAway(t *testing.T) {
	w := newWorld(t, idle())
	c := w.login("full", "Events: off")
	w.take("west")
	list := c.List("Action: CoreShowChannels")
	if last := list[len(list)-1]; channelsOf(list) != "east east" || header(last, "Missing") != "west" || header(last, "ListItems") != "2" {
		t.Errorf("%s, %q", channelsOf(list), last)
	}
	w.take("east")
	if got := header(c.Do("Action: CoreShowChannels"), "Message"); got != "Server east is not connected" {
		t.Error(got)
	}
}

// A PBX that boots has not all its actions. Until it has told those that it has then,
// a list is not complete without it.
func TestListWithoutAPBXThatBoots(t *testing.T) {
	w := newWorld(t, idle())
	c := w.login("full", "Events: off")
	missing := func() string {
		t.Helper()
		list := c.List("Action: DeviceStateList")
		return header(list[len(list)-1], "Missing")
	}
	restart := func(booted bool) {
		t.Helper()
		w.take("west")
		w.sims["west"].Remove("DeviceStateList")
		w.sims["west"].Boot(booted)
		if !booted {
			w.sims["west"].Handle("Command", func(r *simpbx.Request) { r.Reply("Error", "Command output follows", "Output", "No such command") })
		}
		w.bringUp("west")
	}
	restart(true)
	w.awaitBooted("west")
	if got := missing(); got != "" {
		t.Errorf("missing: %q, which does not have it", got)
	}
	restart(false)
	if got := missing(); got != "west" {
		t.Errorf("missing while west boots: %q", got)
	}
	if got := c.Do("Action: DeviceStateList", "Server: west"); header(got, "Response") != "Error" {
		t.Errorf("%q", got)
	}
	w.sims["west"].Handle("DeviceStateList", func(r *simpbx.Request) { r.Reply("Error", "of west") })
	w.sims["west"].Handle("Command", func(r *simpbx.Request) {
		r.Reply("Success", "Command output follows", "Output", "Configuration directory: /etc/of-west", "Output", "Module directory: /lib")
	})
	w.sims["west"].Boot(true)
	w.awaitBooted("west")
	if got := missing(); got != "west" {
		t.Errorf("missing before west has told its actions again: %q", got)
	}
	eventually(t, "west has it", func() bool {
		got := c.Do("Action: DeviceStateList", "Server: west")
		return header(got, "Message") == "of west"
	})
	if got := missing(); got != "west" {
		t.Errorf("missing, as it refuses: %q", got)
	}
	if w.pbx("west").Booting() {
		t.Error("west has booted and told its actions, and is still said to boot")
	}
	eventually(t, "the directories that west did not tell before", func() bool {
		return w.pbx("west").Directories().Config == "/etc/of-west"
	})
}

func TestListWithoutAPBXThatIsSlow(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	open := w.block("west", "CoreShowChannels")
	c := w.login("full", "Events: off")
	list := c.List("Action: CoreShowChannels")
	if last := list[len(list)-1]; channelsOf(list) != "east east" || header(last, "Missing") != "west" {
		t.Errorf("%s, %q", channelsOf(list), last)
	}
	open()
	c.ExpectNothing() // what comes late is nobody's
}

// No event of a channel that a list shows comes before the list is complete.
func TestListBeforeTheEventsBehindIt(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	asked := make(chan struct{})
	w.sims["west"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		close(asked)
		r.Sleep(200 * time.Millisecond)
		r.Default()
	})
	c := w.login("full", "Events: call")
	await := w.awaitEvents("east")
	c.Send("Action: CoreShowChannels", "ActionID: 1")
	<-asked
	eventually(t, "east has answered", func() bool { return w.pbx("east").Pending() == 0 })
	w.sims["east"].Event("Hangup", ami.ClassCall, "Channel", "PJSIP/idle-00000000")
	await(1)
	var order []string
	for len(order) == 0 || order[len(order)-1] != "Hangup" {
		order = append(order, header(c.ReadFrame(), "Event"))
	}
	if i := slices.Index(order, "CoreShowChannelsComplete"); i != len(order)-2 {
		t.Errorf("got %q", order)
	}
}

// A merged list does not wait for one PBX until the events of another, which wait
// behind the list, come to what a client may not read.
func TestListBeforeTooManyEventsBehindIt(t *testing.T) {
	o := idle()
	o.general, o.users = "mergetimeout = 60", slowUsers // queuelimit = 256K
	w := newWorld(t, o)
	w.awaitNames("east", "west")
	defer w.block("west", "CoreShowChannels")()
	for i, user := range []string{"closes", "drops"} {
		c := w.login(user)
		c.Send("Action: CoreShowChannels", "ActionID: 1")
		eventually(t, "only east has answered", func() bool { return w.pbx("west").Pending() == i+1 && w.pbx("east").Pending() == 0 })
		const some = 12 // less than half
		await := w.awaitEvents("east")
		w.flood(0, some)
		await(some)
		s := w.session(c)
		if held := s.account.size(); held < some*bigEvent {
			t.Errorf("%d bytes are held", held)
		}
		w.flood(some, 3)
		list := c.ReadUntil(func(f amiclient.Frame) bool { return amiclient.Has(f, "EventList: Complete") })
		if items := len(list) - 2; items != 2 || !amiclient.Has(list[len(list)-1], "Missing: west", "ListItems: 2") {
			t.Errorf("%q", list)
		}
		expectFlood(c, 0, some+3)
		w.flood(0, 5)
		expectFlood(c, 0, 5)
		c.ExpectNothing()
		c.Close()
	}
}

// What the PBXes have answered counts before all have, and what is too long
// ends the session as the answer of one PBX does.
func TestMergedListIsBounded(t *testing.T) {
	o := idle()
	o.general = "answerlimit = 1M"
	w := newWorld(t, o)
	w.awaitNames("east", "west")
	open := w.block("west", "CoreShowChannels")
	w.sims["east"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		r.Reply("Success", "", "EventList", "start")
		fmt.Fprintf(r, "Event: CoreShowChannel\r\nActionID: %s\r\nData: %s\r\n\r\n", r.Get("ActionID"), strings.Repeat("x", 600<<10))
		fmt.Fprintf(r, "Event: CoreShowChannelsComplete\r\nActionID: %s\r\nEventList: Complete\r\n\r\n", r.Get("ActionID"))
	})
	c := w.login("full", "Events: off")
	c.Send("Action: CoreShowChannels", "ActionID: 1")
	s := w.session(c)
	eventually(t, "the part counts", func() bool { return s.account.size() > 600<<10 })
	c.Send("Action: CoreShowChannels", "ActionID: 2")
	w.awaitReason(reasonAnswerLimit)
	eventually(t, "nothing counts", func() bool { return w.srv.total.Used() == 0 })
	open()
}

// A PBX whose list has no end is missing in the merged one, whether that comes out
// in time or not, and ends the sessions of those only who asked nobody else.
func TestMergedListWithoutTheEndlessOne(t *testing.T) {
	for _, timeout := range []string{"10s", "100ms"} {
		o := idle()
		o.general = "answerlimit = 1M\nmergetimeout = " + timeout
		w := newWorld(t, o)
		w.awaitNames("east", "west")
		w.sims["west"].Handle("CoreShowChannels", func(r *simpbx.Request) {
			r.Reply("Success", "", "EventList", "start")
			for range 20 {
				fmt.Fprintf(r, "Event: CoreShowChannel\r\nActionID: %s\r\nData: %s\r\n\r\n", r.Get("ActionID"), strings.Repeat("x", 100<<10))
				r.Sleep(10 * time.Millisecond)
			}
			fmt.Fprintf(r, "Event: CoreShowChannelsComplete\r\nActionID: %s\r\nEventList: Complete\r\n\r\n", r.Get("ActionID"))
		})
		c := w.login("full", "Events: off")
		list := c.List("Action: CoreShowChannels")
		if last := list[len(list)-1]; channelsOf(list) != "east east" || header(last, "Missing") != "west" {
			t.Errorf("%s, %q", channelsOf(list), last)
		}
		eventually(t, "west is done", func() bool { return w.pbx("west").Pending() == 0 })
		if w.logs.FilterMessage("answer thrown away").Len() != 1 {
			t.Error("no line in the log")
		}
		c.Roundtrip()
		w.take("east")
		c.Send("Action: CoreShowChannels")
		if timeout == "10s" {
			w.awaitReason(reasonAnswerLimit)
		} else if f := c.ExpectNext("Response: Error"); header(f, "Message") != "Server east is not connected" {
			t.Errorf("%q", f)
		}
	}
}

// What a merged list was made of is not kept for a PBX that has still to answer.
func TestMergedListIsNotKept(t *testing.T) {
	const size = 1 << 20
	o := idle()
	o.general = "mergetimeout = 100ms"
	w := newWorld(t, o)
	w.awaitNames("east", "west")
	open := w.block("west", "CoreShowChannels")
	w.sims["east"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		r.Reply("Success", "", "EventList", "start")
		fmt.Fprintf(r, "Event: CoreShowChannel\r\nActionID: %s\r\nData: %s\r\n\r\n", r.Get("ActionID"), strings.Repeat("x", size))
		fmt.Fprintf(r, "Event: CoreShowChannelsComplete\r\nActionID: %s\r\nEventList: Complete\r\n\r\n", r.Get("ActionID"))
	})
	c := w.login("full", "Events: off")
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range 20 {
		c.List("Action: CoreShowChannels")
	}
	eventually(t, "little more is held than before", func() bool { return heap()-before < 12*size })
	if n := w.pbx("west").Pending(); n != 20 {
		t.Errorf("%d pending", n)
	}
	open()
}

// A merged list of a client that is gone harms nobody.
func TestListOfAClientThatIsGone(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	open := w.block("west", "CoreShowChannels")
	c := w.login("full", "Events: off")
	c.Send("Action: CoreShowChannels")
	w.await("west", "CoreShowChannels")
	c.Close()
	w.awaitSessions(0)
	open()
	d := w.login("full", "Events: off")
	if got := channelsOf(d.List("Action: CoreShowChannels", "Server: east")); got != "east east" {
		t.Error(got)
	}
}

func TestMergesAndOwnersAreActions(t *testing.T) {
	for name := range ownedBy {
		if _, ok := ami.LookupAction(name); !ok || name != ami.FoldName(name) {
			t.Errorf("ownedBy: no action %s", name)
		}
	}
	for name := range emptyTexts {
		if info, ok := ami.LookupAction(name); !ok || info.Kind != ami.KindList {
			t.Errorf("emptyTexts: no list %s", name)
		}
	}
}
