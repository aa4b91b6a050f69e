package backend

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// gate makes the PBX hold an action back until open is called; arrived counts
// those that it works on.
func (w *world) gate(action string) (arrived *atomic.Int32, open func()) {
	arrived = &atomic.Int32{}
	opened := make(chan struct{})
	w.pbx.Handle(action, func(r *simpbx.Request) {
		arrived.Add(1)
		select {
		case <-opened:
			r.Reply("Success", "done")
		case <-r.Done():
		}
	})
	open = sync.OnceFunc(func() { close(opened) })
	w.t.Cleanup(open)
	return arrived, open
}

// A stream's actions reach the PBX in order on one link, whatever they are.
func TestStreamOrder(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 4})
	w.start()
	w.pbx.Forget()
	s := w.b.NewStream(nil)
	var mu sync.Mutex
	var answers []string
	var last asked
	for i := range 200 {
		name := []string{"Setvar", "QueueStatus", "Setvar", "Getvar", "QueueRule", "Command"}[i%6]
		last = make(asked, 1)
		err := s.Do(Request{
			Action: ami.NewAction("Action: "+name, fmt.Sprintf("Value: %d", i)),
			Done: func(a Answer) {
				mu.Lock()
				answers = append(answers, fmt.Sprint(i))
				mu.Unlock()
				if i == 199 {
					last <- a
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.got(last)
	var sent []string
	for _, r := range w.pbx.Received() {
		if r.Name != "Ping" && r.Name != "ListCommands" {
			sent = append(sent, r.Get("Value"))
		}
	}
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprint(i))
	}
	w.want(strings.Join(sent, " "), strings.Join(want, " "))
	w.want(strings.Join(answers, " "), strings.Join(want, " "))
}

// While any of its actions is unanswered a stream stays on its link.
func TestStreamStaysOnItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 5})
		w.start()
		_, open := w.gate("Setvar")
		s := w.b.NewStream(nil)
		var all []asked
		for range 20 {
			all = append(all, w.send(s, "Action: Setvar"))
			w.send(w.b.NewStream(nil), "Action: Getvar") // makes others the least loaded
		}
		synctest.Wait()
		sessions := make(map[uint64]int)
		for _, r := range w.received("Setvar") {
			sessions[r.Session]++
		}
		if len(sessions) != 1 || len(w.received("Setvar")) != 20 {
			t.Errorf("%d actions on %d links, want 20 on one: pipelined", len(w.received("Setvar")), len(sessions))
		}
		open()
		for _, a := range all {
			w.want(w.got(a), "Response: Success|Message: done|")
		}
		w.stop()
	})
}

// Streams spread over the links.
func TestLeastLoadedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 4})
		w.start()
		w.gate("Setvar")
		for range 9 {
			w.send(w.b.NewStream(nil), "Action: Setvar")
		}
		synctest.Wait()
		sessions := make(map[uint64]int)
		for _, r := range w.received("Setvar") {
			sessions[r.Session]++
		}
		for session, n := range sessions {
			if n != 3 {
				t.Errorf("link %d has %d of 9 actions", session, n)
			}
		}
		w.stop()
	})
}

// Exclusive actions are alone on their links, of which at least one is left to
// the others if there are two for actions.
func TestExclusiveActions(t *testing.T) {
	for _, action := range []string{"Command", "Originate", "QueueRule"} {
		for links, most := range map[int]int32{2: 1, 3: 1, 4: 2, 6: 4} {
			t.Run(fmt.Sprint(action, links), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newBubble(t, simpbx.Options{}, Options{Links: links})
					w.start()
					w.pbx.Forget()
					arrived, open := w.gate(action)
					var all []asked
					for range 10 {
						all = append(all, w.send(w.b.NewStream(nil), "Action: "+action, "Timeout: 60000"))
					}
					synctest.Wait()
					if arrived.Load() != most {
						t.Fatalf("%d at once, want %d", arrived.Load(), most)
					}
					other := w.send(w.b.NewStream(nil), "Action: Setvar", "Variable: A", "Value: 1")
					synctest.Wait()
					if answered := len(other) == 1; answered != (links > 2) {
						t.Errorf("an action of others is answered: %v", answered)
					}
					w.alone(action)
					open()
					for _, a := range append(all, other) {
						if got := w.got(a); strings.HasPrefix(got, "error") {
							t.Error(got)
						}
					}
					w.stop()
				})
			})
		}
	}
}

// alone fails if something else came on a link while an exclusive action was
// under way there. It is called while none of them is answered.
func (w *world) alone(action string) {
	w.t.Helper()
	taken := make(map[uint64]bool)
	for _, r := range w.pbx.Received() {
		if taken[r.Session] && r.Name != "Ping" {
			w.t.Errorf("%s behind %s", r.Name, action)
		}
		taken[r.Session] = taken[r.Session] || r.Name == action
	}
}

// An exclusive action also waits until its link is idle.
func TestExclusiveWaitsForIdleLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		_, open := w.gate("Setvar")
		s := w.b.NewStream(nil)
		w.send(s, "Action: Setvar")
		command := w.send(w.b.NewStream(nil), "Action: Command", "Command: core show version")
		later := w.send(w.b.NewStream(nil), "Action: MailboxCount", "Mailbox: 1")
		own := w.send(s, "Action: MailboxCount", "Mailbox: 1") // of the stream that has the link
		synctest.Wait()
		if len(w.received("MailboxCount")) != 0 || len(command) != 0 {
			t.Error("sent to a link that is reserved, or in use")
		}
		open()
		w.got(command)
		w.got(later)
		w.got(own)
		w.want(strings.Join(w.names()[len(w.names())-4:], " "), "Setvar Command MailboxCount MailboxCount")
		w.stop()
	})
}

// A stream's own exclusive action holds up its later ones, and no others.
func TestOwnExclusiveComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 4})
		w.start()
		_, open := w.gate("Command")
		s := w.b.NewStream(nil)
		w.send(s, "Action: Command")
		own := w.send(s, "Action: Setvar", "Variable: A")
		w.got(w.send(w.b.NewStream(nil), "Action: Getvar", "Variable: A"))
		synctest.Wait()
		if len(own) != 0 || len(w.received("Setvar")) != 0 {
			t.Error("overtaken")
		}
		open()
		w.got(own)
		w.stop()
	})
}

// An asynchronous Originate does not block the PBX, and is pipelined.
func TestAsyncOriginateIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		w.gate("Originate")
		for range 5 {
			w.send(w.b.NewStream(nil), originate...)
		}
		synctest.Wait()
		if n := len(w.received("Originate")); n != 5 {
			t.Errorf("%d of 5 sent", n)
		}
		w.stop()
	})
}

// Under constant load of others an exclusive action still gets its turn, and
// so do they.
func TestExclusiveIsNotStarved(t *testing.T) {
	for _, links := range []int{2, 4} {
		synctest.Test(t, func(t *testing.T) {
			w := newBubble(t, simpbx.Options{}, Options{Links: links})
			w.pbx.Handle("Setvar", func(r *simpbx.Request) {
				r.Sleep(10 * time.Millisecond)
				r.Reply("Success", "")
			})
			w.pbx.Handle("Command", func(r *simpbx.Request) {
				r.Sleep(10 * time.Millisecond)
				r.Reply("Success", "")
			})
			w.start()
			var ordinary atomic.Int64
			over := make(chan struct{})
			var group sync.WaitGroup
			for range 50 {
				s := w.b.NewStream(nil)
				group.Go(func() {
					for {
						select {
						case <-over:
							return
						case <-w.send(s, "Action: Setvar"):
							ordinary.Add(1)
						}
					}
				})
			}
			for range 20 {
				start := time.Now()
				w.want(w.do("Action: Command", "Command: core reload"), "Response: Success|")
				if d := time.Since(start); d > time.Second {
					t.Errorf("links=%d: took %v", links, d)
				}
			}
			if ordinary.Load() < 20 {
				t.Errorf("links=%d: %d others meanwhile", links, ordinary.Load())
			}
			close(over)
			group.Wait()
			w.stop()
		})
	}
}

// Streams with much exclusive work of their own take turns with those that
// have little.
func TestExclusiveActionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		for _, name := range []string{"QueueRule", "Command"} {
			w.pbx.Handle(name, func(r *simpbx.Request) {
				r.Sleep(10 * time.Millisecond)
				r.Reply("Success", "")
			})
		}
		w.start()
		const greedy, each = 4, 50
		for range greedy {
			s := w.b.NewStream(nil)
			for range each {
				w.send(s, "Action: QueueRule")
			}
		}
		w.pbx.Forget()
		w.want(w.do("Action: Command", "Command: core show version"), "Response: Success|")
		if n := len(w.received("QueueRule")); n > 2*greedy {
			t.Errorf("answered after %d others", n)
		}
		w.stop()
	})
}

// A call that nobody waits for any more does not keep its link for as long as
// it may ring.
func TestOrphanedOriginate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2, ActionTimeout: 10 * time.Second})
		w.start()
		w.gate("Originate")
		s := w.b.NewStream(nil)
		w.send(s, "Action: Originate", "Timeout: 86400000")
		s.Close()
		start := time.Now()
		w.await("the link to be cut", func() bool { return w.b.Stats().Losses.Load() > 0 })
		w.await("a new one", func() bool { return w.connected() == 2 })
		w.want(w.do("Action: Setvar", "Variable: A"), "Response: Success|Message: Variable Set|")
		if d := time.Since(start); d < 10*time.Second || d > 15*time.Second {
			t.Errorf("after %v", d)
		}
		w.stop()
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2, ActionTimeout: 10 * time.Second})
		w.start()
		_, open := w.gate("Originate")
		call := w.send(w.b.NewStream(nil), "Action: Originate", "Timeout: 60000")
		start := time.Now()
		s := w.b.NewStream(nil)
		one := w.send(s, "Action: Command", "Command: core show version")
		two := w.send(s, "Action: Setvar", "Variable: A")
		w.want(w.got(one), "error: is busy")
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("after %v", d)
		}
		w.want(w.got(two), "error: is busy") // its own time, from when it was its turn
		synctest.Wait()
		if w.b.Pending() != 1 {
			t.Errorf("%d pending", w.b.Pending())
		}
		open()
		w.want(w.got(call), "Response: Success|Message: done|")
		w.want(w.got(w.send(s, "Action: Setvar", "Variable: A")), "Response: Success|Message: Variable Set|")
		if len(w.received("Command")) != 2 { // those of the login
			t.Error("what was answered with busy was sent")
		}
		w.stop()
	})
}
