//go:build unix

package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ajam"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// hostileCaller is a caller who would like to be more than a text.
const hostileCaller = `'/><script>alert(1)</script><img src=x onerror=alert(1)>`

const liveUsers = "[operator]\nsecret = pw\nread = all\nwrite = all\n" +
	"[reader]\nsecret = pw\nread = call\nwrite =\n" +
	"[clerk]\nsecret = pw\nread = call\nwrite = call\nallowaction = *\ndenyaction = Redirect\n"

// TestBrowserAsterisk shows the live page on Asterisk's own web server: what it needs is
// what Asterisk has.
func TestBrowserAsterisk(t *testing.T) {
	b := startBrowser(t)
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "sixteen", Users: liveUsers, Extensions: keep, WebEnabled: true},
		asterisk.Options{Major: 22, Name: "twentytwo", Users: liveUsers, Extensions: keep, WebEnabled: true})
	for _, pbx := range pbxs {
		mux := http.NewServeMux()
		mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("../ajam/static"))))
		mux.Handle("/", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: pbx.HTTPAddr()}))
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		t.Run(pbx.Name(), func(t *testing.T) { liveJob(t, b, server.URL, pbx.Name(), "") })
	}
}

// liveJob does on the live page what its users do. servers are those that it is to
// show; empty where there is one PBX.
func liveJob(t *testing.T, b *browser, base, name string, servers ...string) {
	p := b.open(t, base+"/static/live.html")
	p.until("the form to log in", "!document.getElementById('login').hidden")
	p.shot(name + "-login")
	p.fill("#login", "username", "operator", "secret", "wrong")
	p.says("error", "Log in: Authentication failed")
	p.until("the focus on the secret", "document.activeElement.name === 'secret'")
	p.fill("#login", "username", "operator", "secret", "pw")
	p.says("user", "operator")

	reader := b.open(t, base+"/static/live.html")
	reader.fill("#login", "username", "reader", "secret", "pw")
	reader.says("notice", "You may not ask which channels there are")

	// The other end of a Local channel is in the dialplan.
	for _, server := range servers {
		fields := []string{"channel", "Local/100@keep/n", "exten", "200", "context", "away", "callerid", hostileCaller + " <555>"}
		if server != "" {
			if p.eval("document.body.classList.contains('servers')") != "true" {
				p.fill("#originate", fields...)
				p.says("error", "Server header required")
			}
			fields = append(fields, "server", server)
		}
		p.fill("#originate", fields...)
		p.until("the call", row(server, "100@keep", "Up")+" !== undefined && "+row(server, "200@away", "Up")+" !== undefined")
		reader.until("the call", row(server, "100@keep", ";1", "Up")+" !== undefined")
	}
	if n := p.channels(); n != 2*len(servers) {
		t.Errorf("%d channels, want %d", n, 2*len(servers))
	}
	if shown := p.eval("getComputedStyle(document.querySelector('th.server')).display !== 'none'"); (shown == "true") != (servers[0] != "") {
		t.Errorf("the column Server is shown: %s", shown)
	}
	p.until("the caller as text", "document.getElementById('rows').textContent.includes('<script>')")
	if n := p.eval("document.querySelectorAll('#rows img, #rows script').length"); n != "0" {
		t.Errorf("a caller made %s elements", n)
	}
	p.fits()
	p.shot(name + "-calls")

	call := p.eval(row(servers[0], "200@away") + ".querySelector('.channel').textContent")
	p.press("Transfer", servers[0], call)
	p.shot(name + "-transfer")
	p.fill("#transfer", "exten", "300", "context", "keep")
	p.says("notice", "Transferred")
	p.until("the call at its new place", row(servers[0], call, "300@keep")+" !== undefined")

	// The reader cannot hang up, whether the page lets him or not.
	if shown := reader.buttons(); shown != "Log off, Refresh" {
		t.Errorf("a reader's buttons: %s", shown)
	}
	reader.shot(name + "-reader")
	for _, action := range []string{"Hangup", "Redirect&exten=200&context=away&priority=1"} {
		if answer := reader.ask("action=" + action + "&server=" + servers[0] + "&channel=" + url.QueryEscape(call)); !strings.Contains(answer, "Permission denied") {
			t.Errorf("a reader's %s: %s", action, answer)
		}
	}
	p.run(chromedp.Click(chromedp.CSS("#refresh")))
	p.until("the call to be where it was", "document.getElementById('notice').textContent === '' && "+row(servers[0], call, "300@keep", "Up")+" !== undefined")
	p.press("Hang up", servers[0], call)
	p.fill("#hangup")
	p.says("notice", "Hung up")
	gone := row(servers[0], call) + " === undefined"
	p.until("the call to go", gone)
	reader.until("the call to go", gone)
	p.until("the others to stay", fmt.Sprintf("document.querySelectorAll('#rows tr').length === %d", 2*len(servers)-2))

	// Who has scrolled down to the form reads the error.
	p.run(chromedp.EmulateViewport(phone, 400))
	p.fill("#originate", "channel", "Local/1@nowhere", "exten", "1", "context", "keep")
	p.says("error", "Call Local/1@nowhere and connect it to 1@keep: Extension does not exist")
	p.until("the error in sight", "scrollY > 0 && (r => r.top >= 0 && r.bottom <= innerHeight)(document.getElementById('error').getBoundingClientRect())")
	p.run(chromedp.EmulateViewport(1280, 800))
	p.run(chromedp.Click(chromedp.CSS("#logoff")))
	p.says("notice", "Logged off")
}

// TestBrowser shows the live page of our own server, with two PBXes behind it and with
// one.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "east", Extensions: keep},
		asterisk.Options{Major: 22, Name: "west", Extensions: keep})
	t.Run("picture", func(t *testing.T) {
		takePicture(t, b, serveLive(t, pbxs...), pbxs[1])
	})
	t.Run("one", func(t *testing.T) {
		liveJob(t, b, serveLive(t, pbxs[1]), "one", "")
	})
	t.Run("two", func(t *testing.T) {
		liveJob(t, b, serveLive(t, pbxs...), "two", "east", "west")
	})
}

// takePicture shows a phone call over SIP from one PBX to the other and back, and takes
// the picture that is in docs.
func takePicture(t *testing.T, b *browser, base string, other *asterisk.PBX) {
	p := b.open(t, base+"/static/live.html")
	p.fill("#login", "username", "operator", "secret", "pw")
	p.says("user", "operator")
	there := func(user string) string { return "PJSIP/" + user + "/sip:echo@" + other.SIPAddr() }
	if answer := p.ask(url.Values{"Action": {"Originate"}, "Server": {"east"}, "Channel": {there("bob")}, "Application": {"Dial"},
		"Data": {there("alice")}, "CallerID": {"Alice <alice>"}, "Async": {"true"}}.Encode()); !strings.Contains(answer, "successfully queued") {
		t.Fatalf("Originate: %s", answer)
	}
	p.until("both ends of the call, connected", row("east", "PJSIP/alice-", "Up", "PJSIP/bob-")+" !== undefined && "+
		row("east", "PJSIP/bob-", "Up", "PJSIP/alice-")+" !== undefined")
	p.until("the call on the other PBX", row("west", "PJSIP/alice-00000000", "Up")+" !== undefined && "+
		row("west", "PJSIP/alice-00000001", "Up")+" !== undefined")
	p.says("count", "4 channels")
	p.picture("live", 1280, 620, "dark")
	p.press("Hang up", "east", "PJSIP/bob-")
	p.fill("#hangup")
	p.says("count", "No channels")
}

// serveLive starts a proxy with a web server and returns the address of that.
func serveLive(t *testing.T, pbxs ...*asterisk.PBX) string {
	p := startProxy(t, liveUsers, pbxs...)
	p.waitUp()
	web, err := ajam.New(ajam.Options{
		BindAddr: netip.MustParseAddrPort("127.0.0.1:0"), SessionTimeout: time.Minute, SessionLimit: 100,
		SessionInactivity: patience, SessionKeepAlive: patience, EnableStatic: true,
	}, p.Server, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := web.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Shutdown(stopLimit)
		web.Shutdown(stopLimit)
	})
	return "http://" + web.Addrs()[0].String()
}
