package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const routingUsers = standardUsers + `
[defaulted]
secret = defaulted-secret
read = all
write = all
defaultpbx = west

[ew]
secret = ew-secret
read = all
write = all
pbx = east,west
`

func threePBXs() setup {
	return setup{pbxs: []string{"east", "West.1", "north"}, users: strings.ReplaceAll(routingUsers, "west", "West.1")}
}

// answerer makes every PBX say which one it is.
func (w *world) answerer(action string) {
	for name, p := range w.sims {
		p.Handle(action, func(r *simpbx.Request) { r.Reply("Success", "I am "+name) })
	}
}

func TestRouting(t *testing.T) {
	w := newWorld(t, threePBXs())
	w.answerer("Getvar")
	tests := []struct{ user, server, want string }{
		{"full", "east", "I am east"},
		{"full", "EAST", "I am east"},
		{"full", "west.1", "I am West.1"},
		{"full", "west", "No such server: west"},
		{"full", "east ", "No such server: east "},
		{"full", "", "Server header required"},
		{"eastonly", "", "I am east"},
		{"eastonly", "East", "I am east"},
		{"eastonly", "north", "No such server: north"},
		{"defaulted", "", "I am West.1"},
		{"defaulted", "north", "I am north"},
		{"ew", "north", "No such server: north"},
	}
	for _, test := range tests {
		c := w.login(test.user, "Events: off")
		lines := []string{"Action: Getvar", "Variable: x", "ActionID: 1"}
		if test.server != "" {
			lines = append(lines, "Server: "+test.server)
		}
		f := c.Do(lines...)
		if got := header(f, "Message"); got != test.want {
			t.Errorf("%s, Server %q: %q, want %q", test.user, test.server, got, test.want)
		}
		c.ExpectNothing()
	}
	for _, name := range []string{"east", "West.1", "north"} {
		for _, r := range w.sims[name].Received() {
			if strings.Contains(strings.ToLower(r.Text), "server:") {
				t.Errorf("%s got %q", name, r.Text)
			}
		}
	}
}

// header is a header's value with its trailing blanks.
func header(f amiclient.Frame, name string) string {
	for line := range strings.SplitSeq(string(f), "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

func TestRoutingToOneThatIsAway(t *testing.T) {
	o := threePBXs()
	o.absent = []string{"north"}
	w := newWorld(t, o)
	w.answerer("Getvar")
	c := w.login("full", "Events: off")
	for server, want := range map[string]string{
		"NORTH": "Server north is not connected",
		"east":  "I am east",
	} {
		if got := header(c.Do("Action: Getvar", "Variable: x", "Server: "+server), "Message"); got != want {
			t.Errorf("%s: %q, want %q", server, got, want)
		}
	}
	// What is unknown everywhere is that first.
	f := c.Do("Action: Nope", "Server: nowhere")
	if !strings.HasPrefix(header(f, "Message"), "Invalid/unknown command: Nope.") {
		t.Errorf("%q", f)
	}
}

// An action that only one PBX has is unknown to the others.
func TestRoutingToOneThatLacksTheAction(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	w.sims["west"].Handle("Special", func(r *simpbx.Request) { r.Reply("Success", "done") })
	w.sims["west"].Event("Reload", ami.ClassSystem)
	eventually(t, "the proxy knows the action", func() bool {
		_, ok := w.pbx("west").Authority().Class("special")
		return ok
	})
	c := w.login("full", "Events: off")
	if got := header(c.Do("Action: special", "Server: west"), "Message"); got != "done" {
		t.Error(got)
	}
	if got := header(c.Do("Action: Special", "Server: east"), "Message"); !strings.HasPrefix(got, "Invalid/unknown command: Special.") {
		t.Error(got)
	}
	list := string(c.Do("Action: ListCommands"))
	if strings.Count(list, "Special:") != 1 || strings.Count(list, "Ping:") != 1 {
		t.Error(list)
	}
	e := w.login("eastonly", "Events: off")
	if list := string(e.Do("Action: ListCommands")); strings.Contains(list, "Special:") || strings.Contains(list, "Server:") {
		t.Error(list)
	}
}

// Who sees several PBXes is told of every frame from where it came; who sees
// one gets the bytes of the PBX.
func TestServerHeader(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, sim: map[string]simpbx.Options{"east": {Idle: 1}}})
	full, one := w.login("full"), w.login("eastonly")
	const event = "Event: Odd\r\nPrivilege: call,all\r\nServer: fake\r\nX: 1\r\nserver: fake\r\n\r\n"
	w.sims["east"].Emit([]byte(event))
	if got := one.Expect("Event: Odd"); got != event {
		t.Errorf("one PBX: %q", got)
	}
	want := "Event: Odd\r\nPrivilege: call,all\r\nX: 1\r\nServer: east\r\n\r\n"
	if got := full.Expect("Event: Odd"); string(got) != want {
		t.Errorf("two: %q", got)
	}
	for _, f := range full.List("Action: CoreShowChannels", "Server: east") {
		if !strings.HasSuffix(string(f), "\r\nServer: east\r\n\r\n") || strings.Count(string(f), "Server:") != 1 {
			t.Errorf("two: %q", f)
		}
	}
	for _, f := range one.List("Action: CoreShowChannels") {
		if strings.Contains(string(f), "Server:") {
			t.Errorf("one: %q", f)
		}
	}
	// An error of the PBX has it, one of ours has not.
	if f := full.Do("Action: Hangup", "Channel: none/1", "Server: east"); header(f, "Server") != "east" {
		t.Errorf("%q", f)
	}
	for _, action := range []string{"Ping", "Nope", "Events", "ListCommands", "Getvar"} {
		if f := full.Do("Action: " + action); strings.Contains(string(f), "Server:") {
			t.Errorf("%s: %q", action, f)
		}
	}
}

func TestFullyBootedAtLogin(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "north", "west"}, absent: []string{"north"}, users: standardUsers + `
[unbooted]
secret = unbooted-secret
read = all
fullybooted = no
`})
	c := w.dial()
	c.Login("full", "full-secret")
	var servers []string
	for _, f := range c.Roundtrip() {
		servers = append(servers, names([]amiclient.Frame{f})[0]+" "+header(f, "Server"))
	}
	equal(t, "full", servers, []string{"Event: FullyBooted east", "Event: FullyBooted west"})
	c = w.dial()
	c.Login("unbooted", "unbooted-secret")
	c.ExpectNothing()
}

// To clients of Asterisk 1.4 the answer to Ping is a word of its own.
func TestPingOfOldPBX(t *testing.T) {
	w := newWorld(t, setup{sim: map[string]simpbx.Options{"east": {Version: "1.0"}}})
	c := w.login("full", "Events: off")
	c.Send("Action: Ping", "ActionID: p")
	expectBytes(t, c, "Response: Pong\r\nActionID: p\r\n\r\n")
}
