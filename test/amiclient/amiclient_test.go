package amiclient

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// dial returns a client and the other end of its connection, which serve gets in a
// goroutine of its own; what serve does not read the client cannot write.
func dial(t *testing.T, serve func(net.Conn)) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "Asterisk Call Manager/7.0.0\r\n")
		serve(conn)
	}()
	c := Dial(t, l.Addr().String())
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

// script answers every frame it reads with what answer says, in which $ID stands for
// the ActionID, until the client is gone.
func script(answer func(f Frame) string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		var f strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			f.WriteString(line)
			if line != "\r\n" {
				continue
			}
			frame := Frame(f.String())
			f.Reset()
			fmt.Fprint(conn, strings.ReplaceAll(answer(frame), "$ID", Header(frame, "ActionID")))
		}
	}
}

// record is a testing.TB that a Fatalf ends without failing the test.
type record struct {
	testing.TB
	fatal string
}

func (r *record) Helper() {}

func (r *record) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	panic(r)
}

// failing runs f, which must fail the test, and returns how.
func failing(t *testing.T, c *Client, f func()) string {
	t.Helper()
	r := &record{TB: t}
	c.tb = r
	defer func() { c.tb = t }()
	func() {
		defer func() {
			if got := recover(); got != nil && got != any(r) {
				panic(got)
			}
		}()
		f()
	}()
	if r.fatal == "" {
		t.Fatal("the call did not fail the test")
	}
	return r.fatal
}

func TestHeader(t *testing.T) {
	f := Frame("Event: X\r\nchannel:  SIP/a: b \r\nOutput: one\r\nNoise\r\nOutput:two\nEmpty:\r\n\r\n")
	for name, want := range map[string]string{"event": "X", "Channel": "SIP/a: b", "Output": "one", "Empty": "", "None": ""} {
		if got := Header(f, name); got != want {
			t.Errorf("Header(%q) = %q, want %q", name, got, want)
		}
	}
	if got := Values(f, "output"); len(got) != 2 || got[1] != "two" {
		t.Errorf("Values = %q", got)
	}
	if !Has(f, "Output: two", "EVENT: X") || Has(f, "Event: x") || Has(f, "None:") || !Has(f, "Empty:") {
		t.Error("Has matches wrongly")
	}
}

func TestFramesKeepTheirBytes(t *testing.T) {
	const (
		odd    = "Response: Error\r\nMessage: text\n\r\n"
		binary = "Event: B\r\nData: \xff\x00é \r\n\r\n"
		unix   = "Event: LF\n\n"
	)
	c := dial(t, func(conn net.Conn) {
		// One byte a write, and the extra empty line behind odd.
		for _, b := range []byte(odd + "\r\n" + binary + unix) {
			conn.Write([]byte{b})
		}
	})
	if c.Banner != "Asterisk Call Manager/7.0.0" {
		t.Errorf("Banner = %q", c.Banner)
	}
	for _, want := range []Frame{odd, binary, unix} {
		if got := c.ReadFrame(); got != want {
			t.Errorf("ReadFrame = %q, want %q", got, want)
		}
	}
	if got := c.ExpectClosed(); got != nil {
		t.Errorf("ExpectClosed = %q", got)
	}
}

func TestConversation(t *testing.T) {
	c := dial(t, script(func(f Frame) string {
		switch Header(f, "Action") {
		case "Login":
			if !Has(f, "Username: ops", "Secret: pw", "Events: on") {
				return "Response: Error\r\nActionID: $ID\r\n\r\n"
			}
			return "Response: Success\r\nActionID: $ID\r\n\r\nEvent: FullyBooted\r\n\r\n"
		case "Ping":
			return "Response: Success\r\nActionID: $ID\r\nPing: Pong\r\n\r\n"
		case "Status":
			return "Event: Noise\r\n\r\nResponse: Success\r\nActionID: $ID\r\nEventList: start\r\n\r\n" +
				"Event: Status\r\nActionID: $ID\r\n\r\nEvent: Noise\r\n\r\n" +
				"Event: StatusComplete\r\nActionID: $ID\r\nEventList: Complete\r\n\r\n"
		default:
			return "Response: Error\r\nActionID: $ID\r\nMessage: Invalid/unknown command\r\n\r\nEvent: Late\r\n\r\n"
		}
	}))
	c.Login("ops", "pw", "Events: on")
	if frames := c.Roundtrip(); len(frames) != 1 || !Has(frames[0], "Event: FullyBooted") {
		t.Errorf("Roundtrip = %q", frames)
	}
	c.ExpectNothing()
	if frames := c.List("Action: Status"); len(frames) != 3 || !Has(frames[1], "Event: Status") {
		t.Errorf("List = %q", frames)
	}
	if frames := c.List("Action: Nope", "ActionID: mine"); len(frames) != 1 || !Has(frames[0], "ActionID: mine") {
		t.Errorf("List of a refused action = %q", frames)
	}
	c.ExpectNext("Event: Late")
	c.Send("Action: Nope", "ActionID: 2")
	c.Expect("Event: Late")
	c.Write([]byte("Action: Status\r\nActionID: 3\r\n\r\n"))
	frames := c.ReadUntil(func(f Frame) bool { return Has(f, "Event: StatusComplete") })
	if len(frames) != 5 {
		t.Errorf("ReadUntil = %q", frames)
	}
}

func TestFailuresShowWhatCame(t *testing.T) {
	c := dial(t, script(func(Frame) string { return "Event: Other\r\nActionID: $ID\r\n\r\nPart: of a fra" }))
	c.Timeout = 250 * time.Millisecond
	for name, f := range map[string]func(){
		"Do":     func() { c.Do("Action: Ping") },
		"Expect": func() { c.Send("Action: X"); c.Expect("Event: Y") },
		"Login":  func() { c.Login("u", "s") },
		"Closed": func() { c.Send("Action: X"); c.ExpectClosed() },
		"Line":   func() { c.Send("Action: X"); c.ReadUntil(func(Frame) bool { return false }) },
	} {
		if got := failing(t, c, f); !strings.Contains(got, "Event: Other\n") || !strings.Contains(got, "Part: of a fra") {
			t.Errorf("%s failed with %q", name, got)
		}
	}
}

func TestClosedPeerFailsAtOnce(t *testing.T) {
	c := dial(t, func(conn net.Conn) { fmt.Fprint(conn, "Event: Last\r\n") })
	if got := failing(t, c, func() { c.ReadFrame() }); !strings.Contains(got, "EOF") || !strings.Contains(got, "Event: Last") {
		t.Errorf("ReadFrame failed with %q", got)
	}
}

func TestPipe(t *testing.T) {
	near, far := net.Pipe()
	go script(func(Frame) string { return "Response: Success\r\nActionID: $ID\r\n\r\n" })(far)
	c := New(t, near)
	if got := c.Do("Action: Ping"); !Has(got, "Response: Success") {
		t.Errorf("Do = %q", got)
	}
}

func TestActionIDsAreUnique(t *testing.T) {
	if a, b := ActionID(), ActionID(); a == b {
		t.Errorf("twice %q", a)
	}
}
