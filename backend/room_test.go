package backend

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// A link whose socket takes nothing gets no further work beyond a bound.
func TestLaggingLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 3, PendingLimit: 10_000})
		stuck := make(chan struct{})
		var once sync.Once
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			c, err := w.pipe(ctx)
			once.Do(func() { c = &stuckConn{Conn: c, open: stuck} })
			return c, err
		}
		w.start()
		big := "Value: " + strings.Repeat("x", 1000)
		s := w.b.NewStream(nil)
		var all []asked
		for range 2000 {
			all = append(all, w.send(s, "Action: Setvar", "Variable: A", big))
		}
		for _, l := range w.b.links {
			if _, unsent := l.out.Size(); unsent > maxUnsent+2000 {
				t.Errorf("%d bytes for one link", unsent)
			}
		}
		for range 100 {
			w.got(w.send(w.b.NewStream(nil), "Action: Setvar", "Variable: A"))
		}
		close(stuck)
		for _, a := range all {
			w.want(w.got(a), "Response: Success|Message: Variable Set|")
		}
		w.stop()
	})
}

// Others go on as soon as there is room again, or a link more.
func TestWaitingForAnyLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		stuck := make(chan struct{})
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			c, err := w.pipe(ctx)
			return &stuckConn{Conn: c, open: stuck}, err
		}
		w.start()
		big := "Value: " + strings.Repeat("x", 1000)
		s := w.b.NewStream(nil)
		for range 1500 {
			w.send(s, "Action: Setvar", "Variable: A", big)
		}
		other := w.send(w.b.NewStream(nil), "Action: Setvar", "Variable: A")
		synctest.Wait()
		if n := len(w.received("Setvar")); n != 0 {
			t.Fatalf("%d were sent", n)
		}
		start := time.Now()
		close(stuck)
		w.got(other)
		if d := time.Since(start); d != 0 {
			t.Errorf("went on after %v", d)
		}
		w.stop()
	})
}

// away refuses connections while it is on.
type away struct {
	mu      sync.Mutex
	on      bool
	dialled time.Time // the last that was let through
}

func (a *away) set(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = on
}

// dial is a dial hook.
func (a *away) dial(w *world) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.on {
			return nil, errors.New("away")
		}
		a.dialled = time.Now()
		return w.pipe(ctx)
	}
}

func TestNewLinkTakesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 3})
		var a away
		w.b.dial = a.dial(w)
		w.start()
		_, open := w.gate("Command")
		w.send(w.b.NewStream(nil), "Action: Command")
		synctest.Wait()
		a.set(true)
		for _, s := range w.pbx.Sessions() {
			if s.ID != w.eventsSession() && s.ID != w.received("Command")[len(w.received("Command"))-1].Session {
				w.pbx.Kick(s.ID)
			}
		}
		synctest.Wait()
		other := w.send(w.b.NewStream(nil), "Action: Setvar", "Variable: A")
		time.Sleep(5 * time.Second)
		a.set(false)
		w.want(w.got(other), "Response: Success|Message: Variable Set|")
		if d := time.Since(a.dialled); d != 0 {
			t.Errorf("sent %v after the link came", d)
		}
		open()
		w.stop()
	})
}

// stuckConn takes large writes only once it is open.
type stuckConn struct {
	net.Conn
	open chan struct{}
}

func (c *stuckConn) Write(p []byte) (int, error) {
	if len(p) > 500 {
		<-c.open
	}
	return c.Conn.Write(p)
}
