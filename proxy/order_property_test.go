package proxy

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

// fakeProgress is how far an action is that no PBX has.
type fakeProgress struct{ sent, list atomic.Bool }

func (p *fakeProgress) Sent() bool { return p.sent.Load() }
func (p *fakeProgress) List() bool { return p.list.Load() }

// sentAction is the progress of an action that was sent, whose list is open or
// not.
func sentAction(list bool) *fakeProgress {
	p := &fakeProgress{}
	p.sent.Store(true)
	p.list.Store(list)
	return p
}

// deskSession is a session without a client and without PBXes: what it would
// write stays in its queue.
func deskSession(t testing.TB, users, user string, tagged bool) *Session {
	t.Helper()
	text := "[pbx:east]\nhost = 127.0.0.1\nusername = proxy\nsecret = x\n" +
		"[pbx:west]\nhost = 127.0.0.1\nusername = proxy\nsecret = x\n" + users
	cfg, err := parseText(text)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return srv.deskSession(t, user, tagged)
}

func (srv *Server) deskSession(t testing.TB, user string, tagged bool) *Session {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	s := newWire(srv, far, byTCP).Session
	if s.user = srv.now().user(user); s.user == nil {
		t.Fatalf("no user %s", user)
	}
	s.rights.Store(s.user)
	s.answerLimit = srv.general().AnswerLimit
	s.tagged = tagged
	s.blocked = make([]bool, srv.now().indexes)
	s.mask.Store(uint32(s.user.Policy.Read()))
	t.Cleanup(func() { s.abort(reasonShutdown); s.close() })
	return s
}

// written takes what the session would have written.
func (s *Session) written() []string {
	s.out.Close()
	var all []string
	for _, f := range s.out.Take(nil) {
		all = append(all, string(f))
	}
	return all
}

// deskAction is an action in the property test, as its PBX sees it.
type deskAction struct {
	slot      *slot
	progress  *fakeProgress
	pbx       int
	named     bool
	answer    string
	list      bool
	announced time.Time // when the list began, zero: it has not
}

// deskEvent is an event in the property test.
type deskEvent struct {
	text  string
	pbx   int
	at    time.Time
	after []*deskAction // sent before it came, and not answered then
}

// desk drives one session as its client and two PBXes at once.
type desk struct {
	t       *rapid.T
	s       *Session
	sent    [2][]*deskAction // unanswered, by PBX
	unsent  [2][]*deskAction
	actions []*deskAction
	events  []*deskEvent
	later   map[*deskAction][]*deskEvent // events that came before it was sent
}

func (d *desk) action() {
	a := &deskAction{
		pbx:    rapid.SampledFrom([]int{noPBX, 0, 0, 1}).Draw(d.t, "pbx"),
		named:  rapid.Bool().Draw(d.t, "named"),
		list:   rapid.Bool().Draw(d.t, "list"),
		answer: fmt.Sprintf("answer %d\n", len(d.actions)),
	}
	if !d.s.tagged && a.pbx == 1 {
		a.pbx = 0
	}
	d.actions = append(d.actions, a)
	if a.pbx == noPBX {
		a.slot = &slot{pbx: noPBX, named: a.named, done: true, answer: []byte(a.answer)} // as reply does
		d.s.add(a.slot)
		return
	}
	a.progress = &fakeProgress{}
	a.slot = &slot{pbx: a.pbx, named: a.named, progress: a.progress}
	d.s.add(a.slot)
	d.unsent[a.pbx] = append(d.unsent[a.pbx], a)
}

// send hands the oldest action that waits to its PBX.
func (d *desk) send(pbx int) {
	if len(d.unsent[pbx]) == 0 {
		return
	}
	a := d.unsent[pbx][0]
	d.unsent[pbx] = d.unsent[pbx][1:]
	a.progress.sent.Store(true)
	d.sent[pbx] = append(d.sent[pbx], a)
	for _, e := range d.events {
		if e.pbx == pbx {
			d.later[a] = append(d.later[a], e)
		}
	}
}

// work lets a PBX do the next thing about its oldest action.
func (d *desk) work(pbx int) {
	if len(d.sent[pbx]) == 0 {
		return
	}
	a := d.sent[pbx][0]
	if a.list && a.announced.IsZero() {
		a.announced = time.Now()
		a.progress.list.Store(true)
		return
	}
	d.sent[pbx] = d.sent[pbx][1:]
	d.s.fill(a.slot, []byte(a.answer))
}

func (d *desk) event(pbx int) {
	e := &deskEvent{
		text: fmt.Sprintf("event %d\n", len(d.events)), pbx: pbx, at: time.Now(),
		after: slices.Clone(d.sent[pbx]),
	}
	d.events = append(d.events, e)
	d.s.putEvent(&event{source: pbx, class: ami.ClassCall, frame: []byte(e.text)})
}

// ownEvent is an event of the proxy itself.
func (d *desk) ownEvent() {
	e := &deskEvent{text: fmt.Sprintf("event %d\n", len(d.events)), pbx: noPBX, at: time.Now()}
	held := slices.ContainsFunc(d.s.held, func(e heldEvent) bool { return e.source == noPBX })
	if n := len(d.s.slots); n > 0 && !(d.s.tagged && held) {
		last := d.s.slots[n-1]
		e.after = slices.DeleteFunc(slices.Clone(d.actions), func(a *deskAction) bool {
			return a.slot != last
		})
	}
	d.events = append(d.events, e)
	d.s.putEvent(&event{source: noPBX, class: ami.ClassCall, frame: []byte(e.text)})
}

// check judges what was written.
func (d *desk) check(out []string, answered map[string]time.Time) {
	at := map[string]int{}
	for i, text := range out {
		if _, ok := at[text]; ok {
			d.t.Fatalf("%q twice", text)
		}
		at[text] = i
	}
	if len(out) != len(d.actions)+len(d.events) {
		d.t.Fatalf("%d written of %d answers and %d events: %q", len(out), len(d.actions), len(d.events), out)
	}
	before := func(x, y, why string) {
		if at[x] > at[y] {
			d.t.Fatalf("%s: %q comes before %q in %q", why, y, x, out)
		}
	}
	for i, a := range d.actions {
		for _, b := range d.actions[i+1:] {
			if !d.s.tagged || !a.named && !b.named || a.pbx != noPBX && a.pbx == b.pbx {
				before(a.answer, b.answer, "order of answers")
			}
		}
		for _, e := range d.later[a] {
			before(e.text, a.answer, "an event that came before the action was sent")
		}
	}
	for i, e := range d.events {
		for _, f := range d.events[i+1:] {
			if e.pbx == f.pbx {
				before(e.text, f.text, "order of events")
			}
		}
		for _, a := range e.after {
			late := answered[a.answer].Sub(e.at) >= holdTime
			inList := e.pbx != noPBX && !a.announced.IsZero() && a.announced.Sub(e.at) < holdTime
			if !late || inList {
				before(a.answer, e.text, "an event that its action may have caused")
			}
		}
	}
}

// Whatever the two connections to a PBX bring in whatever order: the client
// gets what Asterisk could have sent.
func TestOrderProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid's way to end a check, which is to pass out of the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			checkOrder(t, rt)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func checkOrder(t *testing.T, rt *rapid.T) {
	d := &desk{t: rt, later: map[*deskAction][]*deskEvent{}}
	d.s = deskSession(t, standardUsers, "full", rapid.Bool().Draw(rt, "tagged"))
	answered := map[string]time.Time{} // when it was its turn
	note := func() {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		for _, a := range d.actions {
			if _, ok := answered[a.answer]; !ok && !slices.Contains(d.s.slots, a.slot) {
				answered[a.answer] = time.Now()
			}
		}
	}
	pbx := rapid.IntRange(0, 1)
	if !d.s.tagged {
		pbx = rapid.Just(0)
	}
	rt.Repeat(map[string]func(*rapid.T){
		"action": func(*rapid.T) { d.action(); note() },
		"send":   func(*rapid.T) { d.send(pbx.Draw(rt, "send")) },
		"work":   func(*rapid.T) { d.work(pbx.Draw(rt, "work")); note() },
		"event":  func(*rapid.T) { d.event(pbx.Draw(rt, "event")) },
		"own":    func(*rapid.T) { d.ownEvent() },
		"time": func(*rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 15).Draw(rt, "tenths")) * 100 * time.Millisecond)
			synctest.Wait()
		},
	})
	for i := range d.sent {
		for len(d.unsent[i]) > 0 {
			d.send(i)
		}
		for len(d.sent[i]) > 0 {
			d.work(i)
			note()
		}
	}
	time.Sleep(2 * holdTime)
	synctest.Wait()
	d.check(d.s.written(), answered)
}

func join(texts []string) string { return strings.Join(texts, "") }

// A single answer holds events up for a second, a list for as long as it takes.
func TestHeldEvents(t *testing.T) {
	for _, list := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := deskSession(t, standardUsers, "full", false)
			progress := sentAction(false)
			sl := &slot{progress: progress}
			s.add(sl)
			s.putEvent(&event{class: ami.ClassCall, frame: []byte("first ")})
			time.Sleep(holdTime / 2)
			s.putEvent(&event{class: ami.ClassCall, frame: []byte("second ")})
			progress.list.Store(list)
			time.Sleep(holdTime/2 + time.Millisecond)
			synctest.Wait()
			s.mu.Lock()
			held := len(s.held)
			s.mu.Unlock()
			if want := map[bool]int{false: 1, true: 2}[list]; held != want {
				t.Errorf("list %v: %d are held, want %d", list, held, want)
			}
			time.Sleep(time.Minute)
			s.fill(sl, []byte("answer "))
			want := map[bool]string{false: "first second answer ", true: "answer first second "}[list]
			if got := join(s.written()); got != want {
				t.Errorf("list %v: %q, want %q", list, got, want)
			}
		})
	}
}

// countedProgress counts how often it is asked.
type countedProgress struct {
	fakeProgress
	asked atomic.Int64
}

func (p *countedProgress) List() bool { p.asked.Add(1); return p.fakeProgress.List() }

// Many events that wait cost little: all others wait as long as one session looks
// at its own.
func TestHeldEventsAreLookedAtSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deskSession(t, standardUsers, "full", false)
		p := &countedProgress{}
		p.sent.Store(true)
		p.list.Store(true)
		s.add(&slot{progress: p})
		for range 3000 {
			s.putEvent(&event{class: ami.ClassCall, frame: []byte("event ")})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := p.asked.Load(); n < 10 || n > 100 { // in two seconds, 20 times in each
			t.Errorf("its list was asked for %d times", n)
		}
	})
}

// A list that waits for its turn is still under way: an event may end a call
// that it shows.
func TestEventsWaitForAListThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deskSession(t, standardUsers, "full", true)
		slow := &slot{pbx: 0, progress: sentAction(false)}
		list := &slot{pbx: 1, progress: sentAction(true)}
		s.add(slow)
		s.add(list)
		s.putEvent(&event{source: 1, class: ami.ClassCall, frame: []byte("event ")})
		s.fill(list, []byte("list "))
		time.Sleep(time.Minute)
		s.putEvent(&event{class: ami.ClassCall, frame: []byte("other ")})
		time.Sleep(time.Minute)
		s.fill(slow, []byte("slow "))
		if got, want := join(s.written()), "other slow list event "; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

const smallQueues = `
[closes]
secret = x
read = all
queuelimit = 64K

[drops]
secret = x
read = all
queuelimit = 64K
slowclient = drop
`

// Events that wait for an answer are bounded like those that wait for the
// client, and what is lost is told behind those that are not.
func TestHeldEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deskSession(t, smallQueues, "drops", false)
		s.out.SetBounds(queueOptions(s))
		text := strings.Repeat("x", 20_000) + "\n"
		sl := &slot{progress: sentAction(true)}
		s.add(sl)
		for range 10 {
			s.putEvent(&event{class: ami.ClassCall, frame: []byte(text)})
		}
		s.putEvent(&event{class: ami.ClassCall, frame: []byte("small, and late\n")})
		s.fill(sl, []byte("answer\n"))
		s.putEvent(&event{class: ami.ClassCall, frame: []byte("next\n")})
		want := "answer\n" + text + text + text + string(eventsLost(8)) + "next\n"
		if got := join(s.written()); got != want {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
		// One event alone may be too much.
		s = deskSession(t, smallQueues, "drops", false)
		s.out.SetBounds(queueOptions(s))
		s.add(&slot{progress: sentAction(false)})
		s.putEvent(&event{class: ami.ClassCall, frame: []byte(strings.Repeat("x", 70_000))})
		time.Sleep(2 * holdTime)
		synctest.Wait()
		if got := join(s.written()); got != string(eventsLost(1)) {
			t.Errorf("got %q", got)
		}

		s = deskSession(t, smallQueues, "closes", false)
		s.add(&slot{progress: sentAction(false)})
		for range 4 {
			s.putEvent(&event{class: ami.ClassCall, frame: []byte(text)})
		}
		if why := s.reason.Load(); why == nil || *why != reasonSlowClient {
			t.Errorf("reason %v", why)
		}
	})
}

// Answers that wait for their turn are bounded like those that wait for the
// client.
func TestWaitingAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deskSession(t, "[general]\nanswerlimit = 1M\n"+standardUsers, "full", false)
		s.add(&slot{progress: &fakeProgress{}})
		for range 64 {
			s.reply(true, make([]byte, 16<<10))
		}
		if why := s.reason.Load(); why != nil {
			t.Fatalf("ended: %s", *why)
		}
		s.reply(true, []byte("one more"))
		if why := s.reason.Load(); why == nil || *why != reasonAnswerLimit {
			t.Errorf("reason %v", why)
		}
	})
}
