package proxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// remoteConn is a connection from somewhere.
type remoteConn struct {
	net.Conn
	remote netip.Addr
}

func (c remoteConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.remote, 40000))
}

// pipeFrom connects a client from an address to the server without a network.
func (srv *Server) pipeFrom(t testing.TB, address string) *amiclient.Client {
	near, far := net.Pipe()
	srv.serving.Go(func() { srv.serve(remoteConn{far, netip.MustParseAddr(address)}, nil) })
	c := amiclient.New(t, near)
	c.Timeout = time.Hour
	return c
}

// loggingServer is a pipeServer with a log.
func loggingServer(t *testing.T, general, users string) (*Server, *observer.ObservedLogs) {
	srv := pipeServer(t, general, users)
	core, logs := observer.New(zapcore.DebugLevel)
	srv.log = zap.New(core)
	return srv, logs
}

// guess tries to log in from an address, and returns the answer and how long it
// took; closed without a greeting the answer is empty.
func (srv *Server) guess(t *testing.T, address, username, secret string) (answer string, took time.Duration) {
	t.Helper()
	c := srv.pipeFrom(t, address)
	defer c.Close()
	start := time.Now()
	if n, err := c.Conn().Read(make([]byte, 100)); n == 0 {
		if err != io.EOF {
			t.Error(err)
		}
		return "", time.Since(start)
	}
	c.Send("Action: Login", "Username: "+username, "Secret: "+secret, "Events: off")
	return amiclient.Header(c.ReadFrame(), "Message"), time.Since(start)
}

func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := loggingServer(t, "authfailures = 3\nauthwindow = 60\nauthlockout = 60", standardUsers)
		want := func(address, username, answer string, takes time.Duration) {
			t.Helper()
			if got, took := srv.guess(t, address, username, strings.ToLower(username)+"-secret"); got != answer || took != takes {
				t.Errorf("%s as %s: %q after %v, want %q after %v", address, username, got, took, answer, takes)
			}
		}
		lines := func(n int, fields ...zap.Field) {
			t.Helper()
			got := logs.FilterMessage("locked out after too many refused logins")
			for _, f := range fields {
				got = got.FilterField(f)
			}
			if got.Len() != n {
				t.Errorf("%d lines of a lockout, want %d: %v", got.Len(), n, logs.FilterLevelExact(zap.WarnLevel).All())
			}
		}
		// The last of the failures is answered as those before.
		for range 3 {
			want("192.0.2.1", "nobody", "Authentication failed", time.Second)
		}
		lines(1, zap.Duration("for", time.Minute))
		want("192.0.2.1", "full", "", 0)
		want("::ffff:192.0.2.1", "full", "", 0) // the same one
		want("192.0.2.2", "full", "Authentication accepted", 0)
		// Who goes on trying does not make it longer.
		time.Sleep(58 * time.Second)
		want("192.0.2.1", "full", "", 0)
		time.Sleep(time.Second)
		want("192.0.2.1", "full", "Authentication accepted", 0)

		// The next one is twice as long. The user who was in is spared; a valid one
		// who was not is refused at once, without a word why.
		for range 3 {
			want("192.0.2.1", "nobody", "Authentication failed", time.Second)
		}
		lines(1, zap.Duration("for", 2*time.Minute), zap.Int("refused in the lockout before", 3))
		want("192.0.2.1", "FULL", "Authentication accepted", 0)
		want("192.0.2.1", "eastonly", "Authentication failed", 0)
		// That user has failures of its own, which do no harm to others.
		for range 3 {
			if got, _ := srv.guess(t, "192.0.2.1", "full", "wrong"); got != "Authentication failed" {
				t.Error(got)
			}
		}
		lines(1, zap.String("username", "full"), zap.Duration("for", time.Minute))
		want("192.0.2.1", "full", "", 0)
		time.Sleep(time.Minute)
		want("192.0.2.1", "full", "Authentication accepted", 0)
		want("192.0.2.1", "eastonly", "Authentication failed", 0)
		time.Sleep(time.Minute)
		want("192.0.2.1", "eastonly", "Authentication accepted", 0)
		lines(3)
	})
}

// An attacker with an account of its own gains nothing by logging in between.
func TestSuccessForgivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := loggingServer(t, "authfailures = 3\nauthwindow = 60", standardUsers)
		for range 3 {
			srv.guess(t, "192.0.2.1", "full", "full-secret")
			srv.guess(t, "192.0.2.1", "eastonly", "wrong")
		}
		if got, took := srv.guess(t, "192.0.2.1", "eastonly", "eastonly-secret"); got != "Authentication failed" || took != 0 {
			t.Errorf("%q after %v", got, took)
		}
	})
}

// Only a login that failed counts, and nothing does with authfailures = 0.
func TestWhatIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := loggingServer(t, "authfailures = 1", hashedUsers+onceUsers[len(standardUsers):])
		if got, _ := srv.guess(t, "192.0.2.2", "nobody", "x"); got != "Authentication failed" {
			t.Error(got)
		}
		if got, _ := srv.guess(t, "192.0.2.2", "full", "full-secret"); got != "" {
			t.Errorf("one failure is not enough: %q", got)
		}
		first := srv.pipeFrom(t, "192.0.2.1")
		first.ReadBanner()
		first.Login("once", "once-secret")
		for range 3 {
			if got, _ := srv.guess(t, "192.0.2.1", "once", "x"); got != "Login Already In Use" {
				t.Error(got)
			}
		}
		for _, lines := range [][]string{{"Action: Ping"}, {"Action: Challenge"}, {"Action: Logoff"}, {}} {
			c := srv.pipeFrom(t, "192.0.2.1")
			c.ReadBanner()
			if len(lines) > 0 {
				c.Send(lines...)
				c.ReadFrame()
			}
			c.Close()
		}
		giveBack := srv.occupy()
		if got, took := srv.guess(t, "192.0.2.1", "argon", "password"); got != "Authentication failed" || took < hashWait {
			t.Errorf("busy: %q after %v", got, took)
		}
		giveBack()
		if got, _ := srv.guess(t, "192.0.2.1", "full", "full-secret"); got != "Authentication accepted" {
			t.Error(got)
		}
		next := *srv.now().config
		next.General.AuthFailures = 0
		srv.Load = func() (*config.Config, error) { return &next, nil }
		if err := srv.Reload(); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			srv.guess(t, "192.0.2.2", "nobody", "x")
		}
		if got, _ := srv.guess(t, "192.0.2.2", "full", "full-secret"); got != "Authentication accepted" {
			t.Errorf("authfailures = 0: %q", got)
		}
	})
}

// Many guesses at once are no more than one after the other: those that wait for
// their turn to check a hash are refused once there were too many.
func TestGuessesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := loggingServer(t, "authfailures = 3", hashedUsers)
		giveBack := srv.occupy()
		for range 40 {
			c := srv.pipeFrom(t, "192.0.2.1")
			c.ReadBanner()
			c.Send("Action: Login", "Username: argon", "Secret: x")
		}
		synctest.Wait()
		giveBack()
		time.Sleep(time.Minute)
		guesses := logs.FilterMessage("login refused").FilterField(zap.String("why", string(fateWrongSecret))).Len()
		if guesses < 3 || guesses > 2+cap(srv.hashing) {
			t.Errorf("%d guesses", guesses)
		}
	})
}

// Of IPv6 64 bits are an address: whoever has one has them all.
func TestOrigin(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:0:1::1": "2001:db8:0:1::", "2001:db8:0:1:ffff::": "2001:db8:0:1::",
		"2001:db8:0:2::1": "2001:db8:0:2::", "fe80::1%eth0": "fe80::", "::1": "::",
	} {
		if got := Network(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s is %s", a, got)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("no address is one")
	}
}

// However many addresses there are, the table is bounded, and forgets those first
// that were not heard of for longest.
func TestLockoutsAreBounded(t *testing.T) {
	l := newLockouts()
	g := &config.General{AuthFailures: 1, AuthWindow: time.Hour, AuthLockout: time.Hour}
	address := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	for i := range 3 * maxRecords {
		l.failed(address(i), "x", g)
		l.succeeded(address(0), fmt.Sprint("user", i)) // is always the last one heard of
		if n := len(l.records); n > maxRecords || n != l.recent.Len() {
			t.Fatalf("%d records, %d in the list", n, l.recent.Len())
		}
	}
	if n := len(l.findLocked(address(0), false).known); n != maxKnown {
		t.Errorf("%d known users", n)
	}
	if !l.refuses(address(3*maxRecords-1), g) || l.refuses(address(1), g) {
		t.Error("not the oldest was forgotten")
	}
}

// Whoever tries what: an address gets no more guesses than it may, no lockout is
// for ever, and a user who was in before and never fails is never refused.
func TestLockoutProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &config.General{
			AuthFailures: rapid.IntRange(1, 5).Draw(rt, "failures"),
			AuthWindow:   time.Duration(rapid.IntRange(1, 100).Draw(rt, "window")) * time.Second,
			AuthLockout:  time.Duration(rapid.IntRange(1, 100).Draw(rt, "lockout")) * time.Second,
		}
		pauses := rapid.SliceOfN(rapid.IntRange(0, 50), 10, 300).Draw(rt, "pauses")
		synctest.Test(t, func(t *testing.T) {
			l, a := newLockouts(), netip.MustParseAddr("192.0.2.1")
			l.succeeded(a, "good")
			var guesses []time.Time
			var locked time.Time // since when, zero: it is not
			for _, pause := range pauses {
				time.Sleep(time.Duration(pause) * time.Second / 2)
				now := time.Now()
				if l.refusesUser(a, "good", g) || l.refuses(a, g) {
					t.Fatal("a user who never fails is refused")
				}
				if !l.refusesUser(a, "bad", g) {
					locked = time.Time{}
					guesses = append(guesses, now)
					l.failed(a, "bad", g)
					continue
				}
				if locked.IsZero() {
					locked = now
				}
				if now.Sub(locked) > g.AuthLockout<<maxDoublings {
					t.Fatalf("locked out for %v", now.Sub(locked))
				}
			}
			for i := range guesses {
				if most := 2*g.AuthFailures - 1; i >= most && guesses[i].Sub(guesses[i-most]) < min(g.AuthWindow, g.AuthLockout) {
					t.Fatalf("%d guesses within %v", most+1, guesses[i].Sub(guesses[i-most]))
				}
			}
		})
	})
}

// When authlimit is reached, those who stand worse give their places up.
func TestAuthLimitYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := loggingServer(t, "authlimit = 2", standardUsers)
		in := func(address string) *amiclient.Client {
			t.Helper()
			c := srv.pipeFrom(t, address)
			c.Timeout = time.Second
			synctest.Wait()
			return c
		}
		greeted := func(c *amiclient.Client) bool {
			n, _ := c.Conn().Read(make([]byte, 100))
			return n > 0
		}
		served := func(c *amiclient.Client) bool {
			_, err := c.Conn().Write([]byte("Action: Ping\r\n\r\n"))
			return err == nil && greeted(c)
		}
		srv.guess(t, "192.0.2.9", "full", "full-secret") // is known from now on
		srv.guess(t, "192.0.2.66", "nobody", "x")        // has failed
		synctest.Wait()

		// One that failed yields to one of whom nothing is known.
		bad, unknown := in("192.0.2.66"), in("192.0.2.1")
		if !greeted(bad) || !greeted(unknown) {
			t.Fatal("not two are in")
		}
		other := in("192.0.2.2")
		if !greeted(other) || served(bad) {
			t.Error("who failed has kept the place")
		}
		if n := logs.FilterField(zap.String("reason", string(reasonAuthLimit))).Len(); n != 1 {
			t.Errorf("%d lines", n)
		}
		// These two have the same right to theirs as a third one, and a better one
		// than who failed.
		if greeted(in("192.0.2.3")) || greeted(in("192.0.2.66")) {
			t.Error("one too many")
		}
		// But those who were in before come first, and among equals those who hold less.
		known := in("192.0.2.9")
		if !greeted(known) || served(unknown) {
			t.Error("who was in before is kept out")
		}
		second := in("192.0.2.9")
		if !greeted(second) || served(other) {
			t.Error("who was in before is kept out by a stranger")
		}
		if greeted(in("192.0.2.9")) {
			t.Error("one too many of the same address")
		}
		srv.lockouts.succeeded(netip.MustParseAddr("192.0.2.10"), "full")
		if !greeted(in("192.0.2.10")) || served(known) {
			t.Error("one address keeps all places")
		}
		if !served(second) {
			t.Error("the wrong one has given its place up")
		}
	})
}
