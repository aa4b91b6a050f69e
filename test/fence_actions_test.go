//go:build unix

package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// fenceProbes are actions about what may be outside a fence: CHANNEL, BRIDGE, QUEUE,
// CONFERENCE, MAILBOX, ENDPOINT and CONTEXT stand for it.
var fenceProbes = [][]string{
	{"Hangup", "Channel: CHANNEL"},
	{"Hangup", "Channel: CHANNEL", "Cause: 16"},
	{"Getvar", "Channel: CHANNEL", "Variable: CDR(dst)"},
	{"Getvar", "Channel: CHANNEL", "Variable: CHANNEL(state)"},
	{"Setvar", "Channel: CHANNEL", "Variable: CHANNEL(userfield)", "Value: 1"},
	{"AbsoluteTimeout", "Channel: CHANNEL", "Timeout: 1"},
	{"Redirect", "Channel: CHANNEL", "Context: acme-in", "Exten: hold", "Priority: 1"},
	{"Atxfer", "Channel: CHANNEL", "Context: acme-in", "Exten: hold"},
	{"BlindTransfer", "Channel: CHANNEL", "Context: acme-in", "Exten: hold"},
	{"CancelAtxfer", "Channel: CHANNEL"},
	{"Park", "Channel: CHANNEL"},
	{"PlayDTMF", "Channel: CHANNEL", "Digit: 1"},
	{"SendText", "Channel: CHANNEL", "Message: x"},
	{"Status", "Channel: CHANNEL"},
	{"Bridge", "Channel1: CHANNEL", "Channel2: CHANNEL"},
	{"MixMonitor", "Channel: CHANNEL", "File: x.wav"},
	{"StopMixMonitor", "Channel: CHANNEL"},
	{"MixMonitorMute", "Channel: CHANNEL", "Direction: both", "State: 1"},
	{"MuteAudio", "Channel: CHANNEL", "Direction: all", "State: on"},
	{"LocalOptimizeAway", "Channel: CHANNEL"},
	{"ControlPlayback", "Channel: CHANNEL", "Control: stop"},
	{"CoreShowChannelMap", "Channel: CHANNEL"},
	{"Monitor", "Channel: CHANNEL", "File: x"},
	{"StopMonitor", "Channel: CHANNEL"},
	{"SendFlash", "Channel: CHANNEL"},
	{"PlayMF", "Channel: CHANNEL", "Digit: 1"},
	{"BridgeInfo", "BridgeUniqueid: BRIDGE"},
	{"BridgeDestroy", "BridgeUniqueid: BRIDGE"},
	{"BridgeKick", "BridgeUniqueid: BRIDGE", "Channel: CHANNEL"},
	{"BridgeKick", "Channel: CHANNEL"},
	{"QueueStatus", "Queue: QUEUE"},
	{"QueueSummary", "Queue: QUEUE"},
	{"QueueAdd", "Queue: QUEUE", "Interface: Local/7@acme-in"},
	{"QueueRemove", "Queue: QUEUE", "Interface: Local/phone@common"},
	{"QueuePause", "Queue: QUEUE", "Interface: Local/phone@common", "Paused: true"},
	{"QueuePenalty", "Queue: QUEUE", "Interface: Local/phone@common", "Penalty: 5"},
	{"QueueMemberRingInUse", "Queue: QUEUE", "Interface: Local/phone@common", "RingInUse: no"},
	{"QueueChangePriorityCaller", "Queue: QUEUE", "Caller: CHANNEL", "Priority: 3"},
	{"ConfbridgeKick", "Conference: CONFERENCE", "Channel: all"},
	{"ConfbridgeLock", "Conference: CONFERENCE"},
	{"ConfbridgeMute", "Conference: CONFERENCE", "Channel: all"},
	{"ConfbridgeList", "Conference: CONFERENCE"},
	{"ConfbridgeStopRecord", "Conference: CONFERENCE"},
	{"MailboxCount", "Mailbox: MAILBOX"},
	{"MailboxStatus", "Mailbox: MAILBOX"},
	{"ExtensionState", "Exten: phone", "Context: CONTEXT"},
	{"PJSIPShowEndpoint", "Endpoint: ENDPOINT"},
	{"PJSIPQualify", "Endpoint: ENDPOINT"},
}

// fenceRefused are actions that lead out of a fence, or cannot be confined.
var fenceRefused = [][]string{
	{"Command", "Command: core show channels"},
	{"GetConfig", "Filename: extensions.conf"}, {"ListCategories", "Filename: queues.conf"},
	{"DBPut", "Family: f", "Key: k", "Val: v"}, {"DBGet", "Family: f", "Key: k"}, {"DBGetTree", "Family: f"},
	{"CoreStatus"}, {"CoreSettings"}, {"Agents"}, {"UserEvent", "UserEvent: x"}, {"Reload"}, {"ShowDialPlan"},
	{"QueueRule"}, {"QueueReload"}, {"QueueReset"}, {"ModuleCheck", "Module: app_queue"},
	{"Hangup", "Channel: /.*/"}, {"Getvar", "Variable: X"}, {"Setvar", "Variable: X", "Value: 1"},
	{"Getvar", "Channel: OWN", "Variable: IMPORT(CHANNEL,TENANT)"}, {"Getvar", "Channel: OWN", "Variable: CHANNELS()"},
	{"Getvar", "Channel: OWN", "Variable: GLOBAL(X)"}, {"Setvar", "Channel: OWN", "Variable: GLOBAL(X)", "Value: 1"},
	{"Status", "Variables: IMPORT(CHANNEL,TENANT)"},
	{"Originate", "Channel: Local/hold@beta-in", "Context: acme-in", "Exten: hold", "Priority: 1", "Async: true"},
	{"Originate", "Channel: Local/hold@acme-in", "Context: beta-in", "Exten: hold", "Priority: 1", "Async: true"},
	{"Originate", "Channel: Local/hold@acme-in", "Application: ChanSpy", "Data: CHANNEL", "Async: true"},
	{"Originate", "Channel: PJSIP/alice", "Context: acme-in", "Exten: hold", "Priority: 1", "Async: true"},
	{"Redirect", "Channel: OWN", "Context: beta-in", "Exten: hold", "Priority: 1"},
	{"QueueAdd", "Queue: acme-q", "Interface: PJSIP/alice"},
	{"QueuePause", "Interface: Local/phone@common", "Paused: true"},
}

// answerOf is all that answers an action, without ActionIDs.
func answerOf(c *amiclient.Client, action []string) (all []amiclient.Frame) {
	c.Send(append([]string{"Action: " + action[0], "ActionID: probe"}, action[1:]...)...)
	for _, f := range c.Roundtrip() {
		all = append(all, without(f, "ActionID"))
	}
	return all
}

// TestFenceActions acts across the fence: the answers are those of a PBX that has no such
// thing, and nothing happens.
func TestFenceActions(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) { testFenceActions(t, major) })
	}
}

func testFenceActions(t *testing.T, major int) {
	pbx, p := startFenced(t, major)
	direct := loginDirect(t, pbx)
	for _, tenant := range []string{"acme", "beta", "nobody"} {
		d := &dialler{tb: t, c: loginDirect(t, pbx, "Events: call,dialplan,agent"), tenant: tenant, name: tenant}
		for _, exten := range []string{"talk", "conf", "park"} {
			_, runs := d.call(exten)
			d.expect("Event: BridgeEnter", "Uniqueid: "+runs)
		}
		d.c.Close()
	}
	acme := p.login(t, "acme", "Events: off")
	for _, tenant := range []string{"acme", "beta"} {
		eventually(t, "the proxy to have followed the calls", func() bool {
			c := p.login(t, tenant, "Events: off")
			defer c.Close()
			return len(answerOf(c, []string{"CoreShowChannels"})) == len(channelsOf(direct, tenant))+2 &&
				len(answerOf(c, []string{"BridgeList"})) == 4
		})
	}
	outside := map[string]string{ // Of beta, what is to be asked for by acme.
		"CHANNEL": "beta-1-b", "BRIDGE": "", "QUEUE": "beta-q", "CONFERENCE": "beta-room", "MAILBOX": "100@default", "ENDPOINT": "alice", "CONTEXT": "beta-in",
	}
	for _, f := range direct.List("Action: Status", "Channel: beta-1-b") {
		if id := amiclient.Header(f, "BridgeID"); id != "" {
			outside["BRIDGE"] = id
		}
	}
	replace := func(lines []string, by func(name string) string) []string {
		lines = slices.Clone(lines)
		for i := range lines {
			for name := range outside {
				if !strings.Contains(lines[i], name+"(") { // a function
					lines[i] = strings.ReplaceAll(lines[i], name, by(name))
				}
			}
		}
		return lines
	}
	before := state(direct)
	for _, probe := range fenceProbes {
		unknown := func(name string) string { return "nothing-like-" + name }
		want := answerOf(direct, replace(probe, unknown))
		got := answerOf(acme, replace(probe, func(name string) string { return outside[name] }))
		equalFrames(t, probe, got, want, func(f amiclient.Frame) amiclient.Frame {
			for name, value := range outside {
				f = amiclient.Frame(strings.ReplaceAll(strings.ReplaceAll(string(f), unknown(name), "NAME"), value, "NAME"))
			}
			return f
		})
	}
	for _, refused := range fenceRefused {
		lines := replace(refused, func(name string) string { return outside[name] })
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], "OWN", "acme-1-b")
		}
		if got := answerOf(acme, lines); len(got) != 1 || !amiclient.Has(got[0], "Response: Error", "Message: Permission denied") {
			t.Errorf("%q: %q", lines, got)
		}
	}
	if after := state(direct); after != before {
		t.Errorf("something happened: before\n%s\nafter\n%s", before, after)
	}
	fencedLists(t, direct, acme)
	defer pbx.Kill() // A stop waits for the channels.
	// What is its own it does with as it likes.
	for _, c := range []struct{ want, action string }{
		{"Response: Success", "Setvar|Channel: acme-1-b|Variable: CHANNEL(userfield)|Value: 1"},
		{"Value: 1", "Getvar|Channel: acme-1-b|Variable: CHANNEL(userfield)"},
		{"Message: Redirect successful", "Redirect|Channel: acme-1-b|Context: acme-in|Exten: hold|Priority: 1"},
		{"Response: Success", "ConfbridgeLock|Conference: acme-room"},
		{"Response: Success", "QueuePause|Queue: acme-q|Interface: Local/phone@common|Paused: true"},
		{"Message: Originate successfully queued", "Originate|Channel: Local/hold@acme-in|Context: acme-in|Exten: hold|Priority: 1|Async: true"},
		{"Message: Channel Hungup", "Hangup|Channel: acme-2-a"},
	} {
		if got := answerOf(acme, strings.Split(c.action, "|")); len(got) != 1 || !amiclient.Has(got[0], c.want) {
			t.Errorf("%s: %q", c.action, got)
		}
	}
}

func equalFrames(t *testing.T, what []string, got, want []amiclient.Frame, plain func(amiclient.Frame) amiclient.Frame) {
	t.Helper()
	same := len(got) == len(want)
	for i := range want {
		same = same && plain(got[i]) == plain(want[i])
	}
	if !same {
		t.Errorf("%q:\n got %q\nwant %q", what, got, want)
	}
}

// channelsOf are the channels of a tenant's calls, by the Uniqueids that the test gave.
func channelsOf(direct *amiclient.Client, tenant string) (names []string) {
	for _, f := range direct.List("Action: CoreShowChannels") {
		if strings.HasPrefix(amiclient.Header(f, "Linkedid"), tenant) {
			names = append(names, amiclient.Header(f, "Channel"))
		}
	}
	slices.Sort(names)
	return names
}

// state is what the calls and queues on a PBX are like.
func state(direct *amiclient.Client) string {
	var lines []string
	for _, f := range slices.Concat(direct.List("Action: Status", "Variables: X"), direct.List("Action: QueueStatus"), direct.List("Action: ConfbridgeListRooms")) {
		var line []string
		for _, name := range []string{"Event", "Uniqueid", "BridgeID", "Context", "Application", "Queue", "Location", "Paused", "Penalty", "Conference", "Parties", "Locked", "Muted", "Variable"} {
			line = append(line, amiclient.Header(f, name))
		}
		lines = append(lines, strings.Join(line, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// fencedLists compares the lists of a tenant's client with those of one who sees all.
func fencedLists(t *testing.T, direct, acme *amiclient.Client) {
	t.Helper()
	own := channelsOf(direct, "acme")
	for _, c := range []struct {
		action, by string
		want       []string
	}{
		{"CoreShowChannels", "Channel", own},
		{"Status", "Channel", own},
		{"ParkedCalls", "ParkeeUniqueid", []string{"acme-3-b"}},
		{"ConfbridgeListRooms", "Conference", []string{"acme-room"}},
		{"ConfbridgeList|Conference: acme-room", "Uniqueid", []string{"acme-2-b"}},
		{"QueueStatus", "Queue", []string{"acme-q", "acme-q"}},
		{"QueueSummary", "Queue", []string{"acme-q"}},
		{"Parkinglots", "Name", nil},
		{"DeviceStateList", "Device", nil},
	} {
		frames := acme.List(strings.Split("Action: "+c.action, "|")...)
		var got []string
		for _, f := range frames[1 : len(frames)-1] {
			got = append(got, amiclient.Header(f, c.by))
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.action, got, c.want)
		}
		for _, name := range []string{"ListItems", "Items", "Total"} {
			if n := amiclient.Header(frames[len(frames)-1], name); n != "" && n != fmt.Sprint(len(got)) {
				t.Errorf("%s: %s: %s of %d", c.action, name, n, len(got))
			}
		}
	}
	if f := acme.Do("Action: PJSIPShowEndpoints"); !amiclient.Has(f, "Response: Error", "Message: No endpoints found") {
		t.Errorf("no endpoints: %q", f)
	}
}
