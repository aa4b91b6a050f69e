package backend

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

const foreignID = "amiproxy-0123456789abcdef-42"

func TestActionIDsThatWeSend(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	w.do("Action: Setvar", "ActionID: mine", "Variable: A", "Value: 1")
	form := regexp.MustCompile(`^amiproxy-[0-9a-f]{16}-[0-9]+$`)
	seen := make(map[string]bool)
	for _, r := range w.pbx.Received() {
		if !form.MatchString(r.ID) || seen[r.ID] || !isProxyID([]byte(r.ID)) {
			t.Errorf("%s with ActionID %q", r.Name, r.ID)
		}
		seen[r.ID] = true
	}
	for range 1000 {
		if id, _ := w.b.newID(); len(id) > 60 || !form.MatchString(id) {
			t.Errorf("ActionID %q", id)
		}
	}
	if other := newWorld(t, simpbx.Options{}, Options{}); other.b.idPrefix == w.b.idPrefix {
		t.Error("two starts have the same prefix")
	}
}

func TestIsProxyID(t *testing.T) {
	for id, want := range map[string]bool{
		foreignID: true, "amiproxy-0123456789abcdef-0": true,
		"": false, "amiproxy-": false, "amiproxy-0123456789abcdef-": false,
		"amiproxy-0123456789abcdef": false, "amiproxy-0123456789abcdeg-1": false,
		"amiproxy-0123456789ABCDEF-1": false, "amiproxy-0123456789abcdef-1x": false,
		"amiproxy-0123456789abcdef-1 ": false, "Amiproxy-0123456789abcdef-1": false,
	} {
		if isProxyID([]byte(id)) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

func TestActionIDComesBack(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	for _, id := range []string{
		"1", "trailing  ", "with:colon", "ActionID: x", strings.Repeat("x", 900), "nul-free\ttab", foreignID, "ünï",
	} {
		got := w.do("Action: Setvar", "ActionID: "+id, "Variable: A", "Value: 1")
		w.want(got, "Response: Success|ActionID: "+id+"|Message: Variable Set|")
		got = w.do("Action: QueueSummary", "ActionID: "+id, "Queue: nosuch")
		w.want(got, "Response: Success|ActionID: "+id+"|EventList: start|Message: Queue summary will follow||"+
			"Event: QueueSummaryComplete|ActionID: "+id+"|EventList: Complete|ListItems: 0|")
	}
	w.want(w.do("Action: Setvar", "Variable: A", "Value: 1"), "Response: Success|Message: Variable Set|")
	w.want(w.do("Action: Setvar", "ActionID:", "Variable: A", "Value: 1"), "Response: Success|Message: Variable Set|")
}

// Of several ActionIDs in a frame, only lines with what we sent are replaced.
func TestOnlyOurActionIDIsReplaced(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.raw("GetConfig", "Response: Success|ActionID: $ID|Line-0: ActionID: $ID|ActionID: x|ActionID: $ID||")
	w.start()
	got := w.do("Action: GetConfig", "ActionID: 7")
	id := w.received("GetConfig")[0].ID
	w.want(got, "Response: Success|ActionID: 7|Line-0: ActionID: "+id+"|ActionID: x|ActionID: 7|")
}

func TestServerIsAdded(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	done := make(asked, 1)
	w.b.NewStream(nil).Do(Request{
		Action: ami.NewAction("Action: QueueSummary", "Queue: nosuch"), Server: "east", Done: func(a Answer) { done <- a },
	})
	w.want(w.got(done), "Response: Success|EventList: start|Message: Queue summary will follow|Server: east||"+
		"Event: QueueSummaryComplete|EventList: Complete|ListItems: 0|Server: east|")
}

// originateResponse sends one as Asterisk would.
func (w *world) originateResponse(id string) Event {
	w.t.Helper()
	n := w.told.count("OriginateResponse")
	w.pbx.Event("OriginateResponse", ami.ClassCall, "ActionID", id, "Response", "Failure")
	w.await("OriginateResponse", func() bool { return w.told.count("OriginateResponse") > n })
	return w.told.event("OriginateResponse")
}

var originate = []string{"Action: Originate", "Channel: PJSIP/alice", "Exten: 1", "Context: default", "Async: true", "ActionID: call-1"}

func TestAsyncOriginate(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.raw("Originate", "Response: Success|ActionID: $ID|Message: Originate successfully queued||")
	w.start()
	s := w.b.NewStream("owner")
	w.want(w.got(w.send(s, originate...)), "Response: Success|ActionID: call-1|Message: Originate successfully queued|")
	s.Close() // its session has gone
	id := w.received("Originate")[0].ID
	e := w.originateResponse(id)
	if e.ID != id || e.Owner != "owner" || e.OwnerID != "call-1" || e.Class != ami.ClassCall {
		t.Errorf("event %+v", e)
	}
	if !strings.Contains(string(e.Frame), "ActionID: "+id+"\r\n") {
		t.Errorf("the frame is not the PBX's: %q", e.Frame)
	}
	if e = w.originateResponse(id); e.ID != id || e.Owner != nil {
		t.Errorf("a second event has an owner: %+v", e)
	}
}

func TestForeignActionIDInEvent(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	if e := w.originateResponse(foreignID); e.ID != foreignID || e.Owner != nil || e.OwnerID != "" {
		t.Errorf("event %+v", e)
	}
	for _, id := range []string{"client's own", w.b.idPrefix, w.b.idPrefix + "x", w.b.idPrefix + strings.Repeat("9", 40) + "x"} {
		if e := w.originateResponse(id); e.ID != "" || e.Owner != nil {
			t.Errorf("event %+v", e)
		}
	}
	if e := w.originateResponse(w.b.idPrefix + strings.Repeat("9", 40)); e.ID == "" || e.Owner != nil {
		t.Errorf("event %+v", e)
	}
}

func TestRefusedOriginateIsForgotten(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.raw("Originate", "Response: Error|ActionID: $ID|Message: Channel not specified||")
	w.start()
	w.got(w.send(w.b.NewStream("owner"), originate...))
	w.await("it is forgotten", func() bool { return w.late() == 0 })
	if e := w.originateResponse(w.received("Originate")[0].ID); e.Owner != nil {
		t.Errorf("event %+v", e)
	}
}

func (w *world) late() int {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return len(w.b.late.byNumber)
}

func TestUserEvent(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	s := w.b.NewStream("owner")
	for _, id := range []string{"", "mine"} {
		lines := []string{"Action: UserEvent", "UserEvent: Test", "Key: value"}
		if id != "" {
			lines = append(lines, "ActionID: "+id)
		}
		n := w.told.count("UserEvent")
		w.got(w.send(s, lines...))
		w.await("UserEvent", func() bool { return w.told.count("UserEvent") > n })
		e := w.told.event("UserEvent")
		if !isProxyID([]byte(e.ID)) || e.Owner != "owner" || e.OwnerID != id {
			t.Errorf("event %+v", e)
		}
	}
}

// The id of an Originate is known for its Timeout and a minute, not longer.
func TestLateIDExpires(t *testing.T) {
	for wait, owner := range map[time.Duration]any{69 * time.Second: "owner", 71 * time.Second: nil} {
		synctest.Test(t, func(t *testing.T) {
			w := newBubble(t, simpbx.Options{}, Options{})
			w.raw("Originate", "Response: Success|ActionID: $ID||")
			w.start()
			w.got(w.send(w.b.NewStream("owner"), append(originate, "Timeout: 10000")...))
			time.Sleep(wait)
			if e := w.originateResponse(w.received("Originate")[0].ID); e.Owner != owner {
				t.Errorf("after %v: %+v", wait, e)
			}
			time.Sleep(lateSweep)
			if w.late() != 0 {
				t.Error("it is kept")
			}
			w.stop()
		})
	}
}

func TestLateIDsAreBounded(t *testing.T) {
	ids, now := newLateIDs(), time.Now()
	for n := range uint64(maxLateIDs + 100) {
		ids.add(n, lateID{ownerID: fmt.Sprint(n), until: now.Add(time.Hour)})
	}
	if len(ids.byNumber) != maxLateIDs {
		t.Errorf("%d are kept", len(ids.byNumber))
	}
	if _, ok := ids.take(99, now); ok {
		t.Error("an old one is kept")
	}
	if id, ok := ids.take(100, now); !ok || id.ownerID != "100" {
		t.Error("a newer one is not")
	}
}

// One that lives long does not make all that come after it pile up.
func TestLateIDsDoNotPileUp(t *testing.T) {
	ids, now := newLateIDs(), time.Now()
	ids.add(0, lateID{until: now.Add(24 * time.Hour)})
	for n := range uint64(100_000) {
		ids.add(n+1, lateID{until: now.Add(time.Minute)})
		ids.take(n+1, now)
	}
	if len(ids.order) > 100 {
		t.Errorf("%d numbers for %d ids", len(ids.order), len(ids.byNumber))
	}
	ids.sweep(now.Add(25 * time.Hour))
	if len(ids.order) != 0 || len(ids.byNumber) != 0 {
		t.Errorf("%d numbers, %d ids after a day", len(ids.order), len(ids.byNumber))
	}
}
