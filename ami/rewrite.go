package ami

import "bytes"

// Rewrite is what has to change in a frame on its way from a PBX to a client.
// The zero value changes nothing.
type Rewrite struct {
	// ID is the ActionID that we sent to the PBX; each ActionID line with exactly
	// that value gets NewID, or is taken out if NewID is empty. (An item of
	// SKINNYlines runs into the next frame, for want of an empty line.)
	ID, NewID string
	// Server, if not empty, becomes the last header; any other Server line of
	// an event is dropped, also one with blanks around its name, and so is an LF
	// at the end of an error text.
	Server string
}

// Append appends the rewritten frame to dst and returns the extended slice.
// Bytes that need no change are copied as they are.
//
// The raw text of an old Command answer (Response: Follows) is not searched:
// only the header lines before it are.
func (r Rewrite) Append(dst []byte, f Frame) []byte {
	if f.Stray() || r.ID == "" && r.Server == "" {
		return append(dst, f...)
	}
	follows := f.follows()
	event := !follows && r.Server != "" && f.Event() != nil
	headed := r.Server != "" && (event || f.Response() != nil) // and not raw text
	bareLF := false                                            // the line before is copied and ends so
	from := 0                                                  // f[from:] is to be copied, up to what changes
	for i, n := 0, 0; i < len(f); n++ {
		if follows && n > 0 && (n > 2 || !isFollowsHeader(f[i:])) {
			dst = appendServer(append(dst, f[from:i]...), r.Server)
			return append(dst, f[i:]...)
		}
		next := len(f)
		if j := bytes.IndexByte(f[i:], '\n'); j >= 0 {
			next = i + j + 1
		}
		copied := false
		switch c := f[i]; {
		case c == '\n' || c == '\r' && next == i+2: // an empty line
			switch {
			case !headed:
				copied = true
			case next == len(f):
				dst = appendServer(append(dst, f[from:i]...), r.Server)
				from = i
			case bareLF:
				// A text that ends in an LF of its own ends the frame to many a
				// client, and Server would stand behind that end.
				dst = append(dst, f[from:i-1]...)
				from = i
			default:
				copied = true
			}
		case c|0x20 == 'a' && r.ID != "" && isID(f[i:next], r.ID):
			line, _ := cutLine(f[i:next])
			dst = append(dst, f[from:i]...)
			from = next
			if r.NewID != "" {
				dst = append(dst, line[:len(line)-len(r.ID)]...)
				dst = append(dst, r.NewID...)
				from = i + len(line)
			}
		case (c|0x20 == 's' || c <= ' ') && event && looksLikeServer(f[i:next]):
			dst = append(dst, f[from:i]...)
			from = next
		default:
			copied = true
		}
		bareLF = copied && (next-i < 2 || f[next-2] != '\r')
		i = next
	}
	return append(dst, f[from:]...)
}

func appendServer(dst []byte, server string) []byte {
	if server == "" {
		return dst
	}
	dst = append(dst, "Server: "...)
	dst = append(dst, server...)
	return append(dst, "\r\n"...)
}

func isID(raw []byte, id string) bool {
	line, _ := cutLine(raw)
	v, ok := headerValue(line, "actionid")
	return ok && string(v) == id
}

// looksLikeServer reports whether a client may take a line for a Server header:
// many trim the names of headers, which Asterisk does not.
func looksLikeServer(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && EqualFold(bytes.TrimFunc(name, func(r rune) bool { return r <= ' ' }), "server")
}

func hasName(line []byte, name string) bool {
	_, ok := headerValue(line, name)
	return ok
}

// follows reports whether f is a Command answer of Asterisk 13 and older.
func (f Frame) follows() bool {
	return bytes.EqualFold(f.Response(), []byte("Follows"))
}

// isFollowsHeader reports whether b starts with one of the two headers that
// can follow the first line of such an answer (manager.c of 13: action_command).
func isFollowsHeader(b []byte) bool {
	line, _ := cutLine(b)
	return hasName(line, "privilege") || hasName(line, "actionid")
}
