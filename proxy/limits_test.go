package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const limitedUsers = standardUsers + `
[slow]
secret = slow-secret
read = all
write = all
actionrate = 10
maxsessions = 2
pendinglimit = 3
`

func TestMaxSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := loggingServer(t, "authfailures = 1", limitedUsers)
		in := func() *amiclient.Client {
			c := srv.pipeFrom(t, "192.0.2.1")
			c.ReadBanner()
			c.Login("slow", "slow-secret")
			return c
		}
		first := in()
		in()
		if got, took := srv.guess(t, "192.0.2.1", "SLOW", "slow-secret"); got != "Login Already In Use" || took != time.Second {
			t.Errorf("%q after %v", got, took)
		}
		if n := logs.FilterField(zap.String("why", string(fateMaxSessions))).Len(); n != 1 {
			t.Errorf("%d lines", n)
		}
		// It is no failure, and who does not know the secret is not told.
		if got, _ := srv.guess(t, "192.0.2.1", "slow", "wrong"); got != "Authentication failed" {
			t.Error(got)
		}
		first.Send("Action: Logoff")
		first.ExpectClosed()
		synctest.Wait()
		if srv.lockouts.refusesUser(netip.MustParseAddr("192.0.2.1"), "full", srv.general()) {
			t.Error("the address is locked out by a failure of a user who is known there")
		}
		c := srv.pipeFrom(t, "192.0.2.2")
		c.ReadBanner()
		c.Login("slow", "slow-secret")
	})
}

// answerTimes sends actions all at once and returns after how many milliseconds
// each was answered.
func answerTimes(c *amiclient.Client, n int) (times []int64) {
	start := time.Now()
	go func() {
		for i := range n {
			fmt.Fprintf(c.Conn(), "Action: Ping\r\nActionID: %d\r\n\r\n", i)
		}
	}()
	for i := range n {
		c.ExpectNext("Response: Success", "ActionID: "+fmt.Sprint(i))
		times = append(times, time.Since(start).Milliseconds())
	}
	return times
}

// Beyond its rate a client waits: nothing is refused, and nobody else notices.
func TestActionRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := loggingServer(t, "", limitedUsers)
		in := func(user string) *amiclient.Client {
			c := srv.pipeFrom(t, "192.0.2.1")
			c.ReadBanner()
			c.Login(user, user+"-secret")
			return c
		}
		slow, other, full := in("slow"), in("slow"), in("full")
		want := []int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300, 400, 500}
		if got := answerTimes(slow, len(want)); !slices.Equal(got, want) {
			t.Errorf("answered at %v", got)
		}
		// The rate is that of all sessions of the user.
		if got := answerTimes(other, 3); !slices.Equal(got, []int64{100, 200, 300}) {
			t.Errorf("the other session was answered at %v", got)
		}
		if got := answerTimes(full, 100); got[99] != 0 {
			t.Errorf("another user waited: %v", got)
		}
		// To log in anew fills nothing up.
		other.Send("Action: Logoff")
		other.ExpectClosed()
		if got := answerTimes(in("slow"), 2); !slices.Equal(got, []int64{100, 200}) {
			t.Errorf("after a login: %v", got)
		}
		// A pause does, and a reload changes it for who is in.
		time.Sleep(10 * time.Minute)
		if got := answerTimes(slow, 11); !slices.Equal(got[8:], []int64{0, 0, 100}) {
			t.Errorf("after a pause: %v", got)
		}
		next := *srv.now().config
		user := *next.Users["slow"]
		user.ActionRate = 2
		next.Users = map[string]*config.User{"slow": &user, "full": next.Users["full"]}
		srv.Load = func() (*config.Config, error) { return &next, nil }
		if err := srv.Reload(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if got := answerTimes(slow, 4); !slices.Equal(got, []int64{0, 0, 500, 1000}) {
			t.Errorf("after a reload: %v", got)
		}
	})
}

// A client that waits for its turn is cut, kicked and shut down as others.
func TestActionRateEnds(t *testing.T) {
	for name, end := range map[string]func(*Server, *Session){
		"cut":      func(_ *Server, s *Session) { s.abort(reasonKicked) },
		"ended":    func(_ *Server, s *Session) { s.endWith(reasonPBXLost) },
		"shutdown": func(srv *Server, _ *Session) { srv.Shutdown(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := loggingServer(t, "", limitedUsers+"[snail]\nsecret = snail-secret\nactionrate = 1\n")
				var clients []*amiclient.Client
				for range 30 {
					c := srv.pipeFrom(t, "192.0.2.1")
					c.ReadBanner()
					c.Login("snail", "snail-secret")
					c.Send("Action: Ping")
					clients = append(clients, c)
				}
				synctest.Wait()
				start, n := time.Now(), 0
				for _, info := range srv.everybody() {
					if n++; n < 25 { // who is last has the longest to wait
						continue
					}
					end(srv, info.Session)
				}
				for _, c := range clients[25:] {
					c.ExpectClosed()
				}
				if took := time.Since(start); took > lastWords {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A user's own pendinglimit counts, and a reload changes it at once.
func TestPendingLimitOfAUser(t *testing.T) {
	users := func(limit int) string {
		return standardUsers + fmt.Sprintf("[slow]\nsecret = slow-secret\nread = all\nwrite = all\npendinglimit = %d\n", limit)
	}
	w := newWorld(t, setup{users: users(3), general: "pendinglimit = 7"})
	refused := func(c *amiclient.Client) (n int) {
		t.Helper()
		open := w.block("east", "Getvar")
		for range 10 {
			c.Send("Action: Getvar", "Variable: X")
		}
		c.Send("Action: Ping")
		eventually(t, "all were read", func() bool {
			s := w.session(c)
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.slots) == 11
		})
		open()
		for range 10 {
			if amiclient.Has(c.ReadFrame(), "Message: Too many actions in flight") {
				n++
			}
		}
		c.ExpectNext("Ping: Pong")
		return n
	}
	c := w.login("slow", "Events: off")
	if n := refused(c); n != 7 {
		t.Errorf("%d of 10 are refused", n)
	}
	if n := refused(w.login("full", "Events: off")); n != 3 {
		t.Errorf("%d of 10 of another user are refused", n)
	}
	w.write(users(5), "east")
	if err := w.srv.Reload(); err != nil {
		t.Fatal(err)
	}
	if n := refused(c); n != 5 {
		t.Errorf("%d of 10 are refused after a reload", n)
	}
}
