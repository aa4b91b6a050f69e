package proxy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const filterUsers = `
[all]
secret = all-secret
read = all
write = all

[picky]
secret = picky-secret
read = all
write = system
eventfilter(name(Wanted)) =
eventfilter = !Data: secret

[east]
secret = east-secret
read = all
write = system
eventfilter(header(Server),method(exact)) = east
`

// awaitAt reads the events up to the one named End and returns the names of the others.
func awaitAt(tb testing.TB, c *amiclient.Client) (names []string) {
	tb.Helper()
	for {
		name := header(c.ReadFrame(), "Event")
		if name == "End" {
			return names
		}
		names = append(names, name)
	}
}

func TestFiltersOfTheUser(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	all, picky := w.login("all", "Events: user"), w.login("picky", "Events: user,call")
	emit := func() {
		p := w.sims["east"]
		p.Event("Wanted", ami.ClassUser)
		p.Event("Wanted", ami.ClassUser, "Data", "secret")
		p.Event("Unwanted", ami.ClassUser)
		p.Event("WantedNot", ami.ClassUser)
	}
	emit()
	w.sims["east"].Event("End", ami.ClassUser)
	equal(t, "events", awaitAt(t, all), []string{"Wanted", "Wanted", "Unwanted", "WantedNot"})
	// What picky does not get does not come late, either.
	w.sims["east"].Event("Wanted", ami.ClassCall)
	f := picky.ReadFrame()
	if header(f, "Privilege") != "user,all" || header(f, "Event") != "Wanted" {
		t.Fatalf("%q", f)
	}
	if f = picky.ReadFrame(); header(f, "Privilege") != "call,all" {
		t.Fatalf("%q", f)
	}
}

// Filters see the bytes that the session gets, Server included.
func TestFiltersSeeServer(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, users: filterUsers})
	c := w.login("east", "Events: user")
	await := w.awaitEvents("west")
	w.sims["west"].Event("West", ami.ClassUser)
	await(1)
	w.sims["east"].Event("East", ami.ClassUser)
	if f := c.ReadFrame(); header(f, "Event") != "East" {
		t.Fatalf("%q", f)
	}
}

func TestActionFilter(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	c, other := w.login("all", "Events: user"), w.login("all", "Events: user")
	expect := func(message string, lines ...string) {
		t.Helper()
		f := c.Do(append([]string{"Action: Filter"}, lines...)...)
		if got := header(f, "Message"); got != message {
			t.Errorf("%q: %s", lines, got)
		}
	}
	expect("Unknown operation")
	expect("Unknown operation", "Operation: Remove", "Filter: x")
	expect("Filter was formatted incorrectly.  Check the syntax of the filter given.", "Operation: Add")
	expect("Filter did not compile.  Check the syntax of the filter given.", "Operation: Add", "Filter: (")
	expect("Filter was formatted incorrectly.  Check the syntax of the filter given.", "Operation: Add", "Filter: x", "MatchCriteria: nonsense(x)")
	expect("Success", "Operation: aDD", "Filter: Event: Wanted")
	expect("Success", "Operation: Add", "MatchCriteria: action(exclude),name(WantedNot)")
	for _, name := range []string{"Wanted", "Other", "WantedNot", "WantedToo"} {
		w.sims["east"].Event(name, ami.ClassUser)
	}
	if a, b := header(c.ReadFrame(), "Event"), header(c.ReadFrame(), "Event"); a != "Wanted" || b != "WantedToo" {
		t.Errorf("got %s, %s", a, b)
	}
	// They are the session's own.
	w.sims["east"].Event("End", ami.ClassUser)
	equal(t, "events", awaitAt(t, other), []string{"Wanted", "Other", "WantedNot", "WantedToo"})
	// The action is one of class system.
	if limited := w.login("picky"); header(limited.Do("Action: Filter", "Operation: Add", "Filter: x"), "Message") != "Success" {
		t.Error("system may not add filters")
	}
}

// What a session may add is bounded: all others wait while filters are asked.
func TestActionFilterHasABound(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	c := w.login("all", "Events: off")
	added := 0
	for {
		f := c.Do("Action: Filter", "Operation: Add", "Filter: !"+strings.Repeat("a{9}", 20))
		if header(f, "Message") != "Success" {
			if header(f, "Message") != "Internal Error. Failed adding filter." {
				t.Fatalf("%q", f)
			}
			break
		}
		added++
	}
	if added < 10 || added > 30 {
		t.Errorf("%d filters could be added", added)
	}
	w.sims["east"].Event("End", ami.ClassUser) // and the session goes on
	c.Do("Action: Ping")
}

// A session whose filters take the time of all others is closed; others with
// filters of their own, and those of the configuration, are not.
func TestSlowFilters(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	hog, modest, plain := w.login("all", "Events: user"), w.login("all", "Events: user"), w.login("all", "Events: user")
	for range 20 {
		modest.Do("Action: Filter", "Operation: Add", "Filter: !Unwanted")
	}
	for range 2 {
		if f := hog.Do("Action: Filter", "Operation: Add", "Filter: !(.{0,1000})(.{0,900})~"); header(f, "Response") != "Success" {
			t.Fatalf("%q", f)
		}
	}
	w.sims["east"].Event("Big", ami.ClassUser, "Data", strings.Repeat("x", 100<<10)) // 2 s and more for the hog
	w.sims["east"].Event("Unwanted", ami.ClassUser)
	w.sims["east"].Event("End", ami.ClassUser)
	w.awaitReason(reasonFilters)
	equal(t, "events", awaitAt(t, modest), []string{"Big"})
	equal(t, "events", awaitAt(t, plain), []string{"Big", "Unwanted"})
	hog.ExpectClosed()
}

// The same holds for events that wait while a filter is added.
func TestSlowFiltersOfHeldEvents(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	c := w.login("all", "Events: user")
	open := w.block("east", "Getvar")
	c.Send("Action: Getvar", "Variable: x")
	for range 2 {
		c.Send("Action: Filter", "Operation: Add", "Filter: !(.{0,1000})(.{0,900})~")
	}
	c.Send("Action: MailboxCount", "Mailbox: x")
	eventually(t, "all is sent", func() bool {
		s := w.session(c)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots) == 4 && s.slots[3].progress.Sent()
	})
	await := w.awaitEvents("east")
	w.sims["east"].Event("Big", ami.ClassUser, "Data", strings.Repeat("x", 100<<10))
	await(1)
	open()
	w.awaitReason(reasonFilters)
	c.ExpectClosed()
}

// In each second filters have half of it, but for trifles.
func TestFilteringHasAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f filtering
		most := filterShare / 10
		for round := range 3 {
			spent := time.Duration(0)
			for f.affords(most) {
				time.Sleep(most)
				f.charge(most, most)
				spent += most
			}
			if spent != filterShare || !f.affords(filterTrifle) {
				t.Errorf("round %d: %v spent", round, spent)
			}
			time.Sleep(filterWindow - filterShare)
		}
		f = filtering{since: time.Now()}
		f.charge(time.Hour, most) // the machine was suspended
		if !f.affords(most) {
			t.Error("a pause counted")
		}
	})
}

func TestActionFilterNeedsARight(t *testing.T) {
	w := newWorld(t, setup{users: "[u]\nsecret = u-secret\nread = all\nwrite = call,command\n"})
	c := w.login("u", "Events: off")
	if got := header(c.Do("Action: Filter", "Operation: Add", "Filter: x"), "Message"); got != "Permission denied" {
		t.Error(got)
	}
	if list := string(c.Do("Action: ListCommands")); strings.Contains(list, "Filter:") {
		t.Error(list)
	}
}

// A filter is in force from its turn on: events that an action before it has
// caused pass by the filters of then, those behind it by the new ones.
func TestActionFilterTakesItsTurn(t *testing.T) {
	w := newWorld(t, setup{users: filterUsers})
	c := w.login("all", "Events: user")
	open := w.block("east", "Getvar")
	c.Send("Action: Getvar", "ActionID: 1")
	w.await("east", "Getvar")
	await := w.awaitEvents("east")
	w.sims["east"].Event("Before", ami.ClassUser)
	await(1)
	c.Send("Action: Filter", "ActionID: 2", "Operation: Add", "Filter: !Before")
	eventually(t, "the Filter waits", func() bool {
		s := w.session(c)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots) == 2
	})
	open()
	var got []string
	for range 3 {
		f := c.ReadFrame()
		got = append(got, header(f, "ActionID")+header(f, "Event"))
	}
	equal(t, "frames", got, []string{"1", "Before", "2"})
	w.sims["east"].Event("Before", ami.ClassUser)
	w.sims["east"].Event("After", ami.ClassUser)
	if f := c.ReadFrame(); header(f, "Event") != "After" {
		t.Errorf("%q", f)
	}
}

func TestDisabledEvents(t *testing.T) {
	w := newWorld(t, setup{general: "disabledevents = Gone, Newexten,ProxyServerState"})
	c := w.login("full", "Events: call")
	w.sims["east"].Event("Gone", ami.ClassCall)
	w.sims["east"].Event("gone", ami.ClassCall)
	w.sims["east"].Event("Newexten", ami.ClassCall)
	w.sims["east"].Event("End", ami.ClassCall)
	equal(t, "events", awaitAt(t, c), []string{"gone"})
	w.take("east")
	w.putBack("east")
	w.sims["east"].Event("End", ami.ClassCall)
	equal(t, "events", awaitAt(t, c), nil)
}

func TestTimestampEvents(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, general: "timestampevents = yes"})
	c := w.login("full", "Events: call")
	w.sims["east"].Event("One", ami.ClassCall, "Data", "x")
	if f := c.ReadFrame(); !regexp.MustCompile(`^Event: One\r\nPrivilege: call,all\r\nTimestamp: \d{10}\.\d{6}\r\nData: x\r\nServer: east\r\n\r\n$`).MatchString(string(f)) {
		t.Errorf("%q", f)
	}
	w.sims["east"].Event("Two", ami.ClassCall, "Timestamp", "1.000002")
	if f := c.ReadFrame(); string(f) != "Event: Two\r\nPrivilege: call,all\r\nTimestamp: 1.000002\r\nServer: east\r\n\r\n" {
		t.Errorf("%q", f)
	}
	// What a client puts into its UserEvent is no time of the PBX's.
	w.sims["east"].Event("Three", ami.ClassCall, "UserEvent", "x", "Timestamp", "1.000002")
	if f := c.ReadFrame(); !regexp.MustCompile(`all\r\nTimestamp: \d{10}\.\d{6}\r\nUserEvent: x\r\nTimestamp: 1\.000002\r\n`).MatchString(string(f)) {
		t.Errorf("%q", f)
	}
	// An odd event stays the frame that it is.
	all := w.login("full")
	w.sims["east"].Emit([]byte("Event: Odd\r\n\r\n"))
	expectBytes(t, all, "Event: Odd\r\nServer: east\r\n\r\n")
}

// Whoever shares filters shares a verdict, and whatever the order of sessions,
// events, ActionIDs and PBXes, each session gets what its own filters let
// through of the bytes that it would get.
func TestAudienceProperty(t *testing.T) {
	filters := map[string]string{
		"none": "", "server": "eventfilter = Server: east\n", "id": "eventfilter = !ActionID\n",
		"name": "eventfilter(name(A)) =\n", "both": "eventfilter = Event: A\neventfilter = !ActionID: own\n",
	}
	var users strings.Builder
	for name, lines := range filters {
		fmt.Fprintf(&users, "[%s]\nsecret = x\nread = all\nsharedids = yes\n%s", name, lines)
	}
	names := []string{"none", "server", "id", "name", "both"}
	rapid.Check(t, func(rt *rapid.T) {
		desk := deskSession(t, users.String(), "none", true)
		n := rapid.IntRange(1, 6).Draw(rt, "sessions")
		sessions, want := make([]*Session, n), make([]string, n)
		for i := range n {
			s := desk.srv.deskSession(t, rapid.SampledFrom(names).Draw(rt, "user"), rapid.Bool().Draw(rt, "tagged"))
			s.mask.Store(uint32(ami.ClassAll))
			s.audience.Store(desk.srv.now().audiences[s.user])
			if rapid.IntRange(0, 3).Draw(rt, "own") == 0 {
				own, _ := acl.NewFilter("!Event: B")
				s.audience.Store(newAudience(s.user.Policy.Filters().With(own), nil, len(desk.srv.now().pbxs)))
			}
			sessions[i] = s
			for _, p := range desk.srv.now().pbxs {
				p.subscribe(s)
			}
		}
		for range 20 {
			p := rapid.SampledFrom(desk.srv.now().pbxs).Draw(rt, "pbx")
			e := &backend.Event{Class: ami.ClassCall}
			head := "Event: " + rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "name") + "\r\nPrivilege: call,all\r\n"
			e.Frame = ami.Frame(head + "\r\n")
			if rapid.Bool().Draw(rt, "named") {
				e.Frame = ami.Frame(head + "ActionID: amiproxy-x\r\n\r\n")
				e.ID, e.Owner, e.OwnerID = "amiproxy-x", rapid.SampledFrom(sessions).Draw(rt, "owner"), "own"
			}
			p.Event(p.Backend, e)
			for i, s := range sessions {
				rewrite := ami.Rewrite{ID: e.ID}
				if e.Owner != nil && s.knows(e.Owner.(*Session)) {
					rewrite.NewID = "own"
				}
				if s.tagged {
					rewrite.Server = p.Name()
				}
				frame := rewrite.Append(nil, e.Frame)
				if a := s.audience.Load(); a == nil || a.filters.Pass(frame) {
					want[i] += string(frame)
				}
			}
		}
		for i, s := range sessions {
			for _, p := range desk.srv.now().pbxs {
				p.unsubscribe(s)
			}
			if got := join(s.written()); got != want[i] {
				rt.Fatalf("session %d:\n got %q\nwant %q", i, got, want[i])
			}
		}
	})
}
