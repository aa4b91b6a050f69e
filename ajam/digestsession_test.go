package ajam

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// digestBrowser is a browser that shows its secret by Digest.
type digestBrowser struct {
	*browser
	digestClient
}

func (w *world) digestBrowser(from, user, secret string) *digestBrowser {
	return &digestBrowser{w.browserFrom(from, nil), digestClient{user: user, secret: secret}}
}

// get sends a request, after a challenge if there was none yet.
func (b *digestBrowser) get(path string) reply {
	b.w.tb.Helper()
	if b.nonce == "" {
		b.browser.header.Del("Authorization")
		r := b.send("GET", path, "")
		b.follow(b.w.tb.(*testing.T), answered{status: r.StatusCode, header: r.Header})
	}
	b.counter++
	b.browser.header.Set("Authorization", b.digestClient.header("GET", path))
	return b.send("GET", path, "")
}

// Who shows a secret by Digest has a session of its own, without a cookie.
func TestDigestSession(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	for _, sha256 := range []bool{false, true} {
		b := w.digestBrowser("127.0.0.1", "full", "full-secret")
		b.sha256 = sha256
		r := b.get("/arawman?action=getvar&variable=x")
		if r.body != "Response: Success\r\nVariable: x\r\nValue: \r\n\r\n" || r.Header.Get("Set-Cookie") != "" || r.Header.Get("Pragma") != "" {
			t.Errorf("got %s %v %q", r.Status, r.Header, r.body)
		}
		if r := b.get("/arawman?action=login&username=x"); r.body != "Response: Success\r\nMessage: Already authenticated\r\n\r\n" {
			t.Errorf("got %q", r.body)
		}
		if r := b.get("/amanager?action=getvar&variable=x"); !strings.HasSuffix(r.body, digestFoot) {
			t.Errorf("got %q", r.body)
		}
		// Events are kept from the first WaitEvent on.
		b.get("/arawman?action=waitevent&timeout=0")
		w.sim.Event("Late", ami.ClassCall)
		if r := b.get("/amxml?action=waitevent"); !strings.Contains(r.body, "event='Late'") {
			t.Errorf("got %q", r.body)
		}
		// A request that somebody plays again is not run.
		b.counter--
		if r := b.get("/arawman?action=ping"); r.StatusCode != http.StatusUnauthorized || !strings.Contains(r.Header.Get("WWW-Authenticate"), "stale=true") {
			t.Errorf("a replay: %s %v", r.Status, r.Header)
		}
		if r := b.get("/arawman?action=logoff"); !strings.HasPrefix(r.body, "Response: Goodbye") {
			t.Errorf("got %q", r.body)
		}
		if r := b.get("/arawman?action=getvar&variable=x"); r.StatusCode != http.StatusOK {
			t.Errorf("after the end: %s", r.Status)
		}
	}
}

// Refused is who does not know the secret, after a while, and whoever may not log in.
func TestDigestRefused(t *testing.T) {
	w := newWorld(t, standardUsers+`
[once]
secret = once-secret
allowmultiplelogin = no
[near]
secret = near-secret
deny = 0.0.0.0/0
permit = 127.0.0.2
[none]
read = all
`, nil)
	for _, c := range []struct {
		from, user, secret string
		status             int
	}{
		{"127.0.0.1", "full", "wrong", 401},
		{"127.0.0.1", "nobody", "wrong", 401},
		{"127.0.0.1", "none", "", 401},
		{"127.0.0.1", "none", "(null)", 401},
		{"127.0.0.1", "near", "near-secret", 401},
		{"127.0.0.2", "near", "near-secret", 200},
		{"127.0.0.2", "near", "wrong", 401},
	} {
		start := time.Now()
		r := w.digestBrowser(c.from, c.user, c.secret).get("/arawman?action=ping")
		if took := time.Since(start); r.StatusCode != c.status || took < time.Second && c.status == 401 {
			t.Errorf("%v: %s after %v", c, r.Status, took)
		}
	}
	once := w.digestBrowser("127.0.0.1", "once", "once-secret")
	once.get("/arawman?action=ping")
	once.get("/arawman?action=ping")
	if r := w.digestBrowser("127.0.0.1", "once", "once-secret").get("/arawman?action=ping"); r.Status != "403 Forbidden" {
		t.Errorf("a second session: %s", r.Status)
	}
	// What another site's page sends is not run, though the browser knows the secret.
	b := w.digestBrowser("127.0.0.1", "full", "full-secret")
	b.get("/arawman?action=ping")
	b.browser.header.Set("Sec-Fetch-Site", "cross-site")
	if r := b.get("/arawman?action=ping"); r.StatusCode != http.StatusForbidden {
		t.Errorf("from elsewhere: %s", r.Status)
	}
}

// Failures by Digest lock an address out as others do.
func TestDigestLockout(t *testing.T) {
	w := newWorld(t, "[general]\nauthfailures = 2\n"+standardUsers, nil)
	for range 2 {
		w.digestBrowser("127.0.0.1", "full", "wrong").get("/arawman?action=ping")
	}
	if r := w.digestBrowser("127.0.0.1", "full", "full-secret").get("/arawman?action=ping"); r.StatusCode == http.StatusOK {
		t.Errorf("not locked out: %s", r.Status)
	}
	if r := w.digestBrowser("127.0.0.2", "full", "full-secret").get("/arawman?action=ping"); r.StatusCode != http.StatusOK {
		t.Errorf("locked out elsewhere: %s", r.Status)
	}
}

// Who has taken all sessions that its address may have learns nothing of a secret: a
// guess would take no time there, and not count.
func TestDigestGuessedWithoutRoom(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.SessionLimit = 8 })
	b := w.browser()
	for range 8 * sessionsEach / 2 {
		b.cookie = ""
		b.raw("action", "ping")
	}
	for _, secret := range []string{"wrong", "full-secret"} {
		if r := w.digestBrowser("127.0.0.1", "full", secret).get("/arawman?action=ping"); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", secret, r.Status)
		}
	}
}

// sessions is how many sessions there are.
func (w *world) sessions() int {
	w.web.sessions.places.mu.Lock()
	defer w.web.sessions.places.mu.Unlock()
	return w.web.sessions.places.taken
}

// A client that gets a nonce for each request, as curl does, leaves no sessions behind.
func TestDigestLeavesNothing(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	for range 30 {
		b := w.digestBrowser("127.0.0.1", "full", "full-secret")
		if r := b.get("/arawman?action=getvar&variable=x"); r.StatusCode != http.StatusOK {
			t.Fatalf("got %s", r.Status)
		}
		b.http.CloseIdleConnections()
		w.eventually("no session is left", func() bool { return w.sessions() == 0 })
	}
	// Who uses the nonce again has a session from then on.
	b := w.digestBrowser("127.0.0.1", "full", "full-secret")
	for range 100 {
		if r := b.get("/arawman?action=getvar&variable=x"); r.StatusCode != http.StatusOK {
			t.Fatalf("got %s", r.Status)
		}
	}
	if n := w.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	b.get("/arawman?action=logoff")
	w.eventually("the session is gone", func() bool { return w.sessions() == 0 })
}

// The session of a first request that has left something is kept.
func TestDigestKeepsWhatIsHeld(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.digestBrowser("127.0.0.1", "full", "full-secret")
	b.get("/arawman?action=waitevent&timeout=0")
	w.sim.Event("Between", ami.ClassCall)
	if r := b.get("/arawman?action=waitevent"); !strings.Contains(r.body, "Event: Between\r\n") {
		t.Errorf("got %q", r.body)
	}
	b = w.digestBrowser("127.0.0.1", "full", "full-secret")
	b.get("/arawman?action=filter&operation=add&filter=Event:+Other")
	b.get("/arawman?action=waitevent&timeout=0")
	w.sim.Event("Filtered", ami.ClassCall)
	w.sim.Event("Other", ami.ClassCall)
	if r := b.get("/arawman?action=waitevent"); !strings.Contains(r.body, "Event: Other\r\n") || strings.Contains(r.body, "Filtered") {
		t.Errorf("got %q", r.body)
	}
}

// A request that comes as the session of its nonce ends gets another one.
func TestDigestAfterTheEnd(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.digestBrowser("127.0.0.1", "full", "full-secret")
	b.get("/arawman?action=ping")
	b.get("/arawman?action=ping")
	all := w.web.sessions
	all.mu.Lock()
	key, s := digestSession{}, (*session)(nil)
	for key, s = range all.byDigest {
	}
	all.mu.Unlock()
	s.Close()
	w.eventually("the session is gone", func() bool { return all.ofDigest(key) == nil })
	all.mu.Lock()
	all.byDigest[key] = s // as if it were just about to end
	all.mu.Unlock()
	if r := b.get("/arawman?action=getvar&variable=x"); r.StatusCode != http.StatusOK || all.ofDigest(key) == s {
		t.Errorf("got %s %s", r.Status, r.body)
	}
	if r := b.get("/arawman?action=logoff"); r.StatusCode != http.StatusOK || w.sessions() > 1 {
		t.Errorf("got %s %s, %d sessions", r.Status, r.body, w.sessions())
	}
}

func TestDigestWithCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl; test/provision installs it")
	}
	w := newWorld(t, standardUsers, nil)
	out, err := exec.CommandContext(t.Context(), "curl", "-s", "--digest", "-u", "full:full-secret",
		"http://"+w.web.Addrs()[0].String()+"/amxml?action=getvar&variable=x").CombinedOutput()
	if want := "<ajax-response>\n<response type='object' id='unknown'><generic response='Success' variable='x' value='' /></response>\n</ajax-response>\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q", err, out)
	}
}
