package simpbx

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tape collects all that a client gets.
type tape struct {
	*client
	mu     sync.Mutex
	frames []string
}

// record reads all that comes to a client that has logged in, from now on.
func (c *client) record() *tape {
	tp := &tape{client: c}
	c.nc.SetReadDeadline(time.Time{}) // a pipe has deadlines
	go func() {
		for {
			f, err := c.r.ReadFrame()
			if err != nil {
				return
			}
			tp.mu.Lock()
			tp.frames = append(tp.frames, show(f))
			tp.mu.Unlock()
		}
	}()
	return tp
}

// take is what has come since the last take.
func (tp *tape) take() []string {
	synctest.Wait()
	tp.mu.Lock()
	defer tp.mu.Unlock()
	frames := tp.frames
	tp.frames = nil
	return frames
}

// ask sends an action while nothing is under way and returns its answer.
func (tp *tape) ask(lines ...string) []string {
	tp.t.Helper()
	tp.send(lines...)
	frames := tp.take()
	if len(frames) == 0 {
		tp.t.Fatalf("no answer to %q", lines)
	}
	return frames
}

// ledger checks that events make sense, one after the other.
type ledger struct {
	t        *testing.T
	channels map[string]string // name by Uniqueid
	bridges  map[string]int    // channels in each
	dials    map[string]bool   // by Uniqueid of the one that is called
	waiting  map[string]bool   // by Uniqueid of the caller
	agents   map[string]bool   // by Uniqueid of the agent's channel
	music    map[string]bool   // by Uniqueid
	held     map[string]bool   // by Uniqueid
	seen     map[string]string // privilege of each event
	calls    int
}

func newLedger(t *testing.T) *ledger {
	return &ledger{
		t: t, channels: make(map[string]string), bridges: make(map[string]int), dials: make(map[string]bool),
		waiting: make(map[string]bool), agents: make(map[string]bool), music: make(map[string]bool), held: make(map[string]bool), seen: make(map[string]string),
	}
}

func (l *ledger) add(frames []string) {
	l.t.Helper()
	for _, f := range frames {
		l.event(f)
	}
}

func (l *ledger) event(f string) {
	l.t.Helper()
	event, id, dest := get(f, "Event"), get(f, "Uniqueid"), get(f, "DestUniqueid")
	l.seen[event] = get(f, "Privilege")
	must := func(ok bool) {
		l.t.Helper()
		if !ok {
			l.t.Errorf("out of place: %s", f)
		}
	}
	if event == "Newchannel" {
		must(l.channels[id] == "")
		l.channels[id] = get(f, "Channel")
		return
	}
	if id != "" && event != "OriginateResponse" {
		must(l.channels[id] == get(f, "Channel"))
	}
	if dest != "" {
		must(l.channels[dest] == get(f, "DestChannel"))
	}
	bridge := get(f, "BridgeUniqueid")
	switch event {
	case "Hangup":
		must(!l.dials[id] && !l.waiting[id] && !l.agents[id] && !l.music[id] && !l.held[id])
		delete(l.channels, id)
		l.calls++
	case "DialBegin":
		must(!l.dials[dest])
		l.dials[dest] = true
	case "DialState":
		must(l.dials[dest])
	case "DialEnd":
		must(l.dials[dest])
		delete(l.dials, dest)
	case "BridgeCreate":
		l.bridges[bridge] = 0
	case "BridgeEnter", "BridgeLeave":
		n, ok := l.bridges[bridge]
		if n++; event == "BridgeLeave" {
			n -= 2
		}
		must(ok && n >= 0 && get(f, "BridgeNumChannels") == string(rune('0'+n)))
		l.bridges[bridge] = n
	case "BridgeDestroy":
		n, ok := l.bridges[bridge]
		must(ok && n == 0)
		delete(l.bridges, bridge)
	case "QueueCallerJoin":
		l.waiting[id] = true
	case "QueueCallerLeave":
		must(l.waiting[id])
		delete(l.waiting, id)
	case "MusicOnHoldStart", "MusicOnHoldStop":
		must(l.music[id] == (event == "MusicOnHoldStop"))
		l.music[id] = event == "MusicOnHoldStart"
	case "Hold", "Unhold":
		must(l.held[id] == (event == "Unhold"))
		l.held[id] = event == "Hold"
	case "AgentConnect":
		l.agents[dest] = true
	case "AgentComplete":
		must(l.agents[dest])
		delete(l.agents, dest)
	}
}

// agrees checks that CoreShowChannels lists what the events left.
func (l *ledger) agrees(list []string) {
	l.t.Helper()
	listed := make(map[string]string)
	for _, f := range named(list, "CoreShowChannel") {
		listed[get(f, "Uniqueid")] = get(f, "Channel")
	}
	if !maps.Equal(listed, l.channels) {
		l.t.Errorf("listed %v, events say %v", listed, l.channels)
	}
}

func TestCallsMakeSense(t *testing.T) {
	inBubble(t, Options{Calls: 1, RTCP: 1, Seed: 7}, func(t *testing.T, p *PBX) {
		c := login(t, p, "")
		c.read() // FullyBooted
		tp, led := c.record(), newLedger(t)
		for range 60 {
			time.Sleep(10 * time.Second)
			led.add(tp.take())
			led.agrees(tp.ask("Action: CoreShowChannels"))
		}
		if led.calls < 500 || len(led.channels) > 100 {
			t.Errorf("%d channels ended, %d are left", led.calls, len(led.channels))
		}
		want := map[string]string{
			"AgentCalled": "agent", "AgentComplete": "agent", "AgentConnect": "agent", "AgentRingNoAnswer": "agent",
			"BridgeCreate": "call", "BridgeDestroy": "call", "BridgeEnter": "call", "BridgeLeave": "call",
			"Cdr": "cdr", "ContactStatus": "system", "DTMFBegin": "dtmf", "DTMFEnd": "dtmf",
			"DeviceStateChange": "call", "DialBegin": "call", "DialEnd": "call", "DialState": "call",
			"ExtensionStatus": "call", "Hangup": "call", "HangupRequest": "call", "Hold": "call",
			"MusicOnHoldStart": "call", "MusicOnHoldStop": "call", "NewCallerid": "call", "NewConnectedLine": "call",
			"Newchannel": "call", "Newexten": "dialplan", "Newstate": "call", "PeerStatus": "system",
			"QueueCallerAbandon": "agent", "QueueCallerJoin": "agent", "QueueCallerLeave": "agent", "QueueMemberStatus": "agent",
			"RTCPReceived": "reporting", "RTCPSent": "reporting", "Unhold": "call", "VarSet": "dialplan",
		}
		for event, class := range want {
			if got := led.seen[event]; got != class+",all" {
				t.Errorf("%s has privilege %q, want %s", event, got, class)
			}
		}
	})
}

func TestSameSeedSameCalls(t *testing.T) {
	run := func() (frames []string) {
		inBubble(t, Options{Calls: 2, Seed: 3}, func(t *testing.T, p *PBX) {
			tp := login(t, p, "call").record()
			time.Sleep(time.Minute)
			frames = tp.take()
		})
		return frames
	}
	if a, b := run(), run(); len(a) < 100 || !slices.Equal(a, b) {
		t.Errorf("%d and %d events, not the same", len(a), len(b))
	}
}

func TestHangup(t *testing.T) {
	inBubble(t, Options{Calls: 1, Talk: time.Hour}, func(t *testing.T, p *PBX) {
		c := login(t, p, "call")
		tp, led := c.record(), newLedger(t)
		time.Sleep(30 * time.Second)
		led.add(tp.take())
		before := len(led.channels)
		if before == 0 {
			t.Fatal("no calls")
		}
		for _, name := range slices.Sorted(maps.Values(led.channels)) {
			f := tp.ask("Action: Hangup", "ActionID: h", "Channel: "+name)
			led.add(f[1:])
			if f[0] != "Response: Success|ActionID: h|Message: Channel Hungup|" && f[0] != "Response: Error|ActionID: h|Message: No such channel|" {
				t.Error(f[0])
			}
		}
		if len(led.channels) != 0 {
			t.Errorf("left: %v", led.channels)
		}
		led.agrees(tp.ask("Action: CoreShowChannels"))
		tp.expect(tp.ask("Action: Hangup")[0], "Response: Error|Message: No channel specified|")
		tp.expect(tp.ask("Action: Hangup", "Channel: /[/", "ActionID: 1")[0], "Response: Error|ActionID: 1|Message: Regex compile failed on: /[/|")

		time.Sleep(30 * time.Second)
		led.add(tp.take())
		f := tp.ask("Action: Hangup", "Channel: /^PJSIP/", "ActionID: 1")
		items := named(f, "ChannelHungup")
		if len(items) == 0 || !strings.HasSuffix(items[0], "|ActionID: 1|") {
			t.Errorf("items %q", items)
		}
		end := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "Event: ChannelsHungupListComplete|") })
		led.add(f[end+1:])
		if len(led.channels) != 0 {
			t.Errorf("left: %v", led.channels)
		}
	})
}

func TestRedirect(t *testing.T) {
	inBubble(t, Options{Talk: time.Hour}, func(t *testing.T, p *PBX) {
		c := login(t, p, "all")
		c.read()
		tp, led := c.record(), newLedger(t)
		led.add(tp.ask("Action: Originate", "Channel: Local/100@default", "Application: Wait", "Data: 3600", "Async: yes")[1:])
		time.Sleep(10 * time.Second)
		led.add(tp.take())
		if len(led.channels) != 3 {
			t.Fatalf("channels %v", led.channels)
		}
		var two string
		for _, name := range led.channels {
			if strings.HasSuffix(name, ";2") {
				two = name
			}
		}
		tp.expect(tp.ask("Action: Redirect", "Channel: nosuch", "Context: default", "Exten: 1", "Priority: 1")[0],
			"Response: Error|Message: Channel does not exist: nosuch|")
		f := tp.ask("Action: Redirect", "Channel: "+two, "Context: default", "Exten: 101", "Priority: 1", "ActionID: r")
		tp.expect(f[0], "Response: Success|ActionID: r|Message: Redirect successful|")
		led.add(f[1:])
		time.Sleep(10 * time.Second)
		led.add(tp.take())
		list := tp.ask("Action: CoreShowChannels")
		led.agrees(list)
		if !strings.Contains(strings.Join(list, ""), "Channel: PJSIP/bob-") {
			t.Errorf("bob was not called: %q", list)
		}
	})
}

func TestQueueCall(t *testing.T) {
	inBubble(t, Options{Talk: time.Minute}, func(t *testing.T, p *PBX) {
		c := login(t, p, "agent")
		tp := c.record()
		tp.ask("Action: QueuePause", "Interface: PJSIP/alice", "Paused: true")
		tp.ask("Action: Originate", "Channel: Local/support@default", "Application: Wait", "Data: 3600", "Async: yes")
		status := tp.ask("Action: QueueStatus", "Queue: support", "ActionID: q")
		if e := named(status, "QueueEntry"); len(e) != 1 || get(e[0], "Position") != "1" || !strings.HasSuffix(e[0], "|ActionID: q|") {
			t.Errorf("entries %q", e)
		}
		time.Sleep(10 * time.Second)
		events := tp.take()
		var order []string
		for _, f := range events {
			order = append(order, get(f, "Event"))
		}
		want := []string{"AgentCalled", "QueueMemberStatus", "QueueMemberStatus", "QueueCallerLeave", "AgentConnect", "QueueMemberStatus"}
		if !slices.Equal(order, want) {
			t.Errorf("events %q", order)
		}
		if a := named(events, "AgentConnect"); get(a[0], "Interface") != "PJSIP/bob" || get(a[0], "MemberName") != "PJSIP/bob" {
			t.Errorf("alice is paused, yet: %s", a[0])
		}
		summary := named(tp.ask("Action: QueueSummary", "Queue: support"), "QueueSummary")
		tp.expect(summary[0], "Event: QueueSummary|Queue: support|LoggedIn: 3|Available: 1|Callers: 0|HoldTime: 0|TalkTime: 0|LongestHoldTime: 0|")
		time.Sleep(5 * time.Minute)
		if a := named(tp.take(), "AgentComplete"); len(a) != 1 {
			t.Errorf("AgentComplete: %q", a)
		}
	})
}
