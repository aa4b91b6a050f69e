//go:build unix

package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

const (
	shortTimeout = 3 // authtimeout in seconds.
	smallLimit   = 3 // authlimit.
)

// limitsGeneral is the general section of a PBX and of the proxy before it.
var limitsGeneral = fmt.Sprintf("authtimeout = %d\nauthlimit = %d\nallowmultiplelogin = no\n", shortTimeout, smallLimit)

const limitsUsers = `
[one]
secret = pw
write = system
[many]
secret = pw
write = system
allowmultiplelogin = yes
`

// TestLimitsAreThoseOfAsterisk shows that strangers are cut at the same time, that as many
// of them are let in, and who may log in twice.
func TestLimitsAreThoseOfAsterisk(t *testing.T) {
	t.Parallel() // with TestPermissions
	// The links of the proxy are many logins of one user.
	options := func(major int) asterisk.Options {
		return asterisk.Options{Major: major, Name: "pbx", General: limitsGeneral,
			Users: limitsUsers + "[proxy](+)\nallowmultiplelogin = yes\n[direct](+)\nallowmultiplelogin = yes\n"}
	}
	pbxs := starts(t, options(16), options(22))
	t.Run("releases", func(t *testing.T) {
		for _, pbx := range pbxs {
			t.Run(release(pbx), func(t *testing.T) {
				t.Parallel()
				p := startProxy(t, "[general]\nhardening = no\n"+limitsGeneral+limitsUsers, pbx)
				p.waitUp()
				testMultipleLogins(t, &stage{pbx: pbx.Addr(), proxy: p.addr})
				testAuthLimit(t, pbx.Addr())
				testAuthLimit(t, p.addr)
				testAuthTimeout(t, pbx.Addr(), p.addr)
				if !t.Failed() {
					report(t, "limits: Asterisk %s: authtimeout, authlimit and allowmultiplelogin: equal", release(pbx))
				}
			})
		}
	})
}

func testMultipleLogins(t *testing.T, st *stage) {
	for _, s := range []scenario{
		{name: "second login", before: logIn("one"), writes: []string{logIn("one") + goodbye}},
		{name: "second login with a wrong secret", before: logIn("one"), writes: []string{action("Action: Login", "Username: One", "Secret: x", "ActionID: 1") + goodbye}},
		{name: "challenge of who is logged in", before: logIn("one"), writes: []string{action("Action: Challenge", "AuthType: MD5", "Username: one", "ActionID: 1") + goodbye}},
		{name: "challenge without a user", before: logIn("one"), writes: []string{action("Action: Challenge", "AuthType: MD5") + goodbye}},
		{name: "second login of who may", before: logIn("many"), writes: []string{logIn("many") + action("Action: Ping") + goodbye}},
		{name: "login after a logoff", writes: []string{logIn("one") + goodbye}},
	} {
		s.timed = true
		if v := st.judge(s); v.unexplained != "" {
			t.Errorf("%s: %s", s.name, v.unexplained)
		}
	}
}

// testAuthLimit lets strangers come and go. Who has just gone may count for another
// moment, so a place is waited for; that there is none shows at once. All of it must be
// over before authtimeout cuts the first stranger, or it is done again.
func testAuthLimit(t *testing.T, addr string) {
	var wrong string
	for range rounds {
		limit := time.Now().Add((shortTimeout - 1) * time.Second)
		wrong = authLimitStory(addr, limit)
		if wrong == "" {
			return
		}
		if time.Now().Before(limit) {
			break
		}
	}
	t.Errorf("%s: authlimit: %s", addr, wrong)
}

// authLimitStory returns what went wrong, nothing if all was well.
func authLimitStory(addr string, limit time.Time) string {
	var wires []*wire
	defer func() {
		for _, w := range wires {
			w.close()
		}
	}()
	comes := func() bool {
		w := dialWire(addr)
		wires = append(wires, w)
		if w.err == nil {
			w.read(time.Now().Add(playLimit), func() bool { return strings.HasSuffix(string(w.got), "\r\n") })
		}
		return len(w.got) > 0
	}
	place := func(when string) string {
		for !comes() {
			if time.Now().After(limit) {
				return "no place " + when
			}
			time.Sleep(5 * time.Millisecond)
		}
		return ""
	}
	full := func(when string) string {
		for range 2 {
			if comes() {
				return "one too many " + when
			}
		}
		return ""
	}
	change := func(when string) string {
		if wrong := place(when); wrong != "" {
			return wrong
		}
		return full(when)
	}
	var in []*wire
	for range smallLimit {
		if wrong := place("at first"); wrong != "" {
			return wrong
		}
		in = append(in, wires[len(wires)-1])
	}
	if wrong := full("at first"); wrong != "" {
		return wrong
	}
	in[0].write(logIn("many"), nil)
	in[0].awaitFrame()
	if wrong := change("after a login"); wrong != "" {
		return wrong
	}
	in[1].hangUp()
	return change("after a goodbye")
}

// testAuthTimeout connects to both within one second of the clock, since Asterisk compares
// whole seconds.
func testAuthTimeout(t *testing.T, pbx, proxy string) {
	scenarios := []scenario{
		raw("silent stranger"),
		raw("busy stranger", action("Action: Ping", "ActionID: 1")+action("Action: Challenge", "AuthType: SHA")+"Action: Logi"),
		raw("who has logged in", logIn("many")),
	}
	for i := range scenarios {
		scenarios[i].watch = (shortTimeout + 2) * time.Second
		scenarios[i].timed = true
	}
	var wrong string
	for range strikes {
		now := time.Now()
		time.Sleep(now.Truncate(time.Second).Add(1200 * time.Millisecond).Sub(now))
		var outcomes [2][3]outcome
		together(t, 2*len(scenarios), func(_ testing.TB, i int) {
			outcomes[i%2][i/2] = new(stage).play([]string{pbx, proxy}[i%2], scenarios[i/2])
		})
		wrong = ""
		for i, s := range scenarios {
			direct, through := outcomes[0][i], outcomes[1][i]
			if !direct.same(through) {
				wrong += fmt.Sprintf("%s: the proxy's answer, then Asterisk's, differ %s\n", s.name, through.difference(direct))
			}
			if cut := strings.HasSuffix(direct.text, "[closed]\n"); cut != (i < 2) || cut && (direct.took < shortTimeout*time.Second || direct.took > (shortTimeout+1)*time.Second+sameMoment) {
				wrong += fmt.Sprintf("%s: Asterisk's answer after %v is %q\n", s.name, direct.took, direct.text)
			}
		}
		if wrong == "" {
			return
		}
	}
	t.Errorf("authtimeout: %s", wrong)
}
