package ami

import (
	"bytes"
	"io"
	"strings"
)

// readSize is how much is asked of a client's socket at once. It only has to
// exceed MaxLine; more saves calls when a client pipelines and costs memory
// when it idles.
const readSize = 2048

// ActionReader cuts what a client sends into actions as Asterisk does
// (manager.c: get_input, do_message). It is bounded: it holds at most
// [MaxHeaders] lines of [MaxLine] bytes, whatever is sent. It is for one
// goroutine.
type ActionReader struct {
	src        io.Reader
	buf        [readSize]byte
	start, end int // unread bytes of buf

	tooLong bool // a line was too long; outlives a message that had too many lines

	lines   []byte // of the message being read
	ends    []int
	dropped bool // lines beyond MaxHeaders were dropped
}

// NewActionReader returns a reader of what comes from src.
func NewActionReader(src io.Reader) *ActionReader {
	return &ActionReader{src: src}
}

// Read returns the next action. A message without any line, or with a fault,
// is an action like any other: Asterisk answers it, and so must the caller.
// The error is that of the source; what was read of an unfinished message is
// lost, as it is in Asterisk.
func (r *ActionReader) Read() (*Action, error) {
	r.lines, r.ends, r.dropped = r.lines[:0], r.ends[:0], false
	for {
		line, err := r.readLine()
		if err != nil {
			return nil, err
		}
		if i := bytes.IndexByte(line, 0); i >= 0 {
			line = line[:i] // to Asterisk a line is a C string
		}
		switch {
		case len(line) == 0:
			return r.finish(), nil
		case len(r.ends) == MaxHeaders:
			r.dropped = true
		default:
			r.lines = append(r.lines, line...)
			r.ends = append(r.ends, len(r.lines))
		}
	}
}

func (r *ActionReader) finish() *Action {
	a := &Action{text: string(r.lines), ends: append([]int(nil), r.ends...)}
	switch {
	case r.dropped:
		// Asterisk looks at the other fault only in the next message.
		a.fault = FaultTooManyLines
	case r.tooLong:
		a.fault = FaultLineTooLong
		r.tooLong = false
	}
	if cap(r.lines) > 4*MaxLine {
		r.lines = nil // one big message must not cost an idle client memory
	}
	return a
}

// readLine returns the next line without its end, valid until the next call.
func (r *ActionReader) readLine() ([]byte, error) {
	seen := 0 // bytes after start known to hold no LF
	for {
		pending := r.buf[r.start:r.end]
		window := pending[:min(len(pending), MaxLine)]
		if i := bytes.IndexByte(window[min(seen, len(window)):], '\n'); i >= 0 {
			i += seen
			line := window[:i]
			r.start += i + 1
			if i > 0 && line[i-1] == '\r' {
				line = line[:i-1]
			}
			return line, nil
		}
		if len(window) == MaxLine {
			// The last byte stays: it may be the CR of a split CRLF. What
			// follows is read as a line of its own.
			r.start += MaxLine - 1
			r.tooLong = true
			seen = 0
			continue
		}
		seen = len(window)
		r.makeRoom()
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// Await waits until the client sends something, or the source fails, whose
// error it returns. What it sends is for the next Read. Bytes that came along
// with the last action do not end the wait, unless they are more than Asterisk
// would have taken along (manager.c: inbuf holds MaxLine bytes).
func (r *ActionReader) Await() error {
	if r.end-r.start >= MaxLine {
		return nil
	}
	r.makeRoom()
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom moves the unread bytes, fewer than MaxLine, to where as many fit
// behind them.
func (r *ActionReader) makeRoom() {
	if r.start > 0 && len(r.buf)-r.start < MaxLine {
		r.end = copy(r.buf[:], r.buf[r.start:r.end])
		r.start = 0
	}
}

// Buffered reports whether bytes are waiting that were read but not used yet.
func (r *ActionReader) Buffered() bool { return r.start < r.end }

// ParseAction reads exactly one message from text, which must hold its empty
// line; for tests and tools.
func ParseAction(text string) (*Action, error) {
	return NewActionReader(strings.NewReader(text)).Read()
}
