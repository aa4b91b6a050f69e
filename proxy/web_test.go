package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// webClient is a session by HTTP without the HTTP.
type webClient struct {
	tb testing.TB
	*WebSession
	ended chan struct{}
}

var somewhere = netip.MustParseAddrPort("192.0.2.1:40000")

func openWeb(tb testing.TB, srv *Server, timeout time.Duration) *webClient {
	tb.Helper()
	c := &webClient{tb: tb, ended: make(chan struct{})}
	var err error
	c.WebSession, err = srv.OpenWeb(WebOptions{Remote: somewhere, Timeout: timeout, Ended: func() { close(c.ended) }})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// web opens a session and logs in as a user whose secret is its name with -secret.
func (w *world) web(user string, extra ...string) *webClient {
	w.tb.Helper()
	c := openWeb(w.tb, w.srv, time.Minute)
	c.login(user, extra...)
	return c
}

func (c *webClient) login(user string, extra ...string) {
	c.tb.Helper()
	lines := append([]string{"Action: Login", "Username: " + user, "Secret: " + user + "-secret"}, extra...)
	if got := c.ask(lines...); !strings.HasPrefix(got, "Response: Success\r\nMessage: Authentication accepted\r\n\r\n") {
		c.tb.Fatalf("login: got %q", got)
	}
}

// ask runs an action to its answer.
func (c *webClient) ask(lines ...string) string {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	answer, err := c.Do(ctx, ami.NewAction(lines...))
	if err != nil {
		c.tb.Errorf("%q: %v", lines, err)
		return ""
	}
	defer answer.Close()
	return string(answer.Frames)
}

// start runs an action beside others.
func (c *webClient) start(lines ...string) (answer chan string) {
	answer = make(chan string, 1)
	go func() { answer <- c.ask(lines...) }()
	return answer
}

func (c *webClient) want(want string, lines ...string) {
	c.tb.Helper()
	if got := c.ask(lines...); got != want {
		c.tb.Fatalf("%q: got  %q\nwant %q", lines, got, want)
	}
}

// awaitWaiting waits until a WaitEvent waits.
func (c *webClient) awaitWaiting() {
	c.tb.Helper()
	eventually(c.tb, "a WaitEvent waits", func() bool {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return c.waiting != nil
	})
}

func (c *webClient) awaitOver() {
	c.tb.Helper()
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		c.tb.Fatal("the session does not end")
	}
	if _, err := c.Do(context.Background(), ami.NewAction("Action: Ping")); !errors.Is(err, ErrSessionOver) {
		c.tb.Errorf("got %v of a session that is over", err)
	}
}

// awaitKept waits until the session has kept so many events, or lost them.
func (c *webClient) awaitKept(n int) {
	c.tb.Helper()
	eventually(c.tb, fmt.Sprintf("%d events are kept", n), func() bool {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return len(c.kept)+c.lost == n
	})
}

const webWaited = "Response: Success\r\nMessage: Waiting for Event completed.\r\n\r\n"
const webCompleted = "Event: WaitEventComplete\r\n\r\n"

func TestWebActions(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	c := openWeb(t, w.srv, time.Minute)
	c.want("Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n", "Action: Ping", "ActionID: 1")
	c.want("Response: Error\r\nMessage: Missing action in request\r\n\r\n")
	c.login("full", "Events: off")
	if got := c.ask("Action: Ping", "ActionID: 2"); !strings.HasPrefix(got, "Response: Success\r\nActionID: 2\r\nPing: Pong\r\nTimestamp: ") {
		t.Errorf("got %q", got)
	}
	c.want("Response: Success\r\nVariable: x\r\nValue: \r\nServer: west\r\n\r\n", "Action: Getvar", "Variable: x", "Server: west")
	c.want("Response: Error\r\nMessage: No such server: north\r\n\r\n", "Action: Getvar", "Variable: x", "Server: north")
	list := c.ask("Action: CoreShowChannels", "ActionID: 3")
	if !strings.HasPrefix(list, "Response: Success\r\nActionID: 3\r\nEventList: start\r\n") || !strings.HasSuffix(list, "ListItems: 0\r\n\r\n") {
		t.Errorf("got %q", list)
	}
	if got := c.ask("Action: ListCommands"); !strings.Contains(got, "WaitEvent: ") {
		t.Errorf("got %q", got)
	}
	c.want("Response: Success\r\nMessage: Already authenticated\r\n\r\n", "Action: Login", "Username: nobody")
	c.want("Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n", "Action: Logoff")
	c.awaitOver()
	w.awaitReason(reasonLogoff)
	w.awaitSessions(0)
}

// An answer does not wait for others, and comes to who asked for it.
func TestWebActionsBesideEachOther(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.web("full", "Events: off")
	open := w.block("east", "Command")
	slow := c.start("Action: Command", "Command: x")
	w.await("east", "Command")
	waits := c.start("Action: WaitEvent")
	c.awaitWaiting()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := fmt.Sprint("ActionID: ", i)
			if got := c.ask("Action: MailboxStatus", "Mailbox: 1", id); !strings.Contains(got, id+"\r\n") {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
	open()
	if got := <-slow; !strings.HasPrefix(got, "Response: Success\r\nMessage: Command") {
		t.Errorf("got %q", got)
	}
	w.sims["east"].Event("One", ami.ClassCall)
	if got, want := <-waits, webWaited+frameText("One", ami.ClassCall)+webCompleted; got != want {
		t.Errorf("got %q", got)
	}
}

// Events are kept from the login on, for WaitEvent and for no other action.
func TestWebWaitEvent(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call,agent\nwrite = all\neventfilter = !Event: Filtered\n"})
	c := w.web("u")
	for _, e := range []string{"One", "Filtered", "Two"} {
		w.sims["east"].Event(e, ami.ClassCall)
	}
	w.sims["east"].Event("NoRight", ami.ClassSystem)
	w.sims["east"].Event("Three", ami.ClassAgent)
	c.awaitKept(3)
	if got := c.ask("Action: Ping"); strings.Contains(got, "Event:") {
		t.Errorf("got %q", got)
	}
	c.want("Response: Success\r\nEvents: On\r\n\r\n", "Action: Events", "EventMask: call")
	one, two := frameText("One", ami.ClassCall), frameText("Two", ami.ClassCall)
	c.want(webWaited+one+two+webCompleted, "Action: WaitEvent")
	c.want(webWaited+webCompleted, "Action: WaitEvent", "Timeout: 0")

	// One under way ends with the first that the session may see.
	waits := c.start("Action: WaitEvent", "ActionID: w")
	c.awaitWaiting()
	w.sims["east"].Event("Filtered", ami.ClassCall)
	w.sims["east"].Event("NotInMask", ami.ClassAgent)
	w.sims["east"].Event("Two", ami.ClassCall)
	if got := <-waits; got != waited+two+completed {
		t.Errorf("got %q", got)
	}
}

// A newer one takes the place of an older one, which gets nothing; each event
// comes once.
func TestWebWaitEventSuperseded(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.web("full", "Events: call")
	older := c.start("Action: WaitEvent")
	c.awaitWaiting()
	newer := c.start("Action: WaitEvent", "ActionID: w")
	if got := <-older; got != "" {
		t.Errorf("the older one got %q", got)
	}
	w.sims["east"].Event("One", ami.ClassCall)
	if got := <-newer; got != waited+frameText("One", ami.ClassCall)+completed {
		t.Errorf("the newer one got %q", got)
	}
}

// Events that were not delivered to a client that left are for its next request.
func TestWebWaitEventOfAClientThatLeaves(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.web("full", "Events: call")
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		_, err := c.Do(ctx, ami.NewAction("Action: WaitEvent"))
		left <- err
	}()
	c.awaitWaiting()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.sims["east"].Event("One", ami.ClassCall)
	c.want(webWaited+frameText("One", ami.ClassCall)+webCompleted, "Action: WaitEvent")
}

// A client that has events off and waits for them has them on.
func TestWebWaitEventTurnsEventsOn(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call\n"})
	c := w.web("u", "Events: off")
	waits := c.start("Action: WaitEvent")
	c.awaitWaiting()
	w.sims["east"].Event("NoRight", ami.ClassSystem)
	w.sims["east"].Event("One", ami.ClassCall)
	if got := <-waits; got != webWaited+frameText("One", ami.ClassCall)+webCompleted {
		t.Errorf("got %q", got)
	}
}

// The oldest events are lost, and the client is told how many.
func TestWebEventsLost(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call\nqueuelimit = 64K\n"})
	c := w.web("u")
	for i := range 5 {
		w.sims["east"].Event(fmt.Sprint("Big", i), ami.ClassCall, "Data", strings.Repeat("x", 20<<10))
	}
	c.awaitKept(5)
	got := c.ask("Action: WaitEvent")
	if want := webWaited + "Event: ProxyEventsLost\r\nPrivilege: system,all\r\nCount: 2\r\n\r\nEvent: Big2\r\n"; !strings.HasPrefix(got, want) || strings.Count(got, "Event: Big") != 3 {
		t.Errorf("got %.300q", got)
	}
	w.sims["east"].Event("TooBig", ami.ClassCall, "Data", strings.Repeat("x", 70<<10))
	c.awaitKept(1)
	c.want(webWaited+"Event: ProxyEventsLost\r\nPrivilege: system,all\r\nCount: 1\r\n\r\n"+webCompleted, "Action: WaitEvent")
	if n := w.srv.total.Used(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// Answers count until the client has them, and more than answerlimit ends the
// session.
func TestWebAnswersCount(t *testing.T) {
	w := newWorld(t, setup{general: "answerlimit = 1M"})
	c := w.web("full", "Events: off")
	answer, err := c.Do(context.Background(), ami.NewAction("Action: ListCommands"))
	if err != nil {
		t.Fatal(err)
	}
	if n := w.srv.total.Used(); n != int64(len(answer.Frames)) {
		t.Errorf("%d bytes count, want %d", n, len(answer.Frames))
	}
	answer.Count(1000)
	if n := w.srv.total.Used(); n != int64(len(answer.Frames))+1000 {
		t.Errorf("%d bytes count", n)
	}
	answer.Close()
	if n := w.srv.total.Used(); n != 0 {
		t.Errorf("%d bytes count after all", n)
	}
	answer, err = c.Do(context.Background(), ami.NewAction("Action: Ping"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Count(1 << 20)
	<-c.Cut()
	answer.Close()
	c.awaitOver()
	w.awaitReason(reasonAnswerLimit)
}

// Who ends a session ends what waits in it.
func TestWebEnds(t *testing.T) {
	for name, end := range map[string]struct {
		do  func(w *world, c *webClient)
		why reason
		cut bool // else the WaitEvent is answered
	}{
		"kicked": {func(w *world, c *webClient) {
			op := w.login("operator")
			op.Send("Action: ProxyKick", "Username: u")
			op.Roundtrip()
		}, reasonKicked, true},
		"user removed": {func(w *world, c *webClient) {
			w.write("[operator]\nsecret = operator-secret\n", "east")
			if err := w.srv.Reload(); err != nil {
				t.Error(err)
			}
		}, reasonUserRemoved, true},
		"logoff":   {func(w *world, c *webClient) { c.ask("Action: Logoff") }, reasonLogoff, false},
		"shutdown": {func(w *world, c *webClient) { go w.srv.Shutdown(20 * time.Second) }, reasonShutdown, false},
		"PBX lost": {func(w *world, c *webClient) { w.take("east") }, reasonPBXLost, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call\nwrite = call\npbxlost = close\n[operator]\nsecret = operator-secret\nproxyadmin = yes\n"})
			c := w.web("u")
			got := make(chan error)
			go func() {
				answer, err := c.Do(context.Background(), ami.NewAction("Action: WaitEvent"))
				if err == nil {
					if string(answer.Frames) != webWaited+webCompleted {
						t.Errorf("got %q", answer.Frames)
					}
					answer.Close()
				}
				got <- err
			}()
			c.awaitWaiting()
			end.do(w, c)
			if err := <-got; errors.Is(err, ErrSessionCut) != end.cut {
				t.Errorf("got %v", err)
			}
			c.awaitOver()
			w.awaitReason(end.why)
		})
	}
}

// A session that is opened as the server shuts down ends with it, or is not opened.
func TestWebOpensAtShutdown(t *testing.T) {
	for range 100 {
		srv := pipeServer(t, "", standardUsers)
		var opening sync.WaitGroup
		for range 20 {
			opening.Go(func() {
				ended := make(chan struct{})
				_, err := srv.OpenWeb(WebOptions{Remote: somewhere, Timeout: time.Minute, Ended: func() { close(ended) }})
				if err == nil {
					<-ended
				} else if !errors.Is(err, errClosing) {
					t.Error(err)
				}
			})
		}
		srv.Shutdown(time.Minute)
		opening.Wait()
	}
}

// Rights that a reload takes are gone at once, also for what is kept.
func TestWebReload(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = call,agent\nwrite = call\n"})
	c := w.web("u")
	w.sims["east"].Event("One", ami.ClassCall)
	w.sims["east"].Event("Two", ami.ClassAgent)
	c.awaitKept(2)
	w.write("[u]\nsecret = u-secret\nread = agent\n", "east")
	if err := w.srv.Reload(); err != nil {
		t.Fatal(err)
	}
	c.want(webWaited+frameText("Two", ami.ClassAgent)+webCompleted, "Action: WaitEvent")
	c.want("Response: Error\r\nMessage: Permission denied\r\n\r\n", "Action: Hangup", "Channel: x")
}

// A session by HTTP is in the books like any other, and no stranger by HTTP
// takes the place of one by TCP.
func TestWebInTheBooks(t *testing.T) {
	w := newWorld(t, setup{general: "authlimit = 1", users: "[once]\nsecret = once-secret\nallowmultiplelogin = no\n[operator]\nsecret = operator-secret\nproxyadmin = yes\n"})
	strangers := []*webClient{openWeb(t, w.srv, time.Minute), openWeb(t, w.srv, time.Minute)}
	c := w.web("once")
	op := w.login("operator")
	op.Send("Action: ProxyStatus")
	op.ReadFrame()
	if f := op.ReadFrame(); amiclient.Header(f, "Sessions") != "2" || amiclient.Header(f, "Unauthenticated") != "2" {
		t.Errorf("got %q", f)
	}
	op.Roundtrip()
	op.Send("Action: ProxySessions")
	op.Expect("Username: once", "Transport: HTTP")
	op.Roundtrip()
	if got := strangers[0].ask("Action: Login", "Username: once", "Secret: once-secret"); got != "Response: Error\r\nMessage: Login Already In Use\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	strangers[0].awaitOver()
	answer, err := c.Do(t.Context(), ami.NewAction("Action: Logoff"))
	if err != nil {
		t.Fatal(err)
	}
	strangers[1].login("once") // as soon as the client has the answer
	answer.Close()
	w.awaitSessions(2)
}

// Session ends a while after its last request, and never while one is under way.
func TestWebTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipeServer(t, "", standardUsers)
		timeIt := func(what string, want time.Duration, f func()) {
			t.Helper()
			start := time.Now()
			f()
			if took := time.Since(start); took != want {
				t.Errorf("%s: it took %v, want %v", what, took, want)
			}
		}
		stranger := openWeb(t, srv, time.Minute)
		timeIt("stranger", strangerTimeout, func() { <-stranger.ended })
		c := openWeb(t, srv, 20*time.Second)
		timeIt("refused login", refusalDelay, func() {
			d := openWeb(t, srv, 20*time.Second)
			d.want("Response: Error\r\nMessage: Authentication failed\r\n\r\n", "Action: Login", "Username: full", "Secret: wrong")
			<-d.ended
		})
		c.login("full", "Events: off")
		// A WaitEvent ends ten seconds before the session would.
		timeIt("WaitEvent", 10*time.Second, func() { c.want(webWaited+webCompleted, "Action: WaitEvent") })
		timeIt("short WaitEvent", 3*time.Second, func() { c.want(webWaited+webCompleted, "Action: WaitEvent", "Timeout: 3") })
		time.Sleep(7 * time.Second)
		timeIt("WaitEvent after a while", 3*time.Second, func() { c.want(webWaited+webCompleted, "Action: WaitEvent", "Timeout: 15") })
		time.Sleep(12 * time.Second)
		timeIt("WaitEvent after a long while", 0, func() { c.want(webWaited+webCompleted, "Action: WaitEvent", "Timeout: 15") })
		timeIt("the end", 20*time.Second, func() { <-c.ended })
		synctest.Wait()
		if _, err := c.Do(t.Context(), ami.NewAction("Action: Ping")); !errors.Is(err, ErrSessionOver) {
			t.Errorf("got %v", err)
		}
	})
}

// The address counts for the rights of a user, and a stranger has to stay where
// it came from.
func TestWebAddresses(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\ndeny = 0.0.0.0/0\npermit = 192.0.2.0/24\n"})
	c := openWeb(t, w.srv, time.Minute)
	near, far := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.1")
	if c.Admits(near) || !c.Admits(somewhere.Addr()) {
		t.Error("a stranger")
	}
	c.login("u")
	if !c.Admits(near) || c.Admits(far) {
		t.Error("a user")
	}
}

// Whatever comes at the same time, every event comes once and in order.
func TestWebEventsOnceAndInOrder(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.web("full", "Events: call")
	const events = 500
	go func() {
		for i := range events {
			w.sims["east"].Event("E", ami.ClassCall, "N", fmt.Sprint(i))
		}
	}()
	var got strings.Builder
	for strings.Count(got.String(), "Event: E\r\n") < events {
		got.WriteString(c.ask("Action: WaitEvent"))
	}
	next := 0
	for f := range ami.Frames([]byte(got.String())) {
		if string(f.Event()) == "E" {
			if n, _ := f.Get("N"); string(n) != fmt.Sprint(next) {
				t.Fatalf("got event %s, want %d", n, next)
			}
			next++
		}
	}
}

// TestWebMemory holds an idle session to its 16 KiB.
func TestWebMemory(t *testing.T) {
	w := newWorld(t, setup{sim: map[string]simpbx.Options{}})
	const sessions = 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	all := make([]*webClient, sessions)
	for i := range all {
		all[i] = w.web("full", "Events: off")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / sessions
	t.Logf("%d bytes a session", each)
	if each > 16<<10 {
		t.Errorf("%d bytes a session", each)
	}
	if n := runtime.NumGoroutine() - goroutines; n > 10 {
		t.Errorf("%d goroutines for %d sessions", n, sessions)
	}
	runtime.KeepAlive(all)
}
