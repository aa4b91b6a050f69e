package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// BenchmarkAction is the round trip of a small action to the PBX: straight to
// it, and through the proxy.
func BenchmarkAction(b *testing.B) {
	w := newWorld(b, setup{})
	w.sims["east"].Handle("MailboxCount", func(r *simpbx.Request) {
		r.Reply("Success", "Mailbox Message Count", "Mailbox", r.Get("Mailbox"), "NewMessages", "1")
	})
	for _, clients := range []int{1, 16} {
		for _, way := range []struct{ name, addr, user, secret string }{
			{"direct", w.addrs["east"], "proxy", upstreamSecret},
			{"proxy", w.addr(), "full", "full-secret"},
		} {
			b.Run(fmt.Sprintf("clients=%d/%s", clients, way.name), func(b *testing.B) {
				benchmarkAction(b, clients, way.addr, way.user, way.secret)
			})
		}
	}
}

func benchmarkAction(b *testing.B, clients int, addr, user, secret string) {
	callers := make([]*caller, clients)
	for i := range callers {
		callers[i] = newCaller(b, addr, user, secret)
	}
	var next atomic.Int64
	b.SetParallelism((clients + 1) / 2) // there are GOMAXPROCS times as many
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := int(next.Add(1)) - 1
		if i >= clients {
			return
		}
		c := callers[i]
		for pb.Next() {
			if err := c.call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
}

// caller is a client that does little itself.
type caller struct {
	conn net.Conn
	r    *bufio.Reader
	last []byte // the last list
}

var mailboxCount = []byte("Action: MailboxCount\r\nActionID: 1\r\nMailbox: 100@default\r\n\r\n")

func newCaller(b *testing.B, addr, user, secret string) *caller {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := &caller{conn: conn, r: bufio.NewReader(conn)}
	fmt.Fprintf(conn, "Action: Login\r\nUsername: %s\r\nSecret: %s\r\nEvents: off\r\n\r\n", user, secret)
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasPrefix(line, "Message: Authentication accepted") {
			break
		}
	}
	if _, err := c.r.ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	return c
}

func (c *caller) call() error { return c.callWith(mailboxCount) }

// callWith sends an action that is answered by one frame.
func (c *caller) callWith(action []byte) error {
	if _, err := c.conn.Write(action); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
}
