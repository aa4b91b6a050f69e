//go:build unix

package test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// recovery is how soon a PBX must be back once nothing is in its way any more.
const recovery = 5 * time.Second

// A fault is what goes wrong on the way to the PBX east, and what everybody sees of it.
type fault struct {
	name string
	hit  func(f *faulty)
	mend func(f *faulty)
	// answer is the Message of the Errors for what is pending on east; empty: it is
	// answered; "*": whether it was sent before the fault is not certain.
	answer string
	// told is what a client gets of the states of east and its FullyBooted, in order.
	told []string
	// logged are the texts of a line in the log.
	logged []string
	// deadline is until when those who wait have their answers.
	deadline time.Duration
	timeout  int    // The actiontimeout; 0 means 30 s.
	away     string // What State says after the first attempt to get back, if that fails.
}

// A faulty is a proxy with a relay between it and the PBX east.
type faulty struct {
	*proxied
	relay *relay
}

var (
	lost       = "Server east was lost before it answered"
	backAgain  = []string{"Up: logged in, restarted: no", "FullyBooted"}
	connection = append([]string{"Down: connection lost"}, backAgain...)
)

// faults are those of the network. Those of the PBX itself are in lost_test.go and below.
var faults = []fault{
	{
		name: "cut in mid-frame", hit: func(f *faulty) { f.relay.CutAfter(300) }, mend: func(*faulty) {},
		answer: lost, told: connection, logged: []string{"link lost", "read from"}, deadline: time.Second,
	}, {
		name: "half-open", hit: func(f *faulty) { f.relay.Abandon() }, mend: func(*faulty) {},
		answer: lost, told: append([]string{"Down: did not answer in time"}, backAgain...),
		logged: []string{"PBX is down", "did not answer in time"}, deadline: 15 * time.Second,
	}, {
		name: "black hole", hit: func(f *faulty) { f.relay.Hold() }, mend: func(f *faulty) { f.relay.Release() },
		answer: lost, told: append([]string{"Down: did not answer in time"}, backAgain...),
		logged: []string{"PBX is down", "did not answer in time"}, deadline: 15 * time.Second, away: "login failed",
	}, {
		name: "slow", hit: func(f *faulty) { f.relay.Delay(300 * time.Millisecond) }, mend: func(f *faulty) { f.relay.NoDelay() },
		deadline: 10 * time.Second,
	}, {
		name: "slow beyond the deadline", hit: func(f *faulty) { f.relay.Delay(time.Second) }, mend: func(f *faulty) { f.relay.NoDelay() },
		answer: "Server east did not answer in time", logged: []string{"link lost", "did not answer in time"}, deadline: 10 * time.Second, timeout: 1,
	}, {
		name: "single bytes", hit: func(f *faulty) { f.relay.Slice() }, mend: func(f *faulty) { f.relay.NoSlice() },
		deadline: 20 * time.Second,
	}, {
		name: "garbage", hit: func(f *faulty) {
			f.relay.Hold() // so that something is pending
			f.relay.Inject([]byte(strings.Repeat("\x00\xff garbage \n\r\n", 200)))
		}, mend: func(f *faulty) { f.relay.Release() },
		told: append([]string{"Down: protocol error"}, backAgain...), answer: "*",
		logged: []string{"frame from the PBX dropped"}, deadline: time.Second,
	}, {
		name: "refused", hit: func(f *faulty) { f.relay.Down() }, mend: func(f *faulty) { f.relay.Up() },
		answer: "*", told: connection, logged: []string{"no link", "connection refused"}, deadline: time.Second, away: "cannot connect",
	},
}

// TestFaults lets the way to one PBX go wrong while clients use it and another one.
func TestFaults(t *testing.T) {
	pbxs := starts(t, asterisk.Options{Major: 22, Name: "east"}, asterisk.Options{Major: 16, Name: "west"})
	t.Run("each", func(t *testing.T) {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.run(t, pbxs[0], pbxs[1])
			})
		}
	})
}

// startFaulty runs a proxy that reaches the first of the PBXes by a relay.
func startFaulty(tb testing.TB, general string, east *asterisk.PBX, others ...*asterisk.PBX) *faulty {
	tb.Helper()
	waitSecond(tb, east)
	return startFaultyAt(tb, startRelay(tb, east.Addr()), general, east, others...)
}

// waitSecond waits until a PBX has run for a second. Whether one that is lost before
// was restarted is not certain.
func waitSecond(tb testing.TB, pbx *asterisk.PBX) {
	tb.Helper()
	eventually(tb, "a second of "+pbx.Name(), func() bool {
		out, err := pbx.CLI("core show uptime seconds")
		return err == nil && strings.Contains(out, "System uptime: ") && !strings.Contains(out, "System uptime: 0")
	})
}

func startFaultyAt(tb testing.TB, r *relay, general string, east *asterisk.PBX, others ...*asterisk.PBX) *faulty {
	tb.Helper()
	f := &faulty{relay: r}
	file := general
	for i, pbx := range append([]*asterisk.PBX{east}, others...) {
		addr := pbx.Addr()
		if i == 0 {
			addr = f.relay.addr
		}
		file += fmt.Sprintf("[pbx:%s]\n%s\nusername = %s\nsecret = %s\n", pbx.Name(), hostPort(addr), asterisk.ProxyUser, asterisk.ProxySecret)
	}
	f.proxied = startProxyFile(tb, file+"[many]\nsecret = pw\nread = all\nwrite = all\n")
	return f
}

func (f fault) run(t *testing.T, east, west *asterisk.PBX) {
	p := startFaulty(t, fmt.Sprintf("[general]\nactiontimeout = %d\n", cmp.Or(f.timeout, 30)), east, west)
	p.waitUp()
	watch, c := p.login(t, "many"), p.login(t, "many", "Events: off")
	watch.Roundtrip()
	var answered atomic.Int64
	stop, steady := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(steady)
		together(t, 1, func(tb testing.TB, i int) {
			useOther(tb, p.login(tb, "many", "Events: off"), "steady"+strings.ReplaceAll(f.name, " ", ""), &answered, stop)
		})
	}()
	defer func() { close(stop); <-steady }()
	goesOn := func(when string) {
		before := answered.Load()
		eventually(t, "answers of west "+when, func() bool { return answered.Load() >= before+10 })
	}
	goesOn("before")

	p.markLog()
	f.hit(p)
	start := time.Now()
	f.expectAnswers(t, c)
	if d := time.Since(start); d > f.deadline {
		t.Errorf("the answers took %v, want %v", d, f.deadline)
	}
	goesOn("meanwhile")
	var told []string
	if len(f.told) > 0 {
		told = readStates(watch, "Down")
		if f.away != "" {
			eventually(t, f.away, func() bool { return p.backend("east").State().Reason == f.away })
			if got := c.Do("Action: CoreStatus", "Server: east"); !amiclient.Has(got, "Message: Server east is not connected") {
				t.Errorf("while it is away: %q", got)
			}
		}
	}
	f.mend(p)
	mended := time.Now()
	if len(f.told) > 0 {
		told = append(told, readStates(watch, "FullyBooted")...)
		d := time.Since(mended)
		t.Logf("back after %v", d)
		if d > recovery {
			t.Errorf("back after %v, want %v", d, recovery)
		}
	} else {
		for _, frame := range watch.Roundtrip() {
			if name := amiclient.Header(frame, "Event"); name == "ProxyServerState" {
				t.Errorf("told %q", frame)
			}
		}
	}
	if !slices.Equal(told, f.told) {
		t.Errorf("told %q, want %q", told, f.told)
	}
	if f.logged != nil {
		p.waitLog("the fault", zapcore.WarnLevel, f.logged...)
	}
	if len(f.told) > 0 {
		p.waitLog("the loss", zapcore.WarnLevel, "PBX is down", "pbx:east", strings.TrimPrefix(f.told[0], "Down: "))
		p.waitLog("the way back", zapcore.InfoLevel, "PBX is up", "pbx:east", "restarted:no")
	} else if down := p.logged(zapcore.WarnLevel, "PBX is down"); down != "" {
		t.Errorf("logged %q", down)
	}
	eventually(t, "an answer of east", func() bool {
		return amiclient.Has(c.Do("Action: Getvar", "Variable: X", "Server: east"), "Response: Success", "Server: east")
	})
	goesOn("after")
	if n := p.backend("west").Stats().Losses.Load(); n != 0 {
		t.Errorf("%d links to west were lost", n)
	}
}

// expectAnswers pipelines actions to both PBXes: west answers all, at once and in order;
// so does east, or each gets its Error.
func (f fault) expectAnswers(t *testing.T, c *amiclient.Client) {
	t.Helper()
	var b strings.Builder
	const each = 6
	for i := range each {
		lines := [][]string{{"Action: QueueStatus"}, {"Action: Getvar", "Variable: X"}}[i%2]
		for _, server := range []string{"east", "west"} {
			b.WriteString(action(append(lines[:len(lines):len(lines)], fmt.Sprintf("ActionID: %s-%d", server, i), "Server: "+server)...))
		}
	}
	c.Write([]byte(b.String()))
	next := map[string]int{}
	var order []string
	for next["east"]+next["west"] < 2*each {
		answer := readAnswer(c)
		server, _, _ := strings.Cut(amiclient.Header(answer[0], "ActionID"), "-")
		if id := fmt.Sprintf("%s-%d", server, next[server]); !amiclient.Has(answer[0], "ActionID: "+id) {
			t.Fatalf("the answer to %s is due, got %q", id, answer)
		}
		next[server]++
		order = append(order, server)
		message := amiclient.Header(answer[0], "Message")
		switch failed := amiclient.Has(answer[0], "Response: Error"); {
		case !failed && (server == "west" || f.answer == ""):
			if last := answer[len(answer)-1]; len(answer) > 1 && !amiclient.Has(last, "EventList: Complete") {
				t.Errorf("half a list: %q", answer)
			}
		case server == "west" || !failed:
			t.Errorf("got %q", answer)
		case f.answer == "*" && isLoss(answer[0]), message == f.answer, isLoss(answer[0]) && next[server] > 1 && f.answer == lost:
		case next[server] > 1 && strings.HasPrefix(message, "Server east ") && f.answer != "": // it waited behind those that were sent
		default:
			t.Errorf("got %q, want %q", answer[0], f.answer)
		}
	}
	if f.deadline > 5*time.Second && f.answer != "" && !slices.Equal(order[:each], slices.Repeat([]string{"west"}, each)) {
		t.Errorf("west had to wait: %q", order)
	}
}

// readStates reads up to a state, or FullyBooted, of the PBX east, and returns all of
// these that came.
func readStates(c *amiclient.Client, last string) (told []string) {
	return readStatesOf(c, "east", last)
}

func readStatesOf(c *amiclient.Client, server, last string) (told []string) {
	for {
		f := c.ReadFrame()
		if amiclient.Header(f, "Server") != server {
			continue
		}
		switch name := amiclient.Header(f, "Event"); name {
		case "ProxyServerState":
			line := amiclient.Header(f, "State") + ": " + amiclient.Header(f, "Reason")
			if restarted := amiclient.Header(f, "Restarted"); restarted != "" {
				line += ", restarted: " + restarted
			}
			told = append(told, line)
			if amiclient.Header(f, "State") == last {
				return told
			}
		case "FullyBooted":
			told = append(told, name)
			if name == last {
				return told
			}
		}
	}
}

// TestPBXThatEnds stops a PBX, kills one and restarts one: the clients are told which it
// was, and that it is another run.
func TestPBXThatEnds(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			east := asterisk.Start(t, asterisk.Options{Major: major, Name: "east"})
			f := startFaulty(t, "", east, asterisk.Start(t, asterisk.Options{Major: 22, Name: "west"}))
			f.waitUp()
			watch := f.login(t, "many")
			watch.Roundtrip()
			end := func(how func()) (down string) {
				f.markLog()
				how()
				down = readStates(watch, "Down")[0]
				f.waitLog("the reason", zapcore.WarnLevel, "PBX is down", strings.TrimPrefix(down, "Down: "))
				eventually(t, "the end of east", func() bool { return east.Pid() == 0 })
				east.Start() // often within the same second as before
				told := readStates(watch, "FullyBooted")
				if want := []string{"Up: logged in, restarted: yes", "FullyBooted"}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
				f.waitLog("the other run", zapcore.InfoLevel, "PBX is up", "pbx:east", "restarted:yes")
				return down
			}
			if down := end(east.Kill); down != "Down: connection lost" {
				t.Errorf("killed, and told %q", down)
			}
			stopByCLI := func() { // Asterisk does not know the command until just after FullyBooted
				eventually(t, "the command to stop", func() bool {
					out, _ := east.CLI("core stop now")
					return !strings.Contains(out, "No such command")
				})
			}
			for _, stop := range []func(){east.Stop, stopByCLI} {
				// At times the event is not out when Asterisk closes the connections.
				down := ""
				for range 4 {
					if down = end(stop); down != "Down: connection lost" {
						break
					}
				}
				if down != "Down: PBX shuts down" {
					t.Errorf("stopped, and told %q", down)
				}
			}
		})
	}
}

// TestPBXOutOfSessions fills the sessions of a PBX, so that it takes no link, and makes
// room again.
func TestPBXOutOfSessions(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			east := asterisk.Start(t, asterisk.Options{Major: major, Name: "east", General: "authlimit = 5"})
			f := startFaulty(t, "", east, asterisk.Start(t, asterisk.Options{Major: 22, Name: "west"}))
			f.waitUp()
			watch, c := f.login(t, "many"), f.login(t, "many", "Events: off")
			watch.Roundtrip()
			var strangers []*amiclient.Client
			for range 5 {
				strangers = append(strangers, amiclient.Dial(t, east.Addr()))
			}
			f.relay.Reset()
			told := readStates(watch, "Down")
			f.waitLog("the reason", zapcore.WarnLevel, "no link", "authlimit")
			eventually(t, "login failed", func() bool { return f.backend("east").State().Reason == "login failed" })
			if got := c.Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(got, "Response: Error", "Message: Server east is not connected") {
				t.Errorf("%q", got)
			}
			for _, stranger := range strangers {
				stranger.Close()
			}
			start := time.Now()
			told = append(told, readStates(watch, "FullyBooted")...)
			if d := time.Since(start); d > recovery {
				t.Errorf("back after %v", d)
			}
			if !slices.Equal(told, connection) {
				t.Errorf("told %q, want %q", told, connection)
			}
		})
	}
}

// TestUnreachableAtStart starts the proxy while the way to a PBX is closed.
func TestUnreachableAtStart(t *testing.T) {
	pbxs := starts(t, asterisk.Options{Major: 22, Name: "east"}, asterisk.Options{Major: 16, Name: "west"})
	for _, how := range []string{"refused", "black hole"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := startRelay(t, pbxs[0].Addr())
			hit, mend, reason, why := r.Hold, r.Release, "login failed", "no greeting: i/o timeout"
			if how == "refused" {
				hit, mend, reason, why = r.Down, r.Up, "cannot connect", "connection refused"
			}
			hit()
			f := startFaultyAt(t, r, "", pbxs[0], pbxs[1])
			eventually(t, "west", f.backend("west").Up)
			watch, c := f.login(t, "many"), f.login(t, "many", "Events: off")
			eventually(t, reason, func() bool { return f.backend("east").State().Reason == reason })
			f.waitLog("why", zapcore.WarnLevel, "no link", "pbx:east", why)
			if got := c.Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(got, "Message: Server east is not connected") {
				t.Errorf("%q", got)
			}
			if got := c.Do("Action: Getvar", "Variable: X", "Server: west"); !amiclient.Has(got, "Response: Success") {
				t.Errorf("%q", got)
			}
			mend()
			start := time.Now()
			if told := readStates(watch, "FullyBooted"); !slices.Equal(told, []string{"Up: logged in", "FullyBooted"}) {
				t.Errorf("told %q", told)
			}
			if d := time.Since(start); d > recovery {
				t.Errorf("there after %v", d)
			}
		})
	}
}
