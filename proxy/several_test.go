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

// An action goes where its channel is.
func TestRouteToTheOwner(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	for _, action := range []string{"Hangup", "Setvar", "Redirect"} {
		w.answerer(action)
	}
	c := w.login("defaulted", "Events: off") // by default to west
	unique := map[string]string{}
	for _, f := range c.List("Action: CoreShowChannels") {
		if name := header(f, "Channel"); name != "" {
			unique[header(f, "Server")+" "+name[len(name)-1:]] = header(f, "Uniqueid")
		}
	}
	for _, test := range []struct{ channel, want string }{
		{"PJSIP/idle-00000002", "I am west"},
		{"pjsip/IDLE-00000002", "I am west"},
		{unique["east 0"], "I am east"},
		{unique["west 1"], "I am west"},
		{"PJSIP/idle-00000000", "Ambiguous: say Server: east or west"},
		{"PJSIP/nosuch", "I am west"},
	} {
		for _, action := range []string{"Hangup", "Setvar", "Redirect"} {
			if got := header(c.Do("Action: "+action, "Channel: "+test.channel, "Variable: v", "Context: c", "Exten: e", "Priority: 1"), "Message"); got != test.want {
				t.Errorf("%s %q: %s, want %s", action, test.channel, got, test.want)
			}
		}
	}
	// Channels that belong together must be on one PBX.
	if got := header(c.Do("Action: Redirect", "Channel: "+unique["east 0"], "ExtraChannel: "+unique["west 0"]), "Message"); got != "Ambiguous: say Server: east or west" {
		t.Error(got)
	}
}

// documented is what the documentation of Asterisk 16 and 22 says names a channel,
// a bridge or a conference (core-en_US.xml), but for those that ownedBy leaves out.
const documented = `
AGI Channel, AOCMessage Channel, AbsoluteTimeout Channel, Atxfer Channel, BlindTransfer Channel, Bridge Channel1,
Bridge Channel2, BridgeDestroy BridgeUniqueid, BridgeInfo BridgeUniqueid, BridgeKick BridgeUniqueid, BridgeKick Channel,
CancelAtxfer Channel, ChangeMonitor Channel, ConfbridgeKick Conference, ConfbridgeList Conference,
ConfbridgeLock Conference, ConfbridgeMute Conference, ConfbridgeSetSingleVideoSrc Conference,
ConfbridgeStartRecord Conference, ConfbridgeStopRecord Conference, ConfbridgeUnlock Conference,
ConfbridgeUnmute Conference, ControlPlayback Channel, CoreShowChannelMap Channel, Getvar Channel, Hangup Channel,
LocalOptimizeAway Channel, MeetmeList Conference, MeetmeMute Meetme, MeetmeUnmute Meetme, MixMonitor Channel,
MixMonitorMute Channel, Monitor Channel, MuteAudio Channel, PJSIPHangup Channel, PJSIPNotify Channel, Park Channel,
PauseMonitor Channel, PlayDTMF Channel, PlayMF Channel, QueueChangePriorityCaller Caller, QueueLog Uniqueid,
QueueWithdrawCaller Caller, Redirect Channel, Redirect ExtraChannel, SendFlash Channel, SendText Channel,
Setvar Channel, Status Channel, StopMixMonitor Channel, StopMonitor Channel, UnpauseMonitor Channel`

// Every header that names what a PBX owns leads there.
func TestEveryActionFindsItsOwner(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("west")
	w.sims["west"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	w.sims["west"].Event("BridgeCreate", ami.ClassCall, "BridgeUniqueid", "b-1")
	w.sims["west"].Event("ConfbridgeStart", ami.ClassCall, "Conference", "c-1", "BridgeUniqueid", "b-2")
	await(3)
	values := map[string]string{"Uniqueid": "u1", "BridgeUniqueid": "b-1", "Conference": "c-1", "Meetme": "c-1"}
	s, n := w.session(c), 0
	for entry := range strings.SplitSeq(strings.ReplaceAll(documented, "\n", " "), ",") {
		name, head, _ := strings.Cut(strings.TrimSpace(entry), " ")
		value := values[head]
		if value == "" {
			value = "SIP/new-1"
		}
		owner, refusal := s.owner(ami.NewAction("Action: "+name, head+": "+value), ami.FoldName(name))
		if owner == nil || owner.Name() != "west" {
			t.Errorf("%s, %s: %s goes to %v, %s", name, head, value, owner, refusal)
		}
		n++
	}
	for _, headers := range ownedBy {
		n -= len(headers)
	}
	if n != 0 {
		t.Errorf("%d more are documented than are in ownedBy", n)
	}
}

// hangup is what a PBX, or the proxy, says to a Hangup that names no PBX.
func hangup(c *amiclient.Client, channel string) string {
	return header(c.Do("Action: Hangup", "Channel: "+channel), "Message")
}

// What is born and ends after the first listing is known, too, but nobody teaches
// the proxy by events of his own.
func TestOwnersAreLearnedFromEvents(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("east")
	w.sims["east"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	w.sims["east"].Event("UserEvent", ami.ClassUser, "UserEvent", "Newchannel", "Channel", "SIP/forged", "Uniqueid", "u2")
	await(2)
	if got := hangup(c, "SIP/new-1"); got != "I am east" {
		t.Error(got)
	}
	if got := hangup(c, "SIP/forged"); got != "Server header required" {
		t.Error(got)
	}
	await = w.awaitEvents("east")
	w.sims["east"].Event("Rename", ami.ClassCall, "Channel", "SIP/new-1", "Newname", "SIP/other", "Uniqueid", "u1")
	await(1)
	if got := hangup(c, "SIP/new-1") + hangup(c, "SIP/other"); got != "Server header requiredI am east" {
		t.Error(got)
	}
	await = w.awaitEvents("east")
	w.sims["east"].Event("Hangup", ami.ClassCall, "Channel", "SIP/other", "Uniqueid", "u1")
	await(1)
	if got := hangup(c, "SIP/other"); got != "Server header required" {
		t.Error(got)
	}
}

// The names of a PBX that is away stay its own until it is back and has listed
// them anew.
func TestOwnerThatIsAway(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("east")
	w.sims["east"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	await(1)
	w.take("east")
	if got := hangup(c, "SIP/new-1"); got != "Server east is not connected" {
		t.Error(got)
	}
	if got := hangup(c, "PJSIP/idle-00000002"); got != "I am west" {
		t.Error(got)
	}
	w.putBack("east")
	w.awaitNames("east")
	if got := hangup(c, "SIP/new-1"); got != "Server header required" { // the restart has ended it
		t.Error(got)
	}
}

// Until a PBX has listed its names, whatever it may own is not guessed.
func TestOwnerBeforeTheListing(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	w.take("west")
	open := w.block("west", "BridgeList")
	w.putBack("west")
	if got := header(c.Do("Action: Hangup", "Channel: SIP/x"), "Message"); got != "Ambiguous: say Server: east or west" {
		t.Error(got)
	}
	open()
	w.awaitNames("west")
	if got := header(c.Do("Action: Hangup", "Channel: SIP/x"), "Message"); got != "Server header required" {
		t.Error(got)
	}
	if got := header(c.Do("Action: Hangup", "Channel: PJSIP/idle-00000002"), "Message"); got != "I am west" {
		t.Error(got)
	}
}

func TestOwnerOfABridge(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("BridgeInfo")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("west")
	w.sims["west"].Event("BridgeCreate", ami.ClassCall, "BridgeUniqueid", "b-1")
	await(1)
	if got := header(c.Do("Action: BridgeInfo", "BridgeUniqueid: b-1"), "Message"); got != "I am west" {
		t.Error(got)
	}
}

// Who lacks the class learns nothing of what is where.
func TestOwnerIsNotToldToThoseWithoutRights(t *testing.T) {
	o := idle()
	o.users = "[u]\nsecret = u-secret\nread = all\nwrite = user\n"
	w := newWorld(t, o)
	w.awaitNames("east", "west")
	c := w.login("u", "Events: off")
	for _, channel := range []string{"PJSIP/idle-00000000", "PJSIP/idle-00000002", "PJSIP/nosuch"} {
		if got := header(c.Do("Action: Hangup", "Channel: "+channel), "Message"); got != "Permission denied" {
			t.Errorf("%s: %s", channel, got)
		}
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
