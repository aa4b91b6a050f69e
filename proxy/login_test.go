package proxy

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// pipeServer is a server without listeners and PBXes for a synctest bubble.
func pipeServer(t *testing.T, general, users string) *Server {
	t.Helper()
	srv, err := New(parse(t, "[general]\ndisabledevents = "+securityEvents+"\n"+general+
		"\n[pbx:east]\nhost = 127.0.0.1\nusername = proxy\nsecret = x\n"+users), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(time.Minute) })
	return srv
}

// pipe connects a client to the server without a network.
func (srv *Server) pipe(t testing.TB) *amiclient.Client {
	near, far := net.Pipe()
	srv.serving.Go(func() { srv.serve(far, nil) })
	return amiclient.New(t, near)
}

func TestAuthTimeout(t *testing.T) {
	for _, test := range []struct{ at, want time.Duration }{
		{100 * time.Millisecond, 3900 * time.Millisecond},
		{900 * time.Millisecond, 3100 * time.Millisecond},
		{0, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := pipeServer(t, "authtimeout = 3", standardUsers)
			time.Sleep(test.at)
			start := time.Now()
			c := srv.pipe(t)
			c.ReadBanner()
			// What the client does meanwhile does not extend it.
			for range 2 {
				time.Sleep(time.Second)
				c.Send("Action: Ping")
				c.ExpectNext("Message: Permission denied")
			}
			c.Write([]byte("Action: Logi"))
			rest, err := io.ReadAll(c.Conn())
			if len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v", rest, err)
			}
			if took := time.Since(start); took != test.want {
				t.Errorf("accepted at %v: closed after %v, want %v", test.at, took, test.want)
			}
		})
	}
}

func TestLoginEndsAuthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeServer(t, "authtimeout = 1", standardUsers).pipe(t)
		c.ReadBanner()
		c.Login("full", "full-secret")
		time.Sleep(time.Hour)
		c.Timeout = time.Minute
		c.ExpectNothing()
	})
}

// A refused login waits its second even if the time to log in is over then.
func TestRefusedLoginOutlivesAuthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeServer(t, "authtimeout = 1", standardUsers).pipe(t)
		c.ReadBanner()
		time.Sleep(1900 * time.Millisecond)
		start := time.Now()
		c.Send("Action: Login", "Username: full")
		c.ExpectNext("Message: Authentication failed")
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		c.ExpectClosed()
	})
}

func TestAuthLimit(t *testing.T) {
	w := newWorld(t, setup{general: "authlimit = 2"})
	first, second := w.dial(), w.dial()
	// greeted is a client that was let in, nil if it was not.
	greeted := func() net.Conn {
		conn, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		got, err := io.ReadAll(io.LimitReader(conn, 1))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return nil
		}
		return conn
	}
	if greeted() != nil {
		t.Fatal("a third was greeted")
	}
	// Who is logged in does not count.
	first.Login("full", "full-secret", "Events: off")
	third := w.dial()
	if greeted() != nil {
		t.Fatal("one too many was greeted")
	}
	// One whose session is over counts until it is gone.
	third.Send("Action: Logoff")
	third.ExpectClosed()
	if greeted() != nil {
		t.Fatal("a place was free while its client was still there")
	}
	third.Close()
	var fourth net.Conn
	eventually(t, "there is a place", func() bool { fourth = greeted(); return fourth != nil })
	// A client that vanished gives its place back, too.
	second.Close()
	eventually(t, "there is a place again", func() bool { return greeted() != nil })
	fourth.Close()
	first.ExpectNothing()
	w.awaitReason(reasonAuthLimit)
}

const onceUsers = standardUsers + `
[Once]
secret = once-secret
read = all
allowmultiplelogin = no
`

func TestAllowMultipleLogin(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: onceUsers})
	w.login("full")
	w.login("full")
	first := w.dial()
	first.Send("Action: Challenge", "AuthType: MD5", "Username: once")
	first.ExpectNext("Response: Success")
	first.Login("once", "once-secret")

	for _, action := range []string{"Login", "Challenge"} {
		c := w.dial()
		start := time.Now()
		c.Send("Action: "+action, "AuthType: MD5", "Username: ONCE", "Secret: wrong", "ActionID: m")
		if f := c.ReadFrame(); string(f) != "Response: Error\r\nActionID: m\r\nMessage: Login Already In Use\r\n\r\n" {
			t.Errorf("%s: %q", action, f)
		}
		if took := time.Since(start); took < time.Second {
			t.Errorf("%s: refused after %v", action, took)
		}
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%s: %q", action, frames)
		}
	}
	// Without a name nobody knows who asks, and others may come.
	c := w.dial()
	c.Send("Action: Challenge", "AuthType: MD5")
	c.ExpectNext("Response: Success")
	c.Login("full", "full-secret")

	// Who saw the end is free to come again, and one who is cut off, too.
	first.Send("Action: Logoff")
	first.Expect("Response: Goodbye")
	first.ExpectClosed()
	second := w.login("once")
	second.Close()
	eventually(t, "the user may come again", func() bool { return !w.srv.inUse("once") })
	w.login("once")
}

// Two that log in at the same time are not both let in.
func TestAllowMultipleLoginRace(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: onceUsers})
	var clients []*amiclient.Client
	for range 4 {
		clients = append(clients, w.dial())
	}
	for _, c := range clients {
		c.Send("Action: Login", "Username: once", "Secret: once-secret", "Events: off")
	}
	in := 0
	for _, c := range clients {
		if amiclient.Has(c.ReadFrame(), "Response: Success") {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d are in", in)
	}
}

func TestBanner(t *testing.T) {
	versions := func(east, west string) map[string]simpbx.Options {
		return map[string]simpbx.Options{"east": {Version: east}, "west": {Version: west}}
	}
	both := []string{"east", "west"}
	for _, test := range []struct {
		o    setup
		want string
	}{
		{setup{pbxs: both, sim: versions("11.0.0", "5.0.4")}, "Asterisk Call Manager/5.0.4"},
		{setup{pbxs: both, sim: versions("2.10.6", "11.0.0")}, "Asterisk Call Manager/2.10.6"},
		{setup{pbxs: both, sim: versions("9.0.0", "10.0.0"), absent: []string{"east"}}, "Asterisk Call Manager/10.0.0"},
		{setup{absent: []string{"east"}}, "Asterisk Call Manager/11.0.0"},
		{setup{general: "banner = Asterisk Call Manager/1.1"}, "Asterisk Call Manager/1.1"},
	} {
		w := newWorld(t, test.o)
		conn, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// It comes in one write: some clients read once.
		buf := make([]byte, 100)
		n, _ := conn.Read(buf)
		if got := string(buf[:n]); got != test.want+"\r\n" {
			t.Errorf("banner %q, want %q", got, test.want)
		}
	}
}

func TestOlderVersion(t *testing.T) {
	ordered := []string{"1.0", "1.1", "1.3", "2.5.0", "2.10.6", "5.0.4", "9.0.0", "11.0.0", "11.0.1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := olderVersion(a, b); got != (i < j) {
				t.Errorf("olderVersion(%s, %s) = %v", a, b, got)
			}
		}
	}
}

// The log tells why a login was refused, which the client is not told, and has
// what a client says as data, never as a line of its own.
func TestLoginRefusedLog(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: onceUsers + `
[away]
secret = away-secret
deny = 0.0.0.0/0
[silent]
read = all
`})
	w.login("once")
	var want []string
	for _, test := range []struct {
		why   fate
		lines []string
	}{
		{fateNoUser, []string{"Username: x\x01\x1b[31m", "Secret: typed-secret"}},
		{fateNoUser, []string{"Username: "}},
		{fateNotAdmitted, []string{"Username: away", "Secret: away-secret"}},
		{fateNotAdmitted, []string{"Username: away", "Secret: typed-secret"}},
		{fateNoSecret, []string{"Username: silent"}},
		{fateWrongSecret, []string{"Username: full", "Secret: typed-secret"}},
		{fateNoChallenge, []string{"Username: full", "AuthType: MD5", "Secret: full-secret"}},
		{fateWrongKey, []string{"Username: full", "AuthType: md5", "Key: typed-secret"}},
		{fateInUse, []string{"Username: ONCE", "Secret: typed-secret"}},
	} {
		want = append(want, string(test.why)+": "+strings.TrimPrefix(test.lines[0], "Username: "))
		c := w.dial()
		if test.why == fateWrongKey {
			c.Send("Action: Challenge", "AuthType: MD5")
			c.ExpectNext("Response: Success")
		}
		c.Send(append([]string{"Action: Login"}, test.lines...)...)
		message := "Message: Authentication failed"
		if test.why == fateInUse {
			message = "Message: Login Already In Use"
		}
		defer c.ExpectClosed()
		defer c.ExpectNext(message)
	}
	var got []string
	eventually(t, "all are refused", func() bool { return w.logs.FilterMessage("login refused").Len() == len(want) })
	for _, e := range w.logs.FilterMessage("login refused").All() {
		m := e.ContextMap()
		got = append(got, fmt.Sprint(m["why"], ": ", m["username"]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
}

// displayconnects = no is for clients that come every second: their coming and
// going is no news, but why one was cut is.
func TestDisplayConnects(t *testing.T) {
	w := newWorld(t, setup{users: standardUsers + "[quiet]\nsecret = quiet-secret\ndisplayconnects = no\n"})
	for user, want := range map[string]int{"full": 2, "quiet": 0} {
		w.logs.TakeAll()
		c := w.login(user)
		c.Send("Action: Logoff")
		c.ExpectClosed()
		c.Close()
		w.awaitSessions(0)
		news := w.logs.FilterLevelExact(zap.InfoLevel)
		if n := news.FilterMessage("logged in").Len() + news.FilterMessage("client gone").Len(); n != want {
			t.Errorf("%s: %d lines", user, n)
		}
	}
}
