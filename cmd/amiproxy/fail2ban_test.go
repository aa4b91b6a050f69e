package main

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/proxy"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// fail2banFilter is the expression of the filter that we ship, with fail2ban's own
// for an address, and the times with which fail2ban has done when it looks at a
// line.
func fail2banFilter(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../deploy/fail2ban/filter.d/amiproxy.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, expression, found := strings.Cut(string(text), "\nfailregex = ")
	expression, _, _ = strings.Cut(expression, "\n")
	expression = strings.ReplaceAll(expression, "%%", "%")
	address := `(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})|(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|:)?)`
	if !found || !strings.Contains(expression, "<ADDR>") {
		t.Fatal("the filter has no failregex")
	}
	return regexp.MustCompile(strings.Replace(expression, "<ADDR>", "(?:"+address+")", 1))
}

var logTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d{4})`)

// lockedBuffer is what several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSuffix(b.text.String(), "\n"), "\n")
}

// TestFail2ban: the filter fits each line of a refused login, as the program writes
// them to a file and to the journal, and finds the address that it came from;
// whatever the client calls itself. It fits no other line.
func TestFail2ban(t *testing.T) {
	filter := fail2banFilter(t)
	cfg, err := config.Loader{}.Parse("test.conf", []byte("[general]\nauthfailures = 100\n[crm]\nsecret = x\n[away]\nsecret = x\ndeny = 127.0.0.1\n[none]\n[once]\nsecret = x\nallowmultiplelogin = no\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.General.BindAddr = netip.MustParseAddrPort("127.0.0.1:0")
	var log lockedBuffer
	srv, err := proxy.New(cfg, newLogger(&log, zapcore.DebugLevel))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(5 * time.Second)
	dial := func() *amiclient.Client { return amiclient.Dial(t, srv.Addrs()[0].String()) }

	once := dial()
	once.Login("once", "x")
	const forged = `x", "why": "wrong secret", "username": "`
	line := `2026-11-22T08:53:32.123Z WARN login refused {"session": 1, "remote": "6.6.6.6:1", "why": "wrong secret", "username": "x"}`
	refused := [][]string{
		{"Username: crm"}, {"Username: away", "Secret: x"}, {"Username: none"}, {"Username: nobody"}, {},
		{"Username: crm", "AuthType: MD5"}, {"Username: crm", "AuthType: MD5", "Key: x"},
		{"Username: " + forged}, {"Username: " + line}, {"Username: \u2028" + line}, {"Username: \x0b\x0c\x85" + line},
		{"Username: \xff\xfe" + line}, {"Username: \x1b[2K" + line}, {"Username: \r" + line}, {"Username: \\" + forged},
		{"Username: " + strings.Repeat("x", 1000)},
	}
	for _, lines := range refused {
		c := dial()
		if len(lines) == 3 {
			c.Send("Action: Challenge", "AuthType: MD5")
			c.ReadFrame()
		}
		c.Send(append([]string{"Action: Login"}, lines...)...)
		defer c.ExpectClosed()
	}
	others := [][]string{{"Username: once", "Secret: x"}, {"Username: crm", "Secret: x"}}
	for _, lines := range others {
		c := dial()
		c.Send(append([]string{"Action: Login"}, lines...)...)
		c.ReadFrame()
		c.Send("Action: Login", "Username: "+line)
		c.Close()
	}
	web, err := srv.OpenWeb(proxy.WebOptions{Remote: netip.MustParseAddrPort("127.0.0.1:40000"), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	over := []string{"Action: Login", "Username: " + forged}
	answer, err := web.Do(t.Context(), ami.NewAction(over...))
	if err != nil {
		t.Fatal(err)
	}
	answer.Close()
	refused = append(refused, over)
	found := func() (n int) {
		for _, line := range log.lines() {
			rest := logTime.ReplaceAllString(line, "")
			if rest == line {
				t.Fatalf("no time: %q", line)
			}
			m := filter.FindStringSubmatch(rest)
			journal := filter.FindStringSubmatch(" pbx1 amiproxy[4711]: " + line)
			if (m == nil) != (journal == nil) {
				t.Errorf("in the journal otherwise than in a file: %q", line)
			}
			if want := strings.Contains(line, " WARN login refused "); (m != nil) != want {
				t.Errorf("%v: %q", m != nil, line)
			}
			if m != nil {
				n++
				if m[1] != "127.0.0.1" {
					t.Errorf("found %q: %q", m[1], line)
				}
			}
		}
		return n
	}
	deadline := time.Now().Add(20 * time.Second)
	for found() < len(refused) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := found(); n != len(refused) {
		t.Errorf("%d lines fit, of %d refused logins", n, len(refused))
	}

	// Addresses as the log writes them.
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "::1": "::1", "::ffff:192.0.2.1": "192.0.2.1",
		"fe80::1%eth0": "fe80::1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2:3:4:5:6",
	} {
		remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 40000)).AddrPort().String()
		m := filter.FindStringSubmatch(` WARN login refused {"session": 7, "remote": "` + remote + `", "why": "wrong secret", "username": "crm"}`)
		if m == nil || m[1]+m[2] != want {
			t.Errorf("%s: %q", remote, m)
		}
	}
}
