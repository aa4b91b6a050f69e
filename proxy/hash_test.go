package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// Hashes of "password" and "U*U".
const (
	argon2Password = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	bcryptStars    = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
)

const hashedUsers = standardUsers + `
[argon]
secret = ` + argon2Password + `
read = all
[stars]
secret = ` + bcryptStars + `
oldsecret = ` + argon2Password + `
oldsecret = older
read = all
`

func TestHashedSecrets(t *testing.T) {
	w := newWorld(t, setup{users: hashedUsers})
	// A client that tries the challenge first goes on with the secret itself.
	c := w.dial()
	c.Send("Action: Challenge", "AuthType: MD5")
	if f := c.ReadFrame(); string(f) != "Response: Error\r\nMessage: Must specify AuthType\r\n\r\n" {
		t.Errorf("Challenge: %q", f)
	}
	c.Login("argon", "password")
	eventually(t, "the login is in the log", func() bool { return w.logs.FilterMessage("logged in").Len() == 1 })
	for secret, old := range map[string]bool{"U*U": false, "password": true, "older": true} {
		w.logs.TakeAll()
		w.dial().Login("stars", secret)
		eventually(t, "it is in the log", func() bool {
			return w.logs.FilterMessage("logged in").Len()+w.logs.FilterMessage("logged in by an old secret").Len() == 1
		})
		if got := w.logs.FilterMessage("logged in by an old secret").Len() == 1; got != old {
			t.Errorf("%s: old %v", secret, got)
		}
	}
	var refused []*amiclient.Client
	for user, secret := range map[string]string{
		"argon": argon2Password, "stars": "U*V", "full": argon2Password, "nobody": "password",
	} {
		c := w.dial()
		c.Send("Action: Login", "Username: "+user, "Secret: "+secret)
		refused = append(refused, c)
	}
	for _, c := range refused {
		c.ExpectNext("Message: Authentication failed")
		c.ExpectClosed()
	}
}

// occupy takes all turns to check a hash, until they are given back.
func (srv *Server) occupy() (giveBack func()) {
	for range cap(srv.hashing) {
		srv.hashing <- struct{}{}
	}
	return func() {
		for range cap(srv.hashing) {
			<-srv.hashing
		}
	}
}

// A login that waits for its turn to check a hash holds up nobody: not those who
// need no check, nor a reload, nor those who are in.
func TestHashCheckHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipeServer(t, "", hashedUsers)
		srv.Load = func() (*config.Config, error) { return srv.now().config, nil }
		giveBack := srv.occupy()
		in := srv.pipe(t)
		in.ReadBanner()
		in.Login("full", "full-secret")
		var waiting []*amiclient.Client
		for range 10 {
			c := srv.pipe(t)
			c.ReadBanner()
			c.Send("Action: Login", "Username: argon", "Secret: password", "Events: off")
			waiting = append(waiting, c)
		}
		synctest.Wait()
		start := time.Now()
		in.Roundtrip()
		other := srv.pipe(t)
		other.ReadBanner()
		other.Login("eastonly", "eastonly-secret")
		if err := srv.Reload(); err != nil {
			t.Fatal(err)
		}
		if users, strangers := srv.population(); users != 2 || strangers != len(waiting) || time.Since(start) > 0 {
			t.Errorf("%d are in, %d are not, after %v", users, strangers, time.Since(start))
		}
		giveBack()
		for _, c := range waiting {
			c.ExpectNext("Response: Success")
		}
		if n := len(srv.hashing); n != 0 {
			t.Errorf("%d turns were not given back", n)
		}
	})
}

// What counts is the configuration at the end of the check.
func TestReloadDuringHashCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipeServer(t, "", hashedUsers)
		next := *srv.now().config
		next.Users = map[string]*config.User{"stars": next.Users["stars"]}
		srv.Load = func() (*config.Config, error) { return &next, nil }
		giveBack := srv.occupy()
		removed, kept := srv.pipe(t), srv.pipe(t)
		removed.ReadBanner()
		kept.ReadBanner()
		removed.Send("Action: Login", "Username: argon", "Secret: password")
		kept.Send("Action: Login", "Username: stars", "Secret: U*U")
		synctest.Wait()
		if err := srv.Reload(); err != nil {
			t.Fatal(err)
		}
		giveBack()
		kept.ExpectNext("Message: Authentication accepted")
		removed.ExpectNext("Message: Authentication failed")
		kept.Roundtrip()
	})
}

// How long the tests of a login took does not show in a refusal, and nobody waits
// for a turn for ever.
func TestRefusalTakesWholeSeconds(t *testing.T) {
	for _, test := range []struct {
		user           string
		busy, want     time.Duration
		secret, answer string
	}{
		{"argon", 0, time.Second, "wrong", "Authentication failed"},
		{"argon", 500 * time.Millisecond, time.Second, "wrong", "Authentication failed"},
		{"argon", 1500 * time.Millisecond, 2 * time.Second, "wrong", "Authentication failed"},
		{"nobody", 1500 * time.Millisecond, 2 * time.Second, "wrong", "Authentication failed"},
		{"full", 1500 * time.Millisecond, 2 * time.Second, "wrong", "Authentication failed"},
		{"full", 1500 * time.Millisecond, 0, "full-secret", "Authentication accepted"},
		{"argon", 1500 * time.Millisecond, 1500 * time.Millisecond, "password", "Authentication accepted"},
		{"argon", time.Minute, hashWait + time.Second, "password", "Authentication failed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := pipeServer(t, "", hashedUsers)
			giveBack := srv.occupy()
			time.AfterFunc(test.busy, giveBack)
			c := srv.pipe(t)
			c.Timeout = time.Hour
			c.ReadBanner()
			start := time.Now()
			c.Send("Action: Login", "Username: "+test.user, "Secret: "+test.secret)
			c.ExpectNext("Message: " + test.answer)
			if took := time.Since(start); took != test.want {
				t.Errorf("%s, turns free after %v: %v, want %v", test.user, test.busy, took, test.want)
			}
			time.Sleep(test.busy)
		})
	}
}

// A client that is gone waits for no turn.
func TestGoneWhileWaitingForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipeServer(t, "", hashedUsers)
		defer srv.occupy()()
		c := srv.pipe(t)
		c.ReadBanner()
		c.Send("Action: Login", "Username: argon", "Secret: password")
		synctest.Wait()
		for _, info := range srv.everybody() {
			info.abort(reasonKicked)
		}
		synctest.Wait()
		if users, strangers := srv.population(); users+strangers != 0 {
			t.Errorf("%d are in, %d are not", users, strangers)
		}
	})
}
