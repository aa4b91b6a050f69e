package ajam

import (
	"errors"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// form is what a request asks for: the pairs of its query or body in order.
type form struct {
	lines []string // "name: value"
	// dest and objtype are ajaxdest and ajaxobjtype, the id and the element that the
	// client wants in XML; never empty.
	dest, objtype string
}

var errControl = errors.New("a carriage return, line feed or NUL in a parameter")

// parseForm takes a query, or the body of a POST, apart as Asterisk does (http.c:
// handle_uri, ast_http_get_post_vars): & parts the pairs, the first = a name from its
// value, + is a blank, %XX a byte, and what cannot be decoded stays. Of more pairs than
// an action may have headers only the first count.
//
// Other than Asterisk it refuses what would make two lines of one, and names of XML
// that are none. What an error says holds nothing of the request but the name of a
// parameter, and may be shown to the client.
func parseForm(query string) (*form, error) {
	f := &form{dest: "unknown", objtype: "generic"}
	f.lines = make([]string, 0, min(strings.Count(query, "&")+1, ami.MaxHeaders))
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = decode(name), decode(value)
		if strings.ContainsAny(name, "\r\n\x00") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, errControl
		}
		if err := f.setXML(name, value); err != nil {
			return nil, err
		}
		if len(f.lines) < ami.MaxHeaders {
			f.lines = append(f.lines, name+": "+value)
		}
	}
	return f, nil
}

// action is the action that the request asks for: each pair is a header, as if a
// client had sent it as a line, but of any length (manager.c: generic_http_callback).
func (f *form) action() *ami.Action { return ami.NewAction(f.lines...) }

// setXML takes note of ajaxdest and ajaxobjtype; the last of each counts, and an empty
// one is none. Asterisk writes them into its XML as they are.
func (f *form) setXML(name, value string) error {
	switch {
	case strings.EqualFold(name, "ajaxdest"):
		f.dest = orElse(value, "unknown")
		if !isName(value) {
			return errors.New("ajaxdest may hold letters, digits and any of _ . : - only")
		}
	case strings.EqualFold(name, "ajaxobjtype"):
		f.objtype = orElse(value, "generic")
		// A colon would begin with the prefix of a namespace that there is not.
		if !isName(value) || strings.Contains(value, ":") || strings.IndexAny(value, "0123456789.-") == 0 {
			return errors.New("ajaxobjtype may hold letters, digits and any of _ . - only, and begins with a letter or _")
		}
	}
	return nil
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; ('a' > c || c > 'z') && ('0' > s[i] || s[i] > '9') && strings.IndexByte("_.:-", s[i]) < 0 {
			return false
		}
	}
	return true
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// decode is Asterisk's ast_uri_decode.
func decode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
