package ajam

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

func TestSession(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser()
	if got := b.raw("action", "ping"); got != denied {
		t.Errorf("a stranger got %q", got)
	}
	stranger := b.cookie
	b.login("full")
	user := b.cookie
	if user == stranger {
		t.Error("the login has not renewed the session's id")
	}
	if got := b.raw("action", "ping", "actionid", "1"); !strings.HasPrefix(got, "Response: Success\r\nActionID: 1\r\nPing: Pong\r\n") {
		t.Errorf("got %q", got)
	}
	r := b.send("POST", "/MXML/?action=nothing", query("action", "getvar", "variable", "x", "ajaxdest", "d"))
	if want := "<ajax-response>\n<response type='object' id='d'><generic response='Success' variable='x' value='' /></response>\n</ajax-response>\n"; r.body != want || xml.Unmarshal([]byte(r.body), new(struct{})) != nil {
		t.Errorf("got %q", r.body)
	}
	r = b.send("GET", "/manager?action=getvar&variable=x", "")
	if !strings.Contains(r.body, "<tr><td>Variable</td><td>x</td></tr>\n") {
		t.Errorf("got %q", r.body)
	}
	// What was asked for by another id than the present one is a stranger's.
	b.header.Set("Cookie", stranger)
	if got := b.raw("action", "ping"); got != denied {
		t.Errorf("the id before the login got %q", got)
	}
	b.header.Del("Cookie")
	b.cookie = user
	if got := b.raw("action", "logoff"); got != "Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n" || b.cookie != user {
		t.Errorf("got %q", got)
	}
	if got := b.raw("action", "ping"); got != denied || b.cookie == user {
		t.Errorf("got %q after the end", got)
	}
}

func TestEnvelope(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser().login("full")
	for path, want := range map[string]string{"/rawman": "text/plain", "/manager": "text/html", "/mxml": "text/xml"} {
		for _, method := range []string{"GET", "HEAD"} {
			r := b.send(method, path+"?action=getvar&variable=x", "")
			h := r.Header
			if r.StatusCode != 200 || h.Get("Content-Type") != want || h.Get("Cache-Control") != "no-cache, no-store" || h.Get("Pragma") != "SuppressEvents" ||
				h.Get("Server") != serverName || h.Get("X-Content-Type-Options") != "nosniff" || !mansession.MatchString(h.Get("Set-Cookie")) || r.ContentLength <= 0 {
				t.Errorf("%s %s: %s %v", method, path, r.Status, h)
			}
			if (r.body == "") != (method == "HEAD") {
				t.Errorf("%s %s: got %q", method, path, r.body)
			}
		}
	}
	for request, want := range map[string]string{
		"GET /nothing": "404 Not Found", "GET /rawman/x": "404 Not Found", "GET /rawman//": "404 Not Found", "GET /": "404 Not Found",
		"GET //rawman": "404 Not Found", "PUT /rawman": "501 Not Implemented", "OPTIONS /rawman": "501 Not Implemented", "DELETE /mxml": "501 Not Implemented",
		"PUT /nothing": "404 Not Found",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := b.send(method, path, "")
		if r.Status != want || !strings.Contains(r.body, "<h1>"+want[4:]+"</h1>") || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %s %q", request, r.Status, r.body)
		}
	}
}

func TestPrefix(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.Prefix = "/asterisk" })
	b := w.browser()
	for path, want := range map[string]int{"/asterisk/rawman": 200, "/ASTERISK/RawMan/": 200, "/rawman": 404, "/asteriskrawman": 404, "/asterisk": 404} {
		if r := b.send("GET", path, ""); r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

// What is said to be served is.
func TestURIs(t *testing.T) {
	w := newWorld(t, standardUsers+"proxyadmin = yes\n", func(o *Options) { o.Prefix, o.EnableStatic = "/asterisk", true })
	b := w.browser()
	b.send("GET", "/asterisk/rawman?action=login&username=full&secret=full-secret", "")
	status := b.send("GET", "/asterisk/rawman?action=proxystatus", "").body
	for _, want := range []struct{ path, description string }{
		{"/rawman", "Raw HTTP Manager Event Interface"}, {"/manager", "HTML Manager Event Interface"}, {"/mxml", "XML Manager Event Interface"},
		{"/arawman", "Raw HTTP Manager Event Interface w/Digest authentication"}, {"/amanager", "HTML Manager Event Interface w/Digest authentication"},
		{"/amxml", "XML Manager Event Interface w/Digest authentication"}, {"/static/...", "HTTP Static Delivery"},
	} {
		item := "Event: ProxyURI\r\nURI: /asterisk" + want.path + "\r\nDescription: " + want.description + "\r\n\r\n"
		if !strings.Contains(status, item) {
			t.Errorf("no %q in %q", item, status)
		}
		if r := b.send("HEAD", "/asterisk"+strings.TrimSuffix(want.path, "..."), ""); r.StatusCode == http.StatusNotFound {
			t.Errorf("%s: %s", want.path, r.Status)
		}
	}
	if n := strings.Count(status, "Event: ProxyURI"); n != 7 {
		t.Errorf("%d URIs in %q", n, status)
	}
}

// The cookie is found as Asterisk finds it.
func TestCookies(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser().login("full")
	id := strings.TrimSuffix(strings.TrimPrefix(b.cookie, cookieName+`="`), `"`)
	for _, test := range []struct {
		ours    bool
		headers []string
	}{
		{true, []string{`mansession_id="` + id + `"`}},
		{true, []string{"mansession_id=" + id}},
		{true, []string{"MANSESSION_ID=" + strings.ToUpper(id)}},
		{true, []string{"a=b; mansession_id=" + id + "; d=e"}},
		{true, []string{"mansession_id=" + id + "; mansession_id=" + strings.Repeat("0", 32)}},
		{true, []string{"a=b", "mansession_id=" + id}},
		{false, []string{"mansession_id=" + id, "a=b"}},
		{false, []string{"mansession_id=" + strings.Repeat("0", 32) + "; mansession_id=" + id}},
		{false, []string{"mansession_id=" + id[:31]}},
		{false, []string{"mansession_id=" + id + "0"}},
		{false, []string{"mansession_id=" + id[:31] + "x"}},
		{false, []string{"mansession_id"}},
		{false, []string{""}},
		{false, nil},
	} {
		c := w.browser()
		c.header["Cookie"] = test.headers
		got := c.raw("action", "ping")
		if (got == denied) == test.ours || (c.cookie == b.cookie) != test.ours {
			t.Errorf("%q: got %q and %s", test.headers, got, c.cookie)
		}
	}
}

// An id that somebody has made up, or has from elsewhere, is nobody's session after a
// login.
func TestFixation(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	attacker := w.browser()
	attacker.raw("action", "ping")
	for name, planted := range map[string]string{"made up": `mansession_id="` + strings.Repeat("a", 32) + `"`, "a stranger's": attacker.cookie} {
		victim := w.browser()
		victim.cookie = planted
		victim.login("full")
		attacker.header.Set("Cookie", planted)
		if got := attacker.raw("action", "getvar", "variable", "x"); got != denied {
			t.Errorf("%s: the attacker got %q", name, got)
		}
	}
}

// Nor is it anybody's who waits for that login.
func TestFixationBesideALogin(t *testing.T) {
	w := newWorld(t, "[full]\nsecret = $2a$10$.Pf/YbsRPXUadn0gUeQ9k.SiyOuw59T0Llb3AY1A/wfQjOQW/463a\nread = all\nwrite = all\n", nil) // takes its time
	attacker := w.browser()
	attacker.raw("action", "ping")
	planted := attacker.cookie
	victim := w.browser()
	victim.cookie = planted
	in := make(chan struct{})
	var attempts sync.WaitGroup
	for range 8 {
		attempts.Go(func() {
			for {
				c := w.browser()
				c.cookie = planted
				got := c.send("GET", "/rawman?action=ping", "")
				if got.StatusCode == http.StatusOK && got.body != denied {
					t.Errorf("the attacker got %q", got.body)
				}
				select {
				case <-in:
					return
				default:
				}
			}
		})
	}
	victim.login("full")
	close(in)
	attempts.Wait()
	if got := victim.raw("action", "ping"); got == denied {
		t.Error("the session is gone")
	}
}

// Who has a cookie still has to come from where its user may.
func TestAddressOfACookie(t *testing.T) {
	w := newWorld(t, "[u]\nsecret = u-secret\nread = call\nwrite = call\ndeny = 0.0.0.0/0\npermit = 127.0.0.1\n", nil)
	b := w.browser().login("u")
	thief := w.browserFrom("127.0.0.2", nil)
	thief.cookie = b.cookie
	if got := thief.raw("action", "ping"); got != denied {
		t.Errorf("got %q", got)
	}
	if got := b.raw("action", "ping"); got == denied {
		t.Error("the session is gone")
	}
}

// Requests that pages of other sites send are refused, logins among them.
func TestForeignPages(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.Origins = []string{"https://crm.example.com", "http://other.example.com:8080"} })
	b := w.browser().login("full")
	own := b.base
	for _, test := range []struct {
		ok            bool
		origin, fetch string
	}{
		{true, "", ""},
		{true, "", "none"},
		{true, "", "same-origin"},
		{true, own, "same-origin"},
		{true, own, ""},
		{true, "https://crm.example.com", "cross-site"},
		{true, "HTTPS://CRM.example.com", ""},
		{true, "http://other.example.com:8080", "cross-site"},
		{false, "", "cross-site"},
		{false, "", "same-site"},
		{false, "", "Cross-Site"},
		{false, "", "something"},
		{false, own, "cross-site"},
		{false, own, "same-site"},
		{false, "null", ""},
		{false, "null", "same-origin"},
		{false, "https://evil.example.com", "cross-site"},
		{false, "https://evil.example.com", ""},
		{false, "https://evil.example.com", "same-origin"},
		{false, "http://crm.example.com", ""},
		{false, "https://crm.example.com.evil.com", ""},
		{false, "https://evilcrm.example.com", ""},
		{false, "https://crm.example.com:444", ""},
		{false, "https://crm.example.com@evil.com", ""},
		{false, "http://127.0.0.1", ""},
		{false, "http://127.0.0.1:1", ""},
		{false, own + ".evil.com", ""},
		{false, "http://user@evil", ""},
		{false, "://", ""},
		{false, "%zz", ""},
	} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			b.header = http.Header{}
			if test.origin != "" {
				b.header.Set("Origin", test.origin)
			}
			if test.fetch != "" {
				b.header.Set("Sec-Fetch-Site", test.fetch)
			}
			r := b.send(method, "/rawman?action=ping", "action=ping")
			if (r.StatusCode == 200) != test.ok || !test.ok && r.StatusCode != http.StatusForbidden {
				t.Errorf("%s, Origin %q, Sec-Fetch-Site %q: %s", method, test.origin, test.fetch, r.Status)
			}
			foreign := test.ok && strings.Contains(strings.ToLower(test.origin), "example.com")
			if got := r.Header.Get("Access-Control-Allow-Origin"); (got != "") != foreign || foreign && got != test.origin {
				t.Errorf("%s, Origin %q: Access-Control-Allow-Origin %q", method, test.origin, got)
			}
		}
	}
	for page, ok := range map[string]bool{
		own + "/static/": true, own + "/rawman?action=ping": true, "https://CRM.example.com/a?b": true, "http://other.example.com:8080/": true,
		"https://evil.example.com/": false, "http://evil.example.com/?" + own: false, own + "@evil.example.com/": false, "https://crm.example.com:444/": false,
		"http://crm.example.com/": false, "about:blank": false, "%zz": false, "/static/": false,
	} {
		b.header = http.Header{"Referer": {page}}
		if r := b.send("GET", "/rawman?action=ping", ""); (r.StatusCode == 200) != ok {
			t.Errorf("Referer %q: %s", page, r.Status)
		}
	}
	b.header = http.Header{"Origin": {"https://evil.example.com"}}
	if r := b.send("POST", "/rawman", query("action", "login", "username", "full", "secret", "full-secret")); r.StatusCode != http.StatusForbidden || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("a login from elsewhere: %s", r.Status)
	}
	b.header = http.Header{"Origin": {own, "https://evil.example.com"}}
	if r := b.send("GET", "/rawman", ""); r.StatusCode != http.StatusForbidden {
		t.Errorf("two origins: %s", r.Status)
	}
	b.header = http.Header{"Origin": {"https://crm.example.com"}, "Access-Control-Request-Method": {"POST"}}
	if r := b.send("OPTIONS", "/rawman", ""); r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("a listed page may not ask: %s", r.Status)
	}
	b.header.Set("Origin", "https://evil.example.com")
	if r := b.send("OPTIONS", "/rawman", ""); r.StatusCode != http.StatusNotImplemented || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page may ask: %s", r.Status)
	}
}

// No line end gets into an action, however it is written.
func TestSmuggling(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser().login("full")
	for _, q := range []string{
		"action=ping%0d%0aaction:+originate", "action=ping&actionid=1%0d%0aResponse:+x", "action=ping&actionid=1%0A", "action=ping&actionid=%0D",
		"action=ping%00", "a%0dction=ping", "a%0actio%6e=ping", "action=ping&x%00=y", "action=userevent&userevent=e&x=y%0d%0aEvent:+Hangup",
		"action=ping&%0d%0a%0d%0aAction:+Command=x", "action=ping&ajaxdest='/><script>", "action=ping&ajaxobjtype=a+b",
	} {
		for _, request := range []string{"GET /rawman?" + q, "POST /mxml " + q} {
			method, path, _ := strings.Cut(request, " ")
			path, body, _ := strings.Cut(path, " ")
			if r := b.send(method, path, body); r.StatusCode != http.StatusBadRequest {
				t.Errorf("%q: %s %q", request, r.Status, r.body)
			}
		}
	}
}

// Limits and bodies as in Asterisk's HTTP server.
func TestRequests(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser().login("full")
	missing := "Response: Error\r\nMessage: Missing action in request\r\n\r\n"
	if r := b.send("POST", "/rawman?action=ping", "x=y"); r.body != missing {
		t.Errorf("POST takes its query: %q", r.body)
	}
	b.header.Set("Content-Type", "application/json")
	if r := b.send("POST", "/rawman", "action=ping"); r.body != missing {
		t.Errorf("a body of another kind: %q", r.body)
	}
	b.header.Set("Content-Type", "Application/X-www-form-urlencoded ; charset=utf-8")
	if r := b.send("POST", "/rawman", "action=ping"); !strings.Contains(r.body, "Pong") {
		t.Errorf("a body with a character set: %q", r.body)
	}
	b.header.Del("Content-Type")
	if r := b.send("POST", "/rawman", "action=ping&x="+strings.Repeat("x", maxBody-len("action=ping&x="))); !strings.Contains(r.body, "Pong") {
		t.Errorf("the longest body: %q", r.body)
	}
	if r := b.send("POST", "/rawman", strings.Repeat("x", maxBody+1)); r.Status != "413 Request Entity Too Large" || !r.Close {
		t.Errorf("a body that is too long: %s", r.Status)
	}
	if r := b.send("GET", "/rawman?x="+strings.Repeat("x", 3000), ""); r.StatusCode != 200 {
		t.Errorf("a long request line: %s", r.Status)
	}
	if r := b.send("GET", "/rawman?x="+strings.Repeat("x", maxLine), ""); r.Status != "400 Bad Request" || !strings.Contains(r.body, "Request line too long") || !r.Close {
		t.Errorf("a request line that is too long: %s", r.Status)
	}
	b.header.Set("X-Long", strings.Repeat("x", maxLine))
	if r := b.send("GET", "/rawman", ""); r.Status != "400 Bad Request" || !strings.Contains(r.body, "Header line too long") || !r.Close {
		t.Errorf("a header line that is too long: %s", r.Status)
	}
	b.header.Del("X-Long")
	for i := range maxHeaders {
		b.header.Set(fmt.Sprint("X-", i), "x")
	}
	if r := b.send("GET", "/rawman", ""); r.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(r.body, "Too many headers") {
		t.Errorf("too many headers: %s", r.Status)
	}
}

func TestWaitEvent(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	b := w.browser().login("full")
	w.sim.Event("One", ami.ClassCall)
	if got := b.raw("action", "waitevent"); !strings.Contains(got, "\r\n\r\nEvent: One\r\n") || !strings.HasSuffix(got, "Event: WaitEventComplete\r\n\r\n") {
		t.Errorf("got %q", got)
	}
	// A client that leaves takes nothing along.
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		_, err := b.do(ctx, "GET", "/rawman?action=waitevent", "")
		left <- err
	}()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// A newer request leaves the older with a page without anything.
	older := make(chan reply)
	go func() { older <- b.send("GET", "/mxml?action=waitevent", "") }()
	for {
		b.raw("action", "waitevent", "timeout", "0") // in its place, or before it
		select {
		case r := <-older:
			if r.body != "<ajax-response>\n</ajax-response>\n" {
				t.Errorf("got %q", r.body)
			}
			return
		default:
		}
	}
}

// A WaitEvent may take longer than a client may that takes nothing, also one whose
// answer has no body.
func TestWaitEventWithoutBody(t *testing.T) {
	const inactivity = 100 * time.Millisecond
	for _, method := range []string{"GET", "HEAD"} {
		w := newWorld(t, standardUsers, func(o *Options) { o.SessionInactivity = inactivity })
		b := w.browser().login("full")
		c := w.browser() // on a connection of its own: net/http would send it again on another one
		c.cookie = b.cookie
		older := make(chan reply)
		go func() { older <- c.send(method, "/rawman?action=waitevent", "") }()
		w.eventually("it waits", func() bool { return inWaitEvent() == 1 })
		time.Sleep(2 * inactivity)                   // no condition: that so much time has gone by is what is tested
		b.raw("action", "waitevent", "timeout", "0") // in its place
		if r := <-older; r.StatusCode != http.StatusOK || r.body != "" {
			t.Errorf("%s: %d %q", method, r.StatusCode, r.body)
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	w := newWorld(t, standardUsers, func(o *Options) { o.TLSEnable, o.TLSCertFile, o.TLSPrivateKey = true, cert, key })
	b := w.browserFrom("127.0.0.1", &tls.Config{InsecureSkipVerify: true}).login("full")
	r := b.send("GET", "/rawman?action=ping", "")
	if r.ProtoMajor != 2 || !strings.HasSuffix(r.Header.Get("Set-Cookie"), "; SameSite=Strict; Secure") || !strings.Contains(r.body, "Pong") {
		t.Errorf("%s %v %q", r.Proto, r.Header, r.body)
	}
	// By HTTP/2 a WaitEvent shares its connection with others.
	waits := make(chan reply)
	go func() { waits <- b.send("GET", "/rawman?action=waitevent", "") }()
	if got := b.raw("action", "ping"); !strings.Contains(got, "Pong") {
		t.Errorf("got %q", got)
	}
	w.sim.Event("One", ami.ClassCall)
	if r := <-waits; !strings.Contains(r.body, "Event: One\r\n") {
		t.Errorf("got %q", r.body)
	}
}

// Pages of listed origins get a cookie that they can send.
func TestCookieForOrigins(t *testing.T) {
	cert, key := certificate(t)
	w := newWorld(t, standardUsers, func(o *Options) {
		o.TLSEnable, o.TLSCertFile, o.TLSPrivateKey = true, cert, key
		o.Origins = []string{"https://crm.example.com"}
	})
	r := w.browserFrom("127.0.0.1", &tls.Config{InsecureSkipVerify: true}).send("GET", "/rawman", "")
	if !strings.HasSuffix(r.Header.Get("Set-Cookie"), "; SameSite=None; Secure") {
		t.Errorf("%v", r.Header)
	}
	r = w.browser().send("GET", "/rawman", "")
	if !strings.HasSuffix(r.Header.Get("Set-Cookie"), "; SameSite=Strict") {
		t.Errorf("%v", r.Header)
	}
}

// A stop ends WaitEvents at once, and answers what is pending.
func TestShutdown(t *testing.T) {
	w := newWorld(t, standardUsers+"[operator]\nsecret = operator-secret\nproxyadmin = yes\n", nil)
	gate := make(chan struct{})
	w.sim.Handle("Command", func(r *simpbx.Request) {
		<-gate
		r.Reply("Success", "done")
	})
	b, op := w.browser().login("full"), w.browser().login("operator")
	waits, pending := make(chan reply), make(chan reply)
	go func() { waits <- b.send("GET", "/rawman?action=waitevent", "") }()
	go func() { pending <- b.send("GET", "/rawman?action=command&command=x", "") }()
	w.eventually("both are under way", func() bool {
		for f := range strings.SplitSeq(op.raw("action", "proxysessions"), "\r\n\r\n") {
			if strings.Contains(f, "Username: full\r\n") {
				return strings.Contains(f, "Actions: 3\r\n")
			}
		}
		return false
	})
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	if r := <-waits; r.body != "Response: Success\r\nMessage: Waiting for Event completed.\r\n\r\nEvent: WaitEventComplete\r\n\r\n" {
		t.Errorf("got %s %q", r.Status, r.body)
	}
	close(gate)
	if r := <-pending; r.body != "Response: Success\r\nMessage: done\r\n\r\n" {
		t.Errorf("got %s %q", r.Status, r.body)
	}
	<-stopped
	if _, err := b.do(context.Background(), "GET", "/rawman", ""); err == nil {
		t.Error("it still listens")
	}
}

// An answer that its client does not take is held no longer than need be.
func TestSlowClient(t *testing.T) {
	w := newWorld(t, standardUsers+"[operator]\nsecret = operator-secret\nproxyadmin = yes\n", func(o *Options) { o.SessionInactivity = 100 * time.Millisecond })
	w.sim.Handle("Command", func(r *simpbx.Request) {
		r.Write([]byte("Response: Success\r\nActionID: " + r.ID() + "\r\nMessage: x\r\n" + strings.Repeat("Output: "+strings.Repeat("x", 1000)+"\r\n", 20_000) + "\r\n"))
	})
	b, op := w.browser().login("full"), w.browser().login("operator")
	conn, err := net.Dial("tcp", w.web.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /rawman?action=command&command=x HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n", b.cookie)
	queued := func(some bool) func() bool {
		return func() bool {
			return strings.Contains(op.raw("action", "proxystatus"), "\r\nQueuedBytes: 0\r\n") != some
		}
	}
	w.eventually("the answer waits", queued(true))
	w.eventually("the answer waits no more", queued(false))
	if got := b.raw("action", "ping"); !strings.Contains(got, "Pong") {
		t.Errorf("the session has ended: %q", got)
	}
}
