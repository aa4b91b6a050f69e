package backend

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "upstream-secret" // of simpbx's own user
	// patience is how long a test waits for what has to come; most of it is
	// spent in bubbles, where it costs nothing.
	patience = 3 * time.Minute
)

// world is a backend and the PBX it talks to.
type world struct {
	t    *testing.T
	pbx  *simpbx.PBX
	b    *Backend
	told *told
	logs *observer.ObservedLogs
	stop func() // ends Run, and waits for it
}

// newWorld joins a backend and a PBX by real sockets. Nothing runs yet.
func newWorld(t *testing.T, sim simpbx.Options, o Options) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port = "127.0.0.1", listener.Addr().(*net.TCPAddr).Port
	w := newBubble(t, sim, o)
	w.b.dial = nil // real ones
	go w.pbx.Serve(listener)
	return w
}

// newBubble joins them by pipes, which is what works in a synctest bubble.
func newBubble(t *testing.T, sim simpbx.Options, o Options) *world {
	t.Helper()
	w := &world{t: t, pbx: simpbx.New(sim)}
	t.Cleanup(func() { w.pbx.Close() })
	w.newBackend(o)
	w.b.dial = w.pipe
	return w
}

func (w *world) newBackend(o Options) {
	w.t.Helper()
	if o.Name == "" {
		o.Name = "east"
	}
	if o.Username == "" {
		o.Username, o.Secret = "proxy", secret
	}
	core, logs := observer.New(zap.DebugLevel)
	w.logs, w.told = logs, &told{}
	b, err := New(o, w.told, zap.New(core))
	if err != nil {
		w.t.Fatal(err)
	}
	w.b = b
}

// pipe is a dial hook that reaches the PBX.
func (w *world) pipe(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go w.pbx.ServeConn(far)
	return near, nil
}

// dialTo makes serve the PBX's end of every connection.
func (w *world) dialTo(serve func(net.Conn)) {
	w.b.dial = func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go serve(far)
		return near, nil
	}
}

// run starts the backend; it is stopped with the test.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		w.b.Run(ctx)
		close(ended)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	w.t.Cleanup(w.stop)
}

// start runs the backend and waits until all of its links are logged in.
func (w *world) start() {
	w.t.Helper()
	w.run()
	w.allUp()
}

func (w *world) allUp() {
	w.t.Helper()
	w.await("all links", func() bool {
		return w.told.up() && w.connected() == w.b.settings.Load().Links && w.houseIsQuiet()
	})
}

// houseIsQuiet reports whether the backend has nothing to ask for itself.
func (w *world) houseIsQuiet() bool {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.b.house.unanswered+len(w.b.house.waiting) == 0
}

func (w *world) connected() int {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return len(w.b.connected)
}

// await waits for something that is to happen soon.
func (w *world) await(what string, happened func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !happened(); {
		if time.Now().After(end) {
			w.t.Fatalf("in vain: %s\n%s", what, w.log())
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *world) log() string {
	var b strings.Builder
	for _, e := range w.logs.All() {
		fmt.Fprintln(&b, e.Level, e.Message, e.ContextMap())
	}
	return b.String()
}

// wantLog waits for a line of the log that holds all of the texts.
func (w *world) wantLog(texts ...string) {
	w.t.Helper()
	w.await(fmt.Sprintf("a line with %q in the log", texts), func() bool {
		for line := range strings.SplitSeq(w.log(), "\n") {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return true
			}
		}
		return false
	})
}

// asked is a request under way.
type asked chan Answer

// send sends an action on a stream.
func (w *world) send(s *Stream, lines ...string) asked {
	w.t.Helper()
	done := make(asked, 2) // room for a wrong second call of Done
	err := s.Do(Request{Action: ami.NewAction(lines...), Done: func(a Answer) { done <- a }})
	if err != nil {
		done <- Answer{Err: err}
	}
	return done
}

// do sends an action on a stream of its own and waits for the answer.
func (w *world) do(lines ...string) string {
	w.t.Helper()
	return w.got(w.send(w.b.NewStream("session"), lines...))
}

// got is the answer in one line, with | for each line end, or its error.
func (w *world) got(done asked) string {
	w.t.Helper()
	select {
	case a := <-done:
		return show(a)
	case <-time.After(patience):
		w.t.Fatalf("no answer\n%s", w.log())
		return ""
	}
}

func show(a Answer) string {
	if a.Err != nil {
		return "error: " + a.Err.Error()
	}
	return strings.TrimSuffix(strings.ReplaceAll(string(bytes.Join(append([][]byte{a.Bytes}, a.More...), nil)), "\r\n", "|"), "|")
}

func (w *world) want(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// raw makes the PBX answer an action with these frames, written with | for
// each CRLF, $ID for the ActionID and ~ for a bare LF.
func (w *world) raw(action, frames string) {
	w.pbx.Handle(action, func(r *simpbx.Request) {
		r.Write([]byte(strings.NewReplacer("|", "\r\n", "~", "\n", "$ID", r.ID()).Replace(frames)))
	})
}

// names are the actions that the PBX got, without those of a login.
func (w *world) names() (all []string) {
	for _, r := range w.pbx.Received() {
		if r.Name != "Challenge" && r.Name != "Login" {
			all = append(all, r.Name)
		}
	}
	return all
}

// told is a Handler that remembers everything.
type told struct {
	mu     sync.Mutex
	lines  []string // names of events, and Up and Down, in order
	states []State
	events []Event
}

func (h *told) Event(_ *Backend, e *Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, string(e.Frame.Event()))
	h.events = append(h.events, *e)
}

func (h *told) State(_ *Backend, s State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := "Down"
	if s.Up {
		line = "Up"
	}
	h.lines = append(h.lines, line)
	h.states = append(h.states, s)
}

func (h *told) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, " ")
}

// up reports whether the last that was told is Up; by then the backend has
// begun to ask what it asks for itself.
func (h *told) up() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.states) > 0 && h.states[len(h.states)-1].Up
}

func (h *told) state(i int) State {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i >= len(h.states) {
		return State{Reason: "none yet"}
	}
	return h.states[i]
}

// count is how many events of that name, or changes to Up or Down, there were.
func (h *told) count(name string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.lines {
		if line == name {
			n++
		}
	}
	return n
}

// event is the last event of that name.
func (h *told) event(name string) (e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.events {
		if string(one.Frame.Event()) == name {
			e = one
		}
	}
	return e
}
