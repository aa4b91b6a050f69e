package ami

import (
	"bytes"
	"iter"
)

// Frame is the bytes of one message of a PBX, its closing empty line included,
// exactly as they came. A frame is never modified; [Rewrite.Append] makes a
// new one.
//
// Look-ups scan the bytes: a frame is read few times and sent many times.
type Frame []byte

// Stray reports whether f is nothing but an empty line. A few producers write
// one more of them than they should (QueueRule, an idle IAXnetstats).
func (f Frame) Stray() bool { return len(f) <= 2 }

// Event is the name in the first line of an event, nil if f is something else.
func (f Frame) Event() []byte { return f.first("event") }

// Response is the word in the first line of a response (Success, Error,
// Goodbye, Follows), nil if f is something else. An OriginateResponse event,
// which has a Response header too, is no response.
func (f Frame) Response() []byte { return f.first("response") }

// Succeeds reports whether f is a response of Success.
func (f Frame) Succeeds() bool { return EqualFold(f.Response(), "Success") }

// Fails reports whether f is a response of Error.
func (f Frame) Fails() bool { return EqualFold(f.Response(), "Error") }

func (f Frame) first(name string) []byte {
	line, _ := cutLine(f)
	if v, ok := headerValue(line, name); ok {
		return v
	}
	return nil
}

// Get is the value of the first header of that name, compared without case,
// its leading blanks skipped. It points into the frame.
func (f Frame) Get(name string) (value []byte, ok bool) {
	for i := 0; i < len(f); {
		if name == "" || f[i]|0x20 == name[0]|0x20 { // nearly no line goes further
			line, _ := cutLine(f[i:])
			if v, ok := headerValue(line, name); ok {
				return v, true
			}
		}
		n := bytes.IndexByte(f[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
	}
	return nil, false
}

// Class is what a session must be allowed to read in order to get the event f:
// all of the classes of its Privilege header. Without that header it is
// [ClassAll].
func (f Frame) Class() Class {
	// Asterisk writes Privilege as the second line of every broadcast event
	// (manager.c: __manager_event_sessions_va).
	_, rest := cutLine(f)
	line, _ := cutLine(rest)
	v, ok := headerValue(line, "privilege")
	if !ok {
		return ClassAll
	}
	return ParsePrivilege(v)
}

// OpensList reports whether the response f announces list items
// (EventList: start, in any case: FAXSessions writes Start).
func (f Frame) OpensList() bool {
	v, ok := f.Get("eventlist")
	return ok && EqualFold(v, "start")
}

// EndsList reports whether the event f is the last one of a list.
func (f Frame) EndsList() bool {
	v, ok := f.Get("eventlist")
	return ok && EqualFold(v, "complete")
}

// Frames are the frames in b, which are those of an answer: each ends with an
// empty line, after CRLF. What follows the last such line is left out.
func Frames(b []byte) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for {
			i := bytes.Index(b, frameEnd)
			if i < 0 || !yield(Frame(b[:i+len(frameEnd)])) {
				return
			}
			b = b[i+len(frameEnd):]
		}
	}
}

var frameEnd = []byte("\r\n\r\n")

// cutLine splits off the first line, without its CRLF or LF.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// headerValue is the value of a line whose name is followed directly by a
// colon, with all leading bytes below 33 skipped (manager.c:
// __astman_get_header).
func headerValue(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !EqualFold(line[:len(name)], name) {
		return nil, false
	}
	v := line[len(name)+1:]
	for len(v) > 0 && v[0] < 33 {
		v = v[1:]
	}
	return v, true
}
