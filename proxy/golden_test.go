package proxy

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// A transcript in testdata is a conversation, line by line:
//
//	C: text   the client sends the line with CRLF; "c: text" without an end.
//	          All lines up to the next that is no C are one write.
//	S: text   the server sends exactly this line with CRLF.
//	S* text   the server sends lines, the last of which is this one.
//	-- event NAME CLASSES   the PBX raises an event
//	-- 1s     what comes next takes that long
//	-- shut   the client has no more to say (half-close)
//	-- closed the server closes the connection
//	; text    a remark; in front of everything "; general: KEY = VALUE" is a
//	          line of [general]
//
// In a text \r \n \t \\ \xHH stand for bytes, {N*x} for N times x, {*} for
// anything, {challenge} for the digits that came (or come) there, and
// {md5 SECRET} for the key to it. A conversation starts before the banner, and
// when it ends nothing more may come.
type transcript struct {
	general []string
	steps   []step
}

type step struct {
	line int
	kind string // C, S, S* or --
	text string
}

func readTranscript(t *testing.T, file string) transcript {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tr transcript
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		kind, text, _ := strings.Cut(line, " ")
		switch kind {
		case ";":
			if g, ok := strings.CutPrefix(text, "general: "); ok {
				tr.general = append(tr.general, g)
			}
			continue
		case "C:":
			text += "\r\n"
		case "S:", "S*", "c:", "--":
		case "":
			continue
		default:
			t.Fatalf("%s:%d: what is %q?", file, i+1, kind)
		}
		tr.steps = append(tr.steps, step{i + 1, kind, text})
	}
	return tr
}

func (tr transcript) waits() bool {
	return slices.ContainsFunc(tr.steps, func(s step) bool { return s.kind == "--" && s.text == "1s" })
}

var (
	repeatPattern = regexp.MustCompile(`\{(\d+)\*([^}]*)\}`)
	escapePattern = regexp.MustCompile(`\\(r|n|t|\\|x[0-9a-f]{2})`)
	md5Pattern    = regexp.MustCompile(`\{(md5|MD5) ([^}]*)\}`)
)

// bytesOf is what a text stands for.
func bytesOf(text, challenge string) string {
	text = repeatPattern.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeatPattern.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[1])
		return strings.Repeat(parts[2], n)
	})
	text = md5Pattern.ReplaceAllStringFunc(text, func(m string) string {
		parts := md5Pattern.FindStringSubmatch(m)
		sum := md5.Sum([]byte(challenge + parts[2]))
		key := hex.EncodeToString(sum[:])
		if parts[1] == "MD5" {
			key = strings.ToUpper(key)
		}
		return key
	})
	return escapePattern.ReplaceAllStringFunc(text, func(m string) string {
		s, _ := strconv.Unquote(`"` + m + `"`)
		return s
	})
}

// conversation is a transcript that is being played.
type conversation struct {
	t         *testing.T
	w         *world
	c         *amiclient.Client
	slow      bool // one byte at a time
	challenge string
	sent      time.Time
	wait      time.Duration
	closed    bool
}

func (v *conversation) play(tr transcript) {
	v.t.Helper()
	conn, err := net.Dial("tcp", v.w.addr())
	if err != nil {
		v.t.Fatal(err)
	}
	v.c = amiclient.New(v.t, conn)
	var out strings.Builder
	for _, s := range tr.steps {
		if strings.EqualFold(s.kind, "C:") {
			out.WriteString(bytesOf(s.text, v.challenge))
			continue
		}
		v.send(out.String())
		out.Reset()
		v.step(s)
	}
	v.send(out.String())
	if !v.closed {
		v.c.ExpectNothing()
	}
}

func (v *conversation) send(bytes string) {
	v.t.Helper()
	size := len(bytes)
	if v.slow {
		size = 1
	}
	for ; bytes != ""; bytes = bytes[min(size, len(bytes)):] {
		v.sent = time.Now()
		v.c.Write([]byte(bytes[:min(size, len(bytes))]))
	}
}

func (v *conversation) step(s step) {
	v.t.Helper()
	if s.kind == "--" {
		v.remark(s)
		return
	}
	for {
		got := v.c.ReadLine()
		if v.matches(s.text, got) {
			break
		}
		if s.kind == "S:" {
			v.t.Fatalf("line %d: want %q\n%s got %q", s.line, s.text, strings.Repeat(" ", 12), got)
		}
	}
	if elapsed := time.Since(v.sent); elapsed < v.wait {
		v.t.Errorf("line %d came %v after the last byte that was sent, want %v", s.line, elapsed, v.wait)
	}
	v.wait = 0
}

func (v *conversation) matches(want, got string) bool {
	if head, tail, ok := strings.Cut(want, "{challenge}"); ok {
		digits := strings.TrimSuffix(strings.TrimPrefix(got, head), tail+"\r\n")
		if v.challenge == "" && regexp.MustCompile(`^\d{1,9}$`).MatchString(digits) {
			v.challenge = digits
		}
		return got == head+v.challenge+tail+"\r\n"
	}
	if head, tail, ok := strings.Cut(want, "{*}"); ok {
		return strings.HasPrefix(got, bytesOf(head, "")) && strings.HasSuffix(got, bytesOf(tail, "")+"\r\n")
	}
	return got == bytesOf(want, "")+"\r\n"
}

func (v *conversation) remark(s step) {
	v.t.Helper()
	word, rest, _ := strings.Cut(s.text, " ")
	switch word {
	case "closed":
		if frames := v.c.ExpectClosed(); len(frames) > 0 {
			v.t.Errorf("line %d: want the end, got %q", s.line, frames)
		}
		v.closed = true
	case "shut":
		v.c.Conn().(*net.TCPConn).CloseWrite()
	case "event":
		name, classes, _ := strings.Cut(rest, " ")
		v.w.sims["east"].Emit(fmt.Appendf(nil, "Event: %s\r\nPrivilege: %s\r\n\r\n", name, classes))
	default:
		d, err := time.ParseDuration(word)
		if err != nil {
			v.t.Fatalf("line %d: %v", s.line, err)
		}
		v.wait = d
	}
}

// goldenUsers are those of the transcripts.
const goldenUsers = `
[Full]
secret = full-secret
read = all
write = all

[caller]                ; reads calls, writes calls
secret = caller-secret
read = call
write = call

[nothing]
secret = nothing-secret

[emptysecret]
secret =
read = all

[nosecret]
read = all
write = all

[operator]
secret = operator-secret
proxyadmin = yes

[elsewhere]
secret = elsewhere-secret
deny = 0.0.0.0/0
permit = 192.0.2.1
read = all
`

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ami")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		tr := readTranscript(t, file)
		for _, slow := range []bool{false, true} {
			if slow && tr.waits() {
				continue // nothing new, and a second each
			}
			name := strings.TrimSuffix(filepath.Base(file), ".ami")
			if slow {
				name += "/bytewise"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, setup{general: strings.Join(tr.general, "\n"), users: goldenUsers})
				(&conversation{t: t, w: w, slow: slow}).play(tr)
			})
		}
	}
}
