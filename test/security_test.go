//go:build unix

package test

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/proxy"
	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// securityUsers are users of the PBX and of the proxy. The one that reads security may see
// one PBX only, as all may here.
const securityUsers = `
[watcher]
secret = pw
read = security
[caller]
secret = pw
read = call
write = call
[once]
secret = pw
allowmultiplelogin = no
[far]
secret = pw
deny = 0.0.0.0/0
`

// securityScripts are what a client writes, in pieces that each wait for an answer. In them
// KEY(secret) stands for the answer to the challenge.
var securityScripts = []struct {
	name   string
	writes []string
	events string // That Asterisk raises, for failures to be read and so that none is missing.
	tls    bool
}{
	{"login", []string{action("Action: Login", "Username: CallER", "Secret: pw", "Events: off"), goodbye}, "SuccessfulAuth", false},
	{"login over TLS", []string{action("Action: Login", "Username: caller", "Secret: pw", "Events: off"), goodbye}, "SuccessfulAuth", true},
	{"login by MD5", []string{challenge, action("Action: Login", "Username: caller", "AuthType: MD5", "Key: KEY(pw)", "Events: off"), goodbye}, "SuccessfulAuth", false},
	{"unknown user", []string{action("Action: Login", "Username: nobody", "Secret: pw")}, "InvalidAccountID", false},
	{"strange user", []string{action("Action: Login", "Username: \x01a\tb\"c\\ ", "Secret: pw")}, "InvalidAccountID", false},
	{"long user", []string{action("Action: Login", "Username: "+strings.Repeat("u", 300), "Secret: pw")}, "InvalidAccountID", false},
	{"no user", []string{action("Action: Login", "Secret: pw")}, "", false},
	{"wrong secret", []string{action("Action: Login", "Username: caller", "Secret: pW")}, "InvalidPassword", false},
	{"wrong secret over TLS", []string{action("Action: Login", "Username: caller", "Secret: pW")}, "InvalidPassword", true},
	{"no secret", []string{action("Action: Login", "Username: caller")}, "InvalidPassword", false},
	{"wrong address", []string{action("Action: Login", "Username: far", "Secret: pw")}, "FailedACL", false},
	{"wrong address and secret", []string{action("Action: Login", "Username: far", "Secret: no")}, "FailedACL", false},
	{"wrong key", []string{challenge, action("Action: Login", "Username: caller", "AuthType: MD5", "Key: 00")}, "ChallengeResponseFailed", false},
	{"no key", []string{challenge, action("Action: Login", "Username: caller", "AuthType: MD5")}, "", false},
	{"no challenge", []string{action("Action: Login", "Username: caller", "AuthType: MD5", "Key: 00")}, "", false},
	{"wrong address by MD5", []string{challenge, action("Action: Login", "Username: far", "AuthType: MD5", "Key: 00")}, "FailedACL", false},
	{"twice", []string{action("Action: Login", "Username: ONCE", "Secret: pw")}, "SessionLimit", false},
	{"challenge of who is in", []string{action("Action: Challenge", "Username: once", "AuthType: MD5")}, "SessionLimit", false},
	{"actions before the login", []string{
		action("Action: Ping"), action("Action: " + strings.Repeat("x", 300)), action("Action: Originate", "Channel: Local/1"),
		action("No: action"), "\r\n", strings.Repeat("x", 2000) + "\r\n\r\n", action("Action: Challenge"), action("Action: Logoff"),
	}, "RequestNotAllowed RequestNotAllowed RequestNotAllowed RequestBadFormat RequestBadFormat", false},
	{"actions", []string{
		action("Action: Login", "Username: caller", "Secret: pw", "Events: off"),
		action("Action: Originate"), action("Action: Ping"), action("Action: " + strings.Repeat("x", 300)), action("Action: oriGinate  "),
		action("No: action"), action("Action: Filter", "Operation: Add", "Filter: x"), action("Action: Login", "Username: x"),
		strings.Repeat("x", 2000) + "\r\n\r\n", action("Action: Getvar", "Variable: SHELL(x)"), action("Action: Command", "Command: core show version"), action("Action: Logoff"),
	}, "SuccessfulAuth RequestNotAllowed RequestBadFormat RequestBadFormat RequestBadFormat RequestNotAllowed RequestNotAllowed", false},
}

var challenge = action("Action: Challenge", "AuthType: MD5")

// TestSecurityEventsAreThoseOfAsterisk: what is raised at the proxy is, header for header,
// what Asterisk raises when the same is written to it.
func TestSecurityEventsAreThoseOfAsterisk(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			p := asterisk.Start(t, asterisk.Options{Major: major, TLS: true, WebEnabled: true, Users: securityUsers})
			addr, secure, web := securityProxy(t, p)
			direct, through := newWatch(t, p.Addr(), p.TLSAddr(), p.HTTPAddr()), newWatch(t, addr, secure, web)
			compared := 0
			for _, script := range securityScripts {
				ends := [2]string{p.Addr(), addr}
				if script.tls {
					ends = [2]string{p.TLSAddr(), secure}
				}
				playSecurity(t, ends[0], script.tls, script.writes)
				want := direct.events(script.events)
				playSecurity(t, ends[1], script.tls, script.writes)
				got := through.events(script.events)
				if got != want {
					t.Errorf("%s: %s", script.name, firstDifference([]byte(want), []byte(got)))
				}
				compared += len(strings.Fields(script.events))
			}
			for _, s := range webSecurityScripts {
				playWeb(p.HTTPAddr(), s.uri, s.webScenario)
				want := direct.events(s.events)
				playWeb(web, s.uri, s.webScenario)
				got := through.events(s.login + s.events)
				if s.login == "" && got != want {
					t.Errorf("%s by %s: %s", s.name, s.uri, firstDifference([]byte(want), []byte(got)))
				}
				compared += len(strings.Fields(s.events))
			}
			report(t, "security events: Asterisk %s: %d events of %d scripts compared header for header", release(p), compared, len(securityScripts)+len(webSecurityScripts))
		})
	}
}

// securityProxy is a proxy with listeners for TLS and HTTP too; it returns all addresses.
func securityProxy(t *testing.T, p *asterisk.PBX) (plain, secure, web string) {
	t.Helper()
	cfg, err := config.Loader{}.Parse("amiproxy.conf", fmt.Appendf(nil,
		"[general]\nauthfailures = 0\ntlsenable = yes\ntlscertfile = %s\n[pbx:pbx]\n%s\nusername = %s\nsecret = %s\n%s",
		filepath.Join(filepath.Dir(p.CertFile()), "tls.pem"), hostPort(p.Addr()), asterisk.ProxyUser, asterisk.ProxySecret, securityUsers))
	if err != nil {
		t.Fatal(err)
	}
	cfg.General.BindAddr = netip.MustParseAddrPort("127.0.0.1:0")
	cfg.General.TLSBindAddr = cfg.General.BindAddr
	srv, err := proxy.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(stopLimit) })
	all := &proxied{Server: srv, tb: t}
	all.waitUp()
	return srv.Addrs()[0].String(), srv.Addrs()[1].String(), startWeb(t, all, nil)
}

// A watch is a client that reads security events, of the PBX or of the proxy.
type watch struct {
	t     *testing.T
	c     *amiclient.Client
	addr  string
	ports string // Those that the peer listens on, as the ends of addresses.
}

func newWatch(t *testing.T, addr string, others ...string) *watch {
	t.Helper()
	w := &watch{t: t, c: loginAt(t, addr, "watcher"), addr: addr, ports: port(addr)}
	for _, other := range others {
		w.ports += " " + port(other)
	}
	w.c.Expect("Event: SuccessfulAuth", "AccountID: watcher") // Its own.
	loginAt(t, addr, "once")                                  // It is in from here on.
	w.c.Expect("Event: SuccessfulAuth", "AccountID: once")
	return w
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// events reads up to what a witness causes. It returns what was raised by the peer itself,
// which must have these names, less what varies. (The events of the PBX about those who
// write to it reach the clients of the proxy too, and its links may log in again.)
func (w *watch) events(names string) string {
	w.t.Helper()
	witness := amiclient.Dial(w.t, w.addr)
	witness.Send("Action: Login", "Username: witness", "Secret: x")
	var found []string
	var text strings.Builder
	for {
		f := w.c.ReadFrame()
		local := amiclient.Header(f, "LocalAddress")
		if !strings.Contains(w.ports, local[strings.LastIndexByte(local, '/')+1:]) || amiclient.Has(f, "AccountID: "+asterisk.ProxyUser) {
			continue
		}
		if amiclient.Has(f, "AccountID: witness") {
			break
		}
		found = append(found, amiclient.Header(f, "Event"))
		text.WriteString(withoutSecurityVolatiles(string(f)))
	}
	witness.Close()
	if got := strings.Join(found, " "); got != names {
		w.t.Errorf("%s raised %q, want %q:\n%s", w.addr, got, names, &text)
	}
	return text.String()
}

var securityVolatiles = []struct{ pattern, text string }{
	{`(?m)^(EventTV|SessionTV): (19|20)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000\r$`, "$1: $2...\r"},
	{`(?m)^SessionID: (0x[0-9a-f]+|\d+)\r$`, "SessionID: varies\r"},
	{`(?m)^(Local|Remote)(Address: IPV4/(?:TCP|TLS)/127\.0\.0\.1)/\d+\r$`, "$1$2/varies\r"},
	{`(?m)^Challenge: \d{1,9}\r$`, "Challenge: varies\r"},
	// The proxy withholds by what secrets can be guessed.
	{`(?m)^(Response: )(00|<withheld>)\r$`, "${1}differs\r"},
	{`(?m)^(ExpectedResponse: )([0-9a-f]{32}|<withheld>)\r$`, "${1}differs\r"},
}

func withoutSecurityVolatiles(text string) string {
	for _, v := range securityVolatiles {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.text)
	}
	return text
}

// playSecurity writes a script, piece by piece, each when the one before was answered.
func playSecurity(t *testing.T, addr string, secure bool, writes []string) {
	t.Helper()
	w := dialWire(addr)
	if secure && w.err == nil {
		w.conn = tls.Client(w.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is who it is
	}
	defer w.close()
	for _, text := range writes {
		w.write(challengeKey.ReplaceAllStringFunc(text, func(call string) string {
			return keyFor(w.got, challengeKey.FindStringSubmatch(call)[1])
		}), nil)
		w.awaitFrame()
	}
	if w.err != nil && !strings.Contains(w.err.Error(), "EOF") && !strings.Contains(w.err.Error(), "reset") {
		t.Fatalf("%s: %v after %q", addr, w.err, w.got)
	}
}
