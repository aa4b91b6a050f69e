package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// awaitWaiting waits until the session of a client is in a WaitEvent.
func (w *world) awaitWaiting(c *amiclient.Client) {
	w.tb.Helper()
	s := w.session(c)
	eventually(w.tb, "a WaitEvent begins", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waiting
	})
}

// readerWaits reports whether the reader waits for answers.
func (s *Session) readerWaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted >= 0
}

const (
	waited    = "Response: Success\r\nActionID: w\r\nMessage: Waiting for Event completed.\r\n\r\n"
	completed = "Event: WaitEventComplete\r\nActionID: w\r\n\r\n"
)

// expectBytes reads exactly these bytes.
func expectBytes(tb testing.TB, c *amiclient.Client, want string) {
	tb.Helper()
	got := ""
	for len(got) < len(want) {
		got += string(c.ReadFrame())
	}
	if got != want {
		tb.Fatalf("got %q\nwant %q", got, want)
	}
}

func frameText(name string, class ami.Class) string {
	return "Event: " + name + "\r\nPrivilege: " + class.String() + "\r\n\r\n"
}

func TestWaitEventEndsWithAnEvent(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("eastonly")
	c.Send("Action: WaitEvent", "ActionID: w")
	w.awaitWaiting(c)
	w.sims["east"].Event("One", ami.ClassCall)
	expectBytes(t, c, waited+frameText("One", ami.ClassCall)+completed)
	// Outside of it, events come as ever.
	w.sims["east"].Event("Two", ami.ClassCall)
	expectBytes(t, c, frameText("Two", ami.ClassCall))
	c.Send("Action: WaitEvent", "ActionID: w", "Timeout: 0")
	expectBytes(t, c, waited+completed)
}

func TestWaitEventIsNotEndedByWhatTheSessionMayNotSee(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call,agent\neventfilter = !Event: Filtered\n"})
	c := w.login("u")
	c.Send("Action: Events", "EventMask: call", "ActionID: e")
	c.ReadFrame()
	c.Send("Action: WaitEvent", "ActionID: w")
	w.awaitWaiting(c)
	w.sims["east"].Event("NoRight", ami.ClassSystem)
	w.sims["east"].Event("NotInMask", ami.ClassAgent)
	w.sims["east"].Event("Filtered", ami.ClassCall)
	w.sims["east"].Event("Seen", ami.ClassCall)
	expectBytes(t, c, waited+frameText("Seen", ami.ClassCall)+completed)
}

func TestWaitEventEndsWithInput(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full", "Events: off")
	// What came along with it waits.
	c.Write([]byte("Action: WaitEvent\r\nActionID: w\r\n\r\nAction: Ping\r\nActionID: p\r\n\r\n"))
	w.awaitWaiting(c)
	c.Write([]byte("A")) // half a line will do
	expectBytes(t, c, waited+completed)
	if got := amiclient.Header(c.ReadFrame(), "ActionID"); got != "p" {
		t.Fatalf("got %q, want the Pong", got)
	}
	c.Write([]byte("ction: Ping\r\nActionID: q\r\n\r\n"))
	if got := amiclient.Header(c.ReadFrame(), "ActionID"); got != "q" {
		t.Fatalf("got %q, want the Pong", got)
	}
}

func TestWaitEventEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeServer(t, "", standardUsers).pipe(t)
		c.ReadBanner()
		c.Login("full", "full-secret")
		for _, wait := range []time.Duration{time.Second, 5 * time.Minute} {
			c.Timeout = 2 * wait
			start := time.Now()
			c.Send("Action: WaitEvent", "ActionID: w", fmt.Sprintf("Timeout: %d", wait/time.Second))
			expectBytes(t, c, waited+completed)
			if took := time.Since(start); took != wait {
				t.Errorf("it took %v, want %v", took, wait)
			}
		}
	})
}

// What Asterisk would have left in its socket ends the wait.
func TestWaitEventEndsWithALongPipeline(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full", "Events: off")
	ping := "Action: Ping\r\nActionID: 0\r\n\r\n"
	c.Write([]byte("Action: WaitEvent\r\nActionID: w\r\n\r\n" + strings.Repeat(ping, 100)))
	expectBytes(t, c, waited+completed)
	for range 100 {
		c.ReadFrame()
	}
}

// It takes its turn: after the answers to what came before it.
func TestWaitEventWaitsForEarlierAnswers(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full", "Events: call")
	open := w.block("east", "Getvar")
	c.Send("Action: Getvar", "ActionID: s")
	w.await("east", "Getvar")
	c.Send("Action: WaitEvent", "ActionID: w", "Timeout: 0")
	eventually(t, "the reader waits", func() bool { return w.session(c).readerWaits() })
	open()
	expectBytes(t, c, "Response: Success\r\nActionID: s\r\nMessage: Getvar\r\n\r\n"+waited+completed)
}

func TestWaitEventOfSeveralPBXes(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	c := w.login("full", "Events: call")
	for _, name := range []string{"east", "west"} {
		c.Send("Action: WaitEvent", "ActionID: w")
		w.awaitWaiting(c)
		w.sims[name].Event("One", ami.ClassCall)
		expectBytes(t, c, waited+strings.TrimSuffix(frameText("One", ami.ClassCall), "\r\n")+"Server: "+name+"\r\n\r\n"+completed)
	}
}

// The client's end, the proxy's and the PBX's end the wait, and nothing hangs.
func TestWaitEventAtTheEnd(t *testing.T) {
	t.Run("client closes", func(t *testing.T) {
		w := newWorld(t, setup{})
		c := w.login("full", "Events: off")
		c.Send("Action: WaitEvent", "ActionID: w")
		w.awaitWaiting(c)
		c.Conn().(interface{ CloseWrite() error }).CloseWrite()
		expectBytes(t, c, waited+completed)
		if _, err := c.Conn().Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("got %v, want the end", err)
		}
		w.awaitReason(reasonClientClosed)
	})
	t.Run("shutdown", func(t *testing.T) {
		w := newWorld(t, setup{})
		c := w.login("full", "Events: off")
		c.Send("Action: WaitEvent", "ActionID: w")
		w.awaitWaiting(c)
		go w.srv.Shutdown(20 * time.Second)
		expectBytes(t, c, waited+completed)
		c.ExpectClosed()
		w.awaitReason(reasonShutdown)
	})
	t.Run("PBX lost", func(t *testing.T) {
		w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call\npbxlost = close\n"})
		c := w.login("u", "Events: off")
		c.Send("Action: WaitEvent", "ActionID: w")
		w.awaitWaiting(c)
		w.take("east")
		expectBytes(t, c, waited+completed)
		c.ExpectClosed()
		w.awaitReason(reasonPBXLost)
	})
}

// A client that lost events in the wait is told where.
func TestWaitEventTellsOfLostEvents(t *testing.T) {
	w := newWorld(t, setup{
		users: "[u]\nsecret = u-secret\nread = call\nslowclient = drop\nqueuelimit = 64K\n",
	})
	c := w.login("u")
	c.Send("Action: WaitEvent", "ActionID: w")
	w.awaitWaiting(c)
	w.sims["east"].Event("Big", ami.ClassCall, "Data", strings.Repeat("x", 70<<10))
	expectBytes(t, c, waited+"Event: ProxyEventsLost\r\nPrivilege: system,all\r\nCount: 1\r\n\r\n"+completed)
}

func TestWaitTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": -1, "x": -1, "-1": -1, "-5": -1, "0": 0, "5": 5, " 5": 5, "+5": 5, "5x": 5, "010": 8, "0x10": 16, "0X1f ": 31, "0x": 0, "08": 0, "+-5": -1,
		"4294967297": 1, "2147483648": -1, "99999999999999999999": -1, "5.9": 5,
	} {
		if want > 0 {
			want *= time.Second
		}
		if got := waitTimeout(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
