package ajam

import (
	"errors"
	"net"
	"testing"
	"time"
)

// Sessions and connections are bounded, in all and from one address.
func TestSessionLimit(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionLimit = 4 })
	one := w.browser()
	for i := range 3 {
		one.cookie = ""
		r := one.send("GET", "/rawman", "")
		if want := map[bool]int{true: 200, false: 503}[i < 2]; r.StatusCode != want {
			t.Errorf("session %d of one address: %s", i+1, r.Status)
		}
	}
	other := w.browserFrom("127.0.0.2", nil)
	other.login("full")
	other.raw("action", "logoff")
	other.cookie = ""
	other.login("full")
	other.cookie = ""
	other.login("full")
	third := w.browserFrom("127.0.0.3", nil)
	if r := third.send("GET", "/rawman", ""); r.StatusCode != 503 {
		t.Errorf("the fifth session: %s", r.Status)
	}

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
