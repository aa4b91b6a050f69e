//go:build unix

package test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestReload adds a PBX, lets it have another secret and fewer links, moves it to
// another Asterisk and removes it, while actions, lists and events are under way.
func TestReload(t *testing.T) {
	r := startReloads(t)
	defer r.end()
	const leaver = "[leaver](rights)\nread = all\n"
	west := pbxSection("west", r.west)
	waitSecond(t, r.west)

	// It comes: who logged in before does not see it.
	early := r.login(t, "many", "Events: off")
	r.reload(west, leaver)
	r.logged("PBXes added: [west]", "users added: [leaver]", "users whose view changed: [many]")
	eventually(t, "west", r.backend("west").Up)
	if f := early.Do("Action: Getvar", "Variable: X", "Server: west"); !amiclient.Has(f, "Message: No such server: west") {
		t.Errorf("%q", f)
	}
	watch, c, gone := r.login(t, "many"), r.login(t, "many", "Events: off"), r.login(t, "leaver", "Events: off")
	works := func(pbx *asterisk.PBX) {
		t.Helper()
		if f := c.Do("Action: CoreSettings", "Server: west"); !amiclient.Has(f, "Response: Success", "SystemName: "+pbx.Name(), "Server: west") {
			t.Errorf("west is to be the Asterisk %s, and answers %q", pbx.Name(), f)
		}
	}
	works(r.west)
	r.goesOn()

	// pend has something of each kind wait for west, and returns what reads its answers.
	pend := func(direct *amiclient.Client, unsent string) (answered func()) {
		a, b, list := r.login(t, "many", "Events: off"), r.login(t, "many", "Events: off"), r.login(t, "many", "Events: off")
		a.Send(append(ring[:len(ring):len(ring)], "ActionID: call", "Server: west")...)
		a.Send("Action: Getvar", "Variable: X", "ActionID: behind", "Server: west")
		waitRinging(t, direct, 1)
		r.west.Suspend()
		waitSuspended(t, r.west)
		b.Send("Action: Getvar", "Variable: X", "ActionID: sent", "Server: west")
		list.Send("Action: CoreShowChannels", "ActionID: list")
		eventually(t, "all to be pending", func() bool { return r.backend("west").Pending() == 4 })
		return func() {
			t.Helper()
			a.ExpectNext("Response: Error", "ActionID: call", "Message: Server west was lost before it answered")
			a.ExpectNext("Response: Error", "ActionID: behind", "Message: "+unsent)
			b.ExpectNext("Response: Error", "ActionID: sent", "Message: Server west was lost before it answered")
			list.ExpectNext("Response: Success", "ActionID: list")
			end := list.Expect("EventList: Complete", "ActionID: list", "Missing: west")
			if n := number(amiclient.Header(end, "ListItems")); n < 24 {
				t.Errorf("%q", end)
			}
			for _, c := range []*amiclient.Client{a, b, list} {
				c.ExpectNothing()
			}
		}
	}
	changed := func(what string, lines ...string) {
		t.Helper()
		lines = append([]string{"Down: the configuration changed"}, lines...)
		if told := readStatesOf(watch, "west", "FullyBooted"); !slices.Equal(told, lines) {
			t.Errorf("%s: told %q, want %q", what, told, lines)
		}
	}
	same := []string{"Up: logged in, restarted: no", "FullyBooted"}
	other := []string{"Up: logged in, restarted: yes", "FullyBooted"}

	// Another secret, which the PBX knows first.
	direct := loginDirect(t, r.west)
	readStatesOf(watch, "west", "FullyBooted")
	name := r.west.Dir() + "/etc/manager.conf"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), asterisk.ProxySecret, "another", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := r.west.CLI("manager reload"); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	answered := pend(direct, "Server west is not connected")
	west = strings.Replace(west, asterisk.ProxySecret, "another", 1)
	r.reload(west, leaver)
	r.logged("PBXes reconnected: [west]")
	answered()
	r.west.Resume()
	changed("another secret", same...)
	works(r.west)
	r.goesOn()

	// Other links.
	r.reload(west+"links = 3\n", leaver)
	r.logged("PBXes reconnected: [west]")
	changed("links", same...)
	works(r.west)

	// Another Asterisk, the one that is north, too: its channels are no longer one PBX's.
	left := hold(t, []*amiclient.Client{direct}, []*asterisk.PBX{r.west}, 1)[0]
	eventually(t, "its name", func() bool {
		return amiclient.Has(c.Do("Action: Setvar", "Channel: "+left.name, "Variable: A", "Value: 1"), "Response: Success", "Server: west")
	})
	answered = pend(direct, "Server west is not connected")
	r.reload(pbxSection("west", r.north), leaver)
	r.logged("PBXes reconnected: [west]")
	answered()
	r.west.Resume()
	changed("moved", other...)
	works(r.north)
	eventually(t, "the names on west", r.backend("west").Names().Complete)
	hangup := func(channel, want string) {
		t.Helper()
		if f := c.Do("Action: Hangup", "Channel: "+channel); !amiclient.Has(f, "Response: Error", "Message: "+want) {
			t.Errorf("Hangup of %s was answered %q, want %s", channel, f, want)
		}
	}
	hangup(r.channels["north"][0], "Ambiguous: say Server: west or north")
	hangup(left.name, "Server header required")
	r.goesOn()

	// Back, and gone, with something pending; so is a user.
	r.reload(west, leaver)
	changed("moved back", other...)
	works(r.west)
	answered = pend(direct, "No such server: west")
	r.reload("")
	r.logged("PBXes removed: [west]", "users removed: [leaver]", "users whose view changed: [many]")
	answered()
	gone.ExpectClosed()
	r.west.Resume()
	if told := readStatesOf(watch, "west", "Removed"); !slices.Equal(told, []string{"Removed: removed from the configuration"}) {
		t.Errorf("told %q", told)
	}
	if f := c.Do("Action: Getvar", "Variable: X", "Server: west"); !amiclient.Has(f, "Response: Error", "Message: No such server: west") {
		t.Errorf("%q", f)
	}
	direct.Do("Action: Setvar", "Variable: GO", "Value: 1") // Asterisk reads no end while it calls.
	eventually(t, "the links to west to end", func() bool {
		return !strings.Contains(string(direct.Do("Action: Command", "Command: manager show connected")), asterisk.ProxyUser+" ")
	})
	r.goesOn()
}

// TestReloadsOnRealPBXs reloads 50 times under load.
func TestReloadsOnRealPBXs(t *testing.T) {
	r := startReloads(t)
	defer r.end()
	west := pbxSection("west", r.west)
	for n := range 50 {
		users := ""
		for i := range 3 {
			if (n+i)%3 > 0 {
				users += fmt.Sprintf("[u%d](rights)\nread = %s\n", i, []string{"all", "call", "system,call"}[(n+i)%3])
			}
		}
		at := []string{"", west, west + "links = " + strconv.Itoa(2+n%3) + "\n", pbxSection("west", r.north), west}[n%5]
		r.reload(at, users)
		if at != "" && n%5 == 1 {
			r.use("many", "east", "west", "north") // Until west is removed; a later one is another.
		}
		r.goesOn()
		if n%5 == 4 {
			eventually(t, "west", r.backend("west").Up)
		}
	}
	r.waitLog("a loss of rights", zapcore.InfoLevel, "users whose view changed", "u1")
}
