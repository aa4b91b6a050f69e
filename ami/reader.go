package ami

import (
	"bytes"
	"errors"
	"io"
)

// ErrFrameTooLong is returned for a frame, or a line, beyond the reader's limit.
var ErrFrameTooLong = errors.New("ami: frame is longer than the limit")

const (
	startSize = 16 << 10 // of a Reader's buffer; most frames are below 1 KiB
	keepSize  = 1 << 20  // a buffer that grew beyond this is not kept
	headSize  = 4 << 10  // what is left of a frame beyond the limit
	maxSkip   = 8        // times the limit: a frame that has no end by then has none
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
	skipped    int // bytes of the present frame that were thrown away
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
// [io.ErrUnexpectedEOF] inside one. A frame beyond the limit is read to its end
// and thrown away: with [ErrFrameTooLong] comes its beginning, 4 KiB at most,
// and the next read goes on behind it. If it has no end within eight times the
// limit, nothing comes with the error and the stream is of no use any more.
func (r *Reader) ReadFrame() (Frame, error) {
	if len(r.buf) > keepSize && r.end-r.start < startSize {
		r.grow(startSize)
	}
	r.skipped = 0
	if size := r.usual(); size > 0 && size <= r.max {
		return r.take(size), nil
	}
	size := 0
	var head Frame  // of a frame beyond the limit
	cut := false    // and the beginning of the present line is thrown away
	textLF := false // the line before was a text with an LF of its own
	crlfEnds := false
	for n := 0; ; n++ {
		length, err := r.line(size)
		if err == ErrFrameTooLong && r.maySkip() {
			used := r.end - r.start
			if part := used - size; part == 0 || part == 1 && r.buf[r.end-1] == '\r' {
				used = size // it may be the beginning of the last line, which is empty
			} else {
				cut = true
			}
			head, size = r.skip(head, used), 0
			continue
		}
		if err != nil {
			if err == io.EOF && (size > 0 || head != nil || r.end > r.start) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		raw := r.buf[r.start+size : r.start+size+length]
		size += length
		line, _ := cutLine(raw)
		ends := len(line) == 0 && !textLF && !cut
		if ends && head == nil && size <= r.max {
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
		textLF = crlfEnds && !cut && hasName(line, "message") && !bytes.HasSuffix(raw, crlf)
		cut = false
		if head != nil || size > r.max {
			head, size = r.skip(head, size), 0
		}
		switch {
		case ends:
			return head, ErrFrameTooLong
		case !r.maySkip():
			return nil, ErrFrameTooLong
		}
	}
}

// usual is the size of the next frame if it is buffered whole and has none of the
// oddities that ReadFrame takes, 0 if not: nearly all are so, and reading those
// line by line costs ten times as much.
func (r *Reader) usual() int {
	data := r.buf[r.start:r.end]
	if len(data) == 0 || data[0] < ' ' || bytes.EqualFold(Frame(data).Response(), []byte("Follows")) {
		return 0
	}
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 || i+n+2 >= len(data) || data[i+n+1] == '\n' {
			return 0
		}
		i += n + 1
		if data[i] == '\r' && data[i+1] == '\n' {
			if data[i-2] != '\r' { // a text with an LF of its own
				return 0
			}
			return i + 2
		}
	}
}

// command finishes a frame of raw Command output of which size bytes are known.
func (r *Reader) command(size int) (Frame, error) {
	var head Frame // of a frame beyond the limit
	for seen := size; ; {
		data := r.buf[r.start:r.end]
		if i := bytes.Index(data[seen:], endOfCommand); i >= 0 {
			size = seen + i + len(endOfCommand)
			if head == nil && size <= r.max {
				return r.take(size), nil
			}
			return r.skip(head, size), ErrFrameTooLong
		}
		seen = max(len(data)-len(endOfCommand)+1, seen)
		err := r.fill()
		switch {
		case err == nil:
		case err == ErrFrameTooLong && r.maySkip():
			head, seen = r.skip(head, seen), 0
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// maySkip reports whether it is worth looking for the end of a frame beyond the
// limit.
func (r *Reader) maySkip() bool { return r.skipped/maxSkip < r.max }

// skip throws n bytes away. It returns head or, if that is nil, the beginning
// of these bytes.
func (r *Reader) skip(head Frame, n int) Frame {
	if head == nil {
		head = bytes.Clone(r.buf[r.start : r.start+min(n, headSize)])
	}
	r.start += n
	r.skipped += n
	return head
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
