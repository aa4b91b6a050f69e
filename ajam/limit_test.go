package ajam

import (
	"errors"
	"net"
	"net/netip"
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
			if got := p.take(one); got != (i < 2) {
				t.Fatalf("place %d: %v", i+1, got)
			}
		}
		time.Sleep(tellEvery)
		p.take(one)
		all := logs.All()
		if len(all) != 2 || all[0].ContextMap()["address"] != "192.0.2.1" || all[1].ContextMap()["its"] != int64(2) {
			t.Errorf("%v", all)
		}
	})
}
