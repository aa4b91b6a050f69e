package proxy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

var classNames = []string{
	"system", "call", "log", "verbose", "command", "agent", "user", "config", "dtmf",
	"reporting", "cdr", "dialplan", "originate", "agi", "cc", "aoc", "test", "security", "message",
}

// A session gets an event if, and only if, it may read all of its classes and
// its mask has them.
func TestFanoutProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.SampledFrom(classNames), 0, -1, rapid.ID[string])
		var users strings.Builder
		n := rapid.IntRange(1, 6).Draw(rt, "sessions")
		reads, masks := make([]ami.Class, n), make([]ami.Class, n)
		for i := range n {
			read := strings.Join(list.Draw(rt, "read"), ",")
			if rapid.IntRange(0, 4).Draw(rt, "all") == 0 {
				read = "all"
			}
			if read == "" {
				read = "none"
			}
			fmt.Fprintf(&users, "[u%d]\nsecret = x\nread = %s\n", i, read)
			reads[i], _ = ami.ParseClasses(read)
			masks[i], _ = ami.ParseClasses(strings.Join(list.Draw(rt, "mask"), ","))
			if rapid.Bool().Draw(rt, "on") {
				masks[i] = ami.ClassAll
			}
			masks[i] &= reads[i]
		}
		desk := deskSession(t, users.String(), "u0", false)
		p := desk.srv.now().pbxs[0]
		var sessions []*Session
		for i := range n {
			s := desk.srv.deskSession(t, fmt.Sprintf("u%d", i), false)
			s.mask.Store(uint32(masks[i]))
			p.subscribe(s)
			sessions = append(sessions, s)
		}
		want := make([]string, n)
		for k := range 20 {
			privilege := strings.Join(append(list.Draw(rt, "privilege"), "all"), ",")
			switch rapid.IntRange(0, 9).Draw(rt, "odd") {
			case 0:
				privilege = "<none>"
			case 1:
				privilege = "call,novel,all"
			}
			text := fmt.Sprintf("Event: E%d\r\nPrivilege: %s\r\n\r\n", k, privilege)
			if rapid.IntRange(0, 9).Draw(rt, "bare") == 0 {
				text = fmt.Sprintf("Event: E%d\r\n\r\n", k)
			}
			f := ami.Frame(text)
			p.Event(p.Backend, &backend.Event{Frame: f, Class: f.Class()})
			for i := range n {
				if mayGet(text, masks[i]) {
					want[i] += text
				}
			}
		}
		for i, s := range sessions {
			p.unsubscribe(s)
			if got := join(s.written()); got != want[i] {
				rt.Fatalf("read %v, mask %v:\n got %q\nwant %q", reads[i], masks[i], got, want[i])
			}
		}
	})
}

// mayGet is the rule in other words.
func mayGet(event string, mask ami.Class) bool {
	_, rest, ok := strings.Cut(event, "Privilege: ")
	if !ok || strings.Contains(event, "novel") || strings.HasPrefix(rest, "all") {
		return mask == ami.ClassAll
	}
	if mask == 0 {
		return false
	}
	for _, name := range strings.Split(strings.TrimSpace(rest), ",") {
		bit, err := ami.ParseClasses(name)
		if name != "all" && name != "<none>" && (err != nil || mask&bit == 0) {
			return false
		}
	}
	return true
}

// TestUnsubscribe takes sessions out in every order.
func TestUnsubscribe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &pbx{}
		in := map[*Session]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"in": func(*rapid.T) { s := &Session{}; in[s] = true; p.subscribe(s) },
			"out": func(*rapid.T) {
				if len(p.sessions) > 0 {
					s := rapid.SampledFrom(p.sessions).Draw(rt, "who")
					delete(in, s)
					p.unsubscribe(s)
				}
			},
			"": func(*rapid.T) {
				if len(p.sessions) != len(in) {
					rt.Fatalf("%d, want %d", len(p.sessions), len(in))
				}
				for _, s := range p.sessions {
					if !in[s] {
						rt.Fatal("a stranger")
					}
				}
			},
		})
	})
}

// fanout is a PBX with n sessions of a user, whose clients read at once.
func fanout(tb testing.TB, user string, n int) (p *pbx, event *backend.Event, drain func()) {
	tb.Helper()
	desk := deskSession(tb, fanoutUsers, user, false)
	p = desk.srv.now().pbxs[0]
	var sessions []*Session
	for range n {
		s := desk.srv.deskSession(tb, user, false)
		s.audience.Store(desk.srv.now().audiences[s.user])
		p.subscribe(s)
		sessions = append(sessions, s)
	}
	f := ami.Frame("Event: Newexten\r\nPrivilege: dialplan,all\r\n" + strings.Repeat("Header: value\r\n", 35) + "\r\n")
	batches := make([][][]byte, n)
	return p, &backend.Event{Frame: f, Class: f.Class()}, func() {
		for i, s := range sessions {
			batches[i] = s.out.Take(batches[i])
		}
	}
}

const fanoutUsers = `
[full]
secret = x
read = all
[filtered]
secret = x
read = all
eventfilter = !Event: (Hangup|VarSet)
eventfilter(name(Newexten)) =
`

// One more client must cost no memory: a delivery is a reference.
func TestFanoutDoesNotAllocate(t *testing.T) {
	for _, user := range []string{"full", "filtered"} {
		testFanoutDoesNotAllocate(t, user)
	}
}

func testFanoutDoesNotAllocate(t *testing.T, user string) {
	allocs := func(clients int) float64 {
		p, event, drain := fanout(t, user, clients)
		for range 2 { // a queue has two buffers
			p.Event(p.Backend, event)
			drain()
		}
		return testing.AllocsPerRun(100, func() {
			p.Event(p.Backend, event)
			drain()
		})
	}
	// An event may cost some: with the race detector a sync.Pool, such as that of regexp,
	// forgets at random.
	const more = 100
	if one, many := allocs(1), allocs(1+more); many-one > more/10 {
		t.Errorf("%s: %v allocations for 1 client, %v for %d", user, one, many, 1+more)
	}
}

func BenchmarkFanout(b *testing.B) {
	for _, user := range []string{"full", "filtered"} {
		for _, n := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("user=%s/clients=%d", user, n), func(b *testing.B) {
				p, event, drain := fanout(b, user, n)
				b.ReportAllocs()
				b.SetBytes(int64(n * len(event.Frame)))
				for b.Loop() {
					p.Event(p.Backend, event)
					drain()
				}
				b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds()/1e6, "Mdeliv/s")
			})
		}
	}
}
