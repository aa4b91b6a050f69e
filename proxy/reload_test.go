package proxy

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const reloadUsers = `
[full]
secret = full-secret
read = all
write = all

[westonly]
secret = westonly-secret
read = all
write = all
pbx = west
`

func eastAndWest() setup { return setup{pbxs: []string{"east", "west"}, users: reloadUsers} }

// reload goes over to a configuration.
func (w *world) reload(users string, pbxs ...string) {
	w.tb.Helper()
	w.write(users, pbxs...)
	if err := w.srv.Reload(); err != nil {
		w.tb.Fatal(err)
	}
}

// Classes, filters and hardening that a user loses are lost at once, also by
// those who are logged in; what it wins counts from the next login on.
func TestReloadRights(t *testing.T) {
	user := func(lines string) string {
		return reloadUsers + "[crm]\nsecret = crm-secret\npbx = east\n" + lines
	}
	w := newWorld(t, setup{users: user("read = call,agent\nwrite = call,system\nhardening = no\n"), pbxs: []string{"east", "west"}})
	sim := w.sims["east"]
	crm, full := w.login("crm"), w.login("full")
	emit := func() {
		sim.Event("One", ami.ClassCall, "Queue", "a")
		sim.Event("Two", ami.ClassAgent, "Queue", "a")
		sim.Event("Three", ami.ClassDTMF, "Queue", "a")
		sim.Event("Four", ami.ClassCall, "Queue", "b")
	}
	expect := func(c *amiclient.Client, what string) {
		t.Helper()
		await := w.awaitEvents("east")
		emit()
		await(4)
		var got []string
		for _, f := range c.Roundtrip() {
			got = append(got, header(f, "Event"))
		}
		if s := strings.Join(got, " "); s != what {
			t.Errorf("events: %q, want %q", s, what)
		}
	}
	expect(crm, "One Two Four")

	w.reload(user("read = call,dtmf\nwrite = system,agent\nhardening = no\n"), "east", "west")
	expect(crm, "One Four")
	if f := crm.Do("Action: Setvar", "Variable: x", "Value: y"); header(f, "Message") != "Permission denied" {
		t.Errorf("%q", f)
	}
	if f := crm.Do("Action: QueuePause", "Interface: x", "Paused: 1"); header(f, "Message") != "Permission denied" {
		t.Errorf("%q", f) // agent is won
	}
	if f := crm.Do("Action: Events", "EventMask: on"); header(f, "Response") != "Success" {
		t.Errorf("%q", f)
	}
	expect(crm, "One Four")
	late := w.login("crm")
	expect(late, "One Three Four")
	crm.Roundtrip()

	w.reload(user("read = call,dtmf\nwrite = system,agent\neventfilter = !Queue: b\n"), "east", "west")
	for _, c := range []*amiclient.Client{crm, late, w.login("crm")} {
		c.Roundtrip()
		want := "One Three"
		if c == crm {
			want = "One"
		}
		expect(c, want)
	}
	// A session's own filter is beside that, not in its place.
	if f := crm.Do("Action: Filter", "Operation: Add", "Filter: Queue"); header(f, "Response") != "Success" {
		t.Errorf("%q", f)
	}
	w.reload(user("read = all\nwrite = all\n"), "east", "west")
	crm.Roundtrip()
	expect(crm, "One")
	// With hardening, control characters are refused, now to all.
	if f := crm.Do("Action: CoreStatus", "X: a\x01b"); header(f, "Message") != "Permission denied" {
		t.Errorf("%q", f)
	}
	if n := w.logs.FilterMessage("configuration reloaded").FilterField(zap.Strings("users whose view changed", []string{"crm"})).Len(); n != 3 {
		t.Errorf("%d lines name crm", n)
	}
	for _, f := range full.Roundtrip() {
		if header(f, "Event") == "ProxyServerState" {
			t.Errorf("%q", f)
		}
	}
}

// Who is no user any more is cut, and nobody else.
func TestReloadRemovesUsers(t *testing.T) {
	t.Parallel() // it waits
	users := `
[gone]
secret = gone-secret
read = all
write = all
[denied]
secret = denied-secret
read = all
[silent]
secret = silent-secret
read = all
`
	w := newWorld(t, setup{users: users + reloadUsers, pbxs: []string{"east", "west"}})
	gone, denied, silent, full := w.dial(), w.login("denied"), w.login("silent"), w.login("full")
	gone.Login("GONE", "gone-secret", "Events: off")
	stranger := w.dial()
	open := w.block("east", "Getvar")
	gone.Send("Action: Getvar", "Server: east", "Variable: x", "ActionID: 1")
	w.await("east", "Getvar")
	w.reload("[denied]\nsecret = denied-secret\nread = all\ndeny = 0.0.0.0/0\n[silent]\nread = all\n"+reloadUsers, "east", "west")
	for _, c := range []*amiclient.Client{gone, denied, silent} {
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%q", frames)
		}
	}
	w.awaitReason(reasonUserRemoved)
	w.awaitReason(reasonNotAdmitted)
	open()
	full.ExpectNothing()
	stranger.Login("full", "full-secret")
	w.awaitSessions(2)
	c := w.dial()
	if f := c.Do("Action: Login", "Username: gone", "Secret: gone-secret"); header(f, "Message") != "Authentication failed" {
		t.Errorf("%q", f)
	}
}

// A PBX that is removed: what it was asked is answered once, those who saw it
// are told, and its links end. Nothing goes to another in its place.
func TestReloadRemovesPBX(t *testing.T) {
	const more = "[defaulted]\nsecret = defaulted-secret\nread = all\nwrite = all\ndefaultpbx = west\n" +
		"[closing]\nsecret = closing-secret\nread = all\npbx = west\npbxlost = close\n"
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, users: reloadUsers + more})
	w.answerer("Getvar")
	full, west, defaulted, closing := w.login("full"), w.login("westonly"), w.login("defaulted"), w.login("closing")
	old := w.pbx("west")
	await := w.awaitEvents("west")
	w.sims["west"].Event("Newchannel", ami.ClassDTMF, "Channel", "SIP/1", "Uniqueid", "1")
	await(1)
	full.Roundtrip()
	west.Roundtrip()
	open := w.block("west", "Setvar")
	for _, c := range []*amiclient.Client{full, west} {
		c.Send("Action: Setvar", "Server: west", "ActionID: 1")
		c.Send("Action: Getvar", "Server: west", "ActionID: 2")
	}
	eventually(t, "all have arrived", func() bool { return w.pbx("west").Pending() == 4 })
	users := strings.NewReplacer("defaultpbx = west\n", "", "pbx = west\n", "pbx = east\n").Replace(reloadUsers + more)
	w.reload(users, "east")
	told := w.logs.FilterMessage("configuration reloaded").FilterField(zap.Strings("PBXes removed", []string{"west"}))
	if told.FilterField(zap.Strings("users whose view changed", []string{"closing", "defaulted", "full", "westonly"})).Len() != 1 {
		t.Errorf("%v", told.All())
	}
	for _, c := range []*amiclient.Client{full, west} {
		answers := map[string]int{}
		for range 2 {
			f := c.ExpectNext("Response: Error")
			answers[header(f, "ActionID")]++
			if why := header(f, "Message"); why != "Server west was lost before it answered" && why != "Server west is not connected" {
				t.Errorf("%q", f)
			}
		}
		if answers["1"] != 1 || answers["2"] != 1 {
			t.Errorf("%v", answers)
		}
		c.ExpectNext("Event: ProxyServerState", "State: Removed", "Reason: removed from the configuration", "Server: west")
		c.ExpectNothing()
		if got := header(c.Do("Action: Getvar", "Server: west", "Variable: x"), "Message"); got != "No such server: west" {
			t.Error(got)
		}
	}
	closing.ExpectClosed()
	eventually(t, "its names are forgotten", func() bool { return old.Names().Len() == 0 })
	open() // the simulated one notices then only
	eventually(t, "west has no links", func() bool { return len(w.sims["west"].Sessions()) == 0 })
	if got := header(west.Do("Action: Getvar", "Variable: x"), "Message"); got != "No such server: west" {
		t.Error(got)
	}
	if n := len(west.Do("Action: ListCommands")); n > 100 {
		t.Errorf("%d bytes of commands", n)
	}
	// Nothing that was for the default goes elsewhere, and frames keep their Server.
	if got := header(defaulted.Do("Action: Getvar", "Variable: x"), "Message"); got != "Server header required" {
		t.Error(got)
	}
	full.ExpectNothing()
	if f := full.Do("Action: Getvar", "Server: east", "Variable: x"); header(f, "Message") != "I am east" || header(f, "Server") != "east" {
		t.Errorf("%q", f)
	}
	if list := full.List("Action: CoreShowChannels"); header(list[len(list)-1], "Missing") != "" || header(list[0], "Response") != "Success" {
		t.Errorf("%q", list)
	}

	// It is another one when it is back: for those who log in then.
	w.reload(reloadUsers+more, "west", "east")
	w.awaitBooted("west")
	w.sims["west"].Event("Settled", ami.ClassSystem)
	full.ExpectNothing()
	if got := header(full.Do("Action: Getvar", "Server: west", "Variable: x"), "Message"); got != "No such server: west" {
		t.Error(got)
	}
	again := w.login("full", "Events: off")
	if f := again.Do("Action: Getvar", "Server: west", "Variable: x"); header(f, "Message") != "I am west" {
		t.Errorf("%q", f)
	}
	if list := again.List("Action: CoreShowChannels"); header(list[0], "Response") != "Success" {
		t.Errorf("%q", list)
	}
}

// A PBX is the same one if its name is written in other letters of the same: nothing
// happens to it, and clients go on to see the name that they know.
func TestReloadSpellsAPBXOtherwise(t *testing.T) {
	w := newWorld(t, eastAndWest())
	w.answerer("Getvar")
	w.addrs["East"], w.addrs["WEST"] = w.addrs["east"], w.addrs["west"]
	full, west := w.login("full"), w.login("westonly")
	east := w.pbx("east")
	logins := east.Stats().Logins.Load()
	w.reload(reloadUsers+"[new]\nsecret = new-secret\nread = all\nwrite = all\npbx = eASt,west\ndefaultpbx = EAST\n", "East", "WEST")
	if w.pbx("east") != east || east.Stats().Losses.Load() != 0 || east.Stats().Logins.Load() != logins {
		t.Error("east was connected anew")
	}
	for _, keys := range w.logs.FilterMessageSnippet("needs a restart").All() {
		if got := keys.ContextMap()["keys"]; fmt.Sprint(got) != "[[pbx:East] [pbx:WEST]]" {
			t.Errorf("named: %v", got)
		}
	}
	if w.logs.FilterMessageSnippet("needs a restart").Len() != 1 {
		t.Error("the log does not name them")
	}
	for _, e := range w.logs.FilterMessage("configuration reloaded").All() {
		if fields := e.ContextMap(); len(fields) != 3 || fmt.Sprint(fields["users added"]) != "[new]" {
			t.Errorf("logged: %v", fields)
		}
	}
	added := w.login("new")
	for _, c := range []*amiclient.Client{full, added} {
		if f := c.Do("Action: Getvar", "Server: EAST", "Variable: x"); header(f, "Message") != "I am east" || header(f, "Server") != "east" {
			t.Errorf("%q", f)
		}
	}
	if f := added.Do("Action: Getvar", "Variable: x"); header(f, "Message") != "I am east" {
		t.Errorf("the default: %q", f)
	}
	if f := west.Do("Action: Getvar", "Variable: x"); header(f, "Message") != "I am west" {
		t.Errorf("%q", f)
	}
	full.ExpectNothing() // such as ProxyServerState
	w.sims["east"].Event("Settled", ami.ClassSystem)
	for _, c := range []*amiclient.Client{full, added} {
		c.ExpectNext("Event: Settled", "Server: east")
	}
	w.reload(strings.Replace(reloadUsers, "pbx = west", "pbx = East", 1), "East", "WEST")
	if got := header(west.Do("Action: Getvar", "Variable: x"), "Message"); got != "No such server: west" {
		t.Errorf("a PBX that its user may not use any more: %s", got)
	}
}

// A PBX that a user may not use any more is removed for that user only.
func TestReloadTakesAPBXFromAUser(t *testing.T) {
	w := newWorld(t, eastAndWest())
	w.answerer("Getvar")
	full, west := w.login("full"), w.login("westonly")
	w.reload(strings.Replace(reloadUsers, "[full]\n", "[full]\npbx = east\n", 1), "east", "west")
	full.ExpectNext("Event: ProxyServerState", "State: Removed", "Reason: no longer permitted", "Server: west")
	w.sims["west"].Event("Hello", ami.ClassCall)
	f := west.ExpectNext("Event: Hello")
	if header(f, "Server") != "" {
		t.Errorf("%q", f)
	}
	full.ExpectNothing()
	if got := header(full.Do("Action: Getvar", "Server: west"), "Message"); got != "No such server: west" {
		t.Error(got)
	}
	if f := full.Do("Action: Getvar"); header(f, "Message") != "Server header required" {
		t.Errorf("%q", f) // as before: it saw two
	}
	if f := west.Do("Action: Getvar"); header(f, "Message") != "I am west" {
		t.Errorf("%q", f)
	}
}

// A PBX whose options changed is connected anew, and is the same to those who
// see it.
func TestReloadChangesPBX(t *testing.T) {
	w := newWorld(t, eastAndWest())
	w.answerer("Getvar")
	full, west := w.login("full"), w.login("westonly")
	open := w.block("west", "Setvar")
	full.Send("Action: Setvar", "Server: west", "ActionID: 1")
	w.await("west", "Setvar")
	old := w.pbx("west")
	w.reload(reloadUsers, "east", "west\nlinks = 2")
	full.Expect("Response: Error", "ActionID: 1", "Message: Server west was lost before it answered")
	open()
	for _, c := range []*amiclient.Client{full, west} {
		c.Expect("Event: ProxyServerState", "State: Up", "Server: west")
	}
	eventually(t, "west has two links", func() bool { return len(w.sims["west"].Sessions()) == 2 })
	eventually(t, "west takes actions", func() bool {
		return header(full.Do("Action: Getvar", "Server: west"), "Message") == "I am west"
	})
	if w.pbx("west") != old || w.logs.FilterField(zap.Strings("PBXes reconnected", []string{"west"})).Len() != 1 {
		t.Error("it is another one, or the log does not name it")
	}
	// Another address, and only that.
	w.listen("other")
	w.simulate("other", simpbx.Options{})
	w.answerer("Getvar")
	w.addrs["west"] = w.addrs["other"]
	w.reload(reloadUsers, "east", "west\nlinks = 2")
	full.Expect("Event: ProxyServerState", "State: Up", "Server: west")
	eventually(t, "west is elsewhere", func() bool {
		return header(full.Do("Action: Getvar", "Server: west"), "Message") == "I am other"
	})

	// What is no matter of links leaves them alone.
	east, logins := w.pbx("east").Stats().Losses.Load(), w.pbx("west").Stats().Logins.Load()
	w.general += "actiontimeout = 7\nconnecttimeout = 2\ntimestampevents = yes\n"
	w.reload(reloadUsers, "east", "west\nlinks = 2")
	full.Roundtrip()
	w.sims["east"].Event("Hello", ami.ClassCall)
	if f := full.ExpectNext("Event: Hello"); header(f, "Timestamp") == "" {
		t.Errorf("%q", f)
	}
	if east != 0 || w.pbx("east").Stats().Losses.Load() != 0 || w.pbx("west").Stats().Logins.Load() != logins {
		t.Error("links were made anew")
	}
}

// The action ProxyReload: the first thing that is wrong is its answer. Who loses
// proxyadmin by it still gets the answer.
func TestProxyReload(t *testing.T) {
	const admin = "[admin]\nsecret = admin-secret\nproxyadmin = yes\n"
	w := newWorld(t, setup{users: admin})
	c := w.login("admin")
	w.write(admin+"[x]\nsecret = x\ndney = y\nread = nonsense\n", "east")
	if f := c.Do("Action: ProxyReload"); header(f, "Response") != "Error" || !strings.HasSuffix(header(f, "Message"), "[x] dney: unknown key (did you mean deny?)") {
		t.Errorf("%q", f)
	}
	w.write(strings.Replace(admin, "proxyadmin = yes\n", "", 1), "east")
	c.Send("Action: ProxyReload", "ActionID: 1")
	c.Send("Action: ProxyReload", "ActionID: 2")
	c.ExpectNext("Response: Success", "ActionID: 1", "Message: Configuration reloaded")
	if f := c.ExpectNext("Response: Error", "ActionID: 2"); !strings.HasPrefix(header(f, "Message"), "Invalid/unknown command: ProxyReload") {
		t.Errorf("%q", f)
	}
	w.write(admin, "east")
	if err := w.srv.Reload(); err != nil {
		t.Fatal(err)
	}
	if f := c.Do("Action: ProxyReload"); header(f, "Response") != "Error" {
		t.Errorf("won: %q", f)
	}
	c = w.login("admin")
	w.write(standardUsers, "east")
	c.Send("Action: ProxyReload", "ActionID: 3")
	if frames := c.ExpectClosed(); len(frames) != 0 {
		t.Errorf("%q", frames)
	}
}

// What is wrong with a configuration leaves the one before whole.
func TestReloadWithErrors(t *testing.T) {
	w := newWorld(t, eastAndWest())
	full, west := w.login("full"), w.login("westonly")
	for _, test := range []struct{ users, pbx, want string }{
		{"[full]\nsecret = other-secret\ndney = x\n", "east", "[full] dney: "},
		{"[full]\nsecret = other-secret\npbx = west\n", "east", "[full] pbx: "},
		{"[full]\nsecret = other-secret\n", "east\nlinks = 1", "links: "},
		{"[full]\nsecret = other-secret\n", "east\ntls = yes\ntlscafile = /nowhere", "tlscafile: "},
	} {
		before := w.srv.now()
		w.write(test.users, test.pbx)
		err := w.srv.Reload()
		if err == nil || !strings.Contains(err.Error(), test.want) || w.srv.now() != before {
			t.Errorf("%v, want %s", err, test.want)
		}
		full.ExpectNothing()
		west.ExpectNothing()
		w.login("full", "Events: off")
	}
	if n := w.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 4 {
		t.Errorf("%d errors in the log", n)
	}
	// What only a restart changes is named.
	w.general += "totallimit = 512M\nport = 5999\nauditsize = 7M\nauditreads = yes\n"
	w.reload(reloadUsers, "east", "west")
	if w.logs.FilterField(zap.Strings("keys", []string{"totallimit", "audit, auditsize, auditfiles, auditdays"})).Len() != 1 {
		t.Error("no warning")
	}
	full.ExpectNothing()
	w.srv.Load = nil
	if err := w.srv.Reload(); err != errNoFile {
		t.Error(err)
	}
}
