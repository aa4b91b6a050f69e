package ajam

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// keptAlive is a client that takes as little of the machine as it can, over one
// connection.
type keptAlive struct {
	conn         net.Conn
	r            *bufio.Reader
	host, cookie string
	body         []byte
}

// dialKeptAlive connects and logs in.
func dialKeptAlive(tb testing.TB, addr, user, secret string) *keptAlive {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	c := &keptAlive{conn: conn, r: bufio.NewReader(conn), host: addr}
	c.login(tb, user, secret)
	return c
}

// login logs in to a session of its own.
func (c *keptAlive) login(tb testing.TB, user, secret string) {
	tb.Helper()
	c.cookie = ""
	body, err := c.ask(c.request("action=login&username=" + user + "&secret=" + secret + "&events=call"))
	if err != nil || !bytes.Contains(body, []byte("accepted")) {
		tb.Fatalf("login: %q, %v", body, err)
	}
}

func (c *keptAlive) request(query string) []byte {
	return fmt.Appendf(nil, "GET /rawman?%s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", query, c.host, c.cookie)
}

// ask returns the body of the answer, which is valid until the next.
func (c *keptAlive) ask(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("answered %q, %v", line, err)
	}
	length := -1
	for len(line) > len("\r\n") {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
		if value, found := bytes.CutPrefix(line, []byte("Set-Cookie: ")); found && c.cookie == "" {
			value, _, _ = bytes.Cut(value, []byte(";"))
			c.cookie = string(value)
		}
	}
	if length < 0 {
		return nil, errors.New("an answer without a length")
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	_, err = io.ReadFull(c.r, c.body)
	return c.body, err
}

// BenchmarkPing asks Asterisk's own web server and ours for the same, in turns, so that
// whatever else the machine does is for both.
func BenchmarkPing(b *testing.B) {
	pbx := asterisk.Start(b, asterisk.Options{Major: 22, WebEnabled: true})
	w := newWorld(b, standardUsers, func(o *Options) { o.SessionLimit = 1000 }) // one address may have half
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			theirs := dialPingers(b, n, pbx.HTTPAddr(), asterisk.DirectUser, asterisk.DirectSecret)
			ours := dialPingers(b, n, w.web.Addrs()[0].String(), "full", "full-secret")
			for b.Loop() {
				theirs.turn(b)
				ours.turn(b)
			}
			b.ReportMetric(theirs.rate(), "asterisk/s")
			b.ReportMetric(ours.rate(), "amiproxy/s")
			b.ReportMetric(ours.rate()/theirs.rate(), "times")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// pingers are clients of one server.
type pingers struct {
	clients []*keptAlive
	answers int
	took    time.Duration
}

func dialPingers(b *testing.B, n int, addr, user, secret string) *pingers {
	p := &pingers{}
	for range n {
		p.clients = append(p.clients, dialKeptAlive(b, addr, user, secret))
	}
	return p
}

// turn is long enough for what begins and ends it not to count.
const turn = 100 * time.Millisecond

// turn has all clients ask for a while.
func (p *pingers) turn(b *testing.B) {
	var all sync.WaitGroup
	answers := make([]int, len(p.clients))
	start := time.Now()
	for i, c := range p.clients {
		all.Go(func() {
			request := c.request("action=ping")
			for time.Since(start) < turn {
				body, err := c.ask(request)
				if err != nil || !bytes.Contains(body, []byte("Ping: Pong\r\n")) {
					b.Errorf("%q, %v", body, err)
					return
				}
				answers[i]++
			}
		})
	}
	all.Wait()
	p.took += time.Since(start)
	for _, n := range answers {
		p.answers += n
	}
}

func (p *pingers) rate() float64 { return float64(p.answers) / p.took.Seconds() }

// BenchmarkIdleSession logs in to one session after the other; B/session is what each
// holds from then on.
func BenchmarkIdleSession(b *testing.B) {
	w := newWorld(b, standardUsers, func(o *Options) { o.SessionLimit = 1 << 20 })
	c := dialKeptAlive(b, w.web.Addrs()[0].String(), "full", "full-secret")
	before, goroutines := held()
	for b.Loop() {
		c.login(b, "full", "full-secret")
	}
	after, more := held()
	b.ReportMetric(float64(after-before)/float64(b.N), "B/session")
	b.ReportMetric(float64(more-goroutines)/float64(b.N), "goroutines/session")
}

// held is what the process holds.
func held() (bytes, goroutines int) {
	runtime.GC()
	runtime.GC() // a sync.Pool keeps what it has for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}
