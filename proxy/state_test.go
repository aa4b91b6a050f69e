package proxy

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const stateUsers = standardUsers + `
[agent]                 ; may not read system
secret = agent-secret
read = agent
pbx = east

[closing]
secret = closing-secret
read = all
write = all
pbx = east
pbxlost = close

[closingboth]
secret = closingboth-secret
read = all
pbxlost = close

[westonly]
secret = westonly-secret
read = all
pbx = west
`

func TestPBXLostAndBack(t *testing.T) {
	from := time.Now().Unix() // what was read last, events are missed from then on
	w := newWorld(t, setup{pbxs: []string{"east", "west"}, users: stateUsers})
	watchers := map[string]*amiclient.Client{}
	for _, user := range []string{"full", "eastonly", "agent", "closingboth"} {
		watchers[user] = w.login(user)
	}
	off, west, closing := w.login("full", "Events: off"), w.login("westonly"), w.login("closing")

	w.take("east")
	for user, c := range watchers {
		f := c.ExpectNext("Event: ProxyServerState", "Privilege: system,all", "State: Down", "Server: east")
		since, err := strconv.ParseInt(header(f, "Since"), 10, 64)
		if err != nil || since < from || since > time.Now().Unix() || header(f, "Reason") == "" || strings.Contains(string(f), "EventsLost") {
			t.Errorf("%s: %q", user, f)
		}
	}
	closing.ExpectClosed()
	w.awaitReason(reasonPBXLost)
	c := watchers["eastonly"]
	if f := c.Do("Action: CoreStatus"); header(f, "Message") != "Server east is not connected" {
		t.Errorf("%q", f)
	}
	c.ExpectNothing()
	watchers["full"].ExpectNothing()

	// Nobody waits for a PBX that is away.
	late := w.login("eastonly")
	late.ExpectNothing()

	w.putBack("east")
	watchers["late"] = late
	for user, c := range watchers {
		f := c.ExpectNext("Event: ProxyServerState", "State: Up", "Server: east")
		lostFrom, _ := strconv.ParseInt(header(f, "EventsLostFrom"), 10, 64)
		lostTo, _ := strconv.ParseInt(header(f, "EventsLostTo"), 10, 64)
		if lostFrom < from || lostTo < lostFrom || lostTo > time.Now().Unix() {
			t.Errorf("%s: %q", user, f)
		}
		if user == "agent" {
			continue
		}
		booted := "Event: FullyBooted\r\nPrivilege: system,all\r\n"
		f = c.ExpectNext("Event: FullyBooted")
		if !strings.HasPrefix(string(f), booted) || (header(f, "Server") == "east") != (user == "full" || user == "closingboth") {
			t.Errorf("%s: %q", user, f)
		}
	}
	for user, c := range watchers {
		c.ExpectNothing()
		if user == "eastonly" {
			c.Send("Action: CoreStatus", "ActionID: again")
			c.ExpectNext("Response: Success", "ActionID: again")
		}
	}
	off.ExpectNothing()
	west.ExpectNothing()
}

// What was asked of a PBX that goes away is answered once, in its place, and
// before the session ends.
func TestPBXLostWhileAsked(t *testing.T) {
	w := newWorld(t, setup{users: strings.ReplaceAll(stateUsers, "pbx = west", "")})
	w.sims["east"].Handle("Setvar", func(*simpbx.Request) {}) // no answer
	stays, goes := w.login("eastonly"), w.login("closing")
	for _, c := range []*amiclient.Client{stays, goes} {
		c.Send("Action: Setvar", "ActionID: 1")
		c.Send("Action: Ping", "ActionID: 2")
		c.Send("Action: Setvar", "ActionID: 3")
	}
	eventually(t, "all have arrived", func() bool {
		n := 0
		for _, r := range w.sims["east"].Received() {
			if r.Name == "Setvar" {
				n++
			}
		}
		return n == 4
	})
	w.take("east")
	for _, c := range []*amiclient.Client{stays, goes} {
		c.ExpectNext("ActionID: 1", "Response: Error", "Message: Server east was lost before it answered")
		c.ExpectNext("ActionID: 2", "Ping: Pong")
		c.ExpectNext("ActionID: 3", "Response: Error", "Message: Server east was lost before it answered")
	}
	goes.ExpectClosed()
	stays.Expect("Event: ProxyServerState", "State: Down")
	stays.ExpectNothing()
}

// A PBX that boots while clients are logged in says so to those who read
// system.
func TestFullyBootedOfABoot(t *testing.T) {
	w := newWorld(t, setup{users: stateUsers + "[x]\nsecret = x\n", pbxs: []string{"east", "west"}})
	full, agent := w.login("full"), w.login("agent")
	w.sims["east"].Boot(false)
	w.sims["east"].Boot(true)
	full.ExpectNext("Event: FullyBooted", "Server: east")
	w.sims["east"].Event("AgentLogin", ami.ClassAgent)
	agent.ExpectNext("Event: AgentLogin")
}
