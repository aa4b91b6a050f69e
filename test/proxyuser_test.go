//go:build unix

package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestProxyUserChanges takes the proxy's user away from a PBX, or rights from it, as its
// operator would, and gives it back.
func TestProxyUserChanges(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			east := asterisk.Start(t, asterisk.Options{Major: major, Name: "east"})
			f := startFaulty(t, "", east, asterisk.Start(t, asterisk.Options{Major: 22, Name: "west"}))
			f.waitUp()
			watch, c := f.login(t, "many"), f.login(t, "many", "Events: off")
			watch.Roundtrip()
			name := east.Dir() + "/etc/manager.conf"
			good, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			section := "[" + asterisk.ProxyUser + "]\nsecret = " + asterisk.ProxySecret + "\n"
			change := func(to string) {
				t.Helper()
				text := strings.Replace(string(good), section, to, 1)
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				// Of "manager reload" no event tells.
				if out, err := east.CLI("module reload manager"); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
			}
			works := func() {
				t.Helper()
				if got := c.Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(got, "Response: Success") {
					t.Errorf("%q", got)
				}
			}

			// Fewer rights: who is logged in keeps his, so it is said, and goes on.
			change(section + "read = all\nwrite = call,command\n[other]\n")
			f.waitLog("the rights that lack", zapcore.WarnLevel, "few rights", "originate")
			works()

			// No such user any more: nobody notices until a link has to log in.
			change("[other]\nsecret = x\n")
			f.waitLog("the user that is gone", zapcore.ErrorLevel, "no such user", asterisk.ProxyUser)
			works()
			f.relay.Reset()
			told := readStates(watch, "Down")
			eventually(t, "login refused", func() bool { return f.backend("east").State().Reason == "login refused" })
			f.waitLog("the refusal", zapcore.WarnLevel, "no link", "refused: Authentication failed", "retry:30s")
			if got := c.Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(got, "Response: Error", "Message: Server east is not connected") {
				t.Errorf("%q", got)
			}
			change(section)
			told = append(told, readStates(watch, "FullyBooted")...)
			if !slices.Equal(told, connection) {
				t.Errorf("told %q, want %q", told, connection)
			}
			works()
		})
	}
}

// TestProxyUserLosesRights takes rights from the proxy's user on a PBX, which counts
// from the next login on, and gives them back, of which no event tells.
func TestProxyUserLosesRights(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			east := asterisk.Start(t, asterisk.Options{Major: major, Name: "east"})
			f := startFaulty(t, "", east, asterisk.Start(t, asterisk.Options{Major: 22, Name: "west"}))
			f.waitUp()
			watch, c := f.login(t, "many"), f.login(t, "many", "Events: off")
			watch.Roundtrip()
			direct, change := loginDirect(t, east), userChange(t, east)
			raised := 0
			raise := func(want bool) {
				t.Helper()
				raised++
				direct.Do("Action: UserEvent", "UserEvent: Raised", fmt.Sprintf("N: %d", raised))
				direct.Do("Action: Originate", "Channel: Local/echo@default", "Application: Hangup", "Async: true", fmt.Sprintf("ChannelId: after-%d", raised))
				got := watch.ReadUntil(func(f amiclient.Frame) bool {
					return amiclient.Has(f, "Event: Newchannel", fmt.Sprintf("Uniqueid: after-%d", raised))
				})
				if seen := slices.ContainsFunc(got, func(f amiclient.Frame) bool {
					return amiclient.Has(f, "UserEvent: Raised", fmt.Sprintf("N: %d", raised))
				}); seen != want {
					t.Errorf("an event of class user: %v, want %v", seen, want)
				}
			}
			asks := func(want ...string) bool {
				return amiclient.Has(c.Do("Action: ShowDialPlan", "Context: default", "Server: east"), want...)
			}
			change("read = call\nwrite = call,command\n")
			raise(true) // who is logged in keeps what he has
			if !asks("Response: Success") {
				t.Error("an action of class config")
			}
			f.relay.Reset()
			told := readStates(watch, "Up")
			f.waitLog("the rights that lack", zapcore.WarnLevel, "few rights", "what:read", "user")
			f.waitLog("the rights that lack", zapcore.WarnLevel, "few rights", "what:write", "config")
			raise(false)
			eventually(t, "the actions that are left", func() bool {
				return asks("Response: Error", "Message: Invalid/unknown command: ShowDialPlan. Use Action: ListCommands to show available commands.")
			})
			if got := c.Do("Action: Getvar", "Variable: X", "Server: east"); !amiclient.Has(got, "Response: Success") {
				t.Errorf("%q", got)
			}

			change("read = all\nwrite = all\n")
			told = append(told, readStates(watch, "FullyBooted")...)
			want := []string{"Down: connection lost", "Up: logged in", "Down: the user's rights on the PBX changed", "Up: logged in", "FullyBooted"}
			for i, line := range told {
				told[i], _, _ = strings.Cut(line, ", restarted: ") // who lacks system is not told when it was started
			}
			if !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
			f.waitLog("the rights", zapcore.InfoLevel, "all rights again", "what:write")
			eventually(t, "the actions", func() bool { return asks("Response: Success") })
			raise(true)
		})
	}
}

// userChange returns what writes other rights of the proxy's user into a PBX's
// manager.conf and has it read.
func userChange(t *testing.T, pbx *asterisk.PBX) (change func(to string)) {
	name := pbx.Dir() + "/etc/manager.conf"
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	secret := "secret = " + asterisk.ProxySecret + "\n"
	return func(to string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(strings.Replace(string(good), secret+"read = all\nwrite = all\n", secret+to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := pbx.CLI("manager reload"); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
}
