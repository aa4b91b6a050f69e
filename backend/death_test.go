package backend

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// eventsSession is the PBX's number of the events link.
func (w *world) eventsSession() (id uint64) {
	for _, r := range w.received("Login") {
		if r.Get("Events") == "on" {
			id = r.Session
		}
	}
	return id
}

// cutLinks cuts the links for actions, and leaves the events link.
func (w *world) cutLinks() {
	for _, s := range w.pbx.Sessions() {
		if s.ID != w.eventsSession() {
			w.pbx.Kick(s.ID)
		}
	}
}

func TestLinkLostInsideAnAnswer(t *testing.T) {
	for name, begun := range map[string]string{
		"list":  "Response: Success|ActionID: $ID|EventList: start||Event: Status|ActionID: $ID||",
		"frame": "Response: Success|ActionID: $ID|Messa",
		"none":  "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simpbx.Options{}, Options{})
			w.pbx.Handle("Status", func(r *simpbx.Request) {
				r.Write([]byte(strings.NewReplacer("|", "\r\n", "$ID", r.ID()).Replace(begun)))
				r.Flush()
				w.pbx.Kick(r.Session())
			})
			w.start()
			s := w.b.NewStream(nil)
			one := w.send(s, "Action: Status")
			two := w.send(s, "Action: Setvar", "Variable: A")
			w.want(w.got(one), "error: was lost before it answered")
			// It was behind, or came after.
			if got := w.got(two); got != "error: was lost before it answered" && got != "Response: Success|Message: Variable Set|" {
				t.Error(got)
			}
			w.want(w.got(w.send(s, "Action: Setvar", "Variable: A")), "Response: Success|Message: Variable Set|")
			w.allUp() // with the link that was lost
			if w.told.count("Down") != 0 {
				t.Error("the PBX is down because of one link")
			}
			if len(one)+len(two) != 0 {
				t.Error("answered twice")
			}
		})
	}
}

// When a PBX dies, everything pending is answered once: what was sent is lost,
// what was not is refused.
func TestCrash(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 4})
	w.start()
	arrived, _ := w.gate("Setvar")
	var sent, waiting []asked
	streams := make([]*Stream, 30)
	for i := range streams {
		streams[i] = w.b.NewStream(i)
		sent = append(sent, w.send(streams[i], "Action: Setvar"), w.send(streams[i], "Action: Setvar"))
		waiting = append(waiting, w.send(streams[i], "Action: Command"))
	}
	w.await("all links at work", func() bool { return arrived.Load() == 3 })
	w.pbx.Crash()
	for _, a := range sent {
		w.want(w.got(a), "error: was lost before it answered")
	}
	for _, a := range waiting {
		if got := w.got(a); got != "error: is not connected" && got != "error: was lost before it answered" {
			t.Error(got)
		}
	}
	w.pbx.Handle("Setvar", nil)
	w.allUp()
	w.await("nothing pending", func() bool { return w.b.Pending() == 0 })
	for _, a := range append(sent, waiting...) {
		if len(a) > 0 {
			t.Error("answered twice")
		}
	}
	w.want(w.got(w.send(streams[0], "Action: Setvar", "Variable: A")), "Response: Success|Message: Variable Set|")
}

// An action that is not answered in time costs its link and what is behind it
// there, and nobody else.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 3, ActionTimeout: 10 * time.Second})
		w.start()
		w.gate("Setvar")
		start := time.Now()
		s := w.b.NewStream(nil)
		late, behind := w.send(s, "Action: Setvar"), w.send(s, "Action: Getvar")
		w.got(w.send(w.b.NewStream(nil), "Action: Getvar"))
		w.want(w.got(late), "error: did not answer in time")
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("after %v", d)
		}
		w.want(w.got(behind), "error: was lost before it answered")
		w.wantLog("link lost", "did not answer in time")
		w.allUp()
		if w.told.count("Down") != 0 || w.b.Stats().Losses.Load() != 1 || len(late)+len(behind) != 0 {
			t.Errorf("told %q, %d losses", w.told.all(), w.b.Stats().Losses.Load())
		}
		w.stop()
	})
}

// An action's time is its own: it does not start before those in front of it
// are answered.
func TestDeadlineIsCountedFromItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2, ActionTimeout: 10 * time.Second})
		w.pbx.Handle("Setvar", func(r *simpbx.Request) {
			r.Sleep(8 * time.Second)
			r.Reply("Success", "")
		})
		w.start()
		s := w.b.NewStream(nil)
		var all []asked
		for range 5 {
			all = append(all, w.send(s, "Action: Setvar"))
		}
		for _, a := range all {
			w.want(w.got(a), "Response: Success|")
		}
		w.stop()
	})
}

// A synchronous Originate may take as long as it lets the call ring.
func TestDeadlineOfOriginate(t *testing.T) {
	for timeout, limit := range map[string]time.Duration{
		"60000": 65 * time.Second, "60000 ": 65 * time.Second, "+60000abc": 65 * time.Second, "0": 5 * time.Second,
		"": 35 * time.Second, "x": 35 * time.Second, "1000": 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newBubble(t, simpbx.Options{}, Options{})
			w.start()
			w.gate("Originate")
			start := time.Now()
			w.want(w.do("Action: Originate", "Timeout: "+timeout), "error: did not answer in time")
			if d := time.Since(start); d < limit || d > limit+time.Second {
				t.Errorf("Timeout %s: after %v, want %v", timeout, d, limit)
			}
			w.stop()
		})
	}
}

// A PBX that is a black hole is found by Ping within 10 s.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		time.Sleep(time.Minute)
		if w.told.count("Down") != 0 || w.b.Stats().Losses.Load() != 0 {
			t.Fatal("an idle PBX is lost")
		}
		w.pbx.Event("Hold", ami.ClassCall)
		synctest.Wait()
		w.pbx.Hang(true)
		hung := time.Now()
		w.await("Down", func() bool { return !w.b.Up() })
		if d := time.Since(hung); d > 10*time.Second {
			t.Errorf("found after %v", d)
		}
		time.Sleep(time.Second)
		if n := w.connected(); n != 0 {
			t.Errorf("%d links are left", n)
		}
		w.want(w.do("Action: Setvar"), "error: is not connected")
		down := w.told.state(1)
		if down.Up || down.Reason != "did not answer in time" {
			t.Errorf("state %+v", down)
		}
		time.Sleep(time.Minute)
		w.pbx.Hang(false)
		w.allUp()
		up := w.told.state(2)
		// Events are missed since the hang, and not only since it was found.
		if !up.Up || up.LostFrom.After(hung) || hung.Sub(up.LostFrom) > 6*time.Second || !up.LostTo.Equal(up.Since) {
			t.Errorf("hung at %v, state %+v", hung, up)
		}
		w.stop()
	})
}

// The Ping of the events link finds a PBX that hangs with work on the others.
// Nothing waits for a deadline then, however far that is.
func TestHangWithWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		w.pbx.Hang(true)
		s := w.b.NewStream(nil)
		hung := time.Now()
		one, two := w.send(s, "Action: Setvar"), w.send(s, "Action: Command")
		call := w.send(w.b.NewStream(nil), "Action: Originate", "Timeout: 3600000")
		w.want(w.got(one), "error: was lost before it answered")
		w.want(w.got(two), "error: is not connected")
		w.want(w.got(call), "error: was lost before it answered")
		if d := time.Since(hung); d > 10*time.Second {
			t.Errorf("answered after %v", d)
		}
		w.pbx.Hang(false)
		w.allUp()
		w.stop()
	})
}

// A stop answers everything, and says why.
func TestStop(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 3})
	w.start()
	arrived, _ := w.gate("Setvar")
	s := w.b.NewStream(nil)
	one, two := w.send(s, "Action: Setvar"), w.send(s, "Action: Command")
	w.await("work", func() bool { return arrived.Load() == 1 })
	w.stop()
	w.want(w.got(one), "error: was lost before it answered")
	w.want(w.got(two), "error: is not connected")
	w.want(w.got(w.send(s, "Action: Setvar")), "error: is not connected")
	if s := w.told.state(1); s.Up || s.Reason != "the proxy stops" {
		t.Errorf("state %+v", s)
	}
	if w.b.Pending() != 0 || w.b.Up() || w.connected() != 0 {
		t.Errorf("%d pending, %d links", w.b.Pending(), w.connected())
	}
	w.wantLog("info", "PBX disconnected")
	if strings.Contains(w.log(), "warn") {
		t.Errorf("a warning:\n%s", w.log())
	}
}
