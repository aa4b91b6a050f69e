package backend

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

func prepare(t *testing.T, o Options) *Settings {
	t.Helper()
	s, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A backend that is told to connect elsewhere answers what is pending, and its
// streams go on there. Nothing of the new settings goes to the old place.
func TestReconfigure(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	release := make(chan struct{})
	w.pbx.Handle("Setvar", func(r *simpbx.Request) {
		select {
		case <-release:
		case <-r.Done():
		}
	})
	w.start()
	s := w.b.NewStream(nil)
	one, two := w.send(s, "Action: Setvar", "Variable: A"), w.send(s, "Action: Getvar", "Variable: A")
	w.await("it is there", func() bool { return len(w.received("Setvar")) == 1 })

	other := simpbx.New(simpbx.Options{})
	t.Cleanup(func() { other.Close() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go other.Serve(listener)
	o := w.b.settings.Load().Options
	o.Port, o.Links = listener.Addr().(*net.TCPAddr).Port, 3
	if !w.b.Reconfigure(prepare(t, o)) {
		t.Error("goes on with the old links")
	}
	w.want(w.got(one), "error: was lost before it answered")
	if got := w.got(two); got != "error: was lost before it answered" && got != "error: is not connected" {
		t.Error(got)
	}
	close(release)
	w.await("it is up again", func() bool { return w.told.count("Up") == 2 })
	w.allUp()
	w.want(w.got(w.send(s, "Action: Setvar", "Variable: A", "Value: 1")), "Response: Success|Message: Variable Set|")
	if down, up := w.told.state(1), w.told.state(2); down.Up || down.Reason != "the configuration changed" || !up.Up || up.LostFrom.IsZero() {
		t.Errorf("%+v, %+v", down, up)
	}
	w.await("the old one has no links", func() bool { return len(w.pbx.Sessions()) == 0 })
	if n := len(other.Sessions()); n != 3 || len(one)+len(two) != 0 {
		t.Errorf("%d links, %d more answers", n, len(one)+len(two))
	}

	// What is no matter of links is, from then on, without new ones.
	o.ActionTimeout, o.ConnectTimeout, o.AnswerLimit, o.PendingLimit = time.Minute, time.Second, 1<<20, 10
	if w.b.Reconfigure(prepare(t, o)) {
		t.Error("new links")
	}
	w.stop()
	if got := w.told.all(); w.told.count("Up") != 2 {
		t.Error(got)
	}
}

// A PBX that could not be reached is tried at once where it is now.
func TestReconfigureWhileAway(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	good := w.b.settings.Load().Options
	bad := good
	bad.Secret = "wrong"
	w.b.Reconfigure(prepare(t, bad))
	w.run()
	w.wantLog("refused", "30") // seconds until the next try
	w.b.Reconfigure(prepare(t, good))
	w.allUp()
}

// A CA file that holds something else makes the links anew.
func TestReconfigureCAFile(t *testing.T) {
	one, two := newIdentity(t, "127.0.0.1", time.Now().Add(time.Hour)), newIdentity(t, "127.0.0.1", time.Now().Add(time.Hour))
	w := newTLSWorld(t, one, Options{TLSCAFile: one.caFile})
	o := w.b.settings.Load().Options
	w.start()
	if w.b.Reconfigure(prepare(t, o)) {
		t.Error("nothing changed")
	}
	text, err := os.ReadFile(two.caFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.TLSCAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if !w.b.Reconfigure(prepare(t, o)) {
		t.Error("the other CA is not used")
	}
	w.wantLog("TLS to", "x509")
}

// The reason for the end of Run is told.
func TestRemoved(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() {
		w.b.Run(ctx)
		close(ended)
	}()
	w.allUp()
	cancel(ErrRemoved)
	<-ended
	if s := w.told.state(1); s.Up || s.Reason != "removed from the configuration" {
		t.Errorf("%+v", s)
	}
}
