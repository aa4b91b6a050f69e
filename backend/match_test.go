package backend

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

const (
	success = "Response: Success|ActionID: $ID|Message: done||"
	opened  = "Response: Success|ActionID: $ID|EventList: start|Message: will follow||"
	item    = "Event: Item|ActionID: $ID|N: 1||"
	closed  = "Event: Complete|ActionID: $ID|EventList: Complete|ListItems: 1||"
)

// Each kind of answer comes back whole, and the next one is not touched.
func TestAnswers(t *testing.T) {
	tests := map[string]struct{ action, answer string }{
		"single":                   {"Setvar", success},
		"single, error":            {"Setvar", "Response: Error|ActionID: $ID|Message: No such channel||"},
		"single without more":      {"MuteAudio", "Response: Success|ActionID: $ID||"},
		"no colon":                 {"GetConfig", "Response: Success|ActionID: $ID|No categories found||"},
		"list":                     {"CoreShowChannels", opened + item + item + closed},
		"list, capital start":      {"FAXSessions", strings.Replace(opened, "start", "Start", 1) + closed},
		"list without items":       {"QueueStatus", opened + closed},
		"list, error":              {"PJSIPShowAuths", "Response: Error|ActionID: $ID|Message: No Auths found~||"},
		"list, none found":         {"VoicemailUsersList", "Response: Success|ActionID: $ID|Message: There are no voicemail users currently defined.||"},
		"list, items without id":   {"IAXpeers", opened + "Event: PeerEntry|Name: a||Event: PeerEntry|Name: b||" + closed},
		"list, broken item":        {"Agents", opened + "Event: Agents|Agent: 1|CallStarted: 0~||ActionID: $ID||" + closed},
		"list, error inside":       {"QueueSummary", opened + "Response: Error|ActionID: $ID|Message: gone||" + closed},
		"list with a forged end":   {"CoreShowChannels", opened + "Event: Item|X: y||Event: Complete|EventList: Complete||Response: Success||ActionID: y||" + item + closed},
		"list of hung up":          {"Hangup", opened + "Event: ChannelHungup|Channel: a|ActionID: $ID||" + closed},
		"command":                  {"Command", "Response: Success|ActionID: $ID|Message: Command output follows|Output: a|Output: |Output: b||"},
		"command, failed":          {"Command", "Response: Error|ActionID: $ID|Message: Command output follows|Output: No such command||"},
		"error inside, end":        {"PJSIPShowEndpoint", opened + item + "Response: Error|ActionID: $ID|Message: Unable~||" + closed},
		"error inside, no end":     {"CoreShowChannelMap", opened + item + "Response: Error|ActionID: $ID|Message: Could not complete channel map~||"},
		"event follows":            {"FAXSession", "Response: Success|ActionID: $ID|Message: FAXSession event will follow||Event: FAXSession|ActionID: $ID||"},
		"event that never comes":   {"FAXSession", "Response: Success|ActionID: $ID|Message: FAXSession event will follow||"},
		"two responses":            {"JabberSend", "Response: Success|ActionID: $ID|Message: Attempting to send Jabber Message||Response: Error|ActionID: $ID||"},
		"two errors":               {"ModuleLoad", "Response: Error|ActionID: $ID|Message: Incomplete ModuleLoad action.||Response: Error|ActionID: $ID|Message: Need module name||"},
		"two empty lines":          {"QueueRule", "Response: Success|ActionID: $ID|RuleList: a|Rule: 1,2,3|||"},
		"raw":                      {"IAXnetstats", "                              -------- LOCAL ---------------------|Channel               RTT|0 active IAX channels||"},
		"raw, nothing":             {"IAXnetstats", "|"},
		"raw, with empty lines":    {"Queues", "support has 0 calls~   No Members~   No Callers~~|||"},
		"raw, with an ActionID":    {"Queues", "ActionID: other||Response: of nobody|ActionID: x||"},
		"no output at all":         {"Unheard", ""},
		"unheard of":               {"DongleShowDevices", opened + item + closed},
		"unheard of, without ids":  {"DongleShowDevices", "Response: Success||Event: DongleDeviceEntry||Event: DongleShowDevicesComplete||"},
		"response word of old":     {"Unheard", "Response: Events On|ActionID: $ID||"},
		"lower case, bare LF":      {"Setvar", "response: success~actionid: $ID~message: done~~"},
		"value with a second name": {"Getvar", "Response: Success|ActionID: $ID|Variable: A|Value: Event: x||"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simpbx.Options{}, Options{Links: 2})
			w.raw(test.action, test.answer)
			w.raw("Status", success)
			w.start()
			s := w.b.NewStream(nil)
			first := w.send(s, "Action: "+test.action, "ActionID: 1")
			after := w.send(s, "Action: Status", "ActionID: 2")
			want := strings.NewReplacer("|", "\r\n", "~", "\n", "$ID", "1").Replace(test.answer)
			if a := <-first; string(a.Bytes) != want || a.Err != nil {
				t.Errorf("got  %q, %v\nwant %q", a.Bytes, a.Err, want)
			}
			w.want(w.got(after), "Response: Success|ActionID: 2|Message: done|")
			if n := w.b.Stats().Dropped.Load(); n != 0 || w.b.Stats().Losses.Load() != 0 {
				t.Errorf("%d frames dropped\n%s", n, w.log())
			}
			w.await("nothing pending", func() bool { return w.b.Pending() == 0 })
		})
	}
}

// Whether an answer is bounded by a Ping of our own depends on the action.
func TestFences(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 2})
	for name, fenced := range map[string]bool{
		"Setvar": false, "Status": false, "Command": false, "Hangup": false,
		"IAXnetstats": true, "QueueRule": true, "JabberSend": true, "ModuleLoad": true,
		"FAXSession": true, "CoreShowChannelMap": true, "PJSIPShowEndpoint": true, "Unheard": true,
		"SIPshowpeer": true, "SIPqualifypeer": true, "SKINNYshowline": true, "SKINNYshowdevice": true,
		"PRIDebugSet": true, "PRIDebugFileSet": true,
	} {
		p, err := w.b.newPending(nil, Request{Action: ami.NewAction("Action: " + name)})
		if err != nil {
			t.Fatal(err)
		}
		if (p.fence != "") != fenced || fenced != strings.Contains(string(p.frame), "Action: Ping\r\n") {
			t.Errorf("%s: fence %q, sent %q", name, p.fence, p.frame)
		}
		if fenced && !p.exclusive {
			t.Errorf("%s is not alone on its link", name)
		}
	}
	// These share it: the fence goes with them.
	for action, fenced := range map[string]bool{
		"Getvar": true, "PresenceState": true, "DBGet": true, "ShowDialPlan": false, "ShowDialPlan|Extension: x": true,
		"Status|Variables: x": true, "Status|AllVariables: yes": true,
	} {
		p, err := w.b.newPending(nil, Request{Action: ami.NewAction(strings.Split("Action: "+action, "|")...)})
		if err != nil || (p.fence != "") != fenced || p.exclusive {
			t.Errorf("%s: fence %q, exclusive %v, %v", action, p.fence, p.exclusive, err)
		}
	}
}

// What belongs to nobody is dropped, logged and counted, and harms nobody.
func TestStrangeFrames(t *testing.T) {
	tests := map[string]struct{ answer, says string }{
		"other's id":             {"Response: Success|ActionID: " + foreignID + "||", "ActionID is not"},
		"client's id":            {"Response: Success|ActionID: other||", "ActionID is not"},
		"no id":                  {"Response: Success|Message: forged||", "response without ActionID"},
		"event first":            {item, "an answer starts with a response"},
		"event of others":        {"Event: Hangup|Privilege: call,all||", "an answer starts with a response"},
		"text":                   {"some text||", "an answer starts with a response"},
		"event of other's list":  {"Event: Complete|ActionID: " + foreignID + "|EventList: Complete||", "ActionID is not"},
		"binary":                 {"\x00\xff\x01~\x02||", "an answer starts with a response"},
		"header with many bytes": {strings.Repeat("x", 100_000) + ": secret-value||", "an answer starts with a response"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simpbx.Options{}, Options{Links: 2})
			w.raw("Setvar", test.answer+success)
			w.start()
			s := w.b.NewStream(nil)
			for range 3 {
				w.want(w.got(w.send(s, "Action: Setvar", "ActionID: 1")), "Response: Success|ActionID: 1|Message: done|")
			}
			if n := w.b.Stats().Dropped.Load(); n != 3 {
				t.Errorf("%d frames dropped, want 3", n)
			}
			w.wantLog("warn", "frame from the PBX dropped", test.says)
			if strings.Contains(w.log(), "secret-value") || strings.Contains(w.log(), "forged") {
				t.Error("data in the log:\n" + w.log())
			}
		})
	}
}

// An answer that comes twice, or after its end, is dropped as well.
func TestLateFrames(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 2})
	w.raw("Setvar", success+success)
	w.raw("Status", opened+closed+closed)
	w.start()
	s := w.b.NewStream(nil)
	one := w.send(s, "Action: Setvar")
	two := w.send(s, "Action: Status")
	three := w.send(s, "Action: Setvar")
	w.want(w.got(one), "Response: Success|Message: done|")
	w.want(w.got(two), "Response: Success|EventList: start|Message: will follow||Event: Complete|EventList: Complete|ListItems: 1|")
	w.want(w.got(three), "Response: Success|Message: done|")
	w.await("three dropped", func() bool { return w.b.Stats().Dropped.Load() == 3 })
}

// A PBX that forgets one answer, but gives the next, has lost the thread.
func TestSkippedAnswer(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{Links: 2})
	w.raw("Setvar", "")
	w.start()
	s := w.b.NewStream(nil)
	w.pbx.Handle("Getvar", holdUntil(w, "Status"))
	first := w.send(s, "Action: Getvar")
	lost := w.send(s, "Action: Setvar")
	after := w.send(s, "Action: Status")
	w.want(w.got(first), "Response: Success|")
	w.want(w.got(lost), "error: was lost before it answered")
	w.want(w.got(after), "error: was lost before it answered")
	w.wantLog("link lost", "no answer to Setvar, but one to a later action")
}

// holdUntil answers only when another action has arrived.
func holdUntil(w *world, name string) func(*simpbx.Request) {
	return func(r *simpbx.Request) {
		w.pbx.Await(w.t.Context(), name)
		r.Reply("Success", "")
	}
}

// A long answer comes in pieces of whole frames, in order; one long frame is whole.
func TestLongAnswer(t *testing.T) {
	long := "Event: Item|ActionID: $ID|Text: " + strings.Repeat("x", 3*pieceSize) + "||"
	w := newWorld(t, simpbx.Options{}, Options{Links: 2, AnswerLimit: 8 << 20})
	w.raw("CoreShowChannels", opened+strings.Repeat(item, 8000)+long+strings.Repeat(item, 8000)+closed)
	w.start()
	answer := <-w.send(w.b.NewStream(nil), "Action: CoreShowChannels", "ActionID: 1")
	n, size := 0, 0
	for f := range answer.Frames() {
		n, size = n+1, size+len(f)
		if id, _ := f.Get("ActionID"); string(id) != "1" {
			t.Fatalf("frame %d is %.80q", n, f)
		}
	}
	if n != 16003 {
		t.Errorf("%d frames", n)
	}
	if len(answer.More) < 4 {
		t.Errorf("%d pieces more", len(answer.More))
	}
	for _, piece := range append(answer.More, answer.Bytes) {
		if size -= len(piece); len(piece) == 0 || cap(piece) > 5*pieceSize {
			t.Errorf("%d bytes in a piece of %d", len(piece), cap(piece))
		}
	}
	if size != 0 {
		t.Errorf("the frames are %d bytes longer than the pieces", size)
	}
}

// An answer that is too long is thrown away, and the link goes on.
func TestTooLongAnswer(t *testing.T) {
	for name, action := range map[string]string{"list": "Status", "fenced": "Unheard"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simpbx.Options{}, Options{Links: 2, AnswerLimit: 64 << 10})
			w.raw(action, opened+strings.Repeat(item, 5000)+closed)
			w.start()
			s := w.b.NewStream(nil)
			long := w.send(s, "Action: "+action)
			after := w.send(s, "Action: Setvar", "Variable: A", "Value: 1")
			w.want(w.got(long), "error: answer too long")
			w.want(w.got(after), "Response: Success|Message: Variable Set|")
			if w.b.Stats().Losses.Load() != 0 {
				t.Error("a link was lost")
			}
		})
	}
}

// An action that breaks Asterisk's limits once its ActionID is ours is refused.
func TestFaults(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	w.want(w.do("Action: Setvar", "Value: "+strings.Repeat("x", 1020)), "error: Failed to parse message: line too long")
	many := []string{"Action: UserEvent"}
	for range 127 {
		many = append(many, "Variable: a=b")
	}
	w.want(w.do(many...), "error: Too many lines in message or allocation failure")
	w.want(w.do("Action: Setvar", "Variable: A", "Value: 1"), "Response: Success|Message: Variable Set|")
}
