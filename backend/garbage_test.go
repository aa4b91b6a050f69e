package backend

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// Nonsense from the PBX costs the link it comes on, or nothing; no answer is
// wrong because of it, and memory stays bounded.
func TestGarbage(t *testing.T) {
	lines := strings.Repeat(strings.Repeat("x", 100)+"\n", 10)
	tests := map[string]struct {
		garbage string // poured until the link is cut
		says    string
	}{
		"endless line":   {"x", "frame is longer than the limit"},
		"endless frame":  {lines, "frame is longer than the limit"},
		"endless event":  {"Event: X\r\n" + lines, "frame is longer than the limit"},
		"many frames":    {"Nonsense: 1\r\n\r\n", "100 frames dropped in a row"},
		"binary":         {"\x00\x01\xff\xfe\n\n\x80", "100 frames dropped in a row"},
		"stale answers":  {"Response: Success\r\nActionID: " + foreignID + "\r\n\r\n", "100 frames dropped in a row"},
		"raw no end":     {"Response: Follows\r\nPrivilege: Command\r\n" + lines, "frame is longer than the limit"},
		"loose protocol": {"Response: Success\r\n\r\n", "100 frames dropped in a row"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simpbx.Options{}, Options{AnswerLimit: 1 << 20})
			w.pbx.Handle("Status", func(r *simpbx.Request) {
				for r.Flush() {
					r.Write([]byte(strings.Repeat(test.garbage, 64<<10/len(test.garbage))))
				}
			})
			w.start()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			bad := w.send(w.b.NewStream(nil), "Action: Status")
			for range 20 {
				w.want(w.do("Action: Setvar", "Variable: A"), "Response: Success|Message: Variable Set|")
			}
			w.want(w.got(bad), "error: was lost before it answered")
			runtime.ReadMemStats(&after)
			if n := int64(after.TotalAlloc - before.TotalAlloc); n > 64<<20 {
				t.Errorf("%d MiB allocated", n>>20)
			}
			w.wantLog("link lost", test.says)
			w.allUp()
			if w.told.count("Down") != 0 || w.b.Stats().Losses.Load() != 1 {
				t.Errorf("%d losses; told %s", w.b.Stats().Losses.Load(), w.told.all())
			}
		})
	}
}

// The same on the events link: it is lost, the actions are not.
func TestGarbageAmongEvents(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{AnswerLimit: 1 << 20})
	w.start()
	_, open := w.gate("Setvar")
	pending := w.send(w.b.NewStream(nil), "Action: Setvar")
	w.pbx.Emit([]byte("Event: Big\r\nPrivilege: call,all\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"))
	w.await("Down", func() bool { return w.told.count("Down") == 1 })
	w.allUp()
	if s := w.told.state(1); s.Reason != "protocol error" {
		t.Errorf("state %+v", s)
	}
	open()
	w.want(w.got(pending), "Response: Success|Message: done|")
}

// A few frames that are none are passed over, wherever they come.
func TestStrayFramesAmongEvents(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	for range 200 { // more than are borne in a row
		w.pbx.Inject([]byte("\r\n\r\nnonsense\r\n\r\n"))
		w.pbx.Event("Hold", ami.ClassCall)
		w.want(w.do("Action: Setvar", "Variable: A"), "Response: Success|Message: Variable Set|")
	}
	w.await("all events", func() bool { return w.told.count("Hold") == 200 })
	if w.b.Stats().Losses.Load() > 3 { // the idle links may have seen 100 in a row
		t.Errorf("%d losses", w.b.Stats().Losses.Load())
	}
	if w.told.count("Down") != 0 {
		t.Error("the events link was lost")
	}
	w.wantLog("warn", "frame from the PBX dropped", "nothing was asked", "no response and no event")
}

// The largest frame that Options allow is passed on, 70 MB are not, and cost
// nobody else anything.
func TestHugeFrames(t *testing.T) {
	w := newWorld(t, simpbx.Options{WriteTimeout: time.Minute}, Options{Links: 3})
	var size atomic.Int64
	w.pbx.Handle("GetConfig", func(r *simpbx.Request) {
		r.Write([]byte("Response: Success\r\nActionID: " + r.ID() + "\r\n"))
		line := []byte("Line-000000-000000: " + strings.Repeat("x", 1002) + "\r\n")
		for n := int64(0); n < size.Load(); n += 1024 {
			r.Write(line)
		}
		r.Write([]byte("\r\n"))
	})
	w.start()
	size.Store(60 << 20)
	if got := w.do("Action: GetConfig"); len(got) < 50<<20 {
		t.Errorf("%d bytes: %.80s", len(got), got)
	}
	size.Store(70 << 20)
	s := w.b.NewStream(nil)
	long := w.send(s, "Action: GetConfig")
	after := w.send(s, "Action: Setvar", "Variable: A") // on the same link
	w.want(w.got(long), "error: answer too long")
	w.want(w.got(after), "Response: Success|Message: Variable Set|")
	if n := w.b.Stats().Losses.Load(); n != 0 {
		t.Errorf("%d links lost", n)
	}
}

// A connection that breaks in any place of a login is tried again.
func TestLoginBreaksAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		allowed := 0
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			allowed += 7 + allowed/4
			c, err := w.pipe(ctx)
			return &shortConn{Conn: c, left: allowed}, err
		}
		w.run()
		w.await("a link", func() bool { return w.b.Stats().Logins.Load() > 0 })
		w.stop()
	})
}

// shortConn breaks after a number of bytes read.
type shortConn struct {
	net.Conn
	left int
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
