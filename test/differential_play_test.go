//go:build unix

package test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A scenario is what a client writes. What it gets, to the end of the connection, is to
// be the same from the proxy as from the PBX.
//
// In what it writes KEY(secret) stands for the answer to the challenge, {own} for a word
// that no other playing uses, and {call}, {conf}, {queued} and {bridge} for names of
// the standing calls. See also pause and other.
type scenario struct {
	name   string
	writes []string // Each but the first waits for a frame.
	before string   // Written to another connection first, which stays. It sees all user events if there are some.
	only   int      // The release that has what the scenario is about; 0: both.
	alone  bool     // It changes what others see, or sees what others cause.
	hangUp bool     // The client's side is closed after the last byte.
	timed  bool     // The time of the end is compared too.
	// watch is how long a connection is looked at that stays open; 0: it is closed by
	// the peer, or that is a failure.
	watch time.Duration
	// cut makes the pieces that are written one by one; nil: all at once.
	cut func(text string) []string
}

const (
	playLimit = 30 * time.Second       // For one playing. Only a failure waits it out.
	pauseFor  = 40 * time.Millisecond  // In which comes what was under way.
	betweenAt = 300 * time.Microsecond // Between two pieces, which are to be two reads.
)

// outcome is what came of a playing.
type outcome struct {
	text string        // All that came, less what varies, and how the connection ended.
	took time.Duration // From the last write to the end; 0 if that is not compared.
}

func (o outcome) same(other outcome) bool {
	return o.text == other.text && (o.took-other.took).Abs() < sameMoment
}

func (o outcome) difference(other outcome) string {
	if o.text == other.text {
		return fmt.Sprintf("in the time of the end: %v and %v after the last write", o.took, other.took)
	}
	return firstDifference([]byte(o.text), []byte(other.text))
}

// owns numbers the playings.
var owns atomic.Int64

var challengeKey = regexp.MustCompile(`KEY\((\S*)\)`)

// play writes a scenario to addr and returns what came of it.
func (st *stage) play(addr string, s scenario) outcome {
	own := fmt.Sprintf("own%06d", owns.Add(1))
	pairs := []string{"{own}", own}
	for mark, value := range st.marks {
		pairs = append(pairs, mark, value)
	}
	marks := strings.NewReplacer(pairs...)

	var first *wire
	if s.before != "" {
		first = dialWire(addr)
		defer first.hangUp()
		first.write(s.before, nil)
		first.awaitFrame()
	}
	w := dialWire(addr)
	defer w.close()
	said, seen := 0, 0 // Events that the playing has made, and that the other connection was waited for.
	answered := true
	for _, text := range s.writes {
		if text == pause {
			if first != nil && said > seen {
				seen = said
				first.read(time.Now().Add(playLimit), func() bool { return bytes.Count(first.got, []byte("Playing: "+own)) >= seen })
			}
			w.read(time.Now().Add(pauseFor+st.calm), func() bool { return false })
			answered = w.wake()
			continue
		}
		said += strings.Count(text, "Playing: ")
		if text, ok := strings.CutPrefix(text, other); ok {
			first.write(marks.Replace(text), nil)
			continue
		}
		if !answered {
			w.awaitFrame()
		}
		answered = false
		text = challengeKey.ReplaceAllStringFunc(marks.Replace(text), func(call string) string {
			return keyFor(w.got, challengeKey.FindStringSubmatch(call)[1])
		})
		w.write(text, s.cut)
	}
	if s.hangUp {
		w.conn.(*net.TCPConn).CloseWrite()
	}
	last := time.Now()
	limit := last.Add(playLimit)
	if s.watch != 0 {
		limit = last.Add(s.watch)
	}
	end := w.awaitEnd(limit)
	text := strings.ReplaceAll(withoutOthers(withoutVolatiles(string(w.got)), own), own, "{own}")
	o := outcome{text: text + "[" + end + "]\n"}
	if s.timed {
		o.took = time.Since(last)
	}
	return o
}

var (
	userEvent = regexp.MustCompile(`Event: UserEvent\r\n(?:[^\r\n]+\r\n)+\r\n`)
	playing   = regexp.MustCompile(`Playing: (own\d{6})\r\n`)
)

// withoutOthers drops the user events of other playings.
func withoutOthers(text, own string) string {
	return userEvent.ReplaceAllStringFunc(text, func(f string) string {
		if m := playing.FindStringSubmatch(f); m != nil && m[1] != own {
			return ""
		}
		return f
	})
}

// keyFor is the answer to the last challenge in what came.
func keyFor(got []byte, secret string) string {
	_, digits, _ := bytes.Cut(got, []byte("Challenge: "))
	digits, _, _ = bytes.Cut(digits, []byte("\r\n"))
	sum := md5.Sum(append(bytes.Clone(digits), secret...))
	return hex.EncodeToString(sum[:])
}

// A wire is one connection of a playing. It fails nothing: what goes wrong is what came.
type wire struct {
	conn net.Conn // Nil when nobody listens.
	got  []byte
	err  error // Of the read that was the last.
}

func dialWire(addr string) *wire {
	conn, err := net.DialTimeout("tcp", addr, playLimit)
	return &wire{conn: conn, err: err}
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// hangUp logs off and waits until the peer has closed.
func (w *wire) hangUp() {
	w.write(goodbye, nil)
	w.awaitEnd(time.Now().Add(playLimit))
	w.close()
}

// write writes a text, in pieces if there is a way to cut it. A peer that has closed
// already shows in what comes.
func (w *wire) write(text string, cut func(string) []string) {
	if w.err != nil {
		return
	}
	w.conn.SetWriteDeadline(time.Now().Add(playLimit))
	if cut == nil {
		io.WriteString(w.conn, text)
		return
	}
	for _, piece := range cut(text) {
		io.WriteString(w.conn, piece)
		time.Sleep(betweenAt)
	}
}

// awaitFrame waits for the end of one more frame.
func (w *wire) awaitFrame() {
	from := max(len(w.got)-3, 0)
	w.read(time.Now().Add(playLimit), func() bool { return bytes.Contains(w.got[from:], []byte("\r\n\r\n")) })
}

// awaitEnd waits until the peer closes and says how the connection ended. A reset is no
// other end: whether the peer sends one depends on what it had not yet read.
func (w *wire) awaitEnd(limit time.Time) string {
	w.read(limit, func() bool { return false })
	switch {
	case errors.Is(w.err, io.EOF) || errors.Is(w.err, syscall.ECONNRESET):
		return "closed"
	case errors.Is(w.err, os.ErrDeadlineExceeded):
		return "open"
	}
	return w.err.Error()
}

// wake lets a wire be read again after a limit; it returns true.
func (w *wire) wake() bool {
	if errors.Is(w.err, os.ErrDeadlineExceeded) {
		w.err = nil
	}
	return true
}

func (w *wire) read(limit time.Time, enough func() bool) {
	buf := make([]byte, 64<<10)
	for w.err == nil && !enough() {
		w.conn.SetReadDeadline(limit)
		var n int
		n, w.err = w.conn.Read(buf)
		w.got = append(w.got, buf[:n]...)
	}
}

// A volatile is what is never the same in two answers: the value of one header.
type volatile struct{ header, value, why string }

// volatiles are all that is not compared. Everything else is, byte for byte.
var volatiles = []volatile{
	{"Challenge", `\d{1,9}`, "a random number"},
	{"Timestamp", `\d+\.\d{6}`, "the time of a Pong"},
	{"Uptime|LastReload", `\d+`, "seconds, in FullyBooted"},
	{"CoreReloadDate", `\d{4}-\d\d-\d\d`, "the time of the last reload, which scenarios cause"},
	{"CoreReloadTime", `\d\d:\d\d:\d\d`, "likewise"},
	{"Duration", `\d\d:\d\d:\d\d`, "the age of a call, in CoreShowChannels"},
	{"MixMonitorID", `0x[0-9a-f]+`, "an address in memory"},
	{"Seconds", `\d+`, "the age of a call, in Status"},
	{"AnsweredTime", `\d+`, "the age of a call, in ConfbridgeList"},
	{"Wait|LongestHoldTime", `\d+`, "how long a caller has waited, in QueueStatus and QueueSummary"},
	{"ParkingTimeout|ParkingDuration", `\d+`, "the age of a parked call, in ParkedCalls"},
}

var volatilePattern = func() *regexp.Regexp {
	var all []string
	for _, v := range volatiles {
		all = append(all, "(?:"+v.header+"): "+v.value)
	}
	return regexp.MustCompile(`(?m)^(?:` + strings.Join(all, "|") + `)\r$`)
}()

// withoutVolatiles puts a word for every value that varies.
func withoutVolatiles(text string) string {
	return volatilePattern.ReplaceAllStringFunc(text, func(line string) string {
		name, _, _ := strings.Cut(line, ":")
		return name + ": varies\r"
	})
}
