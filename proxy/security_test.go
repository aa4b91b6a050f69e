package proxy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

const securityUsers = standardUsers + `
[watcher]
secret = watcher-secret
read = security

[filtered]
secret = filtered-secret
read = security
eventfilter = Event: Invalid

[caller]
secret = caller-secret
read = call
write = call
`

var securityTimes = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}`)

// Everybody who may read security events is told what happens at the proxy, in
// frames without Server: they are of no PBX.
func TestSecurityEvents(t *testing.T) {
	for _, pbxs := range [][]string{{"east"}, {"east", "west"}} {
		w := newWorld(t, setup{pbxs: pbxs, users: securityUsers, security: true})
		watcher, filtered, off := w.login("watcher"), w.login("filtered"), w.login("watcher", "Events: off")
		watcher.Expect("Event: SuccessfulAuth", "SessionID: 3")
		c := w.dial()
		addr := c.Conn().LocalAddr().String()
		local, remote := "IPV4/TCP/"+strings.Replace(w.addr(), ":", "/", 1), "IPV4/TCP/"+strings.Replace(addr, ":", "/", 1)
		event := func(name, severity, version, account, more string) {
			t.Helper()
			frame := fmt.Sprintf("Event: %s\r\nPrivilege: security,all\r\nEventTV: T\r\nSeverity: %s\r\nService: AMI\r\nEventVersion: %s\r\n%s"+
				"SessionID: 4\r\nLocalAddress: %s\r\nRemoteAddress: %s\r\n%s\r\n", name, severity, version, account, local, remote, more)
			if got := securityTimes.ReplaceAllString(string(watcher.ReadFrame()), "T"); got != frame {
				t.Errorf("got  %q\nwant %q", got, frame)
			}
		}
		c.Send("Action: Originate")
		event("RequestNotAllowed", "Error", "1", "AccountID: \r\n", "RequestType: Action: Originate\r\nSessionTV: T\r\n")
		c.Login("CALLER", "caller-secret")
		event("SuccessfulAuth", "Informational", "1", "AccountID: CALLER\r\n", "UsingPassword: 0\r\nSessionTV: T\r\n")
		c.Send("Action: Nonsense")
		event("RequestBadFormat", "Error", "1", "", "RequestType: Action: Nonsense\r\nSessionTV: T\r\nAccountID: CALLER\r\n")
		c.Send("Action: Originate")
		event("RequestNotAllowed", "Error", "1", "AccountID: CALLER\r\n", "RequestType: Action: Originate\r\nSessionTV: T\r\n")
		c.ExpectNext("Message: " + unknownAction("Nonsense"))
		c.ExpectNext("Message: Permission denied")
		c.ExpectNothing() // it reads no security events

		c = w.dial()
		c.Send("Action: Login", "Username: caller", "Secret: full-secret")
		watcher.ExpectNext("Event: InvalidPassword", "EventVersion: 2", "AccountID: caller")
		filtered.ExpectNext("Event: InvalidPassword")
		watcher.ExpectNothing()
		filtered.ExpectNothing()
		off.ExpectNothing()
	}
}

// Who is confined to a tenant sees no security events but those that are named.
func TestSecurityEventsOfATenant(t *testing.T) {
	w := newWorld(t, setup{security: true, users: securityUsers + `
[tenant:acme]
context = acme
[fenced]
secret = fenced-secret
read = security
tenant = acme
[named]
secret = named-secret
read = security
tenant = acme
allowevent = InvalidPassword
`})
	fenced, named := w.login("fenced"), w.login("named")
	watcher := w.login("watcher")
	c := w.dial()
	c.Send("Action: Login", "Username: caller", "Secret: no")
	watcher.Expect("Event: InvalidPassword", "AccountID: caller")
	named.ExpectNext("Event: InvalidPassword", "AccountID: caller")
	named.ExpectNothing()
	fenced.ExpectNothing()
}

// Where nobody may read security events none is made; who has gone is forgotten.
func TestSecurityEventsAreSeen(t *testing.T) {
	w := newWorld(t, setup{security: true, users: securityUsers})
	w.login("caller")
	if w.srv.own.isSeen() {
		t.Error("somebody who may not read security sees it")
	}
	c := w.login("watcher")
	if !w.srv.own.isSeen() {
		t.Error("nobody sees it")
	}
	c.Close()
	eventually(t, "nobody sees it", func() bool { return !w.srv.own.isSeen() })
}

// What somebody could guess a secret by is not shown.
func TestSecurityEventOfAChallenge(t *testing.T) {
	w := newWorld(t, setup{users: securityUsers, security: true})
	watcher := w.login("watcher")
	c := w.dial()
	digits := amiclient.Header(c.Do("Action: Challenge", "AuthType: MD5"), "Challenge")
	c.Send("Action: Login", "Username: caller", "AuthType: MD5", "Key: 0123456789abcdef0123456789abcdef")
	f := watcher.ExpectNext("Event: ChallengeResponseFailed", "AccountID:", "Challenge: "+digits,
		"Response: <withheld>", "ExpectedResponse: <withheld>")
	if strings.Contains(string(f), "0123456789abcdef") {
		t.Errorf("the response is shown: %q", f)
	}
}

// The event of an action that was refused comes behind its answer, also when
// that has to wait.
func TestSecurityEventBehindTheAnswer(t *testing.T) {
	w := newWorld(t, setup{users: securityUsers, security: true})
	c := w.login("full")
	watcher := w.login("watcher")
	c.Expect("Event: SuccessfulAuth", "AccountID: watcher")
	answer := w.block("east", "CoreSettings")
	c.Send("Action: CoreSettings", "ActionID: 1")
	c.Send("Action: Nonsense", "ActionID: 2")
	w.await("east", "CoreSettings")
	watcher.ExpectNext("Event: RequestBadFormat") // has nothing to wait for
	answer()
	c.ExpectNext("ActionID: 1")
	c.ExpectNext("ActionID: 2")
	c.ExpectNext("Event: RequestBadFormat", "AccountID: full")
}

// Who floods the proxy with what it refuses floods neither the clients that read
// of it nor the log; and what others do is still told.
func TestSecurityEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := parse(t, "[pbx:east]\nhost = 127.0.0.1\nusername = proxy\nsecret = x\n"+securityUsers)
		core, logs := observer.New(zap.InfoLevel)
		srv, err := New(cfg, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Shutdown(time.Minute)
		watcher, flooder, user := srv.pipe(t), srv.pipe(t), srv.pipe(t)
		watcher.ReadBanner()
		watcher.Login("watcher", "watcher-secret")
		watcher.Expect("Event: SuccessfulAuth")
		flooder.ReadBanner()
		user.ReadBanner()
		flood := func(c *amiclient.Client, told int) {
			t.Helper()
			for range 3 * refusalRate {
				c.Send("Action: Nonsense")
				c.ReadFrame()
			}
			if n := len(watcher.Roundtrip()); n != told {
				t.Errorf("%d events, want %d", n, told)
			}
		}
		time.Sleep(time.Second)
		flood(flooder, refusalRate)
		flood(flooder, 0)
		user.Login("caller", "caller-secret")
		watcher.ExpectNext("Event: SuccessfulAuth", "AccountID: caller")
		flood(user, refusalRate)
		other := srv.pipe(t)
		other.ReadBanner()
		other.Send("Action: Login", "Username: caller", "Secret: x")
		watcher.ExpectNext("Event: InvalidPassword")
		other.ReadFrame() // a second later
		flood(flooder, refusalRate)
		omitted := logs.FilterField(zap.Uint64("omitted", 1)).Len()
		if again := logs.FilterField(zap.Uint64("omitted", 5*refusalRate+1)).Len(); omitted != 2 || again != 1 {
			t.Errorf("%d and %d log lines: %v", omitted, again, logs.All())
		}
	})
}

func TestSecurityEventTimestamp(t *testing.T) {
	w := newWorld(t, setup{users: securityUsers, security: true, general: "timestampevents = yes"})
	c := w.dial()
	c.Login("watcher", "watcher-secret")
	f := string(c.Expect("Event: SuccessfulAuth"))
	if !regexp.MustCompile(`^Event: SuccessfulAuth\r\nPrivilege: security,all\r\nTimestamp: \d+\.\d{6}\r\nEventTV: `).MatchString(f) {
		t.Errorf("got %q", f)
	}
}

func TestSecurityAddresses(t *testing.T) {
	s := &Session{client: &wire{}}
	for text, want := range map[string]string{
		"192.0.2.1:5038":          "IPV4/TCP/192.0.2.1/5038",
		"[::ffff:192.0.2.1]:5038": "IPV4/TCP/192.0.2.1/5038",
		"[2001:db8::1]:5038":      "IPV6/TCP/2001:db8::1/5038",
	} {
		if got := s.transport(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if got := requestType(strings.Repeat("x", 100)); got != "Action: "+strings.Repeat("x", 55) {
		t.Errorf("got %q", got)
	}
}
