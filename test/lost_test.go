//go:build unix

package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const lostUsers = `
[many]
secret = pw
read = system,call,agent,user,dialplan,dtmf,reporting,cdr
write = all
[eastonly]
secret = pw
read = system,call,agent,user,dialplan,dtmf,reporting,cdr
write = all
pbx = east
[westonly]
secret = pw
read = system,call,agent,user,dialplan,dtmf,reporting,cdr
write = all
pbx = west
`

// TestPBXIsLost kills a PBX, or stops it, while actions are pending on it, and starts it
// again.
func TestPBXIsLost(t *testing.T) {
	for _, major := range []int{16, 22} {
		for _, how := range []loss{frozen, killed, stopped} {
			t.Run(fmt.Sprintf("%d %s", major, how), func(t *testing.T) { losePBX(t, major, how) })
		}
	}
}

// TestPBXFallsSilent stops the process of a PBX, whose kernel goes on to answer TCP, and
// lets it run again: its pending actions are answered long before their own deadlines.
func TestPBXFallsSilent(t *testing.T) {
	pbxs := starts(t, asterisk.Options{Major: 22, Name: "east", Extensions: ringing})
	east := pbxs[0]
	p := startProxy(t, "[many]\nsecret = pw\nread = all\nwrite = all\n", pbxs...)
	p.waitUp()
	watch, c := p.login(t, "many"), p.login(t, "many", "Events: off")
	direct := loginDirect(t, east)
	c.Send(append(ring[:len(ring):len(ring)], "ActionID: call")...)
	waitRinging(t, direct, 1)
	direct.Close()
	east.Suspend()
	waitSuspended(t, east)
	watch.Expect("Event: ProxyServerState", "State: Down", "Server: east")
	c.ExpectNext("Response: Error", "ActionID: call", "Message: Server east was lost before it answered")
	east.Resume()
	watch.Expect("Event: ProxyServerState", "State: Up", "Server: east")
	eventually(t, "an answer of east", func() bool {
		return amiclient.Has(c.Do("Action: Getvar", "Variable: X"), "Response: Success")
	})
}

// A loss is how a PBX ends.
type loss string

const (
	frozen  loss = "frozen"  // SIGKILL after a while in which it did not answer.
	killed  loss = "killed"  // SIGKILL in the midst of its work.
	stopped loss = "stopped" // SIGTERM in the midst of its work.
)

// losePBX loses the PBX east; the PBX west stays.
func losePBX(t *testing.T, major int, how loss) {
	pbxs := starts(t,
		asterisk.Options{Major: major, Name: "east", Extensions: ringing},
		asterisk.Options{Major: 38 - major, Name: "west"})
	east, west := pbxs[0], pbxs[1]
	p := startProxy(t, lostUsers, pbxs...)
	p.waitUp()

	watch := map[string]*amiclient.Client{}
	for _, user := range []string{"many", "eastonly", "westonly"} {
		watch[user] = p.login(t, user)
	}
	// Somebody who uses the other PBX all the time.
	var answered atomic.Int64
	stop, steady := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(steady)
		together(t, 2, func(tb testing.TB, i int) {
			user := []string{"many", "westonly"}[i]
			useOther(tb, p.login(tb, user, "Events: off"), user, &answered, stop)
		})
	}()
	defer func() { close(stop); <-steady }()
	goesOn := func(when string) {
		t.Helper()
		before := answered.Load()
		eventually(t, "answers of the other PBX "+when, func() bool { return answered.Load() >= before+50 })
	}
	goesOn("at first")

	// Synchronous Originates, of which one has to wait, and bursts.
	var pending []*waiting
	add := func(user string, actions ...[]string) *waiting {
		w := &waiting{Client: p.login(t, user, "Events: off"), user: user, want: len(actions)}
		var b bytes.Buffer
		for i, lines := range actions {
			lines = append(lines[:len(lines):len(lines)], "ActionID: "+strconv.Itoa(i))
			if user == "many" {
				lines = append(lines, "Server: east")
			}
			b.WriteString(action(lines...))
		}
		w.Write(b.Bytes())
		pending = append(pending, w)
		return w
	}
	direct := loginDirect(t, east)
	add("eastonly", ring, []string{"Action: Getvar", "Variable: X"})
	add("many", ring, []string{"Action: CoreShowChannels"})
	add("many", ring)
	waitRinging(t, direct, 2)
	if how == frozen {
		east.Suspend()
		waitSuspended(t, east) // What comes now is pending for sure.
		burst := [][]string{{"Action: QueueStatus"}, {"Action: CoreShowChannels"}, {"Action: Getvar", "Variable: X"}, {"Action: QueueRule"}, {"Action: CoreStatus"}}
		for len(burst) < 30 {
			burst = append(burst, burst...)
		}
		add("eastonly", burst[:30]...)
		add("many", burst[:30]...)
		add("many", burst[:2]...)
	}
	total := 0
	for _, w := range pending {
		total += w.want
	}
	eventually(t, "all actions to be pending", func() bool { return p.backend("east").Pending() >= total })
	// Those who are in the midst of something, for which there is no need to wait.
	var streamers []*streamer
	streamed := make(chan struct{})
	for _, user := range []string{"eastonly", "many", "eastonly"} {
		if how != frozen {
			streamers = append(streamers, &streamer{Client: p.login(t, user, "Events: off"), user: user})
		}
	}
	go func() {
		defer close(streamed)
		together(t, len(streamers), func(tb testing.TB, i int) { streamers[i].run(tb) })
	}()
	for _, s := range streamers {
		eventually(t, "somebody to be in the midst of something", func() bool { return s.answered.Load() > 100 })
	}
	if how == stopped {
		east.Stop()
	} else {
		east.Kill()
	}

	for _, w := range pending {
		w.expectErrors(t, how)
	}
	<-streamed
	for _, user := range []string{"many", "eastonly"} {
		down := watch[user].Expect("Event: ProxyServerState", "Privilege: system,all", "State: Down", "Server: east")
		if amiclient.Header(down, "Reason") == "" || amiclient.Header(down, "Since") == "" {
			t.Errorf("%s was told %q", user, down)
		}
	}
	goesOn("while one is away")

	late := p.login(t, "many")
	if booted := late.Roundtrip(); len(booted) == 0 || !amiclient.Has(booted[0], "Event: FullyBooted", "Server: west") || countEvents(booted, "FullyBooted") != 1 {
		t.Errorf("a login while east is away was followed by %q", booted)
	}
	lateEast := p.login(t, "eastonly")
	lateEast.ExpectNothing()
	for _, f := range []amiclient.Frame{lateEast.Do("Action: Getvar", "Variable: X"), late.Do("Action: Getvar", "Variable: X", "Server: east")} {
		if !amiclient.Has(f, "Response: Error", "Message: Server east is not connected") {
			t.Errorf("an action while east is away was answered %q", f)
		}
	}

	east.Start()
	for _, c := range []*amiclient.Client{watch["many"], watch["eastonly"], late, lateEast} {
		up := c.Expect("Event: ProxyServerState", "State: Up", "Server: east")
		from, to := amiclient.Header(up, "EventsLostFrom"), amiclient.Header(up, "EventsLostTo")
		if a, b := number(from), number(to); a == 0 || b < a {
			t.Errorf("events were lost from %q to %q", from, to)
		}
		booted := c.Expect("Event: FullyBooted")
		if !strings.Contains(string(booted), "\r\nStatus: Fully Booted\r\n") || number(amiclient.Header(booted, "Uptime")) > 60 {
			t.Errorf("FullyBooted is %q", booted)
		}
		if server := amiclient.Header(booted, "Server"); server != "east" && (c == late || c == watch["many"]) || server != "" && c == lateEast {
			t.Errorf("FullyBooted is of %q", server)
		}
	}
	// Nothing but the PBX's own doing.
	loginDirect(t, east).Do("Action: UserEvent", "UserEvent: Again", "Key: value")
	for _, c := range []*amiclient.Client{watch["many"], watch["eastonly"], late, lateEast} {
		c.Expect("Event: UserEvent", "UserEvent: Again", "Key: value")
	}
	if f := watch["many"].Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(f, "Response: Success", "Server: east") {
		t.Errorf("an action after east came back was answered %q", f)
	}
	loginDirect(t, west).Do("Action: UserEvent", "UserEvent: Marker")
	told := watch["westonly"].ReadUntil(func(f amiclient.Frame) bool { return amiclient.Has(f, "UserEvent: Marker") })
	if n := countEvents(told, "ProxyServerState"); n != 0 {
		t.Errorf("who does not see east was told %d states", n)
	}
	// The one at login.
	if n := countEvents(told, "FullyBooted"); n != 1 {
		t.Errorf("who does not see east got %d FullyBooted", n)
	}
	if n := p.backend("west").Stats().Losses.Load(); n != 0 {
		t.Errorf("%d links to west were lost", n)
	}
}

// waitSuspended waits until no thread of the PBX runs any more: a signal takes its time.
func waitSuspended(t *testing.T, pbx *asterisk.PBX) {
	t.Helper()
	eventually(t, "all threads of "+pbx.Name()+" to stop", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pbx.Pid()))
		for _, name := range threads {
			if stat, err := os.ReadFile(name); err == nil && !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return len(threads) > 0
	})
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func countEvents(frames []amiclient.Frame, name string) int {
	n := 0
	for _, f := range frames {
		if strings.HasPrefix(string(f), "Event: "+name+"\r\n") {
			n++
		}
	}
	return n
}

// useOther sends actions to the PBX west, one after the other, until told to stop.
func useOther(tb testing.TB, c *amiclient.Client, name string, answered *atomic.Int64, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		value := fmt.Sprintf("%s-%d", name, n)
		for _, f := range []amiclient.Frame{
			c.Do("Action: Setvar", "Variable: "+name, "Value: "+value, "Server: west"),
			c.List("Action: QueueStatus", "Server: west")[0],
			c.Do("Action: Getvar", "Variable: "+name, "Server: west"),
		} {
			if !amiclient.Has(f, "Response: Success") {
				tb.Fatalf("the other PBX answered %q", f)
			}
			if amiclient.Header(f, "Variable") != "" && !amiclient.Has(f, "Value: "+value) {
				tb.Fatalf("the other PBX answered %q, want %s", f, value)
			}
		}
		answered.Add(1)
	}
}

// waiting is a client whose actions are pending.
type waiting struct {
	*amiclient.Client
	user string
	want int
}

// expectErrors reads the answers: to each action exactly one, which is an Error. A PBX
// that was stopped may have answered itself.
func (w *waiting) expectErrors(t *testing.T, how loss) {
	t.Helper()
	got := map[string]bool{}
	for len(got) < w.want {
		f := readAnswer(w.Client)[0]
		id := amiclient.Header(f, "ActionID")
		if n, err := strconv.Atoi(id); err != nil || n >= w.want || got[id] {
			t.Fatalf("%s: %q is an answer to nothing, or a second one", w.user, f)
		}
		got[id] = true
		if !isLoss(f) && how != stopped {
			t.Errorf("%s: the answer of a PBX that is gone is %q", w.user, f)
		}
	}
	w.ExpectNothing()
}

// isLoss reports whether a response is the proxy's for a PBX that is gone.
func isLoss(f amiclient.Frame) bool {
	return amiclient.Has(f, "Response: Error", "Message: Server east was lost before it answered") ||
		amiclient.Has(f, "Response: Error", "Message: Server east is not connected")
}

// readAnswer reads a response and, if there is one, the list behind it.
func readAnswer(c *amiclient.Client) []amiclient.Frame {
	answer := c.ReadUntil(func(amiclient.Frame) bool { return true })
	if amiclient.Has(answer[0], "EventList: start") {
		answer = append(answer, c.ReadUntil(func(f amiclient.Frame) bool {
			return !strings.HasPrefix(string(f), "Event: ") || amiclient.Has(f, "EventList: Complete")
		})...)
	}
	return answer
}

// A streamer sends actions to the PBX east until that is gone.
type streamer struct {
	*amiclient.Client
	user     string
	answered atomic.Int64
}

func (s *streamer) run(tb testing.TB) {
	kinds := []string{"Action: QueueStatus", "Action: CoreShowChannels", "Action: Getvar\r\nVariable: X", "Action: DeviceStateList", "Action: QueueSummary"}
	sent, gone := 0, false
	for !gone {
		var b bytes.Buffer
		first := sent
		for range 20 {
			sent++
			b.WriteString(action(kinds[sent%len(kinds)], "ActionID: "+strconv.Itoa(sent), "Server: east"))
		}
		s.Write(b.Bytes())
		for n := first + 1; n <= sent; n++ {
			answer := readAnswer(s.Client)
			if id := strconv.Itoa(n); !strings.HasPrefix(string(answer[0]), "Response: ") || amiclient.Header(answer[0], "ActionID") != id {
				tb.Fatalf("%s: the answer to %s is due, got %q", s.user, id, answer)
			}
			if last := answer[len(answer)-1]; len(answer) > 1 && !amiclient.Has(last, "EventList: Complete") {
				tb.Fatalf("%s: half a list, then %q", s.user, last)
			}
			if isLoss(answer[0]) {
				gone = true
			} else if !amiclient.Has(answer[0], "Response: Success") && !amiclient.Has(answer[0], "Message: Asterisk is shutting down") {
				tb.Fatalf("%s: the answer to %d is %q", s.user, n, answer[0])
			}
			s.answered.Add(1)
		}
	}
	for _, f := range s.Roundtrip() {
		tb.Errorf("%s: after all answers came %q", s.user, f)
	}
}

// TestProxyIsThereFirst starts the proxy before its PBXes run, or while they boot.
func TestProxyIsThereFirst(t *testing.T) {
	for _, booting := range []bool{false, true} {
		t.Run(map[bool]string{false: "not running", true: "booting"}[booting], func(t *testing.T) {
			var pbxs []*asterisk.PBX
			for _, o := range []asterisk.Options{
				{Major: 16, Name: "east", Users: differentialUsers},
				{Major: 22, Name: "west", Users: differentialUsers},
			} {
				if booting {
					pbxs = append(pbxs, asterisk.StartNoWait(t, o))
				} else {
					pbxs = append(pbxs, asterisk.New(t, o))
				}
			}
			p := startProxy(t, "[general]\nhardening = no\n"+lostUsers+"[eastcaller]\nsecret = pw\nread = call\nwrite = call\npbx = east\n"+
				"[westcaller]\nsecret = pw\nread = call\nwrite = call\npbx = west\n", pbxs...)
			clients := map[string]*amiclient.Client{}
			for _, user := range []string{"many", "eastonly", "westonly"} {
				clients[user] = p.login(t, user)
			}
			if !booting {
				for _, c := range clients {
					c.ExpectNothing()
				}
				if f := clients["many"].Do("Action: Getvar", "Server: west"); !amiclient.Has(f, "Response: Error", "Message: Server west is not connected") {
					t.Errorf("a PBX that was never there answered %q", f)
				}
				for _, pbx := range pbxs {
					pbx.StartNoWait()
				}
			}
			waitBooted := func(c *amiclient.Client, n int) {
				t.Helper()
				c.ReadUntil(func(f amiclient.Frame) bool {
					n -= countEvents([]amiclient.Frame{f}, "FullyBooted")
					return n == 0
				})
			}
			waitBooted(clients["many"], 2)
			waitBooted(clients["eastonly"], 1)
			waitBooted(clients["westonly"], 1)
			for _, pbx := range pbxs {
				pbx.WaitReady()
				loginDirect(t, pbx).Do("Action: UserEvent", "UserEvent: Ready", "Name: "+pbx.Name())
				for _, user := range []string{"many", pbx.Name() + "only"} {
					clients[user].Expect("Event: UserEvent", "UserEvent: Ready", "Name: "+pbx.Name())
				}
				for proxyUser, user := range map[string]string{pbx.Name() + "only": "full", pbx.Name() + "caller": "limited"} {
					list := func(user, addr string) string {
						return new(stage).play(addr, raw("", logIn(user)+action("Action: ListCommands", "ActionID: 1")+goodbye)).text
					}
					want := list(user, pbx.Addr())
					var got string
					eventually(t, "all actions of "+pbx.Name(), func() bool {
						got = list(proxyUser, p.addr)
						// Before both have been there, the proxy's greeting is another.
						return strings.HasSuffix(got, want[strings.Index(want, "\r\n"):])
					})
				}
			}
			if n := clients["many"].Do("Action: ListCommands"); !strings.Contains(string(n), "PJSIPShowEndpoints:") {
				t.Errorf("who sees both may do %q", n)
			}
		})
	}
}
