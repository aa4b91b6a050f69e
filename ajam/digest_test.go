package ajam

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// digestClient answers challenges as a client that knows its user's secret.
type digestClient struct {
	user, secret string
	sha256       bool
	nonce, realm string
	counter      int
	// change changes the header that is sent, if not nil.
	change func(string) string
}

func (c *digestClient) hash(s string) string {
	if c.sha256 {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (c *digestClient) header(method, uri string) string {
	algorithm := "MD5"
	if c.sha256 {
		algorithm = "SHA-256"
	}
	nc := fmt.Sprintf("%08x", c.counter)
	response := c.hash(c.hash(c.user+":"+c.realm+":"+c.secret) + ":" + c.nonce + ":" + nc + ":abc:auth:" + c.hash(method+":"+uri))
	h := fmt.Sprintf(`Digest username="%s", realm=%s, nonce="%s", uri="%s", qop=auth, nc=%s, cnonce="abc", response="%s", opaque="%s", algorithm=%s`,
		c.user, quote(c.realm), c.nonce, uri, nc, response, c.nonce, algorithm)
	if c.change != nil {
		h = c.change(h)
	}
	return h
}

// answered is what came of a request.
type answered struct {
	status  int
	user    string
	session digestSession
	stale   bool
	asked   int // how often for the secret
	header  http.Header
}

// ask sends a request to d, where users know their names as secrets.
func ask(d *digests, method, uri string, authorization ...string) (a answered) {
	r := httptest.NewRequest(method, uri, nil)
	for _, h := range authorization {
		r.Header.Add("Authorization", h)
	}
	w := httptest.NewRecorder()
	c, s, ok := d.authenticate(w, r, func(user string, o offer) (taken, answered bool) {
		a.asked++
		c := &digestClient{sha256: o.sha256}
		return strings.EqualFold(o.response, c.hash(c.hash(user+":"+o.realm+":"+user)+":"+o.rest)), false
	})
	a.status, a.session, a.header = w.Code, s, w.Header()
	if ok {
		a.user = c.user
	} else {
		a.stale = strings.Contains(w.Header().Get("WWW-Authenticate"), "stale=true")
	}
	return a
}

// follow takes the nonce of a challenge.
func (c *digestClient) follow(t interface{ Fatalf(string, ...any) }, a answered) {
	all := a.header["Www-Authenticate"]
	if a.status != 401 || len(all) != 2 {
		t.Fatalf("no challenge: %d %q", a.status, all)
	}
	fields, ok := parseParams(strings.TrimPrefix(all[1], "Digest "))
	if !ok || fields["algorithm"] != "MD5" || fields["qop"] != "auth" || fields["opaque"] != fields["nonce"] || !strings.HasPrefix(all[0], "Digest algorithm=SHA-256, ") {
		t.Fatalf("challenge %q", all)
	}
	c.nonce, c.realm, c.counter = fields["nonce"], fields["realm"], 0
}

func (c *digestClient) ask(d *digests, uri string) answered {
	c.counter++
	return ask(d, "GET", uri, c.header("GET", uri))
}

func TestDigest(t *testing.T) {
	for _, sha := range []bool{false, true} {
		d := newDigests(`as"ter\isk`)
		c := &digestClient{user: "ops", secret: "ops", sha256: sha}
		first := ask(d, "GET", "/arawman?action=Ping")
		if first.stale || first.asked != 0 {
			t.Fatalf("%+v", first)
		}
		c.follow(t, first)
		one := c.ask(d, "/arawman?action=Ping")
		if one.user != "ops" || one.session.user != "ops" || one.asked != 1 {
			t.Fatalf("the secret is not taken: %+v", one)
		}
		c.counter += 5
		two := c.ask(d, "/amxml?action=Ping")
		if two.user != "ops" || two.session != one.session {
			t.Fatalf("another session: %+v, %+v", one, two)
		}
		// A replay is not good, and only costs one more request.
		c.counter--
		for range 2 {
			again := c.ask(d, "/amxml?action=Ping")
			if c.counter--; again.user != "" || !again.stale {
				t.Fatalf("a replay: %+v", again)
			}
		}
		old := *c
		c.follow(t, c.ask(d, "/arawman"))
		if three := c.ask(d, "/arawman"); three.user != "ops" || three.session != one.session {
			t.Fatalf("after a stale nonce: %+v", three)
		}
		old.counter = 100
		if a := old.ask(d, "/arawman"); a.user != "" || !a.stale {
			t.Fatalf("an older nonce is still good: %+v", a)
		}
	}
}

func TestDigestRefuses(t *testing.T) {
	d := newDigests("asterisk")
	fresh := func() *digestClient {
		c := &digestClient{user: "ops", secret: "ops"}
		c.follow(t, ask(d, "GET", "/arawman"))
		return c
	}
	replace := func(old, with string) func(string) string {
		return func(h string) string {
			if !strings.Contains(h, old) {
				t.Fatalf("no %q in %q", old, h)
			}
			return strings.Replace(h, old, with, 1)
		}
	}
	const uri = "/arawman?action=Ping"
	for _, tt := range []struct {
		name          string
		change        func(string) string
		stale, judged bool
	}{
		{"another scheme", replace("Digest ", "Basic "), false, false},
		{"a session algorithm", replace("=MD5", "=MD5-sess"), false, false},
		{"an unknown algorithm", replace("=MD5", "=SHA-512-256"), false, false},
		{"the other algorithm", replace("=MD5", "=SHA-256"), false, true},
		{"qop auth-int", replace("qop=auth", "qop=auth-int"), false, false},
		{"no cnonce", replace(`cnonce="abc", `, ""), false, false},
		{"no nc", replace("nc=00000001, ", ""), false, false},
		{"nc 0", replace("nc=00000001", "nc=00000000"), false, true},
		{"nc too large", replace("nc=00000001", "nc=100000001"), false, false},
		{"nc that is no number", replace("nc=00000001", "nc=-1"), false, false},
		{"another nc", replace("nc=00000001", "nc=00000002"), false, true},
		{"no qop", replace("qop=auth, ", ""), false, true},
		{"no realm", replace(`realm="asterisk", `, ""), false, false},
		{"no user", replace(`username="ops"`, `username=""`), false, false},
		{"another user", replace(`username="ops"`, `username="boss"`), false, true},
		{"two users", replace(`username="ops"`, `username="ops", username="boss"`), false, false},
		{"a nonce of somebody else", replace(`nonce="`, `nonce="0badf00d`), true, false},
		{"Asterisk's nonce", func(string) string {
			return (&digestClient{user: "ops", secret: "ops", realm: "asterisk", nonce: "0badf00d", counter: 1}).header("GET", uri)
		}, true, false},
		{"a name with blanks", replace("realm=", "rea lm="), false, false},
		{"an open quote", replace(`algorithm=MD5`, `algorithm="MD5`), false, false},
		{"a header of nothing", func(string) string { return "Digest" }, false, false},
	} {
		c := fresh()
		c.change = tt.change
		a := c.ask(d, uri)
		if a.user != "" || a.status != 401 || a.stale != tt.stale || (a.asked > 0) != tt.judged {
			t.Errorf("%s: %+v", tt.name, a)
		}
		c.change = nil
		c.counter = 0
		if a := c.ask(d, uri); a.user != "ops" {
			t.Errorf("%s: then the right one is refused: %+v", tt.name, a)
		}
	}
	c := fresh()
	c.counter = 1
	if a := ask(d, "GET", "/arawman?action=Hangup", c.header("GET", uri)); a.user != "" || a.status != 400 || a.asked != 0 {
		t.Errorf("a digest for another URI: %+v", a)
	}
	if a := ask(d, "POST", uri, c.header("GET", uri)); a.user != "" {
		t.Errorf("a digest for another method: %+v", a)
	}
	if a := ask(d, "GET", uri, c.header("GET", uri), c.header("GET", uri)); a.user != "" {
		t.Errorf("two headers: %+v", a)
	}
	if a := ask(newDigests("asterisk"), "GET", uri, c.header("GET", uri)); a.user != "" || !a.stale {
		t.Errorf("a nonce of another proxy: %+v", a)
	}
	for i := range c.nonce {
		b := []byte(c.nonce)
		b[i] ^= 1
		if _, ok := d.parse(string(b)); ok {
			t.Errorf("a changed nonce is ours: %s", b)
		}
	}
}

// TestDigestForms: what clients may write otherwise.
func TestDigestForms(t *testing.T) {
	d := newDigests("asterisk")
	const uri = "/arawman?action=Ping"
	for name, change := range map[string]func(string) string{
		"no algorithm": func(h string) string { return strings.TrimSuffix(h, ", algorithm=MD5") },
		"quoted":       func(h string) string { return strings.Replace(h, "qop=auth", `qop="auth"`, 1) },
		"case":         func(h string) string { return strings.Replace(h, "Digest username", "DIGEST UserName", 1) },
		"upper response": func(h string) string {
			i := strings.Index(h, "response=")
			return h[:i] + strings.Replace(h[i:], h[i+10:i+42], strings.ToUpper(h[i+10:i+42]), 1)
		},
		"blanks, commas": func(h string) string {
			return strings.ReplaceAll(strings.Replace(h, "Digest ", "Digest  ,", 1), ", ", "\t ,, ,") + " ,"
		},
		"escaped":                              func(h string) string { return strings.Replace(h, `"ops"`, `"\op\s"`, 1) },
		"something else":                       func(h string) string { return h + `, userhash=false, x="a,b=\"c"` },
		"the realm is nothing of the client's": func(h string) string { return strings.Replace(h, `realm="asterisk"`, `realm="other"`, 1) },
	} {
		c := &digestClient{user: "ops", secret: "ops", change: change}
		c.follow(t, ask(d, "GET", uri))
		if a := c.ask(d, uri); a.user != "ops" {
			t.Errorf("%s: %+v for %q", name, a, c.header("GET", uri))
		}
	}
	// By RFC 2069 there is no counter: the nonce is good once.
	c := &digestClient{user: "ops", secret: "ops"}
	c.follow(t, ask(d, "GET", uri))
	for i, want := range []string{"ops", ""} {
		h := fmt.Sprintf(`Digest username="ops", realm="asterisk", nonce="%s", uri="%s", response="%s"`, c.nonce, uri,
			c.hash(c.hash("ops:asterisk:ops")+":"+c.nonce+":"+c.hash("GET:"+uri)))
		if a := ask(d, "GET", uri, h); a.user != want || a.stale != (i == 1) {
			t.Errorf("without qop, request %d: %+v", i, a)
		}
	}
	absolute := "http://example.com" + uri
	c.follow(t, ask(d, "GET", uri))
	c.counter = 1
	if a := ask(d, "GET", uri, c.header("GET", absolute)); a.user != "ops" {
		t.Errorf("an absolute URI: %+v", a)
	}
}

// TestDigestTimes: a nonce is good for 62 seconds, its session longer.
func TestDigestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigests("asterisk")
		c := &digestClient{user: "ops", secret: "ops"}
		c.follow(t, ask(d, "GET", "/arawman"))
		time.Sleep(nonceLife)
		one := c.ask(d, "/arawman")
		if one.user != "ops" {
			t.Fatalf("after %v: %+v", nonceLife, one)
		}
		time.Sleep(time.Nanosecond)
		late := c.ask(d, "/arawman")
		if late.user != "" || !late.stale {
			t.Fatalf("after more than %v: %+v", nonceLife, late)
		}
		c.follow(t, late)
		if a := c.ask(d, "/arawman"); a.user != "ops" || a.session != one.session {
			t.Fatalf("with the next nonce: %+v", a)
		}
		// Who does not know the secret is not told that only his nonce is too old.
		c.secret = "wrong"
		time.Sleep(2 * nonceLife)
		if a := c.ask(d, "/arawman"); a.stale || a.user != "" {
			t.Fatalf("a wrong secret: %+v", a)
		}
	})
}

// TestDigestMemory: what is remembered is bounded, and forgetting makes nothing good
// again.
func TestDigestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigests("asterisk")
		first := &digestClient{user: "ops", secret: "ops"}
		first.follow(t, ask(d, "GET", "/"))
		first.ask(d, "/")
		for i := range uint64(maxNonces) {
			n, _ := d.parse(d.nonce(i))
			if !d.use(digestSession{"x", i}, n, 1) {
				t.Fatal("a new nonce is not good")
			}
			if len(d.used) > maxNonces {
				t.Fatalf("%d nonces are remembered", len(d.used))
			}
		}
		if len(d.used) > maxNonces/2 {
			t.Fatalf("%d nonces are remembered", len(d.used))
		}
		first.counter = 0
		replay := first.ask(d, "/")
		if replay.user != "" || !replay.stale {
			t.Fatalf("a forgotten nonce is good again: %+v", replay)
		}
		time.Sleep(time.Nanosecond) // of which there are many
		first.follow(t, ask(d, "GET", "/"))
		if a := first.ask(d, "/"); a.user != "ops" {
			t.Fatalf("a new nonce is not good: %+v", a)
		}
		time.Sleep(nonceLife + 1)
		for i := range uint64(1100) {
			n, _ := d.parse(d.nonce(i))
			d.use(digestSession{"y", i}, n, 1)
		}
		if len(d.used) > 1100 {
			t.Fatalf("%d nonces are remembered, of which 1,100 can be good", len(d.used))
		}
	})
}

// TestDigestCounts: of all requests of one nonce, in whatever order, those count that
// come with a larger counter than all before.
func TestDigestCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDigests("asterisk")
		c := &digestClient{user: "ops", secret: "ops"}
		c.follow(t, ask(d, "GET", "/"))
		largest := 0
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			c.counter = rapid.IntRange(0, 20).Draw(t, "counter") - 1
			a := c.ask(d, "/")
			if want := c.counter > largest; (a.user != "") != want || a.stale == want {
				t.Fatalf("counter %d after %d: %+v", c.counter, largest, a)
			}
			largest = max(largest, c.counter)
		}
	})
}

// TestDigestOfCurl: a client of the real world takes what is offered first.
func TestDigestOfCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl; test/provision installs it")
	}
	d := newDigests("asterisk")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, ok := d.authenticate(w, r, func(user string, o offer) (taken, answered bool) {
			c := &digestClient{sha256: o.sha256}
			return o.response == c.hash(c.hash(user+":"+o.realm+":sec,\"ret")+":"+o.rest), false
		})
		if ok {
			fmt.Fprintf(w, "%s %s\n", c.user, r.Header["Authorization"])
		}
	}))
	defer srv.Close()
	url := srv.URL + "/arawman?action=Ping&x='1"
	out, err := exec.Command(curl, "-sS", "--max-time", "20", "--digest", "-u", `o"p s:sec,"ret`, url, url).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], `o"p s `) || !strings.HasPrefix(lines[1], `o"p s `) || !strings.Contains(lines[0], "SHA-256") {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = exec.Command(curl, "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "--digest", "-u", "o:wrong", url).CombinedOutput()
	if err != nil || string(out) != "401" {
		t.Fatalf("%v: %s", err, out)
	}
}

// FuzzCredentials: no header panics, or is read as more than it says.
func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{`Digest username="a", realm="b", nonce="c", uri="/", response="d", qop=auth, nc=1, cnonce="x"`, `Digest a="\`, "Digest =,", `Digest a=b c`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := parseCredentials([]string{header})
		if ok && (c.user == "" || c.nonce == "" || c.uri == "" || c.response == "" || (c.nc == "") != (c.cnonce == "") || len(c.user)+len(c.uri) > len(header)) {
			t.Fatalf("%q: %+v", header, c)
		}
	})
}
