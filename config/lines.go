package config

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/amiproxy/amiproxy/acl"
)

// Limits of the files.
const (
	// maxLine is the longest line in bytes: Asterisk skips longer ones
	// (config.c: a buffer of 8192).
	maxLine = 8190
	// maxFile is how many bytes are read of one file, and of all together.
	maxFile = 16 << 20
	// maxEntries is how many lines with keys or section headers there may be,
	// inherited ones counted again for every heir.
	maxEntries = 200_000
	// maxKeyShown is the longest unknown key that a finding names: what is
	// longer is no key but something that may be secret.
	maxKeyShown = 32
)

// entry is one key with its value.
type entry struct {
	place
	key string
	// value is as the file has it: comments, \; and blanks around it removed,
	// ${NAME} not expanded.
	value string
	// inherited: the entry came from a template.
	inherited bool
}

// section is one section with all that it inherited, in Asterisk's order.
type section struct {
	place
	name     string
	template bool
	// used: some section inherits from this one.
	used bool
	// broken: part of the section could not be read, so that what is missing
	// in it is not worth telling.
	broken  bool
	entries []entry
}

// reader is the pre-pass: it reads files with the rules of Asterisk's
// main/config.c into an ordered list of sections and entries.
type reader struct {
	loader   *Loader
	report   *report
	sections []*section
	// The first section or template, section, and template of a folded name.
	first, named, templates map[string]*section
	// latest is the section opened last in any file.
	latest *section
	// stack are the files being read, outermost first.
	stack []string
	// What was read, to bound it.
	files, bytes, entries int
}

func newReader(l *Loader, r *report) *reader {
	return &reader{
		loader: l, report: r,
		first: map[string]*section{}, named: map[string]*section{}, templates: map[string]*section{},
	}
}

// text reads the text of one file. It starts in the section that its includer
// is in; nil for none.
func (r *reader) text(file string, text []byte, start *section) {
	r.report.opened(file)
	var (
		cur      = start
		latest   = r.latest // to see whether start is still the latest section
		blocks   comments
		number   int
		opened   bool // a section was opened in this file
		at       = func() place { return place{file, number} }
		problem  = func(format string, args ...any) { r.problem(at(), cur, format, args...) }
		lastLine bool
	)
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		number = 1
		problem("the file is UTF-16: save it as UTF-8")
		return
	}
	for !lastLine {
		raw, rest, more := bytes.Cut(text, []byte("\n"))
		text, lastLine = rest, !more
		number++
		if reason := unreadable(raw); reason != "" {
			problem("%s", reason)
			continue
		}
		line, err := blocks.strip(string(raw), number)
		if err != nil {
			problem("%s", err)
			return // what follows is comment or not: nobody knows
		}
		line = trim(line)
		switch {
		case line == "":
		case line[0] == '[':
			r.entries++
			cur, opened = r.header(at(), line), true
			r.latest = cur
		case line[0] == '#':
			r.directive(at(), line, cur)
		case cur == nil:
			problem("a key before the first [section]")
		case !opened && start != latest:
			// Asterisk would go on in the section opened last, which need not
			// be the one around the #include.
			problem("a key before the first [section] of this file, included after another file that opened one: which section it belongs to is not clear")
		default:
			if e, reason := splitKey(line); reason != "" {
				problem("%s", reason)
			} else {
				e.place = at()
				r.entries++
				cur.entries = append(cur.entries, e)
			}
		}
	}
	if n := len(blocks.open); n > 0 {
		number = blocks.open[n-1]
		problem("the block comment that begins here is never closed by --;")
	}
}

// problem reports a line that cannot be read, of which no text is shown: it
// may hold a secret.
func (r *reader) problem(at place, s *section, format string, args ...any) {
	name := ""
	if s != nil {
		name, s.broken = s.name, true
	}
	r.report.errorf(at, name, "", format, args...)
}

// unreadable says why a line cannot be taken as it is; empty if it can.
func unreadable(line []byte) string {
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) > maxLine:
		return "the line is too long (more than 8190 bytes; Asterisk would skip it)"
	case bytes.IndexByte(line, 0) >= 0:
		return "NUL byte in the line"
	case bytes.IndexByte(line, '\r') >= 0:
		return "carriage return within the line"
	}
	return ""
}

// splitKey takes "key = value" or "key => value" apart; reason says what is
// wrong with the line.
func splitKey(line string) (e entry, reason string) {
	from := 0
	if line[0] == '\\' { // a key may begin with what would else mean something
		line, from = line[1:], 1
		if line == "" || line[0] <= ' ' {
			return e, "a backslash before nothing"
		}
	}
	i := strings.IndexByte(line[from:], '=')
	if i < 0 {
		return e, "no = in the line"
	}
	i += from
	key, value := line[:i], line[i+1:]
	if strings.HasSuffix(key, "+") {
		return e, "+= is not supported: write the whole value"
	}
	key = trim(key)
	if key == "" {
		return e, "no key before the ="
	}
	if !plainKey(key) {
		return e, "what stands before the = is not the name of a key"
	}
	return entry{key: key, value: trim(strings.TrimPrefix(value, ">"))}, ""
}

// bracketKeys are the keys that something in brackets may follow.
var bracketKeys = []string{"eventfilter", acl.AllowHeader, acl.SetHeader, "allowevent"}

// plainKey reports whether a name can be a key: those that manager.conf and we
// know, eventfilter(…) among them. It keeps odd text out of what is shown.
func plainKey(key string) bool {
	name, criteria, has := strings.Cut(key, "(")
	for i := range len(name) {
		if c := name[i]; !isWord(c) && c != '-' && c != '.' {
			return false
		}
	}
	if has {
		for i := range len(criteria) {
			if criteria[i] < ' ' || criteria[i] > '~' || criteria[i] == '=' {
				return false
			}
		}
		return slices.Contains(bracketKeys, fold(name))
	}
	return len(key) <= maxKeyShown
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// trim removes what Asterisk calls blanks from both ends: every byte up to the
// space (strings.h: ast_strip). A no-break space is no blank.
func trim(s string) string {
	for s != "" && s[0] <= ' ' {
		s = s[1:]
	}
	for s != "" && s[len(s)-1] <= ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// fold makes ASCII letters small, as strcasecmp compares.
func fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for i, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// printable reports whether a text is valid UTF-8 without control characters.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if c < ' ' || 0x7f <= c && c < 0xa0 {
			return false
		}
	}
	return true
}
