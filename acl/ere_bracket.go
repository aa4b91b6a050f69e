package acl

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// classSize is what a class with the letters of all scripts counts in node.size:
// its table is big, the code for it is not.
const classSize = 8

// classes are the character classes of the locale C.UTF-8, as ranges for a bracket of
// package regexp. Of marks and digits of scripts other than Latin some are in other
// classes than here.
var classes = map[string]string{
	"alpha":  `A-Za-z\pL\p{Nl}`,
	"alnum":  `0-9A-Za-z\pL\p{Nl}\p{Nd}`,
	"upper":  `A-Z\p{Lu}\p{Lt}`,
	"lower":  `a-z\p{Ll}`,
	"digit":  `0-9`,
	"xdigit": `0-9A-Fa-f`,
	"blank":  `\t ` + spaces,
	"space":  `\t-\r ` + spaces + `\x{2028}\x{2029}`,
	"cntrl":  `\x00-\x1F\x7F-\x{9F}\x{2028}\x{2029}`,
	"punct":  `\pP\pS\p{No}\p{Mn}\p{Me}\p{Cf}\p{Co}` + hardSpaces,
	"graph":  `\pL\pM\pN\pP\pS\p{Cf}\p{Co}` + hardSpaces,
	"print":  `\pL\pM\pN\pP\pS\p{Cf}\p{Co}\p{Zs}`,
}

const (
	spaces     = `\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200A}\x{205F}\x{3000}`
	hardSpaces = `\x{A0}\x{2007}\x{202F}` // no line may break there: they are no spaces
)

// wordClasses are the classes that have only characters of words.
var wordClasses = map[string]bool{
	"alpha": true, "alnum": true, "upper": true, "lower": true, "digit": true, "xdigit": true,
}

// item is an item of a set of characters.
type item struct {
	class    string // the name of a class; otherwise it is a range
	from, to rune
	equal    bool // it was [=x=], which is no end of a range
}

// newLiteral is the node of one character, or of a byte that is no UTF-8.
func newLiteral(r rune) *node {
	n := newSet([]item{{from: r, to: r}}, false)
	n.text = regexp.QuoteMeta(string(r))
	return n
}

// newSet is the node of one character that is in items, or in none of them. A byte
// that is no UTF-8 is in no set, and not in its complement either.
func newSet(items []item, negated bool) *node {
	n := &node{kind: kindSet, size: 1}
	word := !negated
	feed := negated
	var text strings.Builder
	for _, one := range items {
		switch {
		case one.class != "":
			text.WriteString(classes[one.class])
			n.size += classSize
			word = word && wordClasses[one.class]
		case one.from < bytesFrom:
			fmt.Fprintf(&text, `\x{%X}-\x{%X}`, one.from, one.to)
			for r := one.from; r <= one.to; r++ {
				word = word && isWord(r)
			}
		}
		if one.class == "space" || one.class == "cntrl" || one.class == "" && one.from <= '\n' && '\n' <= one.to {
			feed = !negated
		}
	}
	switch {
	case negated:
		n.text = `[^` + text.String() + badBytes + `]`
	case text.Len() == 0:
		n.text = `[^\x00-\x{10FFFF}]`
	default:
		n.text = `[` + text.String() + `]`
	}
	n.shape = shape{feedFirst: feed, feedLast: feed, feedAlone: feed, wordFirst: word, wordLast: word}
	return n
}

// isWord reports whether a character is part of a word.
func isWord(r rune) bool {
	return r == '_' || unicode.In(r, unicode.L, unicode.Nl, unicode.Nd)
}

// gnuClass is the node of \w, \W, \s or \S.
func gnuClass(letter rune) *node {
	if letter == 's' || letter == 'S' {
		return newSet([]item{{class: "space"}}, letter == 'S')
	}
	return newSet([]item{{class: "alnum"}, {from: '_', to: '_'}}, letter == 'W')
}

// bracket reads what is behind [, up to the ] and that too (regcomp.c:
// parse_bracket_exp). A backslash is a character there like others.
func (p *ere) bracket() *node {
	rest, negated := strings.CutPrefix(p.in, "^")
	p.in = rest
	var items []item
	for first := true; first || !strings.HasPrefix(p.in, "]"); first = false {
		one := p.element(first)
		if one.class == "" && !one.equal && strings.HasPrefix(p.in, "-") && !strings.HasPrefix(p.in, "-]") {
			p.in = p.in[1:]
			one = p.newRange(one, p.element(true))
		}
		if p.err != nil {
			return newBranch(nil)
		}
		items = append(items, one)
	}
	p.in = p.in[1:]
	return newSet(items, negated)
}

// element reads one element. A hyphen is one where it may be, or at the end.
func (p *ere) element(hyphen bool) item {
	if len(p.in) >= 2 && p.in[0] == '[' && strings.ContainsRune(".=:", rune(p.in[1])) {
		return p.symbol(p.in[1:2])
	}
	if p.in == "" {
		p.fail("a [ is not closed")
		return item{}
	}
	r := p.char()
	if r == '-' && !hyphen && !strings.HasPrefix(p.in, "]") {
		p.fail("a - in [] is neither first, nor last, nor between the ends of a range")
	}
	return item{from: r, to: r}
}

// symbol reads [.x.], [=x=] or [:name:] (regcomp.c: parse_bracket_symbol). The
// locale has no names for characters, and one character is one byte there.
func (p *ere) symbol(mark string) item {
	name, rest, closed := strings.Cut(p.in[2:], mark+"]")
	p.in = rest
	switch {
	case !closed:
		p.fail("a [%s in [] is not closed", mark)
	case mark == ":" && classes[name] == "":
		p.fail("there is no class [:%.20s:]", name)
	case mark == ":":
		return item{class: name}
	case len(name) != 1:
		p.fail("[%s%s] in [] must hold one character of ASCII", mark, mark)
	default:
		r, _ := decode(name)
		return item{from: r, to: r, equal: mark == "="}
	}
	return item{}
}

// newRange makes a range of its ends. glibc takes only one byte for an end
// (regcomp.c: build_range_exp), which stands for the character of its value.
func (p *ere) newRange(from, to item) item {
	ends := [2]rune{from.from, to.from}
	for i, r := range ends {
		switch {
		case bytesFrom <= r && r < bytesFrom+0x100:
			ends[i] = r - bytesFrom
		case r >= utf8.RuneSelf:
			p.fail("a range in [] begins or ends with a character that is not ASCII")
		}
	}
	switch {
	case to.class != "" || to.equal:
		p.fail("a range in [] ends with a class")
	case ends[0] > ends[1]:
		p.fail("a range in [] ends before it begins")
	}
	return item{from: ends[0], to: ends[1]}
}
