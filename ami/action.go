package ami

import (
	"iter"
	"strings"
)

// Limits of what a client may send (manager.c: inbuf, AST_MAX_MANHEADERS).
const (
	// MaxLine is the length of the longest line, its LF or CRLF included.
	MaxLine = 1024
	// MaxHeaders is how many lines an action may have.
	MaxHeaders = 128
)

// Fault says why Asterisk would refuse a message before looking at it.
type Fault uint8

// The faults of a message, FaultNone being the usual case.
const (
	FaultNone Fault = iota
	FaultLineTooLong
	FaultTooManyLines
)

// Message is Asterisk's text for the fault (manager.c: do_message).
func (f Fault) Message() string {
	switch f {
	case FaultLineTooLong:
		return "Failed to parse message: line too long"
	case FaultTooManyLines:
		return "Too many lines in message or allocation failure"
	}
	return ""
}

// Action is one message from a client, as Asterisk would hold it: its lines in
// order. It is immutable and safe for use by many goroutines; strings taken
// from it may be kept.
//
// Look-ups follow manager.c: __astman_get_header. A name counts only at the
// very start of a line and directly before its colon, names are compared
// without case, the first line of a name wins, leading blanks of a value are
// skipped and trailing ones are kept.
type Action struct {
	text  string // all lines, without their ends
	ends  []int  // where each line ends in text
	fault Fault
}

// NewAction makes an action from ready lines ("Name: value"), without line
// ends. Each is cut at its first NUL, CR or LF; empty ones are left out.
func NewAction(lines ...string) *Action {
	var b strings.Builder
	a := &Action{}
	for _, line := range lines {
		if i := strings.IndexAny(line, "\x00\r\n"); i >= 0 {
			line = line[:i]
		}
		if line == "" {
			continue
		}
		b.WriteString(line)
		a.ends = append(a.ends, b.Len())
	}
	a.text = b.String()
	return a
}

// Fault is why Asterisk would refuse the message whatever it says.
func (a *Action) Fault() Fault { return a.fault }

// Size is the number of bytes of all lines, without their ends.
func (a *Action) Size() int { return len(a.text) }

// Lines are the lines of the message in order, without their ends.
func (a *Action) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range a.ends {
			if !yield(a.line(i)) {
				return
			}
		}
	}
}

// Name is the action's name: the first Action header that is not empty.
func (a *Action) Name() string {
	for v := range a.All("action") {
		if v != "" {
			return v
		}
	}
	return ""
}

// ID is the client's ActionID, empty if it sent none or an empty one first.
func (a *Action) ID() string { return a.Get("actionid") }

// Get is the value of the first header of that name, empty if there is none.
func (a *Action) Get(name string) string {
	for v := range a.All(name) {
		return v
	}
	return ""
}

// All are the values of every header of that name, in order.
func (a *Action) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range a.Lines() {
			if v, ok := lineValue(line, name); ok && !yield(v) {
				return
			}
		}
	}
}

// HasControl reports whether any line holds a control character other than a
// tab: no client needs one, and one layer's data is another's syntax.
func (a *Action) HasControl() bool {
	for i := range len(a.text) {
		c := a.text[i]
		if c-' ' < 0x7f-' ' { // one comparison for what most are
			continue
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// With returns the action with one header of that name and value in the place
// of all that it had, behind its other lines: a itself if it has just that.
func (a *Action) With(name, value string) *Action {
	lines := make([]string, 0, len(a.ends)+1)
	same := false
	for line := range a.Lines() {
		v, ok := lineValue(line, name)
		if !ok {
			lines = append(lines, line)
		}
		same = same || ok && v == value
	}
	if same && len(lines) == len(a.ends)-1 {
		return a
	}
	lines = append(lines, name+": "+value)
	n := &Action{fault: a.fault, ends: make([]int, len(lines))}
	size := 0
	for i, line := range lines {
		size += len(line)
		n.ends[i] = size
	}
	n.text = strings.Join(lines, "")
	return n
}

func lineValue(line, name string) (string, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !EqualFold(line[:len(name)], name) {
		return "", false
	}
	return SkipBlanks(line[len(name)+1:]), true
}

// SkipBlanks is a value without the blanks before it, for which every control
// character counts (strings.h: ast_skip_blanks).
func SkipBlanks(v string) string {
	for v != "" && v[0] < 33 {
		v = v[1:]
	}
	return v
}

// AppendForward appends the action as it is to be sent to a PBX, under the
// ActionID id, and returns the extended slice. What is sent is what was
// checked: the headers that Asterisk would read, written anew. Of a repeated
// header only the first is left (all for Variable, which Asterisk collects,
// and for AOCMessage, where the last one counts), and lines that no look-up
// can find are dropped. The client's ActionID and Server headers are never
// sent.
//
// A UserEvent is the exception: Asterisk copies all of its lines into the
// event, so all others are sent as they are, and id replaces the client's where
// it stood.
//
// The lines of more are sent behind the action's own, as they are: ready
// headers of ours, without line ends.
//
// A fault means that the result would break Asterisk's limits and that nothing
// was appended.
func (a *Action) AppendForward(dst []byte, id string, more ...string) ([]byte, Fault) {
	name := a.Name()
	userEvent := EqualFold(name, "UserEvent")
	inPlace := userEvent && a.ID() != ""
	w := forward{buf: dst}
	w.line("Action: ", name)
	if !inPlace {
		w.line("ActionID: ", id)
	}
	for i := range a.ends {
		line := a.line(i)
		key, value, ok := strings.Cut(line, ":")
		switch {
		case ok && (EqualFold(key, "action") || EqualFold(key, "server")):
		case inPlace && ok && EqualFold(key, "actionid"):
			inPlace = false
			w.line(line[:len(line)-len(SkipBlanks(value))], id)
		case ok && EqualFold(key, "actionid"): // never the client's
		case userEvent:
			w.line("", line)
		case !ok || key == "" || a.repeats(i, key):
		default:
			w.line(key+": ", SkipBlanks(value))
		}
	}
	for _, line := range more {
		w.line("", line)
	}
	if w.fault != FaultNone {
		return dst, w.fault
	}
	return append(w.buf, "\r\n"...), FaultNone
}

// repeats reports whether line i is not the first of its name, and of no use
// because of that.
func (a *Action) repeats(i int, key string) bool {
	if EqualFold(key, "variable") || EqualFold(a.Name(), "AOCMessage") {
		return false
	}
	for j := range i {
		if _, ok := lineValue(a.line(j), key); ok {
			return true
		}
	}
	return false
}

func (a *Action) line(i int) string {
	if i == 0 {
		return a.text[:a.ends[0]]
	}
	return a.text[a.ends[i-1]:a.ends[i]]
}

// VariableHeader is a Variable header that sets exactly one variable, from
// "NAME=value": what Asterisk takes the header apart by (commas, quotes,
// brackets and the backslash: app.c: __ast_app_separate_args) is escaped.
func VariableHeader(assignment string) string {
	b := []byte("Variable: ")
	for i := range len(assignment) {
		if strings.IndexByte("\\\",()[]", assignment[i]) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, assignment[i])
	}
	return string(b)
}

// forward writes the lines of an action and minds the limits of the reader at
// the other end.
type forward struct {
	buf   []byte
	lines int
	fault Fault
}

func (w *forward) line(head, tail string) {
	n := len(head) + len(tail)
	bare := n+2 > MaxLine // the longest line only fits with a bare LF
	switch {
	case w.lines >= MaxHeaders: // wins over the other, as in Asterisk
		w.fault = FaultTooManyLines
	case n+1 > MaxLine, bare && strings.HasSuffix(tail, "\r"):
		w.fault = FaultLineTooLong
	}
	w.lines++
	if w.fault != FaultNone {
		return
	}
	w.buf = append(append(w.buf, head...), tail...)
	if !bare {
		w.buf = append(w.buf, '\r')
	}
	w.buf = append(w.buf, '\n')
}
