package ajam

import (
	"bytes"
	"iter"
)

// appendRaw appends an answer as it is, for /rawman: to nothing, the frames themselves.
func appendRaw(dst, frames []byte, _ *form) []byte {
	if dst == nil {
		return frames
	}
	return append(dst, frames...)
}

// pair is a header of a frame as HTML and XML show it. A value has line feeds only if
// it is opaque: the lines without a name that end a frame.
type pair struct{ name, value []byte }

// opaqueName is what Asterisk calls lines without a name.
var opaqueName = []byte("Opaque-data")

// objects takes frames apart as Asterisk does for HTML and XML (manager.c:
// xml_translate). Each pair is valid until the next is asked for, and one without a
// name and a value, nil both, ends a frame.
func objects(frames []byte) iter.Seq[pair] {
	return func(yield func(pair) bool) {
		var opaque []byte
		inFrame, isOpaque := false, false
		end := func() bool {
			if !inFrame {
				return true
			}
			inFrame = false
			if isOpaque {
				isOpaque = false
				if !yield(pair{opaqueName, opaque}) {
					return false
				}
			}
			return yield(pair{})
		}
		for len(frames) > 0 {
			var line []byte
			line, frames = cutLine(frames)
			line = trimBlanks(line)
			name, value, found := bytes.Cut(line, []byte(":"))
			switch {
			case len(line) == 0:
				if !end() {
					return
				}
				continue
			case isOpaque:
				opaque = append(append(opaque, '\n'), line...)
			case !found:
				isOpaque = true
				opaque = append(opaque[:0], line...)
			default:
				if !yield(pair{trimBlanks(name), skipBlanks(value)}) {
					return
				}
			}
			inFrame = true
		}
		end()
	}
}

// cutLine cuts the first line off. It ends at a CR or LF, behind which one LF more is
// of the same end.
func cutLine(text []byte) (line, rest []byte) {
	i := bytes.IndexAny(text, "\r\n")
	if i < 0 {
		return text, nil
	}
	line, rest = text[:i], text[i+1:]
	if len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return line, rest
}

// trimBlanks and skipBlanks are Asterisk's ast_trim_blanks and ast_skip_blanks.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return b
}

func skipBlanks(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}
