package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// An action goes where its channel is.
func TestRouteToTheOwner(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	for _, action := range []string{"Hangup", "Setvar", "Redirect"} {
		w.answerer(action)
	}
	c := w.login("defaulted", "Events: off") // by default to west
	unique := map[string]string{}
	for _, f := range c.List("Action: CoreShowChannels") {
		if name := header(f, "Channel"); name != "" {
			unique[header(f, "Server")+" "+name[len(name)-1:]] = header(f, "Uniqueid")
		}
	}
	for _, test := range []struct{ channel, want string }{
		{"PJSIP/idle-00000002", "I am west"},
		{"pjsip/IDLE-00000002", "I am west"},
		{unique["east 0"], "I am east"},
		{unique["west 1"], "I am west"},
		{"PJSIP/idle-00000000", "Ambiguous: say Server: east or west"},
		{"PJSIP/nosuch", "I am west"},
	} {
		for _, action := range []string{"Hangup", "Setvar", "Redirect"} {
			if got := header(c.Do("Action: "+action, "Channel: "+test.channel, "Variable: v", "Context: c", "Exten: e", "Priority: 1"), "Message"); got != test.want {
				t.Errorf("%s %q: %s, want %s", action, test.channel, got, test.want)
			}
		}
	}
	// Channels that belong together must be on one PBX.
	if got := header(c.Do("Action: Redirect", "Channel: "+unique["east 0"], "ExtraChannel: "+unique["west 0"]), "Message"); got != "Ambiguous: say Server: east or west" {
		t.Error(got)
	}
}

// documented is what the documentation of Asterisk 16 and 22 says names a channel,
// a bridge or a conference (core-en_US.xml), but for those that ownedBy leaves out.
const documented = `
AGI Channel, AOCMessage Channel, AbsoluteTimeout Channel, Atxfer Channel, BlindTransfer Channel, Bridge Channel1,
Bridge Channel2, BridgeDestroy BridgeUniqueid, BridgeInfo BridgeUniqueid, BridgeKick BridgeUniqueid, BridgeKick Channel,
CancelAtxfer Channel, ChangeMonitor Channel, ConfbridgeKick Conference, ConfbridgeList Conference,
ConfbridgeLock Conference, ConfbridgeMute Conference, ConfbridgeSetSingleVideoSrc Conference,
ConfbridgeStartRecord Conference, ConfbridgeStopRecord Conference, ConfbridgeUnlock Conference,
ConfbridgeUnmute Conference, ControlPlayback Channel, CoreShowChannelMap Channel, Getvar Channel, Hangup Channel,
LocalOptimizeAway Channel, MeetmeList Conference, MeetmeMute Meetme, MeetmeUnmute Meetme, MixMonitor Channel,
MixMonitorMute Channel, Monitor Channel, MuteAudio Channel, PJSIPHangup Channel, PJSIPNotify Channel, Park Channel,
PauseMonitor Channel, PlayDTMF Channel, PlayMF Channel, QueueChangePriorityCaller Caller, QueueLog Uniqueid,
QueueWithdrawCaller Caller, Redirect Channel, Redirect ExtraChannel, SendFlash Channel, SendText Channel,
Setvar Channel, Status Channel, StopMixMonitor Channel, StopMonitor Channel, UnpauseMonitor Channel`

// Every header that names what a PBX owns leads there.
func TestEveryActionFindsItsOwner(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("west")
	w.sims["west"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	w.sims["west"].Event("BridgeCreate", ami.ClassCall, "BridgeUniqueid", "b-1")
	w.sims["west"].Event("ConfbridgeStart", ami.ClassCall, "Conference", "c-1", "BridgeUniqueid", "b-2")
	await(3)
	values := map[string]string{"Uniqueid": "u1", "BridgeUniqueid": "b-1", "Conference": "c-1", "Meetme": "c-1"}
	s, n := w.session(c), 0
	for entry := range strings.SplitSeq(strings.ReplaceAll(documented, "\n", " "), ",") {
		name, head, _ := strings.Cut(strings.TrimSpace(entry), " ")
		value := values[head]
		if value == "" {
			value = "SIP/new-1"
		}
		owner, refusal := s.owner(ami.NewAction("Action: "+name, head+": "+value), ami.FoldName(name))
		if owner == nil || owner.Name() != "west" {
			t.Errorf("%s, %s: %s goes to %v, %s", name, head, value, owner, refusal)
		}
		n++
	}
	for _, headers := range ownedBy {
		n -= len(headers)
	}
	if n != 0 {
		t.Errorf("%d more are documented than are in ownedBy", n)
	}
}

// hangup is what a PBX, or the proxy, says to a Hangup that names no PBX.
func hangup(c *amiclient.Client, channel string) string {
	return header(c.Do("Action: Hangup", "Channel: "+channel), "Message")
}

// What is born and ends after the first listing is known, too, but nobody teaches
// the proxy by events of his own.
func TestOwnersAreLearnedFromEvents(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("east")
	w.sims["east"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	w.sims["east"].Event("UserEvent", ami.ClassUser, "UserEvent", "Newchannel", "Channel", "SIP/forged", "Uniqueid", "u2")
	await(2)
	if got := hangup(c, "SIP/new-1"); got != "I am east" {
		t.Error(got)
	}
	if got := hangup(c, "SIP/forged"); got != "Server header required" {
		t.Error(got)
	}
	await = w.awaitEvents("east")
	w.sims["east"].Event("Rename", ami.ClassCall, "Channel", "SIP/new-1", "Newname", "SIP/other", "Uniqueid", "u1")
	await(1)
	if got := hangup(c, "SIP/new-1") + hangup(c, "SIP/other"); got != "Server header requiredI am east" {
		t.Error(got)
	}
	await = w.awaitEvents("east")
	w.sims["east"].Event("Hangup", ami.ClassCall, "Channel", "SIP/other", "Uniqueid", "u1")
	await(1)
	if got := hangup(c, "SIP/other"); got != "Server header required" {
		t.Error(got)
	}
}

// The names of a PBX that is away stay its own until it is back and has listed
// them anew.
func TestOwnerThatIsAway(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("east")
	w.sims["east"].Event("Newchannel", ami.ClassCall, "Channel", "SIP/new-1", "Uniqueid", "u1", "Linkedid", "u1")
	await(1)
	w.take("east")
	if got := hangup(c, "SIP/new-1"); got != "Server east is not connected" {
		t.Error(got)
	}
	if got := hangup(c, "PJSIP/idle-00000002"); got != "I am west" {
		t.Error(got)
	}
	w.putBack("east")
	w.awaitNames("east")
	if got := hangup(c, "SIP/new-1"); got != "Server header required" { // the restart has ended it
		t.Error(got)
	}
}

// Until a PBX has listed its names, whatever it may own is not guessed.
func TestOwnerBeforeTheListing(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("Hangup")
	c := w.login("full", "Events: off")
	w.take("west")
	open := w.block("west", "BridgeList")
	w.putBack("west")
	if got := header(c.Do("Action: Hangup", "Channel: SIP/x"), "Message"); got != "Ambiguous: say Server: east or west" {
		t.Error(got)
	}
	open()
	w.awaitNames("west")
	if got := header(c.Do("Action: Hangup", "Channel: SIP/x"), "Message"); got != "Server header required" {
		t.Error(got)
	}
	if got := header(c.Do("Action: Hangup", "Channel: PJSIP/idle-00000002"), "Message"); got != "I am west" {
		t.Error(got)
	}
}

func TestOwnerOfABridge(t *testing.T) {
	w := newWorld(t, idle())
	w.awaitNames("east", "west")
	w.answerer("BridgeInfo")
	c := w.login("full", "Events: off")
	await := w.awaitEvents("west")
	w.sims["west"].Event("BridgeCreate", ami.ClassCall, "BridgeUniqueid", "b-1")
	await(1)
	if got := header(c.Do("Action: BridgeInfo", "BridgeUniqueid: b-1"), "Message"); got != "I am west" {
		t.Error(got)
	}
}

// Who lacks the class learns nothing of what is where.
func TestOwnerIsNotToldToThoseWithoutRights(t *testing.T) {
	o := idle()
	o.users = "[u]\nsecret = u-secret\nread = all\nwrite = user\n"
	w := newWorld(t, o)
	w.awaitNames("east", "west")
	c := w.login("u", "Events: off")
	for _, channel := range []string{"PJSIP/idle-00000000", "PJSIP/idle-00000002", "PJSIP/nosuch"} {
		if got := header(c.Do("Action: Hangup", "Channel: "+channel), "Message"); got != "Permission denied" {
			t.Errorf("%s: %s", channel, got)
		}
	}
}
