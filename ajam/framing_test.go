package ajam

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// converse sends a text to the server and returns all that comes until the end of the
// connection. ended is false if that did not come in time.
func (w *world) converse(text string, patience time.Duration) (answer string, ended bool) {
	w.tb.Helper()
	conn, err := net.Dial("tcp", w.web.Addrs()[0].String())
	if err != nil {
		w.tb.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, text)
	all, err := io.ReadAll(conn)
	return string(all), err == nil
}

// A body that does not come holds a connection, and its session, no longer than another
// client that sends nothing.
func TestBodyThatDoesNotCome(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionInactivity = 100 * time.Millisecond })
	for _, head := range []string{
		"GET /rawman?action=ping HTTP/1.1\r\nContent-Length: 9",
		"POST /rawman HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 9",
		"POST /rawman HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9",
		"POST /rawman HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked",
		"POST /arawman HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 9",
		"POST /rawman HTTP/1.1\r\nOrigin: http://elsewhere\r\nContent-Length: 9",
		"GET /nothing HTTP/1.1\r\nContent-Length: 9",
		"GET /static/ HTTP/1.1\r\nContent-Length: 9",
		"PUT /rawman HTTP/1.1\r\nTransfer-Encoding: chunked",
	} {
		t.Run(head, func(t *testing.T) {
			t.Parallel()
			if answer, ended := w.converse(head+"\r\nHost: x\r\n\r\na=", 20*time.Second); !ended {
				t.Errorf("the connection stays: got %q", answer)
			}
		})
	}
}

// A body whose end a server before us may see elsewhere is the last of its connection.
func TestBodyOfTwoEnds(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	form := "Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for _, head := range []string{
		"POST /rawman HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n",
		"POST /rawman HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 60\r\n",
		"POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 60\r\n",
		"POST /rawman HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	} {
		answer, ended := w.converse(head+form+"\r\n0\r\n\r\nGET /rawman?action=ping HTTP/1.1\r\nHost: x\r\n\r\n", 5*time.Second)
		if n := strings.Count(answer, "HTTP/1."); n != 1 || !ended {
			t.Errorf("%q: %d answers, ended %t: %q", head, n, ended, answer)
		}
	}
}
