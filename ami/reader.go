package ami

import (
	"bytes"
	"errors"
	"io"
)

// ErrFrameTooLong is returned for a frame beyond the reader's limit. The
// stream cannot be used any more.
var ErrFrameTooLong = errors.New("ami: frame is longer than the limit")

const (
	startSize = 16 << 10 // of a Reader's buffer; most frames are below 1 KiB
	keepSize  = 1 << 20  // a buffer that grew beyond this is not kept
)

var (
	endOfCommand = []byte("--END COMMAND--\r\n\r\n")
	crlf         = []byte("\r\n")
)

// Reader cuts the output of a PBX into frames. It takes what Asterisk's odd
// producers write: bare LF line ends, lines without a colon, stray empty lines
// (returned as frames of their own), frames of many megabytes, error texts
// that end in an LF of their own, and the raw Command output of Asterisk 13
// and older, which ends only at its end mark. It is for one goroutine.
type Reader struct {
	// Follows is asked, for a frame that begins with Response: Follows, whether
	// raw Command output can be coming. If not, or if Follows is nil, it is a
	// frame like any other. Asterisk writes some values as they are, line ends
	// included, so that whoever can set one can make a frame begin so: taken at
	// its word, it would swallow all that comes until the end mark.
	Follows func() bool

	src        io.Reader
	max        int
	buf        []byte
	start, end int // unread bytes of buf
}

// NewReader returns a reader of what comes from src that takes frames of up to
// max bytes.
func NewReader(src io.Reader, max int) *Reader {
	return &Reader{src: src, max: max, buf: make([]byte, startSize)}
}

// SetLimit changes how many bytes a frame may have, from the next read on.
func (r *Reader) SetLimit(max int) { r.max = max }

// ReadLine returns the next line without its end, valid until the next read.
// It is meant for the banner, which is no frame.
func (r *Reader) ReadLine() ([]byte, error) {
	n, err := r.line(0)
	if err != nil {
		return nil, err
	}
	line, _ := cutLine(r.buf[r.start : r.start+n])
	r.start += n
	return line, nil
}

// ReadFrame returns the next frame, valid until the next read: copy what is to
// be kept. At the end of the stream the error is [io.EOF] between frames and
// [io.ErrUnexpectedEOF] inside one.
func (r *Reader) ReadFrame() (Frame, error) {
	if len(r.buf) > keepSize && r.end-r.start < startSize {
		r.grow(startSize)
	}
	size := 0
	textLF := false // the line before was a text with an LF of its own
	crlfEnds := false
	for n := 0; ; n++ {
		length, err := r.line(size)
		if err != nil {
			if err == io.EOF && (size > 0 || r.end > r.start) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		raw := r.buf[r.start+size : r.start+size+length]
		if size += length; size > r.max {
			return nil, ErrFrameTooLong
		}
		line, _ := cutLine(raw)
		if len(line) == 0 && !textLF {
			return r.take(size), nil
		}
		if n == 0 && bytes.EqualFold(Frame(raw).Response(), []byte("Follows")) && r.Follows != nil && r.Follows() {
			return r.command(size)
		}
		// "Message: No Auths found" LF CR LF CR LF: the LF belongs to the
		// text, the next line end to the header (manager.c:
		// astman_send_response_full always adds its own).
		if n == 0 {
			crlfEnds = bytes.HasSuffix(raw, crlf)
		}
		textLF = crlfEnds && hasName(line, "message") && !bytes.HasSuffix(raw, crlf)
	}
}

// command finishes a frame of raw Command output of which size bytes are known.
func (r *Reader) command(size int) (Frame, error) {
	seen := size
	for {
		data := r.buf[r.start:r.end]
		if i := bytes.Index(data[seen:], endOfCommand); i >= 0 {
			if size = seen + i + len(endOfCommand); size > r.max {
				return nil, ErrFrameTooLong
			}
			return r.take(size), nil
		}
		seen = max(len(data)-len(endOfCommand)+1, size)
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func (r *Reader) take(size int) Frame {
	f := r.buf[r.start : r.start+size : r.start+size]
	r.start += size
	return f
}

// line makes sure that a whole line is buffered at the given offset from start
// and returns its length, LF included.
func (r *Reader) line(offset int) (int, error) {
	seen := offset
	for {
		data := r.buf[r.start:r.end]
		if i := bytes.IndexByte(data[seen:], '\n'); i >= 0 {
			return seen + i + 1 - offset, nil
		}
		seen = len(data)
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more, making room first.
func (r *Reader) fill() error {
	if r.end == len(r.buf) {
		switch used := r.end - r.start; {
		case used >= r.max:
			return ErrFrameTooLong
		case r.start > len(r.buf)/2:
			copy(r.buf, r.buf[r.start:r.end])
			r.start, r.end = 0, used
		default:
			r.grow(max(min(2*len(r.buf), r.max), startSize))
		}
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

func (r *Reader) grow(size int) {
	buf := make([]byte, size)
	r.end = copy(buf, r.buf[r.start:r.end])
	r.start, r.buf = 0, buf
}
