package ajam

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
	"pgregory.net/rapid"
)

// TestOfAsterisk compares with the web servers of Asterisk.
func TestOfAsterisk(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	var pbxs []*web
	for _, major := range []int{16, 22} {
		pbxs = append(pbxs, &web{PBX: asterisk.StartNoWait(t, asterisk.Options{Major: major, WebEnabled: true}), tb: t, client: client})
	}
	for _, p := range pbxs {
		p.WaitReady()
		for _, part := range []struct {
			name string
			test func(*testing.T, *web)
		}{{"formats", testFormats}, {"anything", testAnything}, {"forms", testForms}} {
			t.Run(fmt.Sprintf("%s/%s", part.name, p.Version()), func(t *testing.T) {
				p.tb = t
				p.login(asterisk.DirectUser, asterisk.DirectSecret)
				part.test(t, p)
			})
		}
	}
}

// web is a client of a PBX by HTTP.
type web struct {
	*asterisk.PBX
	tb      testing.TB
	client  *http.Client
	session string
	nonce   int // the last that Digest has used
}

// ask posts a form and returns the answer, of a status 200.
func (p *web) ask(uri, form string) []byte {
	p.tb.Helper()
	r, err := http.NewRequest("POST", "http://"+p.HTTPAddr()+uri, strings.NewReader(form))
	if err != nil {
		p.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.session != "" {
		r.Header.Set("Cookie", p.session)
	}
	return p.send(r)
}

func (p *web) send(r *http.Request) []byte {
	p.tb.Helper()
	response, err := p.client.Do(r)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		p.tb.Fatalf("%s %v: %s %q", r.URL, err, response.Status, body)
	}
	if c := response.Header.Get("Set-Cookie"); c != "" && p.session == "" {
		p.session, _, _ = strings.Cut(c, ";")
	}
	return body
}

func (p *web) login(user, secret string) {
	p.tb.Helper()
	p.session = ""
	if body := p.ask("/rawman", "action=login&username="+user+"&secret="+secret+"&events=off"); !bytes.Contains(body, []byte("accepted")) {
		p.tb.Fatalf("login: %q", body)
	}
}

// digest asks for the same by Digest, with a nonce of its own, which Asterisk allows.
func (p *web) digest(uri, form string) []byte {
	p.tb.Helper()
	p.nonce++
	c := &digestClient{user: asterisk.DirectUser, secret: asterisk.DirectSecret, realm: "asterisk", nonce: fmt.Sprintf("%08x", p.nonce), counter: 1}
	r, err := http.NewRequest("POST", "http://"+p.HTTPAddr()+uri, strings.NewReader(form))
	if err != nil {
		p.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", c.header("POST", uri))
	return p.send(r)
}

// overTCP asks for the same by a connection, and returns the frames of the answer.
func (p *web) overTCP(query string) []byte {
	p.tb.Helper()
	c := amiclient.Dial(p.tb, p.Addr())
	defer c.Close()
	c.Login(asterisk.DirectUser, asterisk.DirectSecret, "Events: off")
	conn := c.Conn()
	f, err := parseForm(query)
	if err != nil {
		p.tb.Fatal(err)
	}
	var text strings.Builder
	for line := range f.action().Lines() {
		text.WriteString(line + "\r\n")
	}
	text.WriteString("\r\nAction: Ping\r\nActionID: the-end\r\n\r\n")
	io.WriteString(conn, text.String())
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	var got []byte
	buf := make([]byte, 4096)
	for {
		frames, end, found := bytes.Cut(got, []byte("Response: Success\r\nActionID: the-end\r\n"))
		if found && bytes.HasSuffix(end, []byte("\r\n\r\n")) {
			return frames
		}
		n, err := conn.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			p.tb.Fatalf("%s: %v after %q", query, err, got)
		}
	}
}

// changing is what is not the same in two answers.
var changing = regexp.MustCompile(`\d{10}\.\d{6}|\d\d:\d\d:\d\d|\d{10,}|(?i:duration|seconds)(?:: |='|</td><td>)[\d:]+|(?:minutes?, )?\d+ seconds?|0x[0-9a-f]+`)

func steady(b []byte) string { return changing.ReplaceAllString(string(b), "…") }

// kinds are answers of every kind. The PBX has a call, {call}.
var kinds = []string{
	"Ping", "CoreStatus", "CoreSettings", "CoreShowChannels", "Status", "Status&AllVariables=true", "Status&Channel={call}&Variables=CHANNEL(state),NONE", "ListCommands",
	"Command&Command=core show version", "Command&Command=core show channels", "Command&Command=core show applications", "Command&Command=nosuch", "Command&Command=dialplan show default",
	"Command", "NoSuch", "", "<b>'\"& ", "GetConfig&Filename=queues.conf", "GetConfig&Filename=pjsip.conf", "GetConfig&Filename=nosuch.conf", "GetConfig&Filename=indications.conf&Category=zz",
	"GetConfigJSON&Filename=queues.conf", "ListCategories&Filename=pjsip.conf", "QueueStatus", "QueueSummary", "QueueRule", "Queues", "QueueAdd&Queue=nosuch&Interface=Local/1",
	"PJSIPShowEndpoints", "PJSIPShowEndpoint&Endpoint=alice", "PJSIPShowAors", "PJSIPShowAuths", "PJSIPShowRegistrationsInbound", "ParkedCalls", "Parkinglots", "Agents", "ConfbridgeListRooms",
	"BridgeList", "BridgeTechnologyList", "DeviceStateList", "PresenceStateList", "ExtensionStateList", "ShowDialPlan", "VoicemailUsersList", "MailboxStatus&Mailbox=100@default",
	"MailboxCount&Mailbox=100@default", "Getvar&Variable=NONE", "Getvar&Channel={call}&Variable=CHANNEL(name)", "Setvar&Channel={call}&Variable=A&Value=<'\">& ", "Setvar",
	"DBPut&Family=f'<&Key=k\"&Val=<v>& '\"", "DBGet&Family=f'<&Key=k\"", "ModuleCheck&Module=app_queue", "Hangup&Channel=nosuch", "Originate&Channel=Local",
	"Redirect&Channel=nosuch", "ExtensionState&Exten=1", "UserEvent&UserEvent=X&A=b", "Events&EventMask=off", "Login", "AOCMessage", "LoggerRotate",
	"Ping&ActionID='/><script>alert(1)</script>", "Ping&ActionID=\x01\x02\x7f\t", "Ping&ActionID=\xe9\xff", "Ping&ActionID=\u00e9\u4e16", "Ping&ActionID=a&ActionID=b",
	"Ping&ActionID=x\r\nno colon\r\nA: <b>\r\n", "Ping&ActionID=x\r\n1abc: d\r\na.b: c", "Ping&ActionID=x\ny: z\rW:v\r\n  \r\n Q : r ", "Ping&ActionID=x\r\na-b: 1\r\nA_B: 2\r\nA_B: 3\r\n: 4",
}

// kindQuery makes a query of a kind, in which a blank after & means that the sign is one.
func kindQuery(kind string) string {
	var b strings.Builder
	for i, pair := range strings.Split(strings.ReplaceAll("Action="+kind, "& ", "\x00"), "&") {
		if i > 0 {
			b.WriteByte('&')
		}
		name, value, _ := strings.Cut(strings.ReplaceAll(pair, "\x00", "&"), "=")
		b.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	return b.String()
}

// wellFormed reports whether a text is XML. What Asterisk writes is not always.
func wellFormed(text []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return err == io.EOF
		}
		if e, ok := token.(xml.StartElement); ok {
			seen := make(map[xml.Name]bool)
			for _, a := range e.Attr {
				if seen[a.Name] || a.Name.Local == "xmlns" {
					return false
				}
				seen[a.Name] = true
			}
		}
	}
}

// compare compares Asterisk's answers in all formats with ours of the same frames. It
// returns false if Asterisk's XML is none.
func (p *web) compare(t failer, what, query string) (isXML bool) {
	frames := p.ask("/rawman", query)
	ours := func(format func(dst, frames []byte, f *form) []byte) []byte { return format(nil, frames, plain) }
	for _, format := range []struct {
		what         string
		ours, theirs []byte
	}{
		{"/manager", ours(appendHTML), p.ask("/manager", query)},
		{"/amanager", ours(appendDigestHTML), p.digest("/amanager", query)},
		{"/arawman", ours(appendRaw), p.digest("/arawman", query)},
		{"/mxml", ours(appendXML), p.ask("/mxml", query)},
		{"/amxml", ours(appendXML), p.digest("/amxml", query)},
	} {
		if strings.HasSuffix(format.what, "xml") {
			checkXML(t, format.ours, -1)
			if isXML = wellFormed(format.theirs); !isXML {
				continue
			}
		}
		if ours, theirs := steady(format.ours), steady(format.theirs); ours != theirs {
			i := 0
			for i < min(len(ours), len(theirs)) && ours[i] == theirs[i] {
				i++
			}
			t.Errorf("%s: %s differs:\nours     %.200q\nAsterisk %.200q\nframes   %.500q", what, format.what, ours[max(i-50, 0):], theirs[max(i-50, 0):], frames)
		}
	}
	return isXML
}

type failer interface {
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// testFormats asks for the same in all formats: ours of the frames are
// to be Asterisk's, wherever its XML is XML, and the frames those by TCP.
func testFormats(t *testing.T, p *web) {
	p.ask("/rawman", kindQuery("Originate&Channel=Local/echo@default&Application=Wait&Data=600&CallerID=A<1>&ChannelId=one"))
	var call []byte
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		channels := p.ask("/rawman", kindQuery("CoreShowChannels"))
		if bytes.Count(channels, []byte("Application: Wait\r\n")) == 2 { // both sides have come to rest
			_, call, _ = bytes.Cut(channels, []byte("\r\nChannel: "))
			call, _, _ = bytes.Cut(call, []byte("\r\n"))
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("no call: %q", channels)
		}
	}
	defer p.ask("/rawman", kindQuery("Hangup&Channel=/./"))
	well := 0
	for _, kind := range kinds {
		q := kindQuery(strings.ReplaceAll(kind, "{call}", string(call)))
		if p.compare(t, kind, q) {
			well++
		}
		if strings.Contains(kind, "\n") { // many lines by HTTP only
			continue
		}
		if byTCP, byHTTP := steady(p.overTCP(q)), steady(p.ask("/rawman", q)); byTCP != byHTTP {
			t.Errorf("%s:\nby TCP  %.500q\nby HTTP %.500q", kind, byTCP, byHTTP)
		}
	}
	t.Logf("%d kinds of answers, %d of them XML", len(kinds), well)
}

// testAnything: Asterisk returns an ActionID as it is, even of many lines.
func testAnything(t *testing.T, p *web) {
	well, all := 0, 0
	line := rapid.OneOf(
		rapid.StringMatching(`[A-Ca-c1._ -]{0,3}: ?[a-b'"<>& :.]{0,5}`),
		rapid.StringMatching(`[A-Ca-c1:é\x01\t '<-]{0,6}`),
		rapid.SampledFrom([]string{"", " ", "A: 1", "a: 2", "1: 1", "no colon", ": x", ":", "\t", "Opaque-data: x", "xmlns: a", "\x7f: \x7f"}),
	)
	end := rapid.SampledFrom([]string{"\r\n", "\r\n", "\n", "\r", "\r\r\n", "\n\r"})
	rapid.Check(t, func(rt *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 7).Draw(rt, "lines") {
			b.WriteString(line.Draw(rt, "line"))
			b.WriteString(end.Draw(rt, "end"))
		}
		all++
		if p.compare(rt, b.String(), "Action=UserEvent&UserEvent=x&ActionID="+url.QueryEscape("x"+b.String())) {
			well++
		}
	})
	t.Logf("%d answers, %d of them XML", all, well)
}

// halfEscaped is what Asterisk takes for an escape, and no client means as one: %4z is
// \x04 to it, whose z is lost, and %-1 is \xff (utils.c: ast_uri_decode). To us it
// stands for itself, as %zz does to both.
var halfEscaped = regexp.MustCompile(`%[0-9A-Fa-f](?:[^0-9A-Fa-f]|$)|%[ +-]`)

// testForms: what a UserEvent shows of a request is what ours reads.
func testForms(t *testing.T, p *web) {
	p.ask("/rawman", "action=events&eventmask=user")
	n := 0
	piece := rapid.OneOf(rapid.SampledFrom([]string{"%", "%41", "%zz", "%z4", "%%", "%25", "%3d", "%3A", "%26", "%2B", "+", "=", "&", "&a=", ";", ":", "%C3%a9", "\xe9", "%09", "?", "#"}),
		rapid.StringMatching(`[a-c19 ]{1,3}`))
	rest := rapid.Map(rapid.SliceOfN(piece, 0, 12), func(pieces []string) string { return strings.Join(pieces, "") }).
		Filter(func(rest string) bool { return !halfEscaped.MatchString(rest) })
	rapid.Check(t, func(rt *rapid.T) {
		n++
		own := fmt.Sprintf("own%d", n)
		query := "action=UserEvent&UserEvent=" + own + "&x" + rest.Draw(rt, "rest")
		f, err := parseForm(query)
		if err != nil {
			rt.Fatal(err)
		}
		var want []string
		for line := range f.action().Lines() {
			if !strings.HasPrefix(strings.ToLower(line), "userevent:") && !strings.HasPrefix(strings.ToLower(line), "action:") {
				want = append(want, line)
			}
		}
		p.ask("/rawman", query)
		_, event, found := strings.Cut(string(p.ask("/rawman", "action=waitevent&timeout=5")), "\r\nUserEvent: "+own+"\r\n")
		event, _, _ = strings.Cut(event, "\r\n\r\n")
		if got := strings.Split(event, "\r\n"); !found || !slices.Equal(got, want) {
			rt.Fatalf("%q:\nours     %q\nAsterisk %q", query, want, got)
		}
	})
}
