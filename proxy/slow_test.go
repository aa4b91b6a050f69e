package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const slowUsers = standardUsers + `
[closes]
secret = closes-secret
read = all
write = all
queuelimit = 256K

[drops]
secret = drops-secret
read = all
write = all
queuelimit = 256K
slowclient = drop
`

// pipe connects a client without a network: nothing is buffered in between,
// so that a client which does not read is slow at once.
func (w *world) pipe(user string) *amiclient.Client {
	w.tb.Helper()
	c := w.srv.pipe(w.tb)
	c.ReadBanner()
	c.Login(user, user+"-secret")
	c.Expect("Event: FullyBooted")
	return c
}

const bigEvent = 10_000

// flood has the PBX raise numbered events of bigEvent bytes.
func (w *world) flood(from, n int) {
	for i := range n {
		w.sims["east"].Event("Flood", ami.ClassCall, "N", strconv.Itoa(from+i), "Fill", strings.Repeat("x", bigEvent))
	}
}

// expectFlood reads the events of flood.
func expectFlood(c *amiclient.Client, from, n int) {
	for i := range n {
		c.ExpectNext("Event: Flood", "N: "+strconv.Itoa(from+i))
	}
}

func TestSlowClientIsClosed(t *testing.T) {
	w := newWorld(t, setup{users: slowUsers})
	c, other := w.pipe("closes"), w.login("full")
	w.flood(0, 40)
	expectFlood(other, 0, 40)
	w.awaitReason(reasonSlowClient)
	w.awaitSessions(1)
	w.flood(40, 40)
	expectFlood(other, 40, 40)
	c.ExpectClosed()
}

func TestSlowClientLosesEvents(t *testing.T) {
	w := newWorld(t, setup{users: slowUsers})
	c, other := w.pipe("drops"), w.login("full")
	w.flood(0, 40)
	expectFlood(other, 0, 40)
	c.Send("Action: Ping", "ActionID: p") // the answer comes all the same
	frames := c.ReadUntil(func(f amiclient.Frame) bool { return amiclient.Has(f, "ActionID: p") })
	kept := slices.IndexFunc(frames, func(f amiclient.Frame) bool { return header(f, "Event") != "Flood" })
	if kept < 20 || kept > 26 {
		t.Fatalf("%d events were kept", kept)
	}
	for i, f := range frames[:kept] {
		if !amiclient.Has(f, "N: "+strconv.Itoa(i)) {
			t.Fatalf("event %d: %.60q", i, f)
		}
	}
	// All that is lost is told at once, or in two parts if the writer came in between.
	lost := 0
	for _, f := range frames[kept : len(frames)-1] {
		n, _ := strconv.Atoi(header(f, "Count"))
		if lost += n; string(f) != fmt.Sprintf("Event: ProxyEventsLost\r\nPrivilege: system,all\r\nCount: %d\r\n\r\n", n) {
			t.Errorf("got %q", f)
		}
	}
	if lost != 40-kept || len(frames) > kept+3 {
		t.Errorf("%d are told to be lost, of %d", lost, 40-kept)
	}
	// From here on all is well.
	w.flood(40, 5)
	expectFlood(c, 40, 5)
	c.ExpectNothing()
}

// A client that reads gets a list of any size, whatever its queuelimit.
func TestAnswersDoNotCountAsEvents(t *testing.T) {
	w := newWorld(t, setup{users: slowUsers, sim: map[string]simpbx.Options{"east": {Idle: 3000}}})
	c := w.pipe("closes")
	c.Send("Action: CoreShowChannels", "ActionID: big")
	for range 3002 {
		c.ExpectNext("ActionID: big")
	}
	c.ExpectNothing()
}

func TestAnswerLimit(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: slowUsers, general: "answerlimit = 1M", sim: map[string]simpbx.Options{"east": {Idle: 1000}}})
	c, other := w.pipe("full"), w.login("full", "Events: off")
	for range 4 {
		c.Send("Action: CoreShowChannels")
	}
	w.awaitReason(reasonAnswerLimit)
	c.ExpectClosed()
	for range 4 {
		other.List("Action: CoreShowChannels")
	}
}

// When all sessions together hold too much, the one that holds most has to go.
func TestTotalLimit(t *testing.T) {
	w := newWorld(t, setup{general: "totallimit = 2M\nqueuelimit = 2M", users: `
[full]
secret = full-secret
read = all
`})
	slow, other := w.pipe("full"), w.login("full")
	for i := 0; w.logs.FilterMessage("client gone").Len() == 0; i++ {
		w.flood(i, 1)
		expectFlood(other, i, 1)
		if i > 1000 {
			t.Fatal("nobody was closed")
		}
	}
	w.awaitSessions(1)
	slow.ExpectClosed()
	other.ExpectNothing()
	eventually(t, "nothing is held", func() bool { return w.srv.total.Used() == 0 })
}

// A session that is over has time to be read, as long as it is read.
func TestSlowReaderGetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeServer(t, "", standardUsers).pipe(t)
		c.ReadBanner()
		c.Login("full", "full-secret")
		const lists = 50
		c.Write([]byte(strings.Repeat("Action: ListCommands\r\n\r\n", lists) + "Action: Logoff\r\n\r\n"))
		conn := c.Conn()
		conn.SetReadDeadline(time.Time{})
		var got bytes.Buffer
		start := time.Now()
		buf := make([]byte, writeSize/2)
		for {
			n, err := conn.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				break
			}
			time.Sleep(lastWords / 3) // a slow line
		}
		took := time.Since(start)
		if took < 3*lastWords {
			t.Fatalf("the line was not slow: %v", took)
		}
		if n := strings.Count(got.String(), "Originate: "); n != lists || !strings.HasSuffix(got.String(), "Message: Thanks for all the fish.\r\n\r\n") {
			t.Errorf("%d bytes with %d lists after %v", got.Len(), n, took)
		}
	})
}

// One that reads nothing has lastWords.
func TestStuckReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{tb: t, srv: pipeServer(t, "", standardUsers)}
		c := w.srv.pipe(t)
		c.ReadBanner()
		c.Login("full", "full-secret")
		c.Send("Action: Logoff")
		start := time.Now()
		w.awaitSessions(0)
		if took := time.Since(start); took < lastWords || took > lastWords+time.Second/10 {
			t.Errorf("cut after %v", took)
		}
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%q", frames)
		}
	})
}

// A client that reads everything pays for nobody: not with its events either.
func TestTotalLimitIsPaidByTheSlow(t *testing.T) {
	w := newWorld(t, setup{general: "totallimit = 2M\nqueuelimit = 1M", users: `
[drops]
secret = drops-secret
read = all
slowclient = drop
`})
	var slow []*amiclient.Client
	for range 3 {
		slow = append(slow, w.pipe("drops"))
	}
	fast := w.login("drops")
	for i := range 300 {
		w.flood(i, 1)
		expectFlood(fast, i, 1) // ProxyEventsLost would be in the way
	}
	closed := w.logs.FilterMessage("client gone").FilterField(zap.String("reason", string(reasonTotalLimit)))
	if n := closed.Len(); n < 1 || n > len(slow) {
		t.Errorf("%d clients closed for the total", n)
	}
	fast.ExpectNothing()
}

// Answers that wait for their turn, and events that wait for an answer, count
// as well.
func TestTotalLimitCountsWhatWaits(t *testing.T) {
	w := newWorld(t, setup{general: "totallimit = 2M", pbxs: []string{"east", "west"}, sim: map[string]simpbx.Options{"west": {Idle: 1000}}})
	open := w.block("east", "Setvar")
	defer open()
	for range 10 {
		c := w.login("full", "Events: off")
		// Without ActionIDs the order is total: west's list waits for east.
		c.Send("Action: Setvar", "Server: east")
		c.Send("Action: CoreShowChannels", "Server: west")
	}
	w.awaitReason(reasonTotalLimit)
	eventually(t, "the limit is kept", func() bool {
		return w.srv.total.Used() > 0 && w.srv.total.Used() <= 2<<20
	})
}

// Who has not logged in holds next to nothing.
func TestStrangersHoldLittle(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.srv.pipe(t)
	c.ReadBanner()
	conn := c.Conn()
	conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	ping := []byte("Action: Ping\r\nActionID: " + strings.Repeat("x", 900) + "\r\n\r\n")
	for range 1000 {
		if _, err := conn.Write(ping); err != nil {
			break
		}
		if used := w.srv.total.Used(); used > strangerLimit {
			t.Fatalf("%d bytes are held", used)
		}
	}
	w.awaitReason(reasonAnswerLimit)
}

// So do actions that a PBX has not answered.
func TestTotalLimitCountsActions(t *testing.T) {
	w := newWorld(t, setup{general: "totallimit = 2M"})
	open := w.block("east", "UserEvent")
	defer open()
	lines := append([]string{"Action: UserEvent"}, slices.Repeat([]string{"Fill: " + strings.Repeat("x", 1000)}, 100)...)
	for range 10 {
		c := w.login("full", "Events: off")
		for range 3 {
			c.Send(lines...)
		}
	}
	w.awaitReason(reasonTotalLimit)
}

// And so do the filters that sessions add, until they are gone.
func TestTotalLimitCountsFilters(t *testing.T) {
	w := newWorld(t, setup{general: "totallimit = 2M"})
	filter := "Filter: !" + strings.Repeat("[^a-c]", 150)
	add := func() *Session {
		c := w.login("full", "Events: off")
		for range 20 {
			c.Send("Action: Filter", "Operation: Add", filter)
		}
		s := w.session(c)
		eventually(t, "the filters count, or are too many", func() bool { return s.account.size() > 500<<10 || s.reason.Load() != nil })
		return s
	}
	first := add()
	for range 3 {
		add()
	}
	w.awaitReason(reasonTotalLimit)
	if used := w.srv.total.Used(); used > 2<<20 {
		t.Errorf("%d bytes are held", used)
	}
	for _, info := range w.srv.everybody() {
		info.abort(reasonKicked)
	}
	w.awaitSessions(0)
	if used := w.srv.total.Used(); used != 0 || first.account.size() != 0 {
		t.Errorf("%d bytes are held by nobody", used)
	}
}
