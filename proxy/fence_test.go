package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const fencedUsers = standardUsers + `
[tenant:acme]
context = acme-*
channel = PJSIP/acme-*
queue = acme-q
conference = acme-*
device = PJSIP/acme-*

[tenant:beta]
pbx = east
context = beta-*
queue = beta-q

[fenced](!)
read = all
write = all

[acme](fenced)
secret = acme-secret
tenant = acme
allowevent = PeerStatus, UserEvent
allowevent(PeerStatus) = ChannelType: PJSIP

[acme2](fenced)
secret = acme2-secret
tenant = acme

[beta](fenced)
secret = beta-secret
tenant = beta
pbx = east

[both](fenced)
secret = both-secret
tenant = acme, beta
`

func call(name, channel, context, uniqueid string, more ...string) []byte {
	lines := append([]string{
		"Event: " + name, "Privilege: call,all", "Channel: " + channel, "Context: " + context, "Exten: s",
		"Uniqueid: " + uniqueid, "Linkedid: " + uniqueid,
	}, more...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// seen are the events that a client has got, each by its name and Uniqueid.
func seen(c *amiclient.Client) (all []string) {
	for _, f := range c.Roundtrip() {
		all = append(all, strings.TrimRight(header(f, "Event")+" "+header(f, "Uniqueid"), " "))
	}
	return all
}

// Who has a fence sees the calls of its tenants whole, from where they come into
// it, and no others; and of events that are of no call, those that it names.
func TestFenceEvents(t *testing.T) {
	w := newWorld(t, setup{users: fencedUsers})
	clients := map[string]*amiclient.Client{}
	for _, name := range []string{"full", "acme", "acme2", "beta", "both"} {
		clients[name] = w.login(name)
	}
	emit := func(frames ...[]byte) {
		await := w.awaitEvents("east")
		for _, f := range frames {
			w.sims["east"].Emit(f)
		}
		await(uint64(len(frames)))
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		for name, c := range clients {
			if got := strings.Join(seen(c), ", "); got != want[name] {
				t.Errorf("%s: %s got %q, want %q", what, name, got, want[name])
			}
		}
	}
	bridge := []string{"BridgeUniqueid: b", "BridgeTechnology: simple_bridge"}

	emit(call("Newchannel", "PJSIP/acme-1-01", "public", "1"), call("Newchannel", "PJSIP/2-01", "beta-in", "2"), call("Newchannel", "PJSIP/3-01", "public", "3"))
	expect("calls begin", map[string]string{
		"full": "Newchannel 1, Newchannel 2, Newchannel 3", "acme": "Newchannel 1", "acme2": "Newchannel 1", "beta": "Newchannel 2", "both": "Newchannel 1, Newchannel 2",
	})
	emit(call("VarSet", "PJSIP/3-01", "public", "3"), call("Newstate", "PJSIP/3-01", "public", "3"))
	expect("nobody's", map[string]string{"full": "VarSet 3, Newstate 3"})
	emit(call("BridgeEnter", "PJSIP/3-01", "public", "3", bridge...), call("BridgeEnter", "PJSIP/2-01", "beta-in", "2", bridge...))
	expect("one comes into the fence", map[string]string{
		"full": "BridgeEnter 3, BridgeEnter 2",
		"beta": "Newchannel 3, Newstate 3, BridgeEnter 3, BridgeEnter 2", "both": "Newchannel 3, Newstate 3, BridgeEnter 3, BridgeEnter 2",
	})
	emit(call("BridgeEnter", "PJSIP/acme-1-01", "public", "1", bridge...))
	expect("two tenants in conversation", map[string]string{
		"full": "BridgeEnter 1",
		// Who saw a channel already is not told of it again.
		"both":  "BridgeEnter 1",
		"beta":  "Newchannel 1, BridgeEnter 1",
		"acme":  "Newchannel 3, Newchannel 2, Newstate 3, BridgeEnter 3, BridgeEnter 2, BridgeEnter 1",
		"acme2": "Newchannel 3, Newchannel 2, Newstate 3, BridgeEnter 3, BridgeEnter 2, BridgeEnter 1",
	})
	emit(call("BridgeLeave", "PJSIP/acme-1-01", "public", "1", bridge...), call("VarSet", "PJSIP/3-01", "public", "3"))
	expect("one leaves", map[string]string{
		"full": "BridgeLeave 1, VarSet 3", "both": "BridgeLeave 1, VarSet 3", "beta": "BridgeLeave 1, VarSet 3", "acme": "BridgeLeave 1", "acme2": "BridgeLeave 1",
	})

	plain := func(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n") }
	emit(plain("Event: PeerStatus", "Privilege: system,all", "ChannelType: PJSIP", "Peer: PJSIP/x"),
		plain("Event: PeerStatus", "Privilege: system,all", "ChannelType: IAX2", "Peer: IAX2/x"),
		plain("Event: DeviceStateChange", "Privilege: call,all", "Device: PJSIP/acme-1"),
		plain("Event: RTCPSent", "Privilege: reporting,all"),
		plain("Event: FullyBooted", "Privilege: system,all", "Status: Fully Booted"),
		plain("Event: QueueMemberStatus", "Privilege: agent,all", "Queue: beta-q"),
		// What a client wrote teaches nothing, and is of no call.
		plain("Event: UserEvent", "Privilege: user,all", "UserEvent: x", "Uniqueid: 2", "Queue: beta-q"))
	all := "PeerStatus, PeerStatus, DeviceStateChange, RTCPSent, FullyBooted, QueueMemberStatus, UserEvent 2"
	expect("no calls", map[string]string{
		"full": all, "acme": "PeerStatus, DeviceStateChange, FullyBooted, UserEvent 2", "acme2": "DeviceStateChange, FullyBooted",
		"beta": "FullyBooted, QueueMemberStatus", "both": "DeviceStateChange, FullyBooted, QueueMemberStatus",
	})
	emit(call("Hangup", "PJSIP/2-01", "beta-in", "2"), plain("Event: Cdr", "Privilege: cdr,all", "Uniqueid: 2"))
	expect("the end", map[string]string{"full": "Hangup 2, Cdr 2", "beta": "Hangup 2, Cdr 2", "both": "Hangup 2, Cdr 2"})
}

// calls makes a call of each tenant, and one of nobody. It returns the channels by context.
func (w *world) calls(t *testing.T, pbx string) map[string]string {
	t.Helper()
	full := w.login("full")
	channels := map[string]string{}
	for _, context := range []string{"acme-in", "beta-in", "public"} {
		full.Send("Action: Originate", "Channel: Local/long@"+context, "Application: Wait", "Data: 1000", "Async: true")
		f := full.Expect("Event: OriginateResponse", "Response: Success")
		channels[context] = header(f, "Channel")
	}
	for _, name := range channels {
		eventually(t, "the proxy to know "+name, func() bool { return len(w.pbx(pbx).calls.Channel(name)) > 0 || strings.Contains(name, "public") })
	}
	return channels
}

// What is outside the fence is in no list, and to act on it is to act on nothing.
func TestFenceActions(t *testing.T) {
	w := newWorld(t, setup{users: fencedUsers, sim: map[string]simpbx.Options{"east": {
		Talk: 1e12, Ring: 1, Queues: []simpbx.Queue{{Name: "acme-q"}, {Name: "beta-q"}},
		Endpoints: []simpbx.Endpoint{{Name: "acme-1"}, {Name: "x"}},
	}}})
	channels := w.calls(t, "east")
	acme, beta := w.login("acme", "Events: off"), w.login("beta", "Events: off")
	items := func(c *amiclient.Client, by string, action ...string) string {
		t.Helper()
		frames := c.List(action...)
		var all []string
		for _, f := range frames[1:max(1, len(frames)-1)] {
			all = append(all, header(f, by))
		}
		end := frames[len(frames)-1]
		for _, counts := range []string{"ListItems", "Items"} {
			if n := header(end, counts); n != "" && n != fmt.Sprint(len(all)) {
				t.Errorf("%s: %s: %s of %d items", action, counts, n, len(all))
			}
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	half := strings.TrimSuffix(channels["acme-in"], "1")
	for _, c := range []struct{ want, by, action string }{
		{half + "1 " + half + "2", "Channel", "CoreShowChannels"},
		{half + "1 " + half + "2", "Channel", "Status"},
		{"acme-q", "Queue", "QueueStatus"},
		{"acme-q", "Queue", "QueueSummary"},
		{"acme-1", "ObjectName", "PJSIPShowEndpoints"},
		{"PJSIP/acme-1", "Device", "DeviceStateList"},
	} {
		if got := items(acme, c.by, "Action: "+c.action); got != c.want {
			t.Errorf("%s: %q, want %q", c.action, got, c.want)
		}
	}
	if f := beta.Do("Action: PJSIPShowEndpoints"); header(f, "Message") != "No endpoints found" {
		t.Errorf("no endpoints: %q", f)
	}
	if got := items(beta, "Queue", "Action: QueueStatus", "Queue: acme-q"); got != "" {
		t.Errorf("another's queue: %q", got)
	}

	for _, c := range []struct {
		want   string
		action []string
	}{
		{"No such channel", []string{"Action: Hangup", "Channel: CHANNEL"}},
		{"No such channel", []string{"Action: Getvar", "Channel: CHANNEL", "Variable: CDR(dst)"}},
		{"Permission denied", []string{"Action: Getvar", "Channel: CHANNEL", "Variable: X"}},
		{"No such channel", []string{"Action: Setvar", "Channel: CHANNEL", "Variable: CALLERID(num)", "Value: 1"}},
		{"No such channel", []string{"Action: Status", "Channel: CHANNEL"}},
		{"Channel does not exist: CHANNEL", []string{"Action: Redirect", "Channel: CHANNEL", "Context: acme-in", "Exten: 1", "Priority: 1"}},
		{"Permission denied", []string{"Action: Redirect", "Channel: CHANNEL", "Context: beta-in", "Exten: 1", "Priority: 1"}},
		{"Permission denied", []string{"Action: Hangup", "Channel: /.*/"}},
		{"Permission denied", []string{"Action: Setvar", "Variable: G", "Value: 1"}},
		{"Permission denied", []string{"Action: Command", "Command: core show channels"}},
		{"Permission denied", []string{"Action: DBGet", "Family: a", "Key: b"}},
		{"Permission denied", []string{"Action: CoreStatus"}},
		{"Permission denied", []string{"Action: Originate", "Channel: Local/1@beta-in", "Context: acme-in", "Exten: 1", "Priority: 1"}},
		{"Permission denied", []string{"Action: Originate", "Channel: Local/1@acme-in", "Context: beta-in", "Exten: 1", "Priority: 1"}},
		{"Permission denied", []string{"Action: Originate", "Channel: Local/1@acme-in/n@beta-in", "Application: ChanSpy", "Data: CHANNEL"}},
		{"Permission denied", []string{"Action: Originate", "Channel: PJSIP/x", "Context: acme-in", "Exten: 1", "Priority: 1"}},
		{"Permission denied", []string{"Action: QueueAdd", "Queue: acme-q", "Interface: PJSIP/x"}},
	} {
		for _, context := range []string{"beta-in", "public"} {
			lines := slices.Clone(c.action)
			for i := range lines {
				lines[i] = strings.ReplaceAll(lines[i], "CHANNEL", channels[context])
			}
			if got, want := header(acme.Do(lines...), "Message"), strings.ReplaceAll(c.want, "CHANNEL", channels[context]); got != want {
				t.Errorf("%q: %q, want %q", lines, got, want)
			}
		}
	}
	// To its own it may do what it likes.
	for _, c := range []struct {
		want   string
		action []string
	}{
		{"Variable not set", []string{"Action: Setvar", "Channel: " + half + "1", "Variable: CALLERID(num)", "Value: 1"}},
		{"Permission denied", []string{"Action: Setvar", "Channel: " + half + "1", "Variable: X", "Value: 1"}},
		{"", []string{"Action: Getvar", "Channel: " + half + "1", "Variable: CHANNEL(state)"}},
		{"Permission denied", []string{"Action: Getvar", "Channel: " + half + "1", "Variable: IMPORT(" + channels["beta-in"] + ",X)"}},
		{"Originate successfully queued", []string{"Action: Originate", "Channel: Local/1@acme-in", "Context: acme-in", "Exten: 1", "Priority: 1", "Async: true"}},
		{"Channel Hungup", []string{"Action: Hangup", "Channel: " + half + "1"}},
	} {
		if got := header(acme.Do(c.action...), "Message"); got != c.want {
			t.Errorf("%q: %q, want %q", c.action, got, c.want)
		}
	}
	for _, context := range []string{"beta-in", "public"} {
		if f := w.login("full", "Events: off").Do("Action: Getvar", "Channel: "+channels[context], "Variable: X"); !amiclient.Has(f, "Response: Success") || header(f, "Value") != "" {
			t.Errorf("the channel in %s: %q", context, f)
		}
	}
	var listed []string
	for line := range strings.SplitSeq(string(acme.Do("Action: ListCommands")), "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		listed = append(listed, name)
	}
	if !slices.Contains(listed, "Hangup") || !slices.Contains(listed, "Events") || slices.Contains(listed, "Command") || slices.Contains(listed, "DBGet") {
		t.Errorf("ListCommands: %q", listed)
	}
}

// A list of several PBXes is of what each has within the fence; nor does the way of
// an action tell what is outside.
func TestFenceOfSeveral(t *testing.T) {
	w := newWorld(t, setup{users: fencedUsers, pbxs: []string{"east", "west"}, sim: map[string]simpbx.Options{
		"east": {Talk: 1e12}, "west": {Talk: 1e12},
	}})
	for _, name := range []string{"east", "west"} {
		direct := amiclient.Dial(t, w.addrs[name])
		direct.Login("proxy", upstreamSecret)
		for _, context := range []string{"acme-" + name, "beta-" + name, "public"} {
			direct.Send("Action: Originate", "Channel: Local/long@"+context, "Application: Wait", "Data: 1000", "Async: true")
			f := direct.Expect("Event: OriginateResponse", "Response: Success")
			eventually(t, "the proxy to know it", func() bool { return w.pbx(name).Names().Has(0, header(f, "Channel")) })
		}
	}
	c := w.login("both", "Events: off")
	frames := c.List("Action: CoreShowChannels")
	if n := header(frames[len(frames)-1], "ListItems"); n != "6" || len(frames) != 8 {
		t.Errorf("%s of %d: %q", n, len(frames)-2, frames)
	}
	for _, f := range frames {
		if strings.Contains(string(f), "public") || strings.Contains(string(f), "beta-west") {
			t.Errorf("outside: %q", f)
		}
	}
	at := "Local/long@public-00000002;1"
	for _, channel := range []string{"nothing", at, "Local/long@beta-west-00000001;1"} {
		if got := header(c.Do("Action: Hangup", "Channel: "+channel), "Message"); got != "Server header required" {
			t.Errorf("%s: %q", channel, got)
		}
		if got := header(c.Do("Action: Hangup", "Channel: "+channel, "Server: west"), "Message"); got != "No such channel" {
			t.Errorf("%s at west: %q", channel, got)
		}
	}
	if got := header(c.Do("Action: Hangup", "Channel: Local/long@beta-east-00000001;1"), "Message"); got != "Channel Hungup" {
		t.Errorf("its own: %q", got)
	}
}

// A PBX that comes back lists its calls, and a reload that brings the first tenant
// asks for them.
func TestFenceLearns(t *testing.T) {
	w := newWorld(t, setup{users: standardUsers, sim: map[string]simpbx.Options{"east": {Talk: 1e12}}})
	full := w.login("full")
	full.Send("Action: Originate", "Channel: Local/long@acme-in", "Application: Wait", "Data: 1000", "Async: true")
	name := header(full.Expect("Event: OriginateResponse", "Response: Success"), "Channel")
	w.reload(fencedUsers, "east")
	known := func() bool { return len(w.pbx("east").calls.Channel(name)) > 0 }
	eventually(t, "it is listed after a reload", known)
	for _, s := range w.sims["east"].Sessions() {
		w.sims["east"].Kick(s.ID)
	}
	w.awaitDown("east")
	w.awaitBooted("east")
	eventually(t, "it is listed after a loss", known)
	// Sessions that are in a fence from now on lose the rest; of two fences what is in both is left.
	acme, before := w.login("acme"), w.login("full")
	fenced := strings.Replace(fencedUsers, standardUsers, "[full]\nsecret = full-secret\nread = all\nwrite = all\ntenant = beta\n", 1)
	fenced = strings.Replace(fenced, "tenant = acme\nallowevent", "tenant = beta\nallowevent", 1)
	w.reload(fenced, "east")
	await := w.awaitEvents("east")
	w.sims["east"].Emit(call("Newchannel", "PJSIP/acme-1-01", "acme-in", "1"))
	w.sims["east"].Emit(call("Newchannel", "PJSIP/2-01", "beta-in", "2"))
	await(2)
	if got := seen(before); !slices.Equal(got, []string{"Newchannel 2"}) {
		t.Errorf("a user with a fence from now on: %q", got)
	}
	if got := seen(acme); len(got) > 0 {
		t.Errorf("a user of another tenant from now on: %q", got)
	}
	if got := header(before.Do("Action: Hangup", "Channel: "+name), "Message"); got != "No such channel" {
		t.Errorf("a channel of another: %q", got)
	}
}

// An event that was let through and waits is judged again when the fence has become narrower.
func TestFenceNarrowsWhatWaits(t *testing.T) {
	w := newWorld(t, setup{users: fencedUsers})
	hang := make(chan struct{})
	w.sims["east"].Handle("QueueStatus", func(r *simpbx.Request) {
		r.Reply("Success", "Queue status will follow", "EventList", "start")
		r.Flush()
		<-hang
		r.Write([]byte("Event: QueueStatusComplete\r\nActionID: " + r.ID() + "\r\nEventList: Complete\r\nListItems: 0\r\n\r\n"))
	})
	c := w.login("acme")
	c.Send("Action: QueueStatus", "ActionID: q")
	s := w.session(c)
	eventually(t, "the list has begun", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots) == 1 && s.slots[0].at(s.slots[0].pbx, progress.List)
	})
	await := w.awaitEvents("east")
	w.sims["east"].Emit(call("Newchannel", "PJSIP/acme-1-01", "acme-in", "1"))
	await(1)
	w.reload(strings.Replace(fencedUsers, "tenant = acme\nallowevent", "tenant = beta\nallowevent", 1), "east")
	close(hang)
	c.Expect("Event: QueueStatusComplete")
	if got := seen(c); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// What the PBX has not told of, and the end of what it tells, leak nothing.
func TestFenceLimits(t *testing.T) {
	w := newWorld(t, setup{users: fencedUsers})
	w.sims["east"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		r.Reply("Success", "Channels will follow", "EventList", "start")
		for i := range 3 {
			fmt.Fprintf(r, "Event: CoreShowChannel\r\nActionID: %s\r\nChannel: PJSIP/%d-01\r\nUniqueid: %d\r\n", r.ID(), i, i)
			r.Write([]byte("ApplicationData: two\r\n\r\nlines\r\n\r\n"))
		}
		r.Write([]byte("Event: CoreShowChannelsComplete\r\nActionID: " + r.ID() + "\r\nEventList: Complete\r\nListItems: 3\r\n\r\n"))
	})
	c := w.login("acme")
	frames := c.List("Action: CoreShowChannels")
	if len(frames) != 2 || header(frames[1], "ListItems") != "0" {
		t.Errorf("%q", frames)
	}
	await := w.awaitEvents("east")
	w.sims["east"].Event("Newchannel", ami.ClassCall, "Channel", "PJSIP/acme-1-01") // no Uniqueid
	await(1)
	if got := seen(c); len(got) > 0 {
		t.Errorf("%q", got)
	}
}
