package backend

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// Up is told before the first event and Down after the last, with the time in
// which events may have been missed.
func TestEventsLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		start := time.Now()
		w.start()
		if s := w.told.state(0); !s.Up || s.Reason != "logged in" || s.Since.Before(start) || !s.LostFrom.IsZero() || !s.LostTo.IsZero() {
			t.Errorf("state %+v", s)
		}
		time.Sleep(time.Minute)
		arrived, open := w.gate("Setvar")
		pending := w.send(w.b.NewStream(nil), "Action: Setvar")
		synctest.Wait()
		w.pbx.Event("Hold", ami.ClassCall)
		w.pbx.Event("Unhold", ami.ClassCall)
		synctest.Wait()
		lost := time.Now()
		w.pbx.Kick(w.eventsSession())
		synctest.Wait()
		w.allUp()
		if d := time.Since(lost); d > 50*time.Millisecond {
			t.Errorf("back after %v, want at once", d)
		}
		synctest.Wait()
		w.pbx.Event("Hangup", ami.ClassCall)
		synctest.Wait()
		w.want(w.told.all(), "Up FullyBooted Hold Unhold Down Up FullyBooted Hangup")
		down, up := w.told.state(1), w.told.state(2)
		if down.Up || down.Reason != "connection lost" || !down.LostTo.IsZero() || !down.Since.Equal(lost) {
			t.Errorf("state %+v", down)
		}
		if !up.Up || !up.LostFrom.Equal(lost) || !up.LostTo.Equal(up.Since) || up != w.b.State() {
			t.Errorf("state %+v, lost at %v", up, lost)
		}
		// What was sent on the other links is still answered.
		if arrived.Load() != 1 || len(pending) != 0 {
			t.Error("the action was lost, or sent twice")
		}
		open()
		w.want(w.got(pending), "Response: Success|Message: done|")
		w.stop()
	})
}

// Without a link for actions events go on, and actions are refused at once.
func TestActionLinksLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		var a away
		w.b.dial = a.dial(w)
		w.start()
		w.gate("Setvar")
		w.gate("Command")
		s := w.b.NewStream(nil)
		sent, waiting := w.send(s, "Action: Setvar"), w.send(s, "Action: Command")
		synctest.Wait()
		a.set(true)
		w.cutLinks()
		synctest.Wait()
		w.want(w.got(sent), "error: was lost before it answered")
		if got := w.got(waiting); !strings.HasPrefix(got, "error: ") { // it may have been sent to the next link that was lost
			t.Error(got)
		}
		w.want(w.got(w.send(s, "Action: Getvar")), "error: is not connected")
		w.pbx.Event("Hold", ami.ClassCall)
		time.Sleep(time.Minute)
		a.set(false)
		w.allUp()
		w.want(w.told.all(), "Up FullyBooted Hold")
		if w.b.FullyBooted(time.Now()) == nil {
			t.Error("not booted any more")
		}
		w.want(w.got(w.send(s, "Action: Getvar", "Variable: A")), "Response: Success|Variable: A|Value: |")
		w.stop()
	})
}

// Once the events link is lost what waits is refused at once, but not before
// what came before it in its stream is answered.
func TestOrderWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		var a away
		w.b.dial = a.dial(w)
		w.start()
		_, first := w.gate("Setvar")
		_, second := w.gate("Getvar")
		s := w.b.NewStream(nil)
		one, two, three := w.send(s, "Action: Setvar"), w.send(s, "Action: Getvar"), w.send(s, "Action: Command")
		other := w.send(w.b.NewStream(nil), "Action: Command")
		synctest.Wait()
		a.set(true)
		w.pbx.Kick(w.eventsSession())
		synctest.Wait()
		if len(other) != 1 || len(one)+len(two)+len(three) != 0 {
			t.Errorf("answered: %d %d %d %d", len(other), len(one), len(two), len(three))
		}
		w.want(w.got(other), "error: is not connected")
		first()
		w.want(w.got(one), "Response: Success|Message: done|")
		synctest.Wait()
		if len(three) != 0 {
			t.Error("answered before its turn")
		}
		second()
		w.want(w.got(two), "Response: Success|Message: done|")
		w.want(w.got(three), "error: is not connected")
		w.stop()
	})
}

// A PBX that lets us in and then drops us is not hammered.
func TestNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		var mu sync.Mutex
		var dials []time.Time
		drop := true
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dials = append(dials, time.Now())
			c, err := w.pipe(ctx)
			if drop {
				time.AfterFunc(time.Millisecond, func() { c.Close() })
			}
			return c, err
		}
		w.run()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if n := len(dials); n < 30 || n > 2*80 {
			t.Errorf("%d attempts in a minute", n)
		}
		varied := make(map[time.Duration]bool)
		for i := 10; i < len(dials); i++ {
			varied[dials[i].Sub(dials[i-1])] = true
		}
		if len(varied) < 5 {
			t.Errorf("no jitter: %v", varied)
		}
		drop = false
		mu.Unlock()
		w.allUp()
		mu.Lock()
		w.stop()
	})
}

func TestFullyBooted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{SystemName: "east"}, Options{})
		booted := func(uptime, reload string) {
			t.Helper()
			synctest.Wait()
			want := "Event: FullyBooted|Privilege: system,all|Uptime: " + uptime + "|LastReload: " + reload + "|Status: Fully Booted||"
			if got := strings.ReplaceAll(string(w.b.FullyBooted(time.Now())), "\r\n", "|"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		if w.b.FullyBooted(time.Now()) != nil {
			t.Error("booted, and never seen")
		}
		time.Sleep(10 * time.Second)
		w.start()
		booted("10", "10")
		time.Sleep(90 * time.Second)
		booted("100", "100") // counts on
		w.pbx.Event("Reload", ami.ClassSystem, "Module", "res_pjsip.so", "Status", "0")
		booted("100", "100")
		w.pbx.Event("Reload", ami.ClassSystem, "Module", "All", "Status", "0")
		time.Sleep(5 * time.Second)
		booted("105", "5")

		w.pbx.Boot(false)
		w.pbx.Crash()
		synctest.Wait()
		if w.b.FullyBooted(time.Now()) != nil {
			t.Error("booted, and away")
		}
		w.allUp()
		time.Sleep(20 * time.Second)
		if w.b.FullyBooted(time.Now()) != nil {
			t.Error("booted, before it says so")
		}
		w.pbx.Boot(true) // the broadcast has a SystemName, that of a login has not
		booted("20", "20")
		if w.told.count("FullyBooted") != 2 || !strings.Contains(string(w.told.event("FullyBooted").Frame), "SystemName: east\r\n") {
			t.Errorf("told %s", w.told.all())
		}
		w.stop()
	})
}

// Events come in order, each a frame that may be kept.
func TestEvents(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	w.await("FullyBooted", func() bool { return w.told.count("FullyBooted") == 1 })
	for i := range 1000 {
		w.pbx.Event("Number", ami.ClassCall, "N", strings.Repeat("x", i))
	}
	w.await("all events", func() bool { return w.told.count("Number") == 1000 })
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	for i, e := range w.told.events[1:] {
		if n, _ := e.Frame.Get("N"); len(n) != i || e.Class != ami.ClassCall || e.ID != "" {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	if got := w.b.Stats().Events.Load(); got != 1001 {
		t.Errorf("%d events counted", got)
	}
}
