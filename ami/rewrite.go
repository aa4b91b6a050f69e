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
	// an event is dropped, and so is an LF at the end of an error text.
	Server string
}

// Append appends the rewritten frame to dst and returns the extended slice.
// Bytes that need no change are copied as they are.
//
// The raw text of an old Command answer (Response: Follows) is not searched:
// only the header lines before it are.
func (r Rewrite) Append(dst []byte, f Frame) []byte {
	if f.Stray() {
		return append(dst, f...)
	}
	follows := f.follows()
	event := !follows && r.Server != "" && f.Event() != nil
	headed := event || f.Response() != nil // and not raw text
	bareLF := false                        // the line before was copied and ends so
	rest := []byte(f)
	for n := 0; len(rest) > 0; n++ {
		if r.ID == "" && r.Server == "" {
			return append(dst, rest...)
		}
		if follows && n > 0 && (n > 2 || !isFollowsHeader(rest)) {
			dst = appendServer(dst, r.Server)
			return append(dst, rest...)
		}
		line, next := cutLine(rest)
		raw := rest[:len(rest)-len(next)]
		copied := false
		switch {
		case len(line) == 0 && len(next) == 0:
			if headed {
				dst = appendServer(dst, r.Server)
			}
			dst = append(dst, raw...)
		case len(line) == 0 && bareLF && headed && r.Server != "":
			// A text that ends in an LF of its own ends the frame to many a
			// client, and Server would stand behind that end.
			dst = append(dst[:len(dst)-1], raw...)
		case r.ID != "" && isID(line, r.ID):
			if r.NewID != "" {
				dst = append(dst, line[:len(line)-len(r.ID)]...)
				dst = append(dst, r.NewID...)
				dst = append(dst, raw[len(line):]...)
			}
			if !bytes.Contains(next, []byte(r.ID)) {
				r.ID = "" // the rest can be copied as it is
			}
		case event && hasName(line, "server"):
		default:
			dst = append(dst, raw...)
			copied = true
		}
		bareLF = copied && !bytes.HasSuffix(raw, crlf)
		rest = next
	}
	return dst
}

func appendServer(dst []byte, server string) []byte {
	if server == "" {
		return dst
	}
	dst = append(dst, "Server: "...)
	dst = append(dst, server...)
	return append(dst, "\r\n"...)
}

func isID(line []byte, id string) bool {
	v, ok := headerValue(line, "actionid")
	return ok && string(v) == id
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
