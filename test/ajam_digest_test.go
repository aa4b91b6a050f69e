//go:build unix

package test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// A webDigest is what a request shows by Digest (RFC 2617, RFC 7616).
type webDigest struct {
	user, secret, realm, nonce, method, uri string
	qop, nc, cnonce                         string   // none without qop
	algorithm                               string   // MD5 if empty
	host                                    string   // of the request
	nonces                                  []string // all of the playing, of which nonce is the last
	// text changes the header, which is left out if nothing remains.
	text func(string) string
}

// webNonce finds the nonce of a challenge. Ours come in two headers, with the same one.
var webNonce = regexp.MustCompile(`(?m)^Www-Authenticate: .*nonce="([^"]*)"`)

// authorization is the header by which a request shows the secret of the playing's user.
func (p *webPlaying) authorization(r request, method, uri string) string {
	p.counter++
	d := &webDigest{
		user: p.user, secret: "pw", realm: "asterisk", nonce: p.nonces[len(p.nonces)-1], method: method, uri: uri,
		qop: "auth", nc: fmt.Sprintf("%08x", p.counter), cnonce: "abc", algorithm: "MD5",
		host: p.addr, nonces: p.nonces,
	}
	if r.digest != nil {
		r.digest(d)
	}
	h := d.header()
	if d.text != nil {
		h = d.text(h)
	}
	if h == "" {
		return ""
	}
	return "Authorization: " + p.filled(h) + "\r\n"
}

func (d *webDigest) hash(s string) string {
	if d.algorithm == "SHA-256" {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (d *webDigest) header() string {
	rest := d.nonce + ":"
	if d.qop != "" {
		rest += d.nc + ":" + d.cnonce + ":" + d.qop + ":"
	}
	response := d.hash(d.hash(d.user+":"+d.realm+":"+d.secret) + ":" + rest + d.hash(d.method+":"+d.uri))
	h := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`, d.user, d.realm, d.nonce, d.uri, response)
	if d.qop != "" {
		h += fmt.Sprintf(`, qop=%s, nc=%s, cnonce="%s"`, d.qop, d.nc, d.cnonce)
	}
	if d.algorithm != "" {
		h += ", algorithm=" + d.algorithm
	}
	return h
}

// shows is a GET of a Ping that shows something else than usual.
func shows(change func(*webDigest)) request { return request{query: "action=Ping", digest: change} }

// writes is one whose header is changed when it is whole.
func writes(pairs ...string) request {
	return shows(func(d *webDigest) { d.text = strings.NewReplacer(pairs...).Replace })
}

// digested is a scenario of a user with all rights, that begins with a challenge.
func digested(name string, steps ...request) webScenario { return digestedAs("full", name, steps...) }

func digestedAs(user, name string, steps ...request) webScenario {
	return webScenario{name: "Digest: " + name, user: user, byDigest: true, steps: append([]request{webGet("action=Ping")}, steps...)}
}

// webDigestScenarios are those of Digest itself: what a session may do is in webScenarios.
func webDigestScenarios() []webScenario {
	ping := webGet("action=Ping")
	wrong := shows(func(d *webDigest) { d.secret = "bad" })
	nothing := shows(func(d *webDigest) { d.text = func(string) string { return "" } })
	counter := func(nc string) request { return shows(func(d *webDigest) { d.nc = nc }) }
	noQop := shows(func(d *webDigest) { d.qop = "" })
	return []webScenario{
		digested("the counter", ping, ping, counter("0000000a"), counter("0000000b")),
		digested("every format", request{path: "/arawman", query: "action=Ping"}, request{path: "/amanager", query: "action=Ping"}, request{path: "/amxml", query: "action=Ping"}),
		digested("GET, POST and HEAD", webPost("action=Ping&actionid=1"), webGet("action=Ping&actionid=2"), webHead("action=Ping"), request{method: "POST", query: "action=Ping", body: "actionid=1"}),
		digested("challenges of other methods", request{method: "POST", body: "action=Ping", digest: nothing.digest}, request{method: "HEAD", query: "action=Ping", digest: nothing.digest}),
		digested("nothing shown", nothing, nothing, ping),
		digested("wrong secret", wrong, ping),
		digested("no secret", shows(func(d *webDigest) { d.secret = "" })),
		digestedAs("nobody", "unknown user", ping, shows(func(d *webDigest) { d.user = "full" })),
		digestedAs("FULL", "user of another case", ping),
		digested("name of another case", writes(`"full"`, `"FULL"`)),
		digestedAs("nosecret", "user without a secret", shows(func(d *webDigest) { d.secret = "" })),
		digestedAs("nosecret", "no secret has a name", shows(func(d *webDigest) { d.secret = "(null)" })),
		digestedAs("denied", "denied by the ACL", ping),
		digestedAs("denied", "denied, wrong secret", wrong),
		digestedAs("permitted", "permitted by the ACL", ping),
		digestedAs("mute", "no rights", webGet("action=command&command=core+show+version"), ping, webGet("action=waitevent&timeout=0"), webGet("action=events&eventmask=on")),
		digestedAs("limited", "few rights", webGet("action=command&command=core+show+version&actionid=1"), webGet("action=coreshowchannels"), webGet("action=listcommands")),
		digested("two users, one nonce", ping, shows(func(d *webDigest) { d.user = "limited" }), counter("00000009")),

		digested("realm of another", writes(`realm="asterisk"`, `realm="other"`)),
		digested("realm of another, and counted", shows(func(d *webDigest) { d.realm = "other" })),
		digested("no realm", writes(`realm="asterisk", `, "")),
		digested("uri of another action", shows(func(d *webDigest) { d.uri += "x" })),
		digested("uri without the query", shows(func(d *webDigest) { d.uri, _, _ = strings.Cut(d.uri, "?") })),
		digested("uri with the host", shows(func(d *webDigest) { d.uri = "http://" + d.host + d.uri })),
		digested("no uri", writes("uri=", "x=")),
		digested("nonce of its own", shows(func(d *webDigest) { d.nonce = fmt.Sprintf("%08x", webOwns.Add(1)) })),
		digested("nonce that is none", shows(func(d *webDigest) { d.nonce = "x" })),
		digested("no nonce", writes("nonce=", "x=", "cnonce=", "cnonce=")),
		digested("no response", writes("response=", "x=")),
		digested("no user", writes("username=", "x=")),

		digested("no qop", noQop),
		digested("no qop, twice", noQop, noQop),
		digested("qop auth-int", shows(func(d *webDigest) { d.qop = "auth-int" })),
		digested("no cnonce", writes("cnonce=", "x=")),
		digested("no nc", writes("nc=", "x=")),
		digested("nc that is none", counter("x")),
		digested("nc of one digit", counter("1"), counter("2")),
		digested("nc of zero", counter("00000000")),
		digested("played again", ping, counter("00000001"), ping),
		digested("nc again", counter("00000002"), counter("00000003"), counter("00000003"), ping, ping),
		digested("nc of before", counter("00000002"), counter("00000007"), counter("00000005"), ping),
		digested("wrong secret, nc again", ping, counter("00000002"), shows(func(d *webDigest) { d.secret, d.nc = "bad", "00000001" })),

		digested("all quoted", writes("=auth", `="auth"`, "=MD5", `="MD5"`, "nc=00000001", `nc="00000001"`)),
		digested("little quoted", shows(func(d *webDigest) {
			d.text = func(h string) string { return strings.ReplaceAll(h, `"`, "") }
		})),
		digested("no algorithm", shows(func(d *webDigest) { d.algorithm = "" })),
		digested("names of any case", writes("Digest username", "DIGEST UserName", "response", "RESPONSE", "MD5", "md5")),
		digested("response in capitals", shows(func(d *webDigest) {
			d.text = func(h string) string {
				i := strings.Index(h, `response="`) + len(`response="`)
				return h[:i] + strings.ToUpper(h[i:i+32]) + h[i+32:]
			}
		})),
		digested("without blanks", writes(", ", ",")),
		digested("more blanks", ping, writes(", ", "  ,  ", `="`, ` = "`)),
		digested("escaped", writes(`"full"`, `"f\ull"`)),
		digested("unknown parameters", writes(", algorithm", `, userhash=false, x="a,b=\"c", algorithm`)),
		digested("two users", writes(`username="full"`, `username="limited", username="full"`)),
		digested("an open quote", writes("=MD5", `="MD5`)),
		digested("nothing behind Digest", shows(func(d *webDigest) { d.text = func(string) string { return "Digest" } })),
		digested("Basic", shows(func(d *webDigest) { d.text = func(string) string { return "Basic ZnVsbDpwdw==" } })),
		digested("two headers", shows(func(d *webDigest) {
			d.text = func(h string) string { return "Basic ZnVsbDpwdw==\r\nAuthorization: " + h }
		})),
		digested("SHA-256", ping, shows(func(d *webDigest) { d.algorithm = "SHA-256" })),
		digested("another algorithm", shows(func(d *webDigest) { d.algorithm = "MD5-sess" })),

		digested("Login", webGet(webLogin), webGet("action=login&username=nosuch&secret=x&actionid=1"), webGet("action=challenge&authtype=md5"), ping),
		digested("Logoff", webGet("action=logoff&actionid=x"), ping),
		digested("Logoff, and the same nonce", ping, webGet("action=logoff"), ping, webGet("action=waitevent&timeout=0")),
		digested("cookies beside", request{path: "/rawman", query: webNoEvent}, ping, request{path: "/rawman", query: "action=Ping"}, request{path: "/mxml", query: "action=logoff"}, ping),
		digested("a cookie that is none", request{query: "action=Ping", cookie: `Cookie: mansession_id="deadbeef"`}),
		digested("in vain by cookie", request{path: "/rawman", query: "action=Ping", cookie: "none"}),
		alone(digestedAs("speaker", "events are off", webGet("action=getvar&variable=NONE"), webGet(sayOwn), settled("action=waitevent&timeout=1"), ping)),
		alone(digestedAs("speaker", "events are on", webGet("action=waitevent&timeout=0"), webGet(sayOwn), settled("action=waitevent&timeout=5"))),
		alone(digestedAs("filtered", "filters", webGet("action=waitevent&timeout=0"), webGet(sayOwn+"&Key=secret"), settled("action=waitevent&timeout=1"))),
		alone(digestedAs("single", "one session only", ping, ping, nothing, ping, request{query: "action=logoff", digest: func(d *webDigest) {
			d.nonce, d.nc = d.nonces[0], "00000003"
		}})),
	}
}

// alone makes a scenario one that is played alone.
func alone(s webScenario) webScenario {
	s.alone = true
	return s
}
