package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// shutDown begins in the background and returns the channel that is closed at
// the end.
func (w *world) shutDown(timeout time.Duration) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.srv.Shutdown(timeout)
	}()
	return done
}

func TestShutdownFinishesWhatIsPending(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	open := w.block("east", "Getvar")
	c, idle, stranger := w.login("full", "Events: off"), w.login("full"), w.dial()
	c.Send("Action: Getvar", "Server: east", "ActionID: 1")
	w.await("east", "Getvar")
	done := w.shutDown(time.Minute)
	idle.ExpectClosed()
	stranger.ExpectClosed()
	w.awaitReason(reasonShutdown)
	if conn, err := net.Dial("tcp", w.addr()); err == nil {
		conn.Close()
		t.Error("still listening")
	}
	select {
	case <-done:
		t.Fatal("did not wait for the answer")
	default:
	}
	open()
	c.ExpectNext("Response: Success", "ActionID: 1", "Server: east")
	c.ExpectClosed()
	<-done
	w.srv.Shutdown(0) // again is nothing
}

func TestShutdownCutsWhoIsStuck(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: slowUsers})
	w.block("east", "Getvar") // never opened
	asks := w.login("full", "Events: off")
	asks.Send("Action: Getvar", "ActionID: 1")
	w.await("east", "Getvar")
	stuck := w.pipe("full")
	w.flood(0, 5)
	half := w.dial()
	half.Write([]byte("Action: Login\r\nUser"))
	refused := w.dial()
	refused.Send("Action: Login", "Username: x")
	start := time.Now()
	<-w.shutDown(time.Second)
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	for _, c := range []*amiclient.Client{asks, stuck, half} {
		c.ExpectClosed()
	}
}

func TestShutdownCutsHandshakes(t *testing.T) {
	w := newWorld(t, setup{tls: true})
	for _, bytes := range []string{"", "\x16\x03\x01"} {
		conn, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte(bytes))
	}
	w.awaitSessions(2)
	start := time.Now()
	<-w.shutDown(time.Minute)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestShutdownBeforeStart(t *testing.T) {
	srv := deskSession(t, standardUsers, "full", false).srv
	srv.Shutdown(time.Minute)
}
