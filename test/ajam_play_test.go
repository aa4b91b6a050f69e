//go:build unix

package test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A webScenario is what a client does by HTTP. What it gets is to be the same from the
// proxy as from the PBX's own web server: the status, all headers, and the body.
type webScenario struct {
	name  string
	steps []request
	// user logs in by the first step. By Digest that is the challenge, and all further
	// steps show the user's secret.
	user string
	// byDigest says that it is played by the URIs of Digest only.
	byDigest bool
	only     int  // The release that has what the scenario is about; 0: both.
	alone    bool // It changes what others see, or sees what others cause.
}

// A request is one of a scenario. What is empty is the usual: a GET with the cookie that
// was set last.
//
// In query, body and headers KEY(secret) stands for the answer to the challenge, {own} for
// a word that no other playing uses.
type request struct {
	method  string
	path    string // After the URI's own; one that begins with / stands for it.
	query   string // With a ? before it in the path.
	body    string // Makes a POST of a form of it.
	headers []string
	cookie  string // In the place of what was set; "none" is none, and {id} the id alone.
	raw     string // The whole text, if not empty. The connection is then the last.
	// digest changes what the request shows by Digest, if not nil.
	digest func(*webDigest)
	// beside goes while the next request is under way, and its answer comes after that
	// one's.
	beside bool
	// settled comes after a pause.
	settled bool
}

// webGet, webPost and webHead are requests with a query, as a client writes it.
func webGet(query string, headers ...string) request { return request{query: query, headers: headers} }

func webPost(form string, headers ...string) request { return request{body: form, headers: headers} }

func webHead(query string, headers ...string) request {
	return request{method: "HEAD", query: query, headers: headers}
}

// webURIs are what every scenario is played by, webDigestURIs those with a user.
var (
	webURIs       = []string{"/rawman", "/manager", "/mxml"}
	webDigestURIs = []string{"/arawman", "/amanager", "/amxml"}
)

// uris are what a scenario is played by.
func (s *webScenario) uris() []string {
	switch {
	case s.byDigest:
		return webDigestURIs
	case s.user != "":
		return slices.Concat(webURIs, webDigestURIs)
	}
	return webURIs
}

// webPlaying is one playing of a scenario.
type webPlaying struct {
	addr, uri, own string
	user           string   // who comes by Digest
	nonces         []string // all challenges, in order
	counter        int      // requests that showed a secret by the last of them
	cookie         string   // name="value", as it was set last
	ids            []string // all that were set, in order
	challenge      string
}

var webOwns atomic.Int64

// playWeb plays a scenario to addr by one URI and returns what came of it.
func playWeb(addr, uri string, s webScenario) string {
	p := &webPlaying{addr: addr, uri: uri, own: fmt.Sprintf("own%06d", webOwns.Add(1))}
	steps := s.steps
	if slices.Contains(webDigestURIs, uri) {
		p.user = s.user
		if !s.byDigest {
			steps = append([]request{webGet("action=Ping")}, steps[1:]...)
		}
	}
	var b strings.Builder
	var beside chan string
	for _, r := range steps {
		if r.settled {
			time.Sleep(webBeside)
		}
		text, method := p.text(r)
		if r.beside {
			beside = make(chan string, 1)
			go func() { beside <- p.exchange(text, method) }()
			time.Sleep(webBeside)
			continue
		}
		b.WriteString(p.shown(p.exchange(text, method)))
		if beside != nil {
			b.WriteString("[beside] " + p.shown(<-beside))
			beside = nil
		}
	}
	return strings.ReplaceAll(b.String(), p.own, "{own}")
}

// webBeside is the head start of a request beside another one, and a pause.
const webBeside = 300 * time.Millisecond

// text is what is written for a request.
func (p *webPlaying) text(r request) (text, method string) {
	if r.raw != "" {
		method, _, _ = strings.Cut(r.raw, " ")
		return p.filled(r.raw), method
	}
	method = "GET"
	if r.body != "" {
		method = "POST"
	}
	if r.method != "" {
		method = r.method
	}
	path := p.uri + r.path
	if strings.HasPrefix(r.path, "/") {
		path = r.path
	}
	if r.query != "" {
		path += "?" + r.query
	}
	body := p.filled(r.body)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, p.filled(path), p.addr)
	switch {
	case r.cookie == "none" || r.cookie == "" && p.cookie == "":
	case r.cookie != "":
		fmt.Fprintf(&b, "%s\r\n", p.filled(r.cookie))
	default:
		fmt.Fprintf(&b, "Cookie: %s\r\n", p.cookie)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(r.headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), name+":") })
	}
	if len(p.nonces) > 0 {
		b.WriteString(p.authorization(r, method, p.filled(path)))
	}
	if method == "POST" {
		if !has("content-type") {
			b.WriteString("Content-Type: application/x-www-form-urlencoded\r\n")
		}
		if !has("content-length") && !has("transfer-encoding") {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		}
	}
	for _, h := range r.headers {
		if !strings.HasSuffix(h, ": -") { // one that is to be left out
			b.WriteString(p.filled(h) + "\r\n")
		}
	}
	b.WriteString("\r\n" + body)
	return b.String(), method
}

// filled replaces what stands for something.
func (p *webPlaying) filled(text string) string {
	id := strings.Trim(strings.TrimPrefix(p.cookie, "mansession_id="), `"`)
	text = strings.NewReplacer("{own}", p.own, "{id}", id, "{uri}", p.uri).Replace(text)
	return challengeKey.ReplaceAllStringFunc(text, func(call string) string {
		sum := md5.Sum([]byte(p.challenge + challengeKey.FindStringSubmatch(call)[1]))
		return hex.EncodeToString(sum[:])
	})
}

// exchange writes a request on a connection of its own, and returns the answer's bytes
// or, if there is none, why.
func (p *webPlaying) exchange(text, method string) string {
	conn, err := net.DialTimeout("tcp", p.addr, playLimit)
	if err != nil {
		return "[" + err.Error() + "]\n"
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(playLimit))
	go io.WriteString(conn, text) // Asterisk may answer before it has read all.
	var got bytes.Buffer
	r, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &got)), &http.Request{Method: method})
	if err != nil {
		if got.Len() == 0 {
			return "[closed without an answer]\n"
		}
		return fmt.Sprintf("[%v: %q]\n", err, got.String())
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.StatusCode)
	for name, values := range r.Header {
		for i, v := range values {
			values[i] = http.CanonicalHeaderKey(name) + ": " + v + "\n"
		}
	}
	if r.Close {
		r.Header["Connection"] = []string{"Connection: close\n"}
	}
	if method != "HEAD" && r.ContentLength >= 0 && r.ContentLength != int64(len(body)) {
		fmt.Fprintf(&b, "[Content-Length %d, %d bytes]\n", r.ContentLength, len(body))
	}
	var lines []string
	for _, values := range r.Header {
		lines = append(lines, values...)
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, "") + "\n")
	b.Write(body)
	if err != nil {
		fmt.Fprintf(&b, "[%v]\n", err)
	}
	return b.String()
}

var (
	webCookie    = regexp.MustCompile(`(?m)^Set-Cookie: (mansession_id="([^"\n]*)")`)
	webChallenge = regexp.MustCompile(`(?i)Challenge(?:: |='|</td><td>)(\d+)`)
	webServer    = regexp.MustCompile(`(?m)^Server: (.*)\n`)
	// webVolatile is what is never the same: the length, for what else is not, the time,
	// and of Asterisk's answers what volatiles has, in every format.
	webVolatile = regexp.MustCompile(`(?m)^(?:Content-Length|Date): .*\n`)
)

// shown is an answer less what varies. It takes note of its cookie and challenge.
func (p *webPlaying) shown(answer string) string {
	if m := webCookie.FindStringSubmatch(answer); m != nil {
		p.cookie = m[1]
		n := slices.Index(p.ids, m[2]) + 1
		if n == 0 {
			p.ids = append(p.ids, m[2])
			n = len(p.ids)
		}
		answer = strings.Replace(answer, `"`+m[2]+`"`, fmt.Sprintf(`"id %d"`, n), 1)
	}
	if m := webNonce.FindStringSubmatch(answer); m != nil {
		p.nonces = append(p.nonces, m[1])
		p.counter = 0
		answer = strings.ReplaceAll(answer, `"`+m[1]+`"`, fmt.Sprintf(`"nonce %d"`, len(p.nonces)))
	}
	if m := webChallenge.FindStringSubmatch(answer); m != nil {
		p.challenge = m[1]
		answer = strings.ReplaceAll(answer, m[1], "varies")
	}
	if m := webServer.FindStringSubmatch(answer); m != nil {
		answer = strings.ReplaceAll(answer, m[1], "{server}")
	}
	answer = webVolatile.ReplaceAllString(answer, "")
	return webVolatileValue.ReplaceAllStringFunc(answer, func(header string) string {
		at := betweenPattern.FindStringIndex(header)[1]
		end := strings.LastIndexAny(header, "\r'<")
		return header[:at] + "varies" + header[end:]
	}) + "\n"
}

// webVolatileValue matches the headers of volatiles in each format.
var webVolatileValue = func() *regexp.Regexp {
	var all []string
	for _, v := range volatiles {
		all = append(all, "(?:"+v.header+")"+between+"(?:"+v.value+")")
	}
	return regexp.MustCompile(`(?i)\b(?:` + strings.Join(all, "|") + `)(\r\n|'|</td>)`)
}()

// between is what each format has between a name and a value.
const between = `(?:: |='|</td><td>)`

var betweenPattern = regexp.MustCompile(between)

// webForm makes a query of pairs, as a browser would.
func webForm(pairs ...string) string {
	var b strings.Builder
	for i, pair := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		name, value, _ := strings.Cut(pair, "=")
		b.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	return b.String()
}
