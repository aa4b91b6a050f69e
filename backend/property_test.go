package backend

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// step is one thing that happens to a backend.
type step struct {
	what   string
	stream int
	wait   time.Duration // after it
}

// scripted are actions of all kinds, each with an answer that names it.
var scripted = map[string]string{
	"Setvar":      "Response: Success|ActionID: $ID|Value: $V||",
	"Getvar":      "Response: Error|ActionID: $ID|Value: $V||",
	"Status":      "Response: Success|ActionID: $ID|EventList: start||Event: Status|Value: $V||Event: StatusComplete|ActionID: $ID|EventList: Complete||",
	"Command":     "Response: Success|ActionID: $ID|Output: a|Value: $V||",
	"JabberSend":  "Response: Success|ActionID: $ID||Response: Error|ActionID: $ID|Value: $V||",
	"IAXnetstats": "raw text|Value: $V||",
	"Originate":   "Response: Success|ActionID: $ID|Value: $V||",
	"Ignored":     "",                                      // an action that the PBX does not answer at all
	"Reload":      "Response: Success|ActionID: strange||", // an answer that is none
}

// Whatever is asked, and whatever dies meanwhile: each request that was
// accepted is answered once, with its own answer or an error, in the order of
// its stream, and nothing is left.
func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	var names []string
	for name := range scripted {
		names = append(names, name)
	}
	deeds := append(names, names...)
	deeds = append(deeds, "kick", "crash", "close", "boot", "event")
	rapid.Check(t, func(rt *rapid.T) {
		links := rapid.IntRange(2, 5).Draw(rt, "links")
		slow := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second}).Draw(rt, "slow")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				what:   rapid.SampledFrom(deeds).Draw(rt, "what"),
				stream: rapid.IntRange(0, 4).Draw(rt, "stream"),
				wait: rapid.SampledFrom([]time.Duration{
					0, 0, 0, time.Microsecond, time.Millisecond, 100 * time.Millisecond, 5 * time.Second,
				}).Draw(rt, "wait"),
			}
		}), 0, 60).Draw(rt, "steps")
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = play(t, links, slow, steps) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// player is a run of steps.
type player struct {
	w       *world
	streams []*Stream

	mu       sync.Mutex
	accepted map[int][]string // by stream, in order
	answered map[int][]string
	faults   []string
}

// play returns what went wrong.
func play(t *testing.T, links int, slow time.Duration, steps []step) string {
	p := &player{
		w:        newBubble(t, simpbx.Options{}, Options{Links: links, ActionTimeout: 3 * time.Second}),
		accepted: make(map[int][]string), answered: make(map[int][]string),
	}
	for name, answer := range scripted {
		p.w.pbx.Handle(name, func(r *simpbx.Request) {
			r.Sleep(slow)
			r.Write([]byte(strings.NewReplacer("|", "\r\n", "$ID", r.ID(), "$V", r.Get("Value")).Replace(answer)))
		})
	}
	for i := range 5 {
		p.streams = append(p.streams, p.w.b.NewStream(i))
	}
	closed := make(map[int]bool)
	p.w.start()
	for i, s := range steps {
		switch s.what {
		case "kick":
			if sessions := p.w.pbx.Sessions(); len(sessions) > 0 {
				p.w.pbx.Kick(sessions[i%len(sessions)].ID)
			}
		case "crash":
			p.w.pbx.Crash()
		case "close":
			p.streams[s.stream].Close()
			closed[s.stream] = true
		case "boot":
			p.w.pbx.Boot(i%2 == 0)
		case "event":
			p.w.pbx.Event("Load", ami.ClassSystem)
		default:
			p.ask(s.stream, s.what, fmt.Sprint(s.what, "-", i))
		}
		if s.wait > 0 {
			time.Sleep(s.wait)
		}
	}
	p.settle()
	p.w.allUp()
	p.settle() // the backend asks for its own rights when the PBX is back
	p.check(closed)
	p.w.b.mu.Lock()
	if p.w.b.exclusive != 0 || len(p.w.b.waiting) != 0 {
		p.fault("%d links taken, %d streams waiting at the end", p.w.b.exclusive, len(p.w.b.waiting))
	}
	p.w.b.mu.Unlock()
	p.w.stop()
	return strings.Join(p.faults, "\n")
}

// settle waits until nothing is pending.
func (p *player) settle() {
	for end := time.Now().Add(time.Hour); p.w.b.Pending() > 0; time.Sleep(time.Second) {
		if time.Now().After(end) {
			p.fault("%d pending at the end", p.w.b.Pending())
			break
		}
	}
	synctest.Wait()
}

func (p *player) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *player) ask(stream int, name, value string) {
	p.mu.Lock()
	p.accepted[stream] = append(p.accepted[stream], value)
	p.mu.Unlock()
	err := p.streams[stream].Do(Request{
		Action: ami.NewAction("Action: "+name, "Value: "+value, "ActionID: "+value),
		Done: func(a Answer) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.answered[stream] = append(p.answered[stream], value)
			if text := string(a.Bytes); a.Err == nil && name != "Ignored" && !strings.Contains(text, "Value: "+value+"\r\n") {
				p.fault("%s got %q", value, text)
			}
		},
	})
	if err != nil {
		p.mu.Lock()
		p.accepted[stream] = p.accepted[stream][:len(p.accepted[stream])-1]
		p.mu.Unlock()
	}
}

// check compares what was answered with what was accepted.
func (p *player) check(closed map[int]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream := range p.streams {
		want, got := p.accepted[stream], p.answered[stream]
		if closed[stream] {
			want = want[:min(len(got), len(want))] // the rest may be cancelled
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			p.fault("stream %d: answered %v, want %v", stream, got, want)
		}
	}
}
