package backend

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// Close cancels what waits and what has a link reserved, lets run what was
// sent, and gives others the way.
func TestCloseStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		w.pbx.Forget()
		_, open := w.gate("Setvar")
		sent, reserved, waiting, other := w.b.NewStream(nil), w.b.NewStream(nil), w.b.NewStream(nil), w.b.NewStream(nil)
		answered := w.send(sent, "Action: Setvar")
		cancelled := []asked{
			w.send(sent, "Action: Command"), // behind its own
			w.send(reserved, "Action: Command"),
			w.send(reserved, "Action: Getvar"),
			w.send(waiting, "Action: Command"),
		}
		last := w.send(other, "Action: Getvar", "Variable: A")
		synctest.Wait()
		if n := w.b.Pending(); n != 6 {
			t.Errorf("%d pending", n)
		}
		waiting.Close()
		reserved.Close() // the link that was reserved is free for Getvar
		synctest.Wait()
		if len(w.received("Getvar")) != 1 {
			t.Error("the reserved link was not released")
		}
		sent.Close()
		sent.Close()
		open()
		w.want(w.got(answered), "Response: Success|Message: done|")
		w.got(last)
		synctest.Wait()
		if n := w.b.Pending(); n != 0 || len(w.received("Command")) != 0 {
			t.Errorf("%d pending, %d cancelled ones sent", n, len(w.received("Command")))
		}
		for _, a := range cancelled {
			if len(a) > 0 {
				t.Errorf("a cancelled one was answered: %+v", <-a)
			}
		}
		w.want(w.got(w.send(sent, "Action: Setvar")), "error: is not connected")
		w.stop()
	})
}

// What is withdrawn is not sent, is answered in its turn, and gives others the way.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		w.pbx.Forget()
		_, open := w.gate("Setvar")
		one, reserved, other := w.b.NewStream(nil), w.b.NewStream(nil), w.b.NewStream(nil)
		var order []string
		send := func(s *Stream, lines ...string) {
			err := s.Do(Request{Action: ami.NewAction(lines...), Done: func(a Answer) { order = append(order, show(a)) }})
			if err != nil {
				t.Error(err)
			}
		}
		send(one, "Action: Setvar")
		send(one, "Action: Command", "Command: a")
		send(one, "Action: Getvar", "Variable: A")
		send(one, "Action: Command", "Command: b")
		answered := w.send(reserved, "Action: Command", "Command: c")
		last := w.send(other, "Action: Getvar", "Variable: B")
		synctest.Wait()
		for _, s := range []*Stream{one, reserved, other} {
			s.Withdraw(func(a *ami.Action) bool { return a.Name() == "Command" })
		}
		synctest.Wait()
		w.want(w.got(answered), "error: withdrawn")
		if len(w.received("Getvar")) != 1 || len(order) != 0 {
			t.Errorf("the link was not released, or it is out of order: %q", order)
		}
		open()
		w.got(last)
		synctest.Wait()
		w.want(strings.Join(order, " "), "Response: Success|Message: done| error: withdrawn Response: Success|Variable: A|Value: | error: withdrawn")
		if n := w.b.Pending(); n != 0 || len(w.received("Command")) != 0 {
			t.Errorf("%d pending, %d withdrawn ones sent", n, len(w.received("Command")))
		}
		w.stop()
	})
}

// A stream may be used, and closed, from within Done.
func TestDoInsideDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 3})
		w.start()
		s := w.b.NewStream(nil)
		last := make(asked, 1)
		n := 0
		var next func(Answer)
		next = func(a Answer) {
			if n++; n == 100 || a.Err != nil {
				s.Close()
				last <- a
				return
			}
			name := []string{"Setvar", "Command", "QueueRule"}[n%3]
			if err := s.Do(Request{Action: ami.NewAction("Action: "+name, "Variable: A"), Done: next}); err != nil {
				t.Error(err)
			}
		}
		next(Answer{})
		if a := <-last; a.Err != nil || n != 100 {
			t.Errorf("%d, %v", n, a.Err)
		}
		w.stop()
	})
}

// What is asked from within Done for a lost action is no part of that loss.
func TestDoInsideDoneOfLost(t *testing.T) {
	for _, links := range []int{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			w := newBubble(t, simpbx.Options{}, Options{Links: links})
			w.start()
			w.gate("Setvar")
			s := w.b.NewStream(nil)
			again := make(asked, 1)
			s.Do(Request{Action: ami.NewAction("Action: Setvar"), Done: func(a Answer) {
				if a.Err != ErrLost {
					t.Error(a.Err)
				}
				err := s.Do(Request{Action: ami.NewAction("Action: Getvar", "Variable: A"), Done: func(a Answer) { again <- a }})
				if err != nil {
					again <- Answer{Err: err}
				}
			}})
			synctest.Wait()
			w.pbx.Kick(w.received("Setvar")[0].Session)
			want := "Response: Success|Variable: A|Value: |"
			if links == 2 {
				want = "error: is not connected"
			}
			w.want(w.got(again), want)
			w.allUp()
			w.stop()
		})
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.pbx.Handle("Status", func(r *simpbx.Request) {
			r.Sleep(time.Second)
			r.Reply("Success", "", "EventList", "start")
			r.Sleep(time.Second)
			r.Write([]byte("Event: StatusComplete\r\nEventList: Complete\r\n\r\n"))
		})
		w.start()
		_, open := w.gate("Setvar")
		w.send(w.b.NewStream(nil), "Action: Setvar")
		s := w.b.NewStream(nil)
		var command, list Progress
		ignore := func(Answer) {}
		s.Do(Request{Action: ami.NewAction("Action: Command"), Progress: &command, Done: ignore})
		s.Do(Request{Action: ami.NewAction("Action: Status"), Progress: &list, Done: ignore})
		synctest.Wait()
		if command.Sent() || list.Sent() {
			t.Error("sent, while the link is in use")
		}
		open()
		synctest.Wait()
		if !command.Sent() || command.List() || !list.Sent() || list.List() {
			t.Errorf("%v %v %v %v", command.Sent(), command.List(), list.Sent(), list.List())
		}
		time.Sleep(1500 * time.Millisecond)
		if !list.List() {
			t.Error("no list, though it has begun")
		}
		time.Sleep(time.Second)
		w.stop()
	})
}
