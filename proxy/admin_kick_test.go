package proxy

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// awaitKicked waits for the log of a session that a user kicked.
func (w *world) awaitKicked(session, by string) {
	w.tb.Helper()
	number, _ := strconv.ParseUint(session, 10, 64)
	eventually(w.tb, "session "+session+" is kicked", func() bool {
		return w.logs.FilterMessage("client gone").FilterField(zap.Uint64("session", number)).
			FilterField(zap.String("reason", "kicked")).FilterField(zap.String("by", by)).Len() == 1
	})
}

func TestProxyKick(t *testing.T) {
	o := idle()
	o.users = adminUsers
	w := newWorld(t, o)
	admin := w.login("admin")
	kick := func(want string, headers ...string) {
		t.Helper()
		f := admin.Do(append([]string{"Action: ProxyKick", "ActionID: k"}, headers...)...)
		if string(f) != "Response: "+want+"\r\n\r\n" {
			t.Errorf("%q: %q", headers, f)
		}
	}
	const (
		one    = "Success\r\nActionID: k\r\nKicked: 1"
		nobody = "Error\r\nActionID: k\r\nMessage: No such session"
	)
	kick("Error\r\nActionID: k\r\nMessage: SessionID, Username or Address required")
	kick("Error\r\nActionID: k\r\nMessage: SessionID, Username or Address required", "Username:")

	t.Run("Username", func(t *testing.T) {
		a, b, other := w.login("full", "Events: off"), w.dial(), w.login("eastonly")
		b.Login("FULL", "full-secret", "Events: off")
		first := w.sessionNumber(a)
		kick("Success\r\nActionID: k\r\nKicked: 2", "Username: Full")
		for _, c := range []*amiclient.Client{a, b} {
			if frames := c.ExpectClosed(); len(frames) > 0 {
				t.Errorf("%q", frames)
			}
		}
		w.awaitKicked(first, "admin")
		kick(nobody, "Username: full")
		other.ExpectNothing()
		w.login("full").Close() // may come back
		w.awaitSessions(2)
		kick(one, "Username: eastonly")
		w.awaitSessions(1)
	})
	t.Run("SessionID of a slow client", func(t *testing.T) {
		other := w.login("full")
		slow := w.pipe("drops") // takes nothing from here on
		w.flood(0, 5)
		expectFlood(other, 0, 5)
		list := items(t, admin.List("Action: ProxySessions"))
		kick(one, "SessionID: "+header(list[2], "SessionID"))
		slow.ExpectClosed()
		w.awaitSessions(2)
		other.ExpectNothing()
		kick(one, "SessionID: "+w.sessionNumber(other))
		w.awaitSessions(1)
		eventually(t, "nothing is held", func() bool { return w.srv.total.Used() == 0 })
	})
	t.Run("in WaitEvent", func(t *testing.T) {
		c := w.login("full", "Events: off")
		c.Send("Action: WaitEvent")
		w.awaitWaiting(c)
		kick(one, "SessionID: "+w.sessionNumber(c))
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%q", frames)
		}
		w.awaitSessions(1)
	})
	t.Run("not logged in", func(t *testing.T) {
		c := w.dial()
		number := w.sessionNumber(c)
		kick(nobody, "Username: full", "SessionID: "+number) // all must fit
		kick(one, "Address: "+c.Conn().LocalAddr().String())
		c.ExpectClosed()
		w.awaitKicked(number, "admin")
		w.awaitSessions(1)
	})
	t.Run("waiting for a refused login", func(t *testing.T) {
		c := w.dial()
		c.Send("Action: Login", "Username: full", "Secret: wrong")
		number := w.sessionNumber(c)
		eventually(t, "the refusal", func() bool { return w.logs.FilterMessage("login refused").Len() > 0 })
		kick(one, "SessionID: "+number)
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%q", frames)
		}
		w.awaitKicked(number, "admin")
		w.awaitSessions(1)
	})
	t.Run("with actions pending", func(t *testing.T) {
		c := w.login("full", "Events: off")
		open := w.block("east", "Setvar")
		c.Send("Action: Setvar", "Server: east")
		w.await("east", "Setvar")
		kick(one, "Username: full", "SessionID: "+w.sessionNumber(c))
		c.ExpectClosed()
		w.awaitSessions(1) // it waits for no answer
		open()
		eventually(t, "nothing is pending", func() bool { return w.pbx("east").Pending() == 0 })
	})
	for _, who := range []string{"SessionID: 99999", "SessionID: one", "SessionID: -1", "Address: 192.0.2.1", "Address: 127.0.0.1:1", "Address: 0.0.0.0/0", "Address: *"} {
		kick(nobody, who)
	}
	admin.ExpectNothing()
}

// Who kicks itself gets what it asked for before, and then its answer; nothing
// after that is done.
func TestProxyKickOfOneself(t *testing.T) {
	w := newWorld(t, setup{users: strings.ReplaceAll(adminUsers, "[admin]", "[admin]\nwrite = all")})
	open := w.block("east", "Setvar")
	other, admin := w.login("full", "Events: off"), w.login("admin")
	number := w.sessionNumber(admin)
	admin.Send("Action: Setvar", "ActionID: 1")
	admin.Send("Action: ProxyKick", "ActionID: 2", "Address: 127.0.0.1")
	admin.Send("Action: UserEvent", "UserEvent: TooLate", "ActionID: 3")
	other.ExpectClosed()
	w.awaitSessions(1)
	open()
	frames := admin.ExpectClosed()
	if len(frames) != 2 || header(frames[0], "ActionID") != "1" || string(frames[1]) != "Response: Success\r\nActionID: 2\r\nKicked: 2\r\n\r\n" {
		t.Errorf("%q", frames)
	}
	w.awaitKicked(number, "admin")
	admin.Close()
	w.awaitSessions(0)
	if slices.ContainsFunc(w.sims["east"].Received(), func(r simpbx.Received) bool { return r.Name == "UserEvent" }) {
		t.Error("an action behind the kick was sent")
	}
}

// A client that does not get on with its TLS handshake can be kicked too.
func TestProxyKickInHandshake(t *testing.T) {
	w := newWorld(t, setup{users: adminUsers, tls: true})
	stuck, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	w.awaitSessions(1)
	admin := amiclient.DialTLS(t, w.addr(), trusting())
	admin.Login("admin", "admin-secret")
	if f := admin.Do("Action: ProxyKick", "Address: "+stuck.LocalAddr().String()); header(f, "Kicked") != "1" {
		t.Fatalf("%q", f)
	}
	w.awaitKicked("1", "admin")
	w.awaitSessions(1)
	admin.ExpectNothing()
}

func TestIsAt(t *testing.T) {
	for _, test := range []struct {
		remote, text string
		want         bool
	}{
		{"10.0.0.1:5000", "10.0.0.1", true},
		{"10.0.0.1:5000", "10.0.0.1:5000", true},
		{"10.0.0.1:5000", "10.0.0.1:5001", false},
		{"10.0.0.1:5000", "10.0.0.2", false},
		{"10.0.0.1:5000", "10.0.0.1:", false},
		{"10.0.0.1:5000", "10.0.0", false},
		{"[::ffff:10.0.0.1]:5000", "10.0.0.1", true},
		{"[::ffff:10.0.0.1]:5000", "10.0.0.1:5000", true},
		{"10.0.0.1:5000", "::ffff:10.0.0.1", true},
		{"[2001:db8::1]:5000", "2001:DB8:0::1", true},
		{"[2001:db8::1]:5000", "[2001:db8::1]:5000", true},
		{"[2001:db8::1]:5000", "[2001:db8::1]", false},
		{"[2001:db8::1]:5000", "::1", false},
	} {
		if got := isAt(netip.MustParseAddrPort(test.remote), test.text); got != test.want {
			t.Errorf("%s at %s: %v", test.remote, test.text, got)
		}
	}
}
