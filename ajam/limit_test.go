package ajam

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Sessions and connections are bounded, in all and from one address. Of sessions there are
// ten for each connection: scripts leave theirs behind.
func TestSessionLimit(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionLimit = 4 })
	leave := func(b *browser, n int) {
		for range n {
			b.cookie = ""
			b.login("full")
		}
	}
	refused := func(b *browser) {
		t.Helper()
		b.cookie = ""
		if r := b.send("GET", "/rawman", ""); r.StatusCode != 503 {
			t.Errorf("one session more: %s", r.Status)
		}
	}
	one, other := w.browser(), w.browserFrom("127.0.0.2", nil)
	leave(one, 20)
	refused(one)
	leave(other, 20)
	other.raw("action", "logoff")
	leave(other, 1)
	refused(w.browserFrom("127.0.0.3", nil))

	for i := range 3 {
		conn, err := net.Dial("tcp", w.web.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(map[bool]time.Duration{true: 100 * time.Millisecond, false: 20 * time.Second}[i == 0]))
		_, err = conn.Read(make([]byte, 1))
		// one has a connection already
		if timeout := (net.Error)(nil); (errors.As(err, &timeout) && timeout.Timeout()) != (i == 0) {
			t.Errorf("connection %d of one address: %v", i+2, err)
		}
	}
}

// The log tells of those who are refused, but not of each.
func TestPlacesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		p := newPlaces("sessions", 4, zap.New(core))
		one := netip.MustParseAddr("192.0.2.1")
		for i := range 4 {
			if got := p.take(one, nil) != nil; got != (i < 2) {
				t.Fatalf("place %d: %v", i+1, got)
			}
		}
		time.Sleep(tellEvery)
		p.take(one, nil)
		all := logs.All()
		if len(all) != 2 || all[0].ContextMap()["address"] != "192.0.2.1" || all[1].ContextMap()["its"] != int64(2) {
			t.Errorf("%v", all)
		}
	})
}

// Who has not logged in does not keep others out: the address with most places gives one
// up, the oldest that is not settled.
func TestPlacesYield(t *testing.T) {
	p := newPlaces("sessions", 8, zap.NewNop())
	one, other, third := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	var gone []int
	var held []*place
	for i := range 8 {
		held = append(held, p.take([]netip.Addr{one, other}[i/4], func() { gone = append(gone, i) }))
	}
	held[0].settle()
	held[0].settle()
	for range 2 {
		if x := p.take(third, nil); x == nil {
			t.Error("no place for who has fewest")
		}
	}
	if p.take(third, nil) != nil {
		t.Error("a place of who would have no more than the new one")
	}
	if slices.Sort(gone); !slices.Equal(gone, []int{1, 4}) {
		t.Errorf("gone: %v", gone)
	}
	for _, x := range held { // two of them are not theirs any more
		x.settle()
		x.give()
		x.give()
	}
	if p.taken != 2 || len(p.by) != 1 {
		t.Errorf("%d places are taken by %d addresses", p.taken, len(p.by))
	}
}

// TestFloodOfIdleConnections: those who send nothing, from several addresses, keep nobody
// out, and those who have logged in stay.
func TestFloodOfIdleConnections(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionLimit = 8 })
	in := w.browserFrom("127.0.0.9", nil)
	in.login("full")
	for i := range 40 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%2))}}
		conn, err := d.Dial("tcp", w.web.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%3 == 0 {
			io.WriteString(conn, "GET /rawman?action=ping HT")
		}
	}
	w.browserFrom("127.0.0.8", nil).login("full")
	if r := in.send("GET", "/rawman?action=ping", ""); r.StatusCode != 200 {
		t.Errorf("who is logged in: %s", r.Status)
	}
}

// TestFloodOfSessions: nor do those who ask for sessions and do not log in.
func TestFloodOfSessions(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionLimit = 4 }) // forty sessions
	in := w.browserFrom("127.0.0.9", nil)
	in.login("full")
	for _, from := range []string{"127.0.1.1", "127.0.1.2"} {
		b := w.browserFrom(from, nil)
		for range 20 {
			b.cookie = ""
			b.send("GET", "/rawman?action=ping", "")
		}
		b.http.CloseIdleConnections()
	}
	w.browserFrom("127.0.0.8", nil).login("full")
	if r := in.send("GET", "/rawman?action=ping", ""); r.StatusCode != 200 {
		t.Errorf("who is logged in: %s", r.Status)
	}
}
