package ajam

import (
	"strconv"
	"unicode/utf8"
)

// appendXML appends an answer as XML, for /mxml and /amxml: an element for each frame
// with an attribute for each header (manager.c: xml_translate). What Asterisk writes is
// not always XML; this is:
//
//   - An attribute whose name the frame has had already gets the first free number
//     behind it, -2, -3 and so on. Asterisk numbers headers of equal names only, not
//     such as differ in case or in signs: A-b and a_B are both a_b.
//   - Names that would begin with a digit (Asterisk 22 does so too, 16 does not), be
//     empty, or xmlns, get _ before them.
//   - What is no UTF-8, or a character that XML 1.0 does not have, is U+FFFD.
func appendXML(dst, frames []byte, f *form) []byte {
	dst = append(dst, "<ajax-response>\n"...)
	used := attributes{free: make(map[string]int)}
	open := false
	for p := range objects(frames) {
		if p.name == nil {
			dst = append(dst, " /></response>\n"...)
			open = false
			clear(used.free)
			continue
		}
		if !open {
			open = true
			dst = append(append(dst, "<response type='object' id='"...), f.dest...)
			dst = append(append(dst, "'><"...), f.objtype...)
		}
		dst = append(dst, ' ')
		dst = used.append(dst, p.name)
		dst = append(dst, "='"...)
		dst = appendText(dst, p.value)
		dst = append(dst, '\'')
	}
	return append(dst, "</ajax-response>\n"...)
}

// attributes are the names that an element has already.
type attributes struct {
	free map[string]int // by name the next number, 2 after the first
	name []byte
}

// append appends the name of the attribute for a header.
func (a *attributes) append(dst, header []byte) []byte {
	a.name = a.name[:0]
	for _, c := range header {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z':
		case '0' <= c && c <= '9':
			if len(a.name) == 0 {
				a.name = append(a.name, '_')
			}
		default:
			c = '_'
		}
		a.name = append(a.name, c)
	}
	if s := string(a.name); s == "" || s == "xmlns" {
		a.name = append(append(a.name[:0], '_'), s...)
	}
	dst = append(dst, a.name...)
	n := max(a.free[string(a.name)], 1)
	a.free[string(a.name)] = n + 1
	if n > 1 {
		dst = append(dst, '-')
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return dst
}

// appendText appends the value of an attribute.
func appendText(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		case n == 1:
			dst = appendEscaped(dst, text[:1])
		default:
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}
