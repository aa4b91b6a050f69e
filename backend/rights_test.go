package backend

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// twoRights is a PBX on which our user may do all, or little. Its sessions of either
// kind are those of two simulated ones.
type twoRights struct {
	*world
	little *simpbx.PBX
	few    atomic.Bool // what he may do with a login now
}

func newTwoRights(t *testing.T, write ami.Class) *twoRights {
	w := &twoRights{world: newBubble(t, simpbx.Options{}, Options{ActionTimeout: time.Hour})}
	w.little = simpbx.New(simpbx.Options{Users: []simpbx.User{{Name: "proxy", Secret: secret, Read: ami.ClassCall, Write: write}}})
	t.Cleanup(func() { w.little.Close() })
	w.b.dial = func(ctx context.Context) (net.Conn, error) {
		if !w.few.Load() {
			return w.pipe(ctx)
		}
		near, far := net.Pipe()
		go w.little.ServeConn(far)
		return near, nil
	}
	for _, pbx := range []*simpbx.PBX{w.pbx, w.little} {
		pbx.Handle("Command", func(r *simpbx.Request) {
			perms := [2]string{"all", "all"}
			if w.few.Load() {
				perms = [2]string{"call,all", write.String()}
			}
			r.Reply("Success", "Command output follows", "Output", "read perm: "+perms[0], "Output", "write perm: "+perms[1])
		})
	}
	return w
}

// cut loses all links.
func (w *twoRights) cut() {
	w.t.Helper()
	logins := w.b.Stats().Logins.Load()
	for _, s := range w.pbx.Sessions() {
		w.pbx.Kick(s.ID)
	}
	w.await("all are back", func() bool { return w.b.Stats().Logins.Load() == logins+4 })
	w.allUp()
}

// Links that were made while our user had few rights are made anew when he has all
// again, without a loss of what is pending on them.
func TestRightsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoRights(t, ami.ClassCall|ami.ClassCommand)
		w.start()
		time.Sleep(time.Minute)
		w.few.Store(true)
		w.cut()
		w.wantLog("warn", "few rights", "what:read")
		w.wantLog("warn", "few rights", "what:write")
		time.Sleep(10 * time.Minute)
		if n := w.b.Stats().Losses.Load(); n != 4 {
			t.Errorf("%d links were lost, want 4", n)
		}
		for _, what := range []string{"what:read", "what:write"} {
			if n := w.logs.FilterMessageSnippet("few rights").Len(); n != 2 {
				t.Errorf("%d warnings, want one of %s", n, what)
			}
		}
		open := make(chan struct{})
		w.little.Handle("Setvar", func(r *simpbx.Request) { <-open; r.Reply("Success", "Variable Set") })
		s := w.b.NewStream(nil)
		pending := w.send(s, "Action: Setvar", "Variable: A", "Value: 1")
		w.few.Store(false)
		time.Sleep(refusedDelay + 5*time.Second)
		if n := len(w.little.Sessions()); n != 1 {
			t.Errorf("%d links have few rights, want that with something pending", n)
		}
		close(open)
		w.want(w.got(pending), "Response: Success|Message: Variable Set|")
		time.Sleep(5 * time.Second)
		w.allUp()
		if few, all := len(w.little.Sessions()), len(w.pbx.Sessions()); few != 0 || all != 4 {
			t.Errorf("%d links with few rights, %d with all", few, all)
		}
		if _, ok := w.b.Authority().Class("CoreStatus"); !ok {
			t.Error("the actions were not listed anew")
		}
		if n := w.told.count("Down"); n != 2 || w.told.state(2*n-1).Reason != "the user's rights on the PBX changed" {
			t.Errorf("%s", w.told.all())
		}
		time.Sleep(10 * time.Minute)
		if n := w.b.Stats().Losses.Load(); n != 8 {
			t.Errorf("%d links were lost, want 8", n)
		}
		w.stop()
	})
}

// So are those of a user who could not even ask what he may do.
func TestRightsComeBackWithCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoRights(t, ami.ClassCall)
		w.start()
		time.Sleep(time.Minute)
		w.few.Store(true)
		w.cut()
		time.Sleep(2 * time.Minute)
		w.wantLog("warn", "few rights", "what:write")
		w.few.Store(false)
		time.Sleep(5 * time.Minute)
		w.allUp()
		if few, all := len(w.little.Sessions()), len(w.pbx.Sessions()); few != 0 || all != 4 {
			t.Errorf("%d links with few rights, %d with all", few, all)
		}
		w.wantLog("info", "all rights again", "what:write")
		w.stop()
	})
}

// Nobody makes links anew for a user who never had more.
func TestFewRightsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, write := range []ami.Class{ami.ClassCall, ami.ClassCall | ami.ClassCommand} {
			w := newTwoRights(t, write)
			w.few.Store(true)
			w.start()
			time.Sleep(time.Hour)
			if n := w.b.Stats().Losses.Load(); n != 0 {
				t.Errorf("%d links were lost", n)
			}
			w.stop()
		}
	})
}
