//go:build unix

package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// readers are users of the PBXes who read what the users of the proxy do.
const readers = `
[all]
secret = pw
read = all
writetimeout = 10000
[crm]
secret = pw
read = call
writetimeout = 10000
[wall]
secret = pw
read = agent
writetimeout = 10000
`

// A recorder is a client that keeps all frames it read.
type recorder struct {
	*amiclient.Client
	what   string
	server string // The only PBX it sees; empty: several.
	sent   []string
	frames []amiclient.Frame
}

// until reads until a frame has all of headers.
func (r *recorder) until(headers ...string) amiclient.Frame {
	return r.untilAll(func(f amiclient.Frame) bool { return amiclient.Has(f, headers...) })
}

func (r *recorder) untilAll(pred func(amiclient.Frame) bool) amiclient.Frame {
	frames := r.ReadUntil(pred)
	r.frames = append(r.frames, frames...)
	return frames[len(frames)-1]
}

// do sends an action with an ActionID of its own and reads until its response.
func (r *recorder) do(headers ...string) (f amiclient.Frame, id string) {
	id = amiclient.ActionID()
	r.sent = append(r.sent, id)
	r.Send(append(headers, "ActionID: "+id)...)
	return r.untilAll(func(f amiclient.Frame) bool {
		return strings.HasPrefix(string(f), "Response:") && amiclient.Header(f, "ActionID") == id
	}), id
}

// A marker is an event that everybody with one of the classes call, agent and user sees.
type marker string

// raise makes a PBX raise a marker.
func (m marker) raise(c *amiclient.Client) {
	c.Do("Action: Originate", "Channel: Nosuch/"+string(m), "Application: Wait", "Async: true")
	c.Do("Action: QueueAdd", "Queue: sales", "Interface: Local/"+string(m)+"@agents")
	c.Do("Action: UserEvent", "UserEvent: Marker", "Name: "+string(m))
}

// reached reports whether f is the last form of the marker that r may see.
func (m marker) reached(r *recorder, f amiclient.Frame) bool {
	switch {
	case strings.HasPrefix(r.what, "crm"):
		return amiclient.Has(f, "Event: OriginateResponse", "Channel: Nosuch/"+string(m))
	case strings.HasPrefix(r.what, "wall"):
		return amiclient.Has(f, "Event: QueueMemberAdded", "Interface: Local/"+string(m)+"@agents")
	}
	return amiclient.Has(f, "Event: UserEvent", "Name: "+string(m))
}

// readTo reads until the marker of each of the PBXes has come.
func (r *recorder) readTo(m marker, pbxs []*asterisk.PBX) {
	missing := map[string]bool{}
	for _, p := range pbxs {
		if r.server == "" || r.server == p.Name() {
			missing[p.Name()] = true
		}
	}
	r.untilAll(func(f amiclient.Frame) bool {
		if m.reached(r, f) {
			delete(missing, r.origin(f))
		}
		return len(missing) == 0
	})
}

// origin names the PBX that a frame is from.
func (r *recorder) origin(f amiclient.Frame) string {
	if r.server != "" {
		return r.server
	}
	values := amiclient.Values(f, "Server")
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// between returns the events of a PBX after one marker, up to another one.
func (r *recorder) between(server string, from, to marker) []amiclient.Frame {
	var events []amiclient.Frame
	inside := false
	for _, f := range r.frames {
		if !strings.HasPrefix(string(f), "Event:") || amiclient.Header(f, "Privilege") == "" || r.origin(f) != server {
			continue // A response, an item of a list, or of another PBX.
		}
		if inside {
			events = append(events, f)
		}
		if to.reached(r, f) {
			break
		}
		inside = inside || from.reached(r, f)
	}
	return events
}

// TestEventsAreThoseOfAsterisk compares what users get through the proxy, while others
// and they themselves make calls through it, with what users with the same classes get
// from the PBXes directly.
func TestEventsAreThoseOfAsterisk(t *testing.T) {
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "east", SystemName: "paris", Users: readers},
		asterisk.Options{Major: 22, Name: "west", Users: readers})
	p := startProxy(t, `
[all]
secret = pw
read = all
write = all
[crm]
secret = pw
read = call
write = originate,call
[shut]
secret = pw
read = agent
deny = 127.0.0.0/8
[wall]
secret = pw
read = agent
[eastonly]
secret = pw
read = all
pbx = east
[westonly]
secret = pw
read = all
pbx = west
[westcrm]
secret = pw
read = call
pbx = west
`, pbxs...)
	p.waitUp()

	shut := amiclient.Dial(t, p.addr)
	shut.Send("Action: Login", "Username: shut", "Secret: pw", "ActionID: 1")
	refused := shut.ExpectClosed()
	if len(refused) != 1 || refused[0] != "Response: Error\r\nActionID: 1\r\nMessage: Authentication failed\r\n\r\n" {
		t.Errorf("login from a denied address was answered %q", refused)
	}

	record := func(addr, user, what, server string) *recorder {
		return &recorder{Client: loginAt(t, addr, user), what: what, server: server}
	}
	direct := map[string]*recorder{}
	control := map[string]*amiclient.Client{}
	for _, pbx := range pbxs {
		for _, user := range []string{"all", "crm", "wall"} {
			direct[user+"@"+pbx.Name()] = record(pbx.Addr(), user, user+"@"+pbx.Name(), pbx.Name())
		}
		control[pbx.Name()] = loginDirect(t, pbx)
	}
	all := record(p.addr, "all", "all", "")
	crm := record(p.addr, "crm", "crm", "")
	through := []*recorder{
		all, crm,
		record(p.addr, "wall", "wall", ""),
		record(p.addr, "eastonly", "all-east", "east"),
		record(p.addr, "westonly", "all-west", "west"),
		record(p.addr, "westcrm", "crm-west", "west"),
		record(p.addr, "all", "all-idle", ""), // The ActionIDs of all are not its.
	}

	begin, end := marker(amiclient.ActionID()+"-begin"), marker(amiclient.ActionID()+"-end")
	for _, c := range control {
		begin.raise(c)
	}
	for _, pbx := range pbxs {
		makeCalls(t, all, crm, "Server: "+pbx.Name())
		// An ActionID and a Server that do not come from the proxy.
		control[pbx.Name()].Do("Action: UserEvent", "UserEvent: Foreign", "ActionID: of-another", "Server: nowhere", "Key: value")
	}
	for _, c := range control {
		end.raise(c)
	}

	for _, r := range direct {
		r.readTo(end, pbxs)
	}
	for _, r := range through {
		r.readTo(end, pbxs)
		owned := map[string]bool{}
		for _, pbx := range pbxs {
			if r.server != "" && r.server != pbx.Name() {
				continue
			}
			user, _, _ := strings.Cut(r.what, "-")
			want := direct[user+"@"+pbx.Name()].between(pbx.Name(), begin, end)
			got := r.between(pbx.Name(), begin, end)
			compareEvents(t, r, pbx.Name(), got, want, owned)
			if len(want) < 5 {
				t.Errorf("%s: only %d events of %s to compare: %s", r.what, len(want), pbx.Name(), names(want))
			}
		}
		for id := range owned {
			if !slices.Contains(r.sent, id) {
				t.Errorf("%s was shown the ActionID %q, which it did not send", r.what, id)
			}
		}
		if r == all || r == crm {
			// Of an asynchronous Originate each, and of a UserEvent.
			if want := map[*recorder]int{crm: 2, all: 4}[r]; len(owned) != want {
				t.Errorf("%s was shown %d of its ActionIDs in events, want %d: %v", r.what, len(owned), want, owned)
			}
		}
	}
	for _, pbx := range pbxs {
		seen := names(direct["all@"+pbx.Name()].between(pbx.Name(), begin, end))
		for _, name := range []string{"Newchannel", "Newexten", "VarSet", "Hangup", "OriginateResponse", "UserEvent", "DTMFBegin",
			"DTMFEnd", "AgentConnect", "QueueCallerJoin", "Cdr", "CEL", "BridgeEnter", "LocalBridge", "DialEnd"} {
			if !strings.Contains(seen+",", " Event: "+name+",") {
				t.Errorf("%s raised no %s, so nothing is shown of it: %s", pbx.Name(), name, seen)
			}
		}
	}
}

// makeCalls makes calls of all kinds on one PBX, which server names, and waits for
// their ends.
func makeCalls(t *testing.T, all, crm *recorder, server string) {
	t.Helper()
	_, id := crm.do("Action: Originate", server, "Channel: Local/echo@default", "Application: Wait", "Data: 30", "Async: true")
	channel := amiclient.Header(crm.until("Event: OriginateResponse", "ActionID: "+id, "Response: Success"), "Channel")
	// To Asterisk the end of a digit that it saw for less than 80 ms comes with the next
	// voice, of which there is none; and it can be late in seeing the beginning.
	crm.do("Action: PlayDTMF", server, "Channel: "+strings.TrimSuffix(channel, "1")+"2", "Digit: 6", "Duration: 1000")
	all.until("Event: DTMFEnd", "Digit: 6", server)
	crm.do("Action: Hangup", server, "Channel: "+channel)
	crm.until("Event: Hangup", "Channel: "+channel)

	all.do("Action: UserEvent", server, "UserEvent: Mine", "Key: ä\tö", "key: again")
	all.until("Event: UserEvent", "UserEvent: Mine", server)
	all.Send("Action: UserEvent", server, "UserEvent: Nameless")
	all.until("Event: UserEvent", "UserEvent: Nameless", server)
	all.do("Action: Originate", server, "Channel: Local/fail@default", "Application: Wait", "Data: 1")
	all.do("Action: Originate", server, "Channel: Local/short@default", "Context: default", "Exten: ue", "Priority: 1",
		"Variable: A=1,B=2", "CallerID: Someone <123>")
	_, id = all.do("Action: Originate", server, "Channel: Local/q@default", "Application: Wait", "Data: 30", "Async: true")
	channel = amiclient.Header(all.until("Event: OriginateResponse", "ActionID: "+id), "Channel")
	all.until("Event: AgentConnect", server)
	all.do("Action: Hangup", server, "Channel: "+channel)

	for {
		_, id := all.do("Action: CoreShowChannels", server)
		if amiclient.Has(all.until("Event: CoreShowChannelsComplete", "ActionID: "+id), "ListItems: 0") {
			return
		}
	}
}

// compareEvents compares what a client of the proxy got from a PBX with what the PBX
// sent to a client of its own. It adds the ActionIDs that events showed to owned.
func compareEvents(t *testing.T, r *recorder, server string, got, want []amiclient.Frame, owned map[string]bool) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		f := want[i]
		if r.server == "" {
			f = without(f, "Server")
			f = f[:len(f)-2] + amiclient.Frame("Server: "+server+"\r\n\r\n")
		}
		if id := amiclient.Header(f, "ActionID"); strings.HasPrefix(id, "amiproxy-") {
			if mine := amiclient.Header(got[i], "ActionID"); mine == "" {
				f = without(f, "ActionID")
			} else {
				if owned[mine] {
					t.Errorf("%s: a second event with ActionID %s: %q", r.what, mine, got[i])
				}
				owned[mine] = true
				f = amiclient.Frame(strings.Replace(string(f), "ActionID: "+id+"\r\n", "ActionID: "+mine+"\r\n", 1))
			}
		}
		if got[i] != f {
			t.Errorf("%s: event %d of %s differs: %s", r.what, i, server, firstDifference([]byte(got[i]), []byte(f)))
			t.Errorf("got\n%s\nwant\n%s", got[i], f)
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d events of %s, want %d\ngot  %s\nwant %s", r.what, len(got), server, len(want), names(got), names(want))
	}
}
