// Package amiclient is a small client of the Asterisk Manager Interface for tests.
//
// It is the independent judge of what goes over the wire: it imports the standard
// library only, above all none of the packages under test, it keeps every byte as
// it came, and it fails the test itself, with what it received so far, when a peer
// does not do what is expected in time. It is not a client library: it neither
// reconnects nor retries, and only the goroutine of the test may use a Client.
//
//	c := amiclient.Dial(t, addr)
//	c.Login("ops", "secret")
//	c.Send("Action: Originate", "Channel: Local/echo@default", "Application: Wait",
//		"Data: 1", "Async: true", "ActionID: 7")
//	c.Expect("Response: Success", "ActionID: 7")
//	event := c.Expect("Event: Newchannel")
//	t.Log(amiclient.Header(event, "Channel"))
//	frames := c.Roundtrip() // All that came before the answer to a Ping.
package amiclient

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// DefaultTimeout bounds every call that waits for the peer. It is generous
	// for slow machines under the race detector: only a failing test waits it out.
	DefaultTimeout = 20 * time.Second

	// transcriptBytes is how much of what was received a failure shows.
	transcriptBytes = 16 << 10
)

// A Frame is one frame exactly as it came: its lines with their ends, and the empty
// line that ends it.
type Frame string

// Header returns the value of the first header called name, in any case, or "" when
// there is none. Spaces around the value are dropped.
func Header(f Frame, name string) string {
	if values := Values(f, name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns the values of all headers called name, in their order.
func Values(f Frame, name string) []string {
	var values []string
	for line := range strings.Lines(string(f)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.TrimSpace(key), name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// Has reports whether f has every one of headers, each written "Name: value".
// Names match in any case, values exactly.
func Has(f Frame, headers ...string) bool {
	for _, header := range headers {
		name, want, _ := strings.Cut(header, ":")
		want = strings.TrimSpace(want)
		found := false
		for _, value := range Values(f, name) {
			found = found || value == want
		}
		if !found {
			return false
		}
	}
	return true
}

// A Client is one connection to a manager interface.
type Client struct {
	// Timeout bounds every call that waits for the peer; zero means DefaultTimeout.
	Timeout time.Duration
	// Banner is the line that the peer greeted with, without its end.
	// New leaves it empty until ReadBanner.
	Banner string

	tb       testing.TB
	conn     net.Conn
	r        *bufio.Reader
	received []byte // What was received last, for failures.
}

// actions numbers the actions of all clients, so that an ActionID made here is
// unique in the test binary.
var actions atomic.Int64

// ActionID returns an ActionID that no other call in this test binary returns.
func ActionID() string {
	return fmt.Sprintf("amiclient-%d", actions.Add(1))
}

// Dial connects to addr over TCP and reads the banner. The connection is closed
// when the test ends.
func Dial(tb testing.TB, addr string) *Client {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, DefaultTimeout)
	if err != nil {
		tb.Fatalf("amiclient: %v", err)
	}
	c := New(tb, conn)
	c.ReadBanner()
	return c
}

// DialTLS is Dial over TLS.
func DialTLS(tb testing.TB, addr string, config *tls.Config) *Client {
	tb.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: DefaultTimeout}, "tcp", addr, config)
	if err != nil {
		tb.Fatalf("amiclient: %v", err)
	}
	c := New(tb, conn)
	c.ReadBanner()
	return c
}

// New makes a client of a connection that something else opened. It does not read
// the banner: see ReadBanner. The connection is closed when the test ends.
func New(tb testing.TB, conn net.Conn) *Client {
	c := &Client{tb: tb, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	tb.Cleanup(c.Close)
	return c
}

// Conn returns the connection, for what this package has no method for.
func (c *Client) Conn() net.Conn { return c.conn }

// Close closes the connection without a Logoff. It may be called twice.
func (c *Client) Close() { c.conn.Close() }

// ReadBanner reads the line that the peer greets with into Banner and returns it.
func (c *Client) ReadBanner() string {
	c.tb.Helper()
	c.Banner = strings.TrimRight(c.ReadLine(), "\r\n")
	return c.Banner
}

// Write sends b as it is.
func (c *Client) Write(b []byte) {
	c.tb.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(c.timeout()))
	if _, err := c.conn.Write(b); err != nil {
		c.fail("writing %q: %v", b, err)
	}
}

// Send sends one frame with these headers, each written "Name: value", as they are.
func (c *Client) Send(headers ...string) {
	c.tb.Helper()
	c.Write([]byte(strings.Join(headers, "\r\n") + "\r\n\r\n"))
}

// ReadLine reads one line and returns it with its end.
func (c *Client) ReadLine() string {
	c.tb.Helper()
	c.deadline()
	line, err := c.readLine()
	if err != nil {
		c.fail("waiting for a line: %v", err)
	}
	return line
}

// ReadFrame reads one frame. Empty lines ahead of it are dropped: Asterisk ends some
// frames with two (a value that ends in a line feed of its own, for one).
func (c *Client) ReadFrame() Frame {
	c.tb.Helper()
	c.deadline()
	f, err := c.readFrame()
	if err != nil {
		c.fail("waiting for a frame: %v", err)
	}
	return f
}

// ReadUntil reads frames until pred holds for one and returns all of them, that one
// last.
func (c *Client) ReadUntil(pred func(Frame) bool) []Frame {
	c.tb.Helper()
	return c.readUntil("a certain frame", pred)
}

// Expect reads frames until one has all of headers, each written "Name: value", and
// returns that one. The frames ahead of it are dropped.
func (c *Client) Expect(headers ...string) Frame {
	c.tb.Helper()
	frames := c.readUntil(fmt.Sprintf("a frame with %q", headers), func(f Frame) bool { return Has(f, headers...) })
	return frames[len(frames)-1]
}

// ExpectNext reads one frame, which must have all of headers.
func (c *Client) ExpectNext(headers ...string) Frame {
	c.tb.Helper()
	f := c.ReadFrame()
	if !Has(f, headers...) {
		c.fail("the next frame lacks one of %q: %q", headers, f)
	}
	return f
}

// ExpectNothing makes sure that the peer has nothing for us: it sends a Ping, whose
// answer must be what comes next.
func (c *Client) ExpectNothing() {
	c.tb.Helper()
	if frames := c.Roundtrip(); len(frames) > 0 {
		c.fail("got %d frames where none was expected, the first %q", len(frames), frames[0])
	}
}

// ExpectClosed reads until the peer closes the connection, also by a reset, and
// returns the frames that came before.
func (c *Client) ExpectClosed() []Frame {
	c.tb.Helper()
	c.deadline()
	var frames []Frame
	for {
		f, err := c.readFrame()
		switch {
		case err == nil:
			frames = append(frames, f)
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.fail("waiting for the connection to be closed: %v", err)
		default:
			return frames
		}
	}
}

// Do sends an action, with an ActionID of its own unless headers have one, and
// returns its response. Frames ahead of the response are dropped.
func (c *Client) Do(headers ...string) Frame {
	c.tb.Helper()
	frames := c.do(headers)
	return frames[len(frames)-1]
}

// List sends an action that is answered by a list, with an ActionID of its own unless
// headers have one, and returns the frames of the answer: the response, the items and
// the event that completes the list. A response other than Success stands alone.
func (c *Client) List(headers ...string) []Frame {
	c.tb.Helper()
	response := c.Do(headers...)
	frames := []Frame{response}
	if !Has(response, "Response: Success") {
		return frames
	}
	id := "ActionID: " + Header(response, "ActionID")
	for _, f := range c.readUntil("the end of a list", func(f Frame) bool { return Has(f, id, "EventList: Complete") }) {
		if Has(f, id) {
			frames = append(frames, f)
		}
	}
	return frames
}

// Login logs in with the secret in plain text and returns the response, which must
// be a Success. Extra headers, each written "Name: value", follow.
func (c *Client) Login(user, secret string, extra ...string) Frame {
	c.tb.Helper()
	f := c.Do(append([]string{"Action: Login", "Username: " + user, "Secret: " + secret}, extra...)...)
	if !Has(f, "Response: Success") {
		c.fail("login of %s was answered %q", user, f)
	}
	return f
}

// Roundtrip sends a Ping and returns the frames that came before its answer, which is
// all that the peer had for us when it read the Ping. (A real Asterisk raises most events
// some time after what caused them: there, wait for a certain one with Expect.)
func (c *Client) Roundtrip() []Frame {
	c.tb.Helper()
	frames := c.do([]string{"Action: Ping"})
	return frames[:len(frames)-1]
}

func (c *Client) do(headers []string) []Frame {
	c.tb.Helper()
	id := ""
	for _, header := range headers {
		if name, value, _ := strings.Cut(header, ":"); strings.EqualFold(strings.TrimSpace(name), "ActionID") {
			id = strings.TrimSpace(value)
		}
	}
	if id == "" {
		id = ActionID()
		headers = append(headers[:len(headers):len(headers)], "ActionID: "+id)
	}
	c.Send(headers...)
	return c.readUntil("the response to "+headers[0], func(f Frame) bool {
		return Header(f, "Response") != "" && Header(f, "ActionID") == id
	})
}

func (c *Client) readUntil(what string, pred func(Frame) bool) []Frame {
	c.tb.Helper()
	c.deadline()
	var frames []Frame
	for {
		f, err := c.readFrame()
		if err != nil {
			c.fail("waiting for %s: %v after %d other frames", what, err, len(frames))
		}
		frames = append(frames, f)
		if pred(f) {
			return frames
		}
	}
}

func (c *Client) readFrame() (Frame, error) {
	var f strings.Builder
	for {
		line, err := c.readLine()
		if err != nil {
			return "", err
		}
		empty := line == "\r\n" || line == "\n"
		if empty && f.Len() == 0 {
			continue
		}
		f.WriteString(line)
		if empty {
			return Frame(f.String()), nil
		}
	}
}

func (c *Client) readLine() (string, error) {
	line, err := c.r.ReadString('\n')
	c.received = append(c.received, line...)
	if excess := len(c.received) - transcriptBytes; excess > transcriptBytes {
		c.received = append(c.received[:0], c.received[excess:]...)
	}
	if err == io.EOF && line != "" {
		err = io.ErrUnexpectedEOF
	}
	return line, err
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

func (c *Client) deadline() { c.conn.SetReadDeadline(time.Now().Add(c.timeout())) }

// fail ends the test with what was received.
func (c *Client) fail(format string, args ...any) {
	c.tb.Helper()
	received := c.received
	if excess := len(received) - transcriptBytes; excess > 0 {
		received = received[excess:]
	}
	c.tb.Fatalf("amiclient: %s\nreceived so far, the last %d bytes:\n%s",
		fmt.Sprintf(format, args...), len(received), strings.ReplaceAll(string(received), "\r\n", "\n"))
}
