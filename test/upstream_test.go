//go:build unix

package test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestUpstreamTLS connects to PBXes over TLS.
func TestUpstreamTLS(t *testing.T) {
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "east", TLS: true},
		asterisk.Options{Major: 22, Name: "west", TLS: true})
	const user = "[ops]\nsecret = pw\nread = all\nwrite = all\n"
	section := func(pbx *asterisk.PBX, tls string) string {
		return fmt.Sprintf("[pbx:%s]\n%s\nusername = %s\nsecret = %s\ntls = yes\n%s\n",
			pbx.Name(), hostPort(pbx.TLSAddr()), asterisk.ProxyUser, asterisk.ProxySecret, tls)
	}
	for name, tls := range map[string]func(*asterisk.PBX) string{
		"CA file": func(pbx *asterisk.PBX) string { return "tlscafile = " + pbx.CertFile() },
		"pin":     func(pbx *asterisk.PBX) string { return "tlspin = " + pin(t, pbx) },
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxyFile(t, section(pbxs[0], tls(pbxs[0]))+section(pbxs[1], tls(pbxs[1]))+user)
			p.waitUp()
			c := p.login(t, "ops")
			for _, pbx := range pbxs {
				server := "Server: " + pbx.Name()
				if list := c.List("Action: QueueStatus", server); len(list) != 6 {
					t.Errorf("QueueStatus on %s: %q", pbx.Name(), list)
				}
				loginDirect(t, pbx).Do("Action: UserEvent", "UserEvent: Secure")
				c.Expect("Event: UserEvent", "UserEvent: Secure", server)
			}
		})
	}
	for name, wrong := range map[string]struct{ tls, log string }{
		"wrong pin":      {"tlspin = " + strings.Repeat("ab", 32), "is not the tlspin"},
		"unknown issuer": {"", "certificate signed by unknown authority"},
		"another's CA":   {"tlscafile = " + pbxs[1].CertFile(), "certificate signed by unknown authority"},
		"wrong name":     {"tlscafile = " + pbxs[0].CertFile() + "\ntlsservername = pbx.example.com", "not pbx.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxyFile(t, section(pbxs[0], wrong.tls)+section(pbxs[1], "tlspin = "+pin(t, pbxs[1]))+user)
			p.waitLog("the reason", zapcore.WarnLevel, wrong.log)
			eventually(t, "the other PBX to be up", p.backend("west").Up)
			c := p.login(t, "ops")
			if f := c.Do("Action: CoreStatus", "Server: east"); !amiclient.Has(f, "Response: Error", "Message: Server east is not connected") {
				t.Errorf("a PBX that is not trusted answered %q", f)
			}
			if n := p.backend("east").Stats().Logins.Load(); n != 0 {
				t.Errorf("logged in to a PBX that is not trusted %d times", n)
			}
		})
	}
}

// pin is the SHA-256 of the certificate of a PBX, in hex with colons.
func pin(tb testing.TB, pbx *asterisk.PBX) string {
	tb.Helper()
	text, err := os.ReadFile(pbx.CertFile())
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		tb.Fatalf("no certificate in %q", text)
	}
	sum := sha256.Sum256(block.Bytes)
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(pairs, ":")
}

// waitLog waits for a log entry since the mark with texts in its message or in its fields.
func (p *proxied) waitLog(what string, level zapcore.Level, texts ...string) (found string) {
	p.tb.Helper()
	eventually(p.tb, what+" in the log", func() bool {
		found = p.logged(level, texts...)
		return found != ""
	})
	return found
}

// markLog has logged and waitLog look at what is logged from now on.
func (p *proxied) markLog() { p.logMark = p.logs.Len() }

// logged finds a log entry since the mark with texts in its message or in its fields;
// empty: there is none.
func (p *proxied) logged(level zapcore.Level, texts ...string) string {
	for _, e := range p.logs.All()[p.logMark:] {
		entry := fmt.Sprint(e.Message, e.ContextMap())
		all := e.Level == level
		for _, text := range texts {
			all = all && strings.Contains(entry, text)
		}
		if all {
			return entry
		}
	}
	return ""
}

// TestUserOfTheProxyLacksRights gives the proxy users on the PBXes with too few rights,
// which it must say.
func TestUserOfTheProxyLacksRights(t *testing.T) {
	const users = `
[noevents]
secret = pw
read = system,call
write = all
[noactions]
secret = pw
read = all
write = call,originate,command
`
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "east", Users: users},
		asterisk.Options{Major: 22, Name: "west", Users: users})
	for _, pbx := range pbxs {
		for user, warning := range map[string]struct{ key, missing, notMissing string }{
			"noevents":  {"read = all", "agent", "call"},
			"noactions": {"write = all", "config", "originate"},
		} {
			t.Run(pbx.Name()+" "+user, func(t *testing.T) {
				p := startProxyFile(t, fmt.Sprintf("[pbx:%s]\n%s\nusername = %s\nsecret = pw\n[ops]\nsecret = pw\nread = all\nwrite = all\n",
					pbx.Name(), hostPort(pbx.Addr()), user))
				entry := p.waitLog("the warning", zapcore.WarnLevel, warning.key, "username:"+user)
				_, missing, _ := strings.Cut(entry, "missing:[")
				missing, _, _ = strings.Cut(missing, "]")
				if words := " " + missing + " "; !strings.Contains(words, " "+warning.missing+" ") || strings.Contains(words, " "+warning.notMissing+" ") {
					t.Errorf("the classes that are missing: %q", missing)
				}
				if strings.Contains(entry, "pw") {
					t.Errorf("the secret is in %q", entry)
				}
			})
		}
		t.Run(pbx.Name()+" all rights", func(t *testing.T) {
			p := startProxy(t, "[ops]\nsecret = pw\nread = all\nwrite = all\n", pbx)
			p.waitUp()
			if n := p.logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 0 {
				t.Errorf("%d warnings about a user who may do all: %v", n, p.logs.All())
			}
		})
	}
}
