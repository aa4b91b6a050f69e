package proxy

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Only a session that its client cannot miss is discarded.
func TestWebDiscard(t *testing.T) {
	w := newWorld(t, setup{})
	empty := w.web("full", "Events: off")
	empty.ask("Action: Ping")
	empty.ask("Action: WaitEvent", "Timeout: 0")
	empty.ask("Action: Events", "EventMask: off")
	empty.Discard()
	empty.awaitOver()
	w.awaitSessions(0)

	stays := func(what string, c *webClient) {
		t.Helper()
		c.Discard()
		answer, err := c.Do(t.Context(), ami.NewAction("Action: Filter"))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		answer.Close()
	}
	stays("events are on", w.web("full", "Events: call"))
	waited := w.web("full", "Events: off")
	waited.ask("Action: WaitEvent", "Timeout: 0")
	stays("WaitEvent has turned them on", waited)
	kept := w.web("full", "Events: call")
	w.sims["east"].Event("Kept", ami.ClassCall)
	kept.awaitKept(1)
	kept.ask("Action: Events", "EventMask: off")
	stays("an event is kept", kept)
	filtered := w.web("full", "Events: off")
	filtered.want("Response: Success\r\nMessage: Success\r\n\r\n", "Action: Filter", "Operation: Add", "Filter: Event: x")
	stays("it has added a filter", filtered)
	asking := w.web("full", "Events: off")
	open := w.block("east", "Command")
	answer := asking.start("Action: Command", "Command: x")
	eventually(t, "the request is under way", func() bool {
		asking.mu.Lock()
		defer asking.mu.Unlock()
		return asking.uses > 0
	})
	asking.Discard()
	open()
	if got := <-answer; got == "" {
		t.Error("a request under way has got no answer")
	}
}

// A request that comes as its session is discarded is answered, or seen by nobody.
func TestWebDiscardBesideRequests(t *testing.T) {
	w := newWorld(t, setup{})
	over := 0
	for range 200 {
		c := w.web("full", "Events: off")
		var group sync.WaitGroup
		group.Go(c.Discard)
		group.Go(func() {
			answer, err := c.Do(context.Background(), ami.NewAction("Action: Ping"))
			switch {
			case errors.Is(err, ErrSessionOver):
				over++
			case err != nil:
				t.Error(err)
			default:
				answer.Close()
			}
		})
		group.Wait()
		c.Close()
	}
	w.awaitSessions(0)
	t.Logf("%d of 200 sessions were gone", over)
}

// A login that takes long holds up the other requests of its session, which has no rights
// yet, and nobody else.
func TestWebSlowLogin(t *testing.T) {
	w := newWorld(t, setup{users: hashedUsers})
	giveBack := w.srv.occupy()
	slow := openWeb(t, w.srv, time.Minute)
	login := slow.start("Action: Login", "Username: argon", "Secret: password", "Events: off")
	eventually(t, "the login is under way", func() bool {
		if slow.handling.TryLock() {
			slow.handling.Unlock()
			return false
		}
		return true
	})
	ping := slow.start("Action: Ping")

	in := w.web("full", "Events: off")
	in.ask("Action: MailboxStatus", "Mailbox: 1")
	in.want("Response: Success\r\nMessage: Already authenticated\r\n\r\n", "Action: Login", "Username: argon", "Secret: password")
	select {
	case got := <-login:
		t.Errorf("the login got %q", got)
	case got := <-ping:
		t.Errorf("beside the login: %q", got)
	default:
	}
	giveBack()
	if got := <-login; got != "Response: Success\r\nMessage: Authentication accepted\r\n\r\n" {
		t.Errorf("the login got %q", got)
	}
	if got := <-ping; got == "" {
		t.Error("no answer after the login")
	}
}
