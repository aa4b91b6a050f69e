//go:build unix

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const (
	// keep is a context whose calls stay until somebody ends them.
	keep = `
[keep]
exten => _X.,1,Answer()
 same => n,Wait(600)
 same => n,Hangup()
[away]
exten => _X.,1,Answer()
 same => n,Wait(600)
 same => n,Hangup()
[pose]
exten => _X.,1,UserEvent(Newchannel,Channel: ${POSED},Uniqueid: posed-2,Linkedid: posed-2)
 same => n,UserEvent(Hangup,Channel: ${POSED},Uniqueid: ${POSEDID},Cause: 16)
 same => n,Hangup()
`
	severalUsers = `
[many]
secret = pw
read = all
write = all
[poser]
secret = pw
read = user
write = user
pbx = north
`
	callsOfEach = 24 // Calls that stay on each PBX, of two channels each.
)

// threePBXs starts east, which is a 16, and west and north, which are 22.
func threePBXs(tb testing.TB) []*asterisk.PBX {
	tb.Helper()
	var options []asterisk.Options
	for i, name := range []string{"east", "west", "north"} {
		options = append(options, asterisk.Options{
			Major: []int{16, 22, 22}[i], Name: name, SystemName: name, Extensions: keep + ringing,
		})
	}
	return starts(tb, options...)
}

// A held channel is one that stays.
type held struct{ server, name, uniqueid, partner string }

// hold makes calls on each PBX that stay, with numbers that no other PBX uses, and
// returns the half of each that runs in the dialplan.
func hold(tb testing.TB, direct []*amiclient.Client, pbxs []*asterisk.PBX, n int) []held {
	tb.Helper()
	var all []held
	for i, c := range direct {
		digit := strings.Index("east  west  north", pbxs[i].Name())/6 + 1
		for call := range n {
			c.Do("Action: Originate", fmt.Sprintf("Channel: Local/%d%03d@keep/n", digit, call), "Application: Wait", "Data: 600", "Async: true")
		}
		number := fmt.Sprintf("Local/%d", digit)
		var got []held
		eventually(tb, "the calls of "+pbxs[i].Name(), func() bool {
			got = nil
			for _, f := range c.List("Action: CoreShowChannels") {
				name := amiclient.Header(f, "Channel")
				if half, ok := strings.CutSuffix(name, ";2"); ok && strings.HasPrefix(name, number) && amiclient.Has(f, "Application: Wait") {
					got = append(got, held{pbxs[i].Name(), name, amiclient.Header(f, "Uniqueid"), half + ";1"})
				}
			}
			return len(got) == n
		})
		all = append(all, got...)
	}
	return all
}

// TestRouteOnThreePBXs lets actions find their channels, by name and by Uniqueid, with no
// Server: each at the PBX that has it, as that PBX itself says, and none elsewhere.
func TestRouteOnThreePBXs(t *testing.T) {
	pbxs := threePBXs(t)
	p := startProxy(t, severalUsers, pbxs...)
	p.waitUp()
	direct := map[string]*amiclient.Client{}
	var inOrder []*amiclient.Client
	for _, pbx := range pbxs {
		direct[pbx.Name()] = loginDirect(t, pbx)
		inOrder = append(inOrder, direct[pbx.Name()])
	}
	channels := hold(t, inOrder, pbxs, callsOfEach)
	p.waitNames(2 * callsOfEach)
	c := p.login(t, "many", "Events: off")
	routed := 0
	do := func(h held, lines ...string) {
		t.Helper()
		routed++
		if f := c.Do(lines...); !amiclient.Has(f, "Response: Success", "Server: "+h.server) {
			t.Errorf("%q, of %s, was answered %q", lines, h.server, f)
		}
	}
	status := func(h held, name string) amiclient.Frame {
		list := direct[h.server].List("Action: Status", "Channel: "+name)
		if len(list) < 2 {
			return ""
		}
		return list[1]
	}
	for i, h := range channels {
		for _, name := range []string{h.name, strings.ToUpper(h.name), h.uniqueid, h.partner} {
			value := fmt.Sprintf("%s-%d-%s", h.server, i, name)
			do(h, "Action: Setvar", "Channel: "+name, "Variable: ROUTED", "Value: "+value)
			if f := direct[h.server].Do("Action: Getvar", "Channel: "+name, "Variable: ROUTED"); amiclient.Header(f, "Value") != value {
				t.Errorf("%s of %s has %q, want %s", name, h.server, f, value)
			}
		}
		do(h, "Action: Redirect", "Channel: "+h.name, "Context: away", fmt.Sprintf("Exten: 7%03d", i), "Priority: 1")
		eventually(t, "a redirect", func() bool {
			return amiclient.Has(status(h, h.name), "Context: away", fmt.Sprintf("Exten: 7%03d", i))
		})
	}
	for i := 0; i < len(channels); i += 2 { // of the same PBX
		a, b := channels[i], channels[i+1]
		do(a, "Action: Bridge", "Channel1: "+a.name, "Channel2: "+b.name, "Tone: no")
		eventually(t, "a bridge", func() bool {
			id := amiclient.Header(status(a, a.name), "BridgeID")
			return id != "" && id == amiclient.Header(status(b, b.name), "BridgeID")
		})
	}
	// What belongs together must be on one PBX.
	for _, lines := range [][]string{
		{"Action: Bridge", "Channel1: " + channels[0].name, "Channel2: " + channels[callsOfEach].name},
		{"Action: Redirect", "Channel: " + channels[0].name, "ExtraChannel: " + channels[2*callsOfEach].uniqueid, "Context: away", "Exten: 1", "Priority: 1"},
	} {
		if f := c.Do(lines...); !strings.HasPrefix(amiclient.Header(f, "Message"), "Ambiguous: say Server: east or ") {
			t.Errorf("%q was answered %q", lines, f)
		}
	}
	for i := 0; i < len(channels); i += 2 { // which ends the other one of the bridge, too
		h := channels[i]
		do(h, "Action: Hangup", "Channel: "+h.name)
		eventually(t, "a hangup", func() bool { return status(h, h.name) == "" })
	}
	if routed < 200 {
		t.Errorf("%d actions were routed, want 200", routed)
	}
	t.Logf("%d actions were routed", routed)
	// What is gone is nobody's.
	p.waitNames(0)
	if f := c.Do("Action: Hangup", "Channel: "+channels[0].name); !amiclient.Has(f, "Response: Error", "Message: Server header required") {
		t.Errorf("a channel that is gone was routed: %q", f)
	}
}

// waitNames waits until the names on all PBXes are known, which are those of so many
// channels on each.
func (p *proxied) waitNames(channels int) {
	p.tb.Helper()
	for _, b := range p.Backends() {
		eventually(p.tb, "the names on "+b.Name(), func() bool {
			return b.Names().Complete() && b.Names().Len() == channels
		})
	}
}

// TestNamesOnSeveralPBXs uses names that two PBXes have, or that one has which is away.
func TestNamesOnSeveralPBXs(t *testing.T) {
	pbxs := threePBXs(t)
	p := startProxy(t, severalUsers, pbxs...)
	p.waitUp()
	// Each PBX counts its Local channels from 0: these have one name.
	for _, pbx := range pbxs[1:] {
		loginDirect(t, pbx).Do("Action: Originate", "Channel: Local/500@keep/n", "Application: Wait", "Data: 600", "Async: true", "ChannelId: twin")
	}
	names := func(i, n int) {
		b := p.Backends()[i]
		eventually(t, "the names on "+b.Name(), func() bool { return b.Names().Complete() && b.Names().Len() == n })
	}
	names(1, 2)
	names(2, 2) // or the next calls may get the numbers of these
	north := hold(t, []*amiclient.Client{loginDirect(t, pbxs[2])}, pbxs[2:], 2)[0]
	east := hold(t, []*amiclient.Client{loginDirect(t, pbxs[0])}, pbxs[:1], 1)[0]
	names(0, 2)
	names(2, 6)
	c := p.login(t, "many", "Events: off")
	hangup := func(channel, want string) {
		t.Helper()
		if f := c.Do("Action: Hangup", "Channel: "+channel); !amiclient.Has(f, "Response: Error", "Message: "+want) {
			t.Errorf("Hangup of %s was answered %q, want %s", channel, f, want)
		}
	}
	twins := []string{"Local/500@keep-00000000;1", "Local/500@keep-00000000;2", "twin"}
	for _, name := range twins {
		hangup(name, "Ambiguous: say Server: west or north")
	}
	for _, pbx := range []string{"west", "north"} {
		if f := c.Do("Action: Setvar", "Channel: "+twins[0], "Variable: A", "Value: "+pbx, "Server: "+pbx); !amiclient.Has(f, "Response: Success", "Server: "+pbx) {
			t.Errorf("%q", f)
		}
	}

	// A PBX that is away keeps its names, whoever else may have them.
	pbxs[2].Kill()
	eventually(t, "north to be away", func() bool { return !p.backend("north").Up() })
	hangup(north.name, "Server north is not connected")
	hangup(north.uniqueid, "Server north is not connected")
	hangup(twins[0], "Ambiguous: say Server: west or north")
	if f := c.Do("Action: Setvar", "Channel: "+east.name, "Variable: A", "Value: 1"); !amiclient.Has(f, "Response: Success", "Server: east") {
		t.Errorf("%q", f)
	}
	pbxs[2].Start()
	eventually(t, "the names on north", func() bool { b := p.backend("north"); return b.Up() && b.Names().Complete() })
	hangup(north.name, "Server header required")
	if f := c.Do("Action: Hangup", "Channel: "+twins[0]); !amiclient.Has(f, "Response: Success", "Server: west") {
		t.Errorf("the only one that is left: %q", f)
	}
}

// TestUserEventsRouteNothing has a user, and the dialplan, raise user events that look
// like those by which channels are known.
func TestUserEventsRouteNothing(t *testing.T) {
	pbxs := threePBXs(t)
	p := startProxy(t, severalUsers, pbxs...)
	p.waitUp()
	direct := loginDirect(t, pbxs[0])
	east := hold(t, []*amiclient.Client{direct}, pbxs[:1], 1)[0]
	b := p.backend("east")
	eventually(t, "the names on east", func() bool { return b.Names().Complete() && b.Names().Len() == 2 })
	watch, c := p.login(t, "many", "Events: user"), p.login(t, "many", "Events: off")

	poser := p.login(t, "poser", "Events: off")
	for _, lines := range [][]string{
		{"UserEvent: Newchannel", "Channel: " + east.name, "Uniqueid: posed-1", "Linkedid: posed-1"},
		{"Event: Newchannel", "Privilege: call,all", "UserEvent: Newchannel", "Channel: " + east.name, "Uniqueid: posed-1"},
		{"Channel: Local/forged@keep-1;1", "Uniqueid: " + east.uniqueid, "Event: Newstate", "UserEvent: Newstate", "Server: north"},
		{"UserEvent: Rename", "Channel: " + east.name, "Newname: Local/forged", "Uniqueid: " + east.uniqueid},
		{"UserEvent: Hangup", "Channel: " + east.name, "Uniqueid: " + east.uniqueid},
	} {
		poser.Do(append([]string{"Action: UserEvent"}, lines...)...)
	}
	for _, pbx := range pbxs {
		loginDirect(t, pbx).Do("Action: Originate", "Channel: Local/100@pose", "Application: Wait", "Data: 1", "Async: true",
			"Variable: __POSED="+east.name, "Variable: __POSEDID="+east.uniqueid)
	}
	seen := map[string]int{}
	for seen["Newchannel"] < 5 || seen["Hangup"] < 4 {
		seen[amiclient.Header(watch.Expect("Event: UserEvent"), "UserEvent")]++
	}
	for _, name := range []string{east.name, east.uniqueid} {
		if f := c.Do("Action: Setvar", "Channel: "+name, "Variable: A", "Value: 1"); !amiclient.Has(f, "Response: Success", "Server: east") {
			t.Errorf("after the user events %s is led to %q", name, f)
		}
	}
	for _, name := range []string{"Local/forged@keep-1;1", "Local/forged", "posed-1", "posed-2"} {
		if f := c.Do("Action: Hangup", "Channel: "+name); !amiclient.Has(f, "Response: Error", "Message: Server header required") {
			t.Errorf("a user event made %s known: %q", name, f)
		}
	}
	if f := c.Do("Action: Hangup", "Channel: "+east.name); !amiclient.Has(f, "Response: Success", "Server: east") {
		t.Errorf("%q", f)
	}
}
