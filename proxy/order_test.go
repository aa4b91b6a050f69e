package proxy

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// block makes a PBX hold its answers to an action back until open is called.
func (w *world) block(name, action string) (open func()) {
	gate := make(chan struct{})
	w.sims[name].Handle(action, func(r *simpbx.Request) {
		select {
		case <-gate:
		case <-r.Done():
		}
		r.Reply("Success", action)
	})
	return func() { close(gate) }
}

// await waits until an action has arrived at a PBX.
func (w *world) await(name, action string) simpbx.Received {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := w.sims[name].Await(ctx, action)
	if err != nil {
		w.tb.Fatalf("%s at %s: %v", action, name, err)
	}
	return r
}

// awaitEvents returns a function that waits until the proxy has taken n more
// events of a PBX than it has now. It may be called from any goroutine.
func (w *world) awaitEvents(name string) func(n uint64) {
	b := w.pbx(name).Backend
	before := b.Stats().Events.Load()
	return func(n uint64) {
		w.tb.Helper()
		eventually(w.tb, "events handed out", func() bool { return b.Stats().Events.Load() >= before+n })
	}
}

// ids reads n frames and returns their ActionIDs.
func ids(c *amiclient.Client, n int) (all []string) {
	for range n {
		all = append(all, amiclient.Header(c.ReadFrame(), "ActionID"))
	}
	return all
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestOrderIsTotalForOnePBX(t *testing.T) {
	w := newWorld(t, setup{})
	open := w.block("east", "Getvar")
	c := w.login("full", "Events: off")
	c.Send("Action: Ping", "ActionID: 0")
	c.Send("Action: Getvar", "ActionID: 1")
	c.Send("Action: Ping", "ActionID: 2")
	c.Send("Action: Nope", "ActionID: 3")
	c.Send("Action: Getvar", "ActionID: 4", "Variable: x")
	c.Send("Action: Events", "EventMask: off", "ActionID: 5")
	c.Send("Action: DBPut", "Family: f", "Key: k", "Val: v", "ActionID: 6")
	c.Send("Action: Getvar", "ActionID: 7", "Server: nowhere")
	c.Send("Action: Logoff", "ActionID: 8")
	equal(t, "before", ids(c, 1), []string{"0"})
	w.await("east", "Getvar")
	open()
	equal(t, "after", ids(c, 8), []string{"1", "2", "3", "4", "5", "6", "7", "8"})
	c.ExpectClosed()
}

func TestOrderOfSeveralPBXs(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	open := w.block("east", "Getvar")
	c := w.login("full", "Events: off")
	c.Send("Action: Getvar", "Server: east", "ActionID: e1")
	c.Send("Action: DBPut", "Family: f", "Key: k", "Val: v", "Server: east", "ActionID: e2")
	c.Send("Action: DBPut", "Family: f", "Key: k", "Val: v", "Server: west", "ActionID: w1")
	c.Send("Action: CoreShowChannels", "Server: west", "ActionID: w2")
	// A PBX that is slow holds up neither another nor the proxy itself.
	equal(t, "west", ids(c, 3), []string{"w1", "w2", "w2"})
	c.Send("Action: Ping", "ActionID: p")
	equal(t, "local", ids(c, 1), []string{"p"})
	open()
	equal(t, "east", ids(c, 2), []string{"e1", "e2"})
}

// Without an ActionID nothing but the order tells a client what is answered.
func TestOrderWithoutActionID(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	open := w.block("east", "Getvar")
	c := w.login("full", "Events: off")
	c.Send("Action: Getvar", "Server: east")
	c.Send("Action: CoreStatus", "Server: west")
	c.Send("Action: Ping")
	c.Send("Action: CoreSettings", "Server: west")
	c.Send("Action: Nope", "ActionID: n")
	equal(t, "named", ids(c, 1), []string{"n"})
	w.await("west", "CoreSettings")
	open()
	var got []string
	for range 4 {
		f := c.ReadFrame()
		got = append(got, amiclient.Header(f, "Server")+amiclient.Header(f, "Ping")+amiclient.Header(f, "AMIversion"))
	}
	equal(t, "unnamed", got, []string{"east", "west", "Pong", "west11.0.0"})
}

func TestDeadPBXHoldsUpNobody(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	c := w.login("full", "Events: off")
	w.sims["east"].Hang(true)
	c.Send("Action: CoreShowChannels", "Server: east", "ActionID: dead")
	for range 3 {
		c.Send("Action: CoreStatus", "Server: west", "ActionID: alive")
		c.ExpectNext("ActionID: alive", "Response: Success")
	}
	w.sims["east"].Crash()
	c.ExpectNext("ActionID: dead", "Response: Error", "Message: Server east was lost before it answered")
}

// What is not sent to a PBX, since it is away, is answered behind what was.
func TestErrorOfAPBXKeepsItsPlace(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	open := w.block("east", "Setvar")
	c := w.login("full", "Events: off")
	c.Send("Action: Setvar", "ActionID: 1", "Variable: a", "Server: east")
	w.await("east", "Setvar")
	w.listeners["east"].Close() // and only events are lost: the action runs on
	for _, session := range w.sims["east"].Sessions() {
		if session.Mask != 0 {
			w.sims["east"].Kick(session.ID)
		}
	}
	w.awaitDown("east")
	c.Send("Action: Getvar", "ActionID: 2", "Variable: a", "Server: east")
	if f := c.Do("Action: Getvar", "Variable: a", "Server: west"); !amiclient.Has(f, "Response: Success") {
		t.Errorf("%q", f)
	}
	open()
	c.ExpectNext("ActionID: 1", "Response: Success", "Server: east")
	c.ExpectNext("ActionID: 2", "Response: Error", "Message: Server east is not connected")
}

func TestListThenGoodbye(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, sim: map[string]simpbx.Options{"west": {Idle: 300}}})
	c := w.login("full")
	c.Write([]byte("Action: CoreShowChannels\r\nServer: west\r\nActionID: 1\r\n\r\nAction: Logoff\r\n\r\nAction: Ping\r\n\r\n"))
	frames := c.ExpectClosed()
	if len(frames) != 303 {
		t.Fatalf("%d frames", len(frames))
	}
	if last := frames[302]; string(last) != "Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n" {
		t.Errorf("last %q", last)
	}
	if !amiclient.Has(frames[301], "Event: CoreShowChannelsComplete", "ListItems: 300", "Server: west") {
		t.Errorf("before %q", frames[301])
	}
}

// The event that an action causes comes behind its answer, whichever of the
// two is faster.
func TestEventDoesNotOvertakeItsAnswer(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full")
	w.sims["east"].Handle("UserEvent", func(r *simpbx.Request) {
		await := w.awaitEvents("east")
		w.sims["east"].Event("UserEvent", ami.ClassUser, "UserEvent", "x", "ActionID", r.ID())
		await(1)
		r.Reply("Success", "Event Sent")
	})
	c.Send("Action: UserEvent", "UserEvent: x", "ActionID: u")
	c.Send("Action: Ping", "ActionID: p")
	equal(t, "frames", names([]amiclient.Frame{c.ReadFrame(), c.ReadFrame(), c.ReadFrame()}),
		[]string{"Response: Success", "Event: UserEvent", "Response: Success"})
}

func TestNoEventInsideAList(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full")
	other := w.login("full")
	w.sims["east"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		await := w.awaitEvents("east")
		r.Reply("Success", "", "EventList", "start")
		for range 3 {
			w.sims["east"].Event("Newchannel", ami.ClassCall)
		}
		r.Flush()
		await(3)
		r.Write([]byte("Event: CoreShowChannel\r\nActionID: " + r.ID() + "\r\n\r\n"))
		w.sims["east"].Event("Hangup", ami.ClassCall)
		r.Flush()
		await(4)
		r.Write([]byte("Event: CoreShowChannelsComplete\r\nActionID: " + r.ID() + "\r\nEventList: Complete\r\n\r\n"))
	})
	c.Send("Action: CoreShowChannels", "ActionID: l")
	// Whoever asked nothing does not wait.
	other.Expect("Event: Hangup")
	frames := c.ReadUntil(func(f amiclient.Frame) bool { return amiclient.Has(f, "Event: Hangup") })
	equal(t, "frames", names(frames), []string{
		"Response: Success", "Event: CoreShowChannel", "Event: CoreShowChannelsComplete",
		"Event: Newchannel", "Event: Newchannel", "Event: Newchannel", "Event: Hangup",
	})
}

// One slow action does not silence the PBX for longer than a second.
func TestEventsDuringASlowAction(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{})
	open := w.block("east", "Getvar")
	c := w.login("full")
	c.Send("Action: Getvar", "ActionID: slow")
	w.await("east", "Getvar")
	start := time.Now()
	w.sims["east"].Event("Newchannel", ami.ClassCall)
	w.sims["east"].Event("Hangup", ami.ClassCall)
	c.ExpectNext("Event: Newchannel")
	if took := time.Since(start); took < holdTime {
		t.Errorf("let go after %v", took)
	}
	c.ExpectNext("Event: Hangup")
	open()
	c.ExpectNext("Response: Success", "ActionID: slow")
}

// After the reply "Events: Off" there is no event, whatever is under way.
func TestEventsMaskChangesInItsPlace(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				w.sims["east"].Event("Newchannel", ami.ClassCall)
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 50 {
		c.Send("Action: Events", "EventMask: off")
		c.Expect("Events: Off")
		c.ExpectNothing()
		c.Send("Action: Events", "EventMask: call")
		c.ExpectNext("Events: On")
		c.ExpectNext("Event: Newchannel")
	}
}

func TestEventsOffWhileHeld(t *testing.T) {
	w := newWorld(t, setup{})
	open := w.block("east", "Getvar")
	c := w.login("full")
	await := w.awaitEvents("east")
	c.Send("Action: Getvar", "ActionID: 1")
	w.await("east", "Getvar")
	c.Send("Action: Events", "EventMask: off", "ActionID: 2")
	c.Send("Action: Getvar", "ActionID: 3")
	eventually(t, "the actions have their place", func() bool {
		s := w.session(c)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots) == 3
	})
	w.sims["east"].Event("Newchannel", ami.ClassCall)
	await(1)
	open()
	equal(t, "answers", ids(c, 3), []string{"1", "2", "3"})
	c.ExpectNothing()
}

// session is the session of a client.
func (w *world) session(c *amiclient.Client) *Session {
	w.tb.Helper()
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	for s := range w.srv.sessions {
		if s.remote.String() == c.Conn().LocalAddr().String() {
			return s
		}
	}
	w.tb.Fatal("no session")
	return nil
}

// A client may ask more than the PBX answers, without end: the rest waits in
// the socket, and everything is answered in order.
func TestPipelinedBeyondEveryBound(t *testing.T) {
	w := newWorld(t, setup{general: "pendinglimit = 10"})
	open := w.block("east", "Getvar")
	c := w.login("full", "Events: off")
	const pings = 3 * maxSlots
	var out strings.Builder
	for range 12 {
		out.WriteString("Action: Getvar\r\nActionID: g\r\n\r\n")
	}
	for range pings {
		out.WriteString("Action: Ping\r\nActionID: p\r\n\r\n")
	}
	c.Write([]byte(out.String()))
	s := w.session(c)
	slots := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots)
	}
	eventually(t, "the session is full", func() bool { return slots() == maxSlots })
	open()
	for i := range 12 {
		f := c.ExpectNext("ActionID: g")
		if want := i >= 10; amiclient.Has(f, "Message: Too many actions in flight") != want {
			t.Errorf("answer %d: %q", i, f)
		}
	}
	for range pings {
		c.ExpectNext("ActionID: p", "Ping: Pong")
	}
	c.ExpectNothing()
}
