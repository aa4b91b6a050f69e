package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const idUsers = standardUsers + `
[shared]
secret = shared-secret
read = all
write = all
sharedids = yes
`

// Who sent an action sees its ActionID in the events that carry it; others see
// the event without.
func TestActionIDsInEvents(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: idUsers})
	owner, other := w.login("full"), w.login("full")
	shared1, shared2 := w.login("shared"), w.login("shared")
	lines := map[string][]string{
		"UserEvent":         {"Action: UserEvent", "UserEvent: x", "Foo: bar"},
		"OriginateResponse": {"Action: Originate", "Channel: PJSIP/alice", "Exten: echo", "Context: default", "Priority: 1", "Async: yes"},
	}
	for event, action := range lines {
		id := "ActionID: my own " + event
		check := func(c *amiclient.Client, want bool) {
			t.Helper()
			f := c.Expect("Event: " + event)
			if amiclient.Has(f, id) != want || !want && strings.Contains(string(f), "ActionID") || strings.Contains(string(f), "amiproxy-") {
				t.Errorf("%s, to be seen: %v: %q", event, want, f)
			}
		}
		owner.Send(append(action, id)...)
		check(owner, true)
		for _, c := range []*amiclient.Client{other, shared1, shared2} {
			check(c, false)
		}
		shared1.Send(append(action, id)...)
		check(shared1, true)
		check(shared2, true)
		check(owner, false)
		check(other, false)
		// Who sent none gets none.
		owner.Send(action...)
		for _, c := range []*amiclient.Client{owner, other, shared1, shared2} {
			check(c, false)
		}
	}
}

// Answers and lists are for the one who asked.
func TestAnswersAreForTheirOwner(t *testing.T) {
	w := newWorld(t, setup{sim: map[string]simpbx.Options{"east": {Idle: 3}}})
	var clients []*amiclient.Client
	for range 5 {
		clients = append(clients, w.login("full", "Events: off"))
	}
	for i, c := range clients {
		for range 20 {
			c.Send("Action: CoreShowChannels", "ActionID: same")
			c.Send("Action: DBPut", "Family: f", "Key: k", "Val: v", "ActionID: "+strings.Repeat("x", i+1))
		}
	}
	for i, c := range clients {
		for range 20 {
			for range 5 {
				c.ExpectNext("ActionID: same")
			}
			c.ExpectNext("Response: Success", "ActionID: "+strings.Repeat("x", i+1))
		}
		c.ExpectNothing()
	}
}

// The ActionID of another proxy's making is nobody's business, one that only
// looks like it is.
func TestForeignActionIDs(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full")
	emit := func(id string) amiclient.Frame {
		w.sims["east"].Event("UserEvent", ami.ClassUser, "ActionID", id, "UserEvent", "x")
		return c.Expect("Event: UserEvent")
	}
	if f := emit("amiproxy-0123456789abcdef-17"); strings.Contains(string(f), "ActionID") {
		t.Errorf("%q", f)
	}
	for _, id := range []string{"mine", "amiproxy-1", "amiproxy-0123456789ABCDEF-17", "amiproxy-0123456789abcdef-17x"} {
		if f := emit(id); header(f, "ActionID") != id {
			t.Errorf("%s: %q", id, f)
		}
	}
}

// What goes upstream is under an id of our own.
func TestActionIDsUpstream(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.login("full", "Events: off")
	for _, id := range []string{"", "a", strings.Repeat("long", 100), "amiproxy-0123456789abcdef-1"} {
		w.sims["east"].Forget()
		lines := []string{"Action: DBPut", "Family: f", "Key: k", "Val: v"}
		if id != "" {
			lines = append(lines, "ActionID: "+id)
		}
		c.Send(lines...)
		if f := c.ExpectNext("Response: Success"); header(f, "ActionID") != id {
			t.Errorf("%q", f)
		}
		got := w.await("east", "DBPut").ID
		if !strings.HasPrefix(got, "amiproxy-") || len(got) > 60 || got == id {
			t.Errorf("upstream %q", got)
		}
	}
}
