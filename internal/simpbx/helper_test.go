package simpbx

import (
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amiproxy/amiproxy/ami"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is the other end of a connection to a PBX.
type client struct {
	t      *testing.T
	nc     net.Conn
	r      *ami.Reader
	banner string
}

// dial connects to p by a pipe and reads the banner.
func dial(t *testing.T, p *PBX) *client {
	t.Helper()
	near, far := net.Pipe()
	go p.ServeConn(far) // Close waits for it
	c := &client{t: t, nc: near, r: ami.NewReader(near, 64<<20)}
	t.Cleanup(func() { near.Close() })
	near.SetReadDeadline(time.Now().Add(time.Minute)) // a pipe has deadlines
	line, err := c.r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	c.banner = string(line)
	return c
}

// login connects and logs in as the default user.
func login(t *testing.T, p *PBX, events string) *client {
	t.Helper()
	c := dial(t, p)
	lines := []string{"Action: Login", "Username: proxy", "Secret: upstream-secret"}
	if events != "" {
		lines = append(lines, "Events: "+events)
	}
	c.expect(c.do(lines...), "Response: Success|Message: Authentication accepted|")
	return c
}

// send may be called from any goroutine.
func (c *client) send(lines ...string) {
	c.t.Helper()
	if _, err := c.nc.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n")); err != nil {
		c.t.Error(err)
	}
}

// read is the next frame, with | for each CRLF, the last one left out.
func (c *client) read() string {
	c.t.Helper()
	f, err := c.r.ReadFrame()
	if err != nil {
		c.t.Fatal(err)
	}
	return show(f)
}

func show(f ami.Frame) string {
	return strings.TrimSuffix(strings.ReplaceAll(string(f), "\r\n", "|"), "|")
}

// do sends an action and reads one frame.
func (c *client) do(lines ...string) string {
	c.t.Helper()
	c.send(lines...)
	return c.read()
}

// expect compares a frame.
func (c *client) expect(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// expectEnd reads until the end of the stream, which is to be next.
func (c *client) expectEnd() {
	c.t.Helper()
	if f, err := c.r.ReadFrame(); err == nil {
		c.t.Errorf("got %s, want the end", show(f))
	}
}

// until reads frames until one begins so.
func (c *client) until(prefix string) (frames []string) {
	c.t.Helper()
	for {
		f := c.read()
		frames = append(frames, f)
		if strings.HasPrefix(f, prefix) {
			return frames
		}
	}
}

// get is a header of a frame as read gives it.
func get(frame, name string) string {
	for line := range strings.SplitSeq(frame, "|") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

func named(frames []string, event string) (found []string) {
	for _, f := range frames {
		if strings.HasPrefix(f, "Event: "+event+"|") {
			found = append(found, f)
		}
	}
	return found
}
