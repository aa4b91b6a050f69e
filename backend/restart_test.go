package backend

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// A PBX that says goodbye is not one that was lost.
func TestShutdownIsToldFromALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		w.pbx.Event("UserEvent", ami.ClassUser, "UserEvent", "Shutdown", "Shutdown", "Cleanly")
		synctest.Wait()
		w.pbx.Crash()
		w.await("Down", func() bool { return w.told.count("Down") == 1 })
		w.allUp()
		w.pbx.Event("Shutdown", ami.ClassSystem, "Shutdown", "Cleanly", "Restart", "False")
		synctest.Wait()
		w.pbx.Crash()
		w.await("Down", func() bool { return w.told.count("Down") == 2 })
		w.allUp()
		w.pbx.Crash() // what one connection said is of no other
		w.await("Down", func() bool { return w.told.count("Down") == 3 })
		for i, want := range []string{"connection lost", "PBX shuts down", "connection lost"} {
			w.want(w.told.state(2*i+1).Reason, want)
		}
		w.wantLog("warn", "PBX is down", "PBX shuts down")
		w.stop()
	})
}

// A login to the same run of a PBX is told from one to another run.
func TestRestartIsToldFromALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		up := 1
		lose := func(how func()) {
			time.Sleep(time.Minute)
			how()
			up++
			w.await("Up again", func() bool { return w.told.count("Up") == up })
			w.allUp()
		}
		lose(func() { w.pbx.Kick(w.eventsSession()) })
		lose(func() {
			for _, s := range w.pbx.Sessions() {
				w.pbx.Kick(s.ID)
			}
		})
		lose(w.pbx.Crash)
		lose(func() { w.pbx.Kick(w.eventsSession()) })
		w.pbx.Remove("CoreStatus")
		lose(w.pbx.Crash)
		for i, want := range []string{"", "no", "no", "yes", "no", ""} {
			if got := w.told.state(2 * i); !got.Up || got.Restarted != want {
				t.Errorf("%d: %+v, want %q", i, got, want)
			}
		}
		w.stop()
	})
}

// A PBX that is started twice in one second gives the same time for both. That it is
// the same run is said only if it is certain.
func TestRestartInTheSameSecond(t *testing.T) {
	for _, version := range []string{"", "2.10.6"} { // with an Uptime in FullyBooted, and without
		synctest.Test(t, func(t *testing.T) {
			w := newBubble(t, simpbx.Options{Version: version}, Options{})
			w.start()
			lose := func(after time.Duration, how func(), want string) {
				t.Helper()
				time.Sleep(after)
				ups := w.told.count("Up")
				how()
				w.await("Up again", func() bool { return w.told.count("Up") == ups+1 })
				w.allUp()
				if got := w.told.state(2 * ups); !got.Up || got.Restarted != want {
					t.Errorf("%q: lost after %v: %+v, want %q", version, after, got, want)
				}
			}
			cut := func() { w.pbx.Kick(w.eventsSession()) }
			lose(100*time.Millisecond, w.pbx.Crash, "yes")
			lose(100*time.Millisecond, cut, "yes") // it may have been a crash
			lose(2*time.Second, cut, "no")         // what it answered since was after that second
			lose(0, cut, "no")
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
			lose(100*time.Millisecond, w.pbx.Crash, "yes")
			lose(300*time.Millisecond, w.pbx.Crash, "yes")
			w.stop()
		})
	}
}

// One that has run for a second when it is met for the first time is not in doubt.
func TestLossAtOnceIsNoRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		time.Sleep(time.Second)
		w.start()
		w.pbx.Kick(w.eventsSession())
		w.await("Up again", func() bool { return w.told.count("Up") == 2 })
		w.want(w.told.state(2).Restarted, "no")
		w.stop()
	})
}

// Another PBX is another run, even if it was started at the same time.
func TestMovedPBXIsAnotherRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Host: "one"})
		other := simpbx.New(simpbx.Options{})
		defer other.Close()
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			if w.b.settings.Load().Host == "one" {
				return w.pipe(ctx)
			}
			near, far := net.Pipe()
			go other.ServeConn(far)
			return near, nil
		}
		w.start()
		for i, host := range []string{"two", "one"} {
			time.Sleep(time.Minute)
			o := w.b.settings.Load().Options
			o.Host = host
			w.b.Reconfigure(prepare(t, o))
			w.await("Up again", func() bool { return w.told.count("Up") == i+2 })
			w.want(w.told.state(2*i+2).Restarted, "yes")
		}
		w.stop()
	})
}

// Old releases that boot say that they were started in 1970, every time.
func TestStartNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.raw("CoreStatus", "Response: Success|ActionID: $ID|CoreStartupDate: 1970-01-01|CoreStartupTime: 00:00:00||")
		w.start()
		time.Sleep(time.Minute)
		w.pbx.Crash()
		w.await("Up again", func() bool { return w.told.count("Up") == 2 })
		w.want(w.told.state(2).Restarted, "")
		w.stop()
	})
}

// While a PBX is away its state says why.
func TestStateSaysWhyItIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{Users: []simpbx.User{}}, Options{})
		var stage atomic.Int32
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			switch stage.Load() {
			case 0:
				return nil, errors.New("no route")
			case 1:
				near, far := net.Pipe()
				go func() { far.Write([]byte("HTTP/1.1 400 Bad Request\r\n")); far.Close() }()
				return near, nil
			}
			return w.pipe(ctx)
		}
		w.want(w.b.State().Reason, "not connected yet")
		w.run()
		reason := func(want string) {
			t.Helper()
			w.await(want, func() bool { return w.b.State().Reason == want })
		}
		reason("cannot connect")
		stage.Add(1)
		reason("login failed")
		stage.Add(1)
		reason("login refused")
		if s := w.b.State(); s.Up || w.told.all() != "" {
			t.Errorf("%+v, told %s", s, w.told.all())
		}
		w.stop()
	})
}

// Beyond its limit the backend takes no action of those who have some there, until
// one is answered.
func TestPendingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{PendingLimit: 4})
		w.start()
		_, open := w.gate("Setvar")
		one, other := w.b.NewStream(nil), w.b.NewStream(nil)
		first := []asked{w.send(one, "Action: Setvar"), w.send(one, "Action: Command", "Command: core show version"),
			w.send(other, "Action: Setvar"), w.send(other, "Action: Setvar")}
		w.want(w.got(w.send(one, "Action: Getvar", "Variable: A")), "error: is busy")
		w.want(w.got(w.send(other, "Action: Getvar", "Variable: A")), "error: is busy")
		// Who asks for one thing after the other goes through.
		w.want(w.got(w.send(w.b.NewStream(nil), "Action: Getvar", "Variable: A")), "Response: Success|Variable: A|Value: |")
		synctest.Wait()
		w.b.listNames() // our own do not count
		synctest.Wait()
		if n := w.b.Pending(); n != 4 || !w.b.Names().Complete() {
			t.Errorf("%d pending", n)
		}
		open()
		for _, a := range first {
			if got := w.got(a); got[:17] != "Response: Success" {
				t.Error(got)
			}
		}
		w.want(w.got(w.send(other, "Action: Getvar", "Variable: A")), "Response: Success|Variable: A|Value: |")
		w.stop()
	})
}

// When the PBX loads its users anew, and ours is not among them, it is said before
// the next login fails.
func TestUserGoneFromTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		w.raw("Command", "Response: Success|ActionID: $ID|Message: Command output follows|Output: There is no manager called proxy||")
		w.pbx.Event("Reload", ami.ClassSystem, "Module", "manager", "Status", "0")
		w.wantLog("error", "no such user", "username:proxy")
		if !w.b.Up() {
			t.Error("not up any more")
		}
		w.stop()
	})
}

// If events fail to come, and answers do not, the links that bring these stay.
func TestLinksThatAnswerStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		hole := make(chan struct{})
		defer close(hole)
		id := w.eventsSession()
		w.pbx.Handle("Ping", func(r *simpbx.Request) {
			if r.Session() == id {
				select {
				case <-hole:
				case <-r.Done():
				}
			}
			r.Reply("Success", "Ping", "Ping", "Pong")
		})
		s := w.b.NewStream(nil)
		w.await("Down", func() bool {
			w.want(w.got(w.send(s, "Action: Getvar", "Variable: A")), "Response: Success|Variable: A|Value: |")
			time.Sleep(time.Second)
			return w.told.count("Down") == 1
		})
		w.want(w.told.state(1).Reason, "did not answer in time")
		w.allUp()
		if n := w.b.Stats().Losses.Load(); n != 1 {
			t.Errorf("%d links were lost, want that for events", n)
		}
		w.stop()
	})
}
