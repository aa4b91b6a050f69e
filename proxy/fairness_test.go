package proxy

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// greedy connects clients that each send 10,000 actions at once, and waits until
// the first of each is being run, which takes until open is called.
func greedy(t *testing.T, w *world, clients int) (open func()) {
	t.Helper()
	var running atomic.Int32
	gate := make(chan struct{})
	w.sims["east"].Handle("Setvar", func(r *simpbx.Request) {
		running.Add(1)
		select {
		case <-gate:
		case <-r.Done():
		}
		r.Reply("Success", "done")
	})
	burst := []byte(strings.Repeat("Action: Setvar\r\nActionID: g\r\nVariable: a\r\nValue: b\r\n\r\n", 10_000))
	for range clients {
		c := w.login("full", "Events: off")
		go c.Conn().Write(burst) // it ends with the test
	}
	eventually(t, "every greedy client has an action that runs", func() bool { return running.Load() == int32(clients) })
	return func() { close(gate) }
}

// One client that sends without end has a link, and the others another one.
func TestGreedyClientStarvesNobody(t *testing.T) {
	w := newWorld(t, setup{general: "pendinglimit = 5000"})
	open := greedy(t, w, 1)
	defer open()
	c := w.login("eastonly", "Events: off")
	eventually(t, "the PBX is full", func() bool { return w.pbx("east").Pending() == 1000 })
	for range 100 {
		if f := c.Do("Action: Getvar", "Variable: a"); !amiclient.Has(f, "Response: Success") {
			t.Fatalf("%q", f)
		}
	}
}

// Where such clients have all links, no more is in front of another's action than
// the pendinglimit of one of them.
func TestGreedyClientsHaveAllLinks(t *testing.T) {
	const limit = 64
	w := newWorld(t, setup{})
	open := greedy(t, w, 3)
	c := w.login("eastonly", "Events: off")
	c.Send("Action: Getvar", "ActionID: 1", "Variable: a")
	eventually(t, "the action is at the PBX", func() bool { return before(w, "Getvar") >= 0 })
	if n := before(w, "Getvar"); n > limit {
		t.Errorf("%d actions of another are before it", n)
	}
	open()
	c.ExpectNext("Response: Success", "ActionID: 1")
}

// before is how many Setvar came before an action on its link; -1 if it did not
// come.
func before(w *world, name string) int {
	all := w.sims["east"].Received()
	for i, r := range all {
		if r.Name == name {
			n := 0
			for _, other := range all[:i] {
				if other.Session == r.Session && other.Name == "Setvar" {
					n++
				}
			}
			return n
		}
	}
	return -1
}

// Beyond the pendinglimit of a PBX whoever has some there gets an Error at once for
// more.
func TestPendingLimitOfAPBX(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, pbx: "pendinglimit = 5"})
	open := w.block("east", "Setvar")
	one, other := w.login("eastonly", "Events: off"), w.login("full", "Events: off")
	for range 5 {
		one.Send("Action: Setvar", "ActionID: 1", "Variable: a")
	}
	eventually(t, "all are pending", func() bool { return w.pbx("east").Pending() == 5 })
	if f := other.Do("Action: Getvar", "Variable: a", "Server: east"); !amiclient.Has(f, "Response: Success") {
		t.Errorf("%q", f)
	}
	for range 2 {
		other.Send("Action: Setvar", "ActionID: 1", "Variable: a", "Server: east")
	}
	eventually(t, "they are pending, too", func() bool { return w.pbx("east").Pending() == 7 })
	other.Send("Action: Getvar", "ActionID: 2", "Variable: a", "Server: east")
	if f := other.Do("Action: Getvar", "Variable: a", "Server: west"); !amiclient.Has(f, "Response: Success") {
		t.Errorf("%q", f)
	}
	// A list of all does without the one that is busy, and says so.
	other.Send("Action: CoreShowChannels", "ActionID: 3")
	eventually(t, "west has answered", func() bool {
		return w.pbx("west").Pending() == 0 && w.sims["west"].Received()[len(w.sims["west"].Received())-1].Name == "CoreShowChannels"
	})
	open()
	for range 5 {
		one.ExpectNext("Response: Success", "ActionID: 1")
	}
	for range 2 {
		other.ExpectNext("Response: Success", "ActionID: 1")
	}
	other.ExpectNext("Response: Error", "ActionID: 2", "Message: Server east is busy")
	other.Expect("EventList: Complete", "ActionID: 3", "Missing: east")
	if f := other.Do("Action: Setvar", "Variable: a", "Server: east"); !amiclient.Has(f, "Response: Success") {
		t.Errorf("%q", f)
	}
}
