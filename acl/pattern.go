package acl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Pattern says which values a rule is content with: one of several patterns
// parted by "|". It is immutable; the zero value matches nothing.
//
// A pattern is compared with the whole value, byte by byte and with regard to
// case. "?" stands for one byte and "*" for any run of them, but only of those
// that no reader in Asterisk takes a value apart by: letters, digits, the six
// of "_-+.#*" and bytes beyond ASCII. So "Local/*@from-crm" has one extension,
// one context and no options, "queue show *" one more word, and no wildcard
// becomes the call of a function. A "*" that is a word of its own stands for at
// least one byte. "\|", "\*", "\?" and "\\" stand for themselves.
//
// A value of more than 79 bytes, which Asterisk may cut where it keeps it
// (channel.h: AST_MAX_CONTEXT, AST_CHANNEL_NAME), and one with two dots in a
// row, which may lead out of a directory, are matched by no wildcard.
//
// The pattern "none" is content with no value, or an empty one. A "*" that is
// the whole text is content with everything, and with nothing.
type Pattern struct {
	text  string
	all   bool // a lone *
	none  bool
	globs []glob
}

// maxWild is the longest value that a wildcard may match in bytes.
const maxWild = 79

// NewPattern reads the patterns of one line. An error says what is wrong with
// which of them.
func NewPattern(text string) (Pattern, error) {
	p := Pattern{text: strings.Trim(text, " \t")}
	if p.text == "*" {
		p.all = true
		return p, nil
	}
	for _, one := range splitPatterns(p.text) {
		switch one = strings.Trim(one, " \t"); one {
		case "":
			return Pattern{}, errors.New("an empty pattern (none is for a header that is absent or empty, * alone for any)")
		case "none":
			p.none = true
			continue
		case "*":
			return Pattern{}, errors.New("* beside other patterns: alone it is for anything at all; for a plain name write ?*")
		}
		g, err := newGlob(one, false)
		if err != nil {
			return Pattern{}, fmt.Errorf("pattern %q: %w", one, err)
		}
		p.globs = append(p.globs, g)
	}
	return p, nil
}

// String is the text that the pattern was made of.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern is content with a value, "" being that of
// a header that is absent too.
func (p Pattern) Match(value string) bool {
	if p.all || value == "" {
		return p.all || p.none
	}
	for i := range p.globs {
		if p.globs[i].match(value) {
			return true
		}
	}
	return false
}

// splitPatterns parts a text at every | that has no backslash before it.
func splitPatterns(text string) (parts []string) {
	from := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '|':
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// glob is one pattern. Names of actions are compared without case.
type glob struct {
	elements []element
	wild     bool // it has a wildcard
	fold     bool // the elements are in lower case
}

// element is a byte that stands for itself, or a wildcard.
type element uint16

const (
	oneByte element = 0x100 + iota
	anyRun
)

// newGlob compiles one pattern that is not empty.
func newGlob(text string, fold bool) (glob, error) {
	g := glob{fold: fold}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c < ' ' || c == 0x7f:
			return glob{}, errors.New("a control character")
		case c == '\\':
			if i++; i == len(text) || strings.IndexByte(`|*?\`, text[i]) < 0 {
				return glob{}, errors.New(`a backslash may stand before | * ? and \ only`)
			}
			g.elements = append(g.elements, element(text[i]))
		case c == '?':
			g.elements, g.wild = append(g.elements, oneByte), true
		case c == '*':
			if n := len(g.elements); n == 0 || g.elements[n-1] != anyRun {
				g.elements = append(g.elements, anyRun)
			}
			g.wild = true
		case fold:
			g.elements = append(g.elements, element(ami.FoldByte(c)))
		default:
			g.elements = append(g.elements, element(c))
		}
	}
	g.elements = fillWords(g.elements)
	return g, nil
}

// fillWords makes every * that is a word of its own stand for one byte at
// least, so that "queue show *" does not match "queue show ", which is another
// command.
func fillWords(in []element) (out []element) {
	edge := func(i int) bool {
		return i < 0 || i >= len(in) || in[i] < 0x100 && !wildBytes[byte(in[i])]
	}
	for i, e := range in {
		if e == anyRun && edge(i-1) && edge(i+1) {
			out = append(out, oneByte)
		}
		out = append(out, e)
	}
	return out
}

// wildBytes are what a wildcard may stand for: nothing by which Asterisk parts
// a dial string, a Local channel, a list, the words of a command, a path, an
// assignment, an expression or the call of a function.
var wildBytes = func() (set [256]bool) {
	for c := range set {
		b := byte(c)
		set[c] = 'a' <= ami.FoldByte(b) && ami.FoldByte(b) <= 'z' || '0' <= b && b <= '9' ||
			b >= 0x80 || strings.IndexByte("_-+.#*", b) >= 0
	}
	return set
}()

// match compares a whole value. A run goes back to the last * only: what an
// earlier one could take more of, the last can take too, as both stop at the
// same bytes.
func (g *glob) match(value string) bool {
	if g.wild && (len(value) > maxWild || strings.Contains(value, "..")) {
		return false
	}
	i, run, from := 0, -1, 0
	for j := 0; j < len(value); {
		switch {
		case i < len(g.elements) && g.elements[i] == anyRun:
			run, from = i, j
			i++
		case i < len(g.elements) && g.takes(g.elements[i], value[j]):
			i++
			j++
		case run >= 0 && wildBytes[value[from]]:
			from++
			i, j = run+1, from
		default:
			return false
		}
	}
	for i < len(g.elements) && g.elements[i] == anyRun {
		i++
	}
	return i == len(g.elements)
}

func (g *glob) takes(e element, b byte) bool {
	if e == oneByte {
		return wildBytes[b]
	}
	if g.fold {
		b = ami.FoldByte(b)
	}
	return e == element(b)
}
