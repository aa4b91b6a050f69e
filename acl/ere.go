package acl

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// maxExpression bounds the expression of a filter in bytes. A line of an
	// action has at most 1023.
	maxExpression = 2048
	// maxProgram bounds what an expression compiles to, in instructions as node.size
	// counts them: the memory of a filter, 2 MB at most, and the time that an event
	// takes, which is time for all sessions: 20 µs for each of its bytes at worst.
	maxProgram = 2048
	// maxRepeat is how often an interval repeats at most, which is a limit of package
	// regexp. (glibc's is 32767.)
	maxRepeat = 1000

	// bytesFrom is the first of 256 characters that stand for bytes that are no
	// UTF-8. Unicode has not assigned them, so that they are in no class.
	bytesFrom = 0xDFF00
	// badBytes are they, in a bracket of package regexp.
	badBytes = `\x{DFF00}-\x{DFFFF}`
)

// compileERE compiles a POSIX extended regular expression for package regexp,
// and judges it as glibc's regcomp does with REG_EXTENDED|REG_NOSUB in the
// locale C.UTF-8, which Asterisk sets (asterisk.c: main). What is compiled must be
// given UTF-8: what escapeBytes makes of other text.
//
// Package regexp matches in linear time, and so can not do all. An expression with
// a back-reference is an error, one that is too big, and one with an anchor (^ $ \< \>)
// where it depends on more than the place what the anchor means. Beside \b, \B, \<
// and \> only the letters and digits of ASCII are parts of words.
//
// size is what it compiles to, in instructions; see maxProgram.
func compileERE(expression string) (re *regexp.Regexp, size int, err error) {
	if len(expression) > maxExpression {
		return nil, 0, fmt.Errorf("it has more than %d bytes", maxExpression)
	}
	p := ere{in: expression}
	p.next()
	n := p.alternatives()
	if p.err != nil {
		return nil, 0, p.err
	}
	text, err := n.translate(empty, empty)
	if err != nil {
		return nil, 0, err
	}
	re, err = regexp.Compile(`(?s)` + text)
	if err != nil {
		return nil, 0, fmt.Errorf("it is too deep, or repeats too often what repeats: %w", err)
	}
	return re, n.size, nil
}

// ere parses an expression as glibc does (regcomp.c: parse_reg_exp,
// parse_expression, peek_token).
type ere struct {
	in    string // what is left of the expression, behind tok
	tok   token
	depth int // of groups
	err   error
}

// token is an element of an expression outside of brackets.
type token struct {
	kind tokenKind
	r    rune // the character, the operator, or what follows the backslash
}

type tokenKind int

const (
	tokEnd     tokenKind = iota
	tokLiteral           // a character that stands for itself
	tokOp                // one of |*+?{}()[.^$
	tokGNU               // a backslash and one of wWsSbB<>`'
	tokBackRef           // a backslash and a digit from 1
	tokSlash             // a backslash that nothing follows
)

// fail keeps the first error, and ends the expression.
func (p *ere) fail(format string, args ...any) *node {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.tok, p.in = token{}, ""
	return newBranch(nil)
}

// char takes one character, or one byte that is no UTF-8.
func (p *ere) char() rune {
	r, n := decode(p.in)
	p.in = p.in[n:]
	return r
}

// decode is utf8.DecodeRuneInString, but returns bytesFrom+b for a byte b that is
// no UTF-8.
func decode(s string) (r rune, n int) {
	r, n = utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = bytesFrom + rune(s[0])
	}
	return r, n
}

// escapeBytes appends text to buf with every byte that is no UTF-8 as the
// character that stands for it.
func escapeBytes(buf, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			r = bytesFrom + rune(text[0])
		}
		buf = utf8.AppendRune(buf, r)
		text = text[n:]
	}
	return buf
}

func (p *ere) is(op rune) bool { return p.tok == token{tokOp, op} }

func (p *ere) next() {
	if p.in == "" {
		p.tok = token{}
		return
	}
	r := p.char()
	switch {
	case r != '\\' && strings.ContainsRune(`|*+?{}()[.^$`, r):
		p.tok = token{tokOp, r}
	case r != '\\':
		p.tok = token{tokLiteral, r}
	case p.in == "":
		p.tok = token{tokSlash, r}
	default:
		p.tok = token{tokLiteral, p.char()}
		if strings.ContainsRune("wWsSbB<>`'", p.tok.r) {
			p.tok.kind = tokGNU
		} else if '1' <= p.tok.r && p.tok.r <= '9' {
			p.tok.kind = tokBackRef
		}
	}
}

func (p *ere) alternatives() *node {
	branches := []*node{p.branch()}
	for p.is('|') {
		p.next()
		branches = append(branches, p.branch())
	}
	return newAlternatives(branches)
}

func (p *ere) branch() *node {
	var parts []*node
	for p.tok.kind != tokEnd && !p.is('|') && !(p.depth > 0 && p.is(')')) {
		parts = append(parts, p.expression())
	}
	return p.bounded(newBranch(parts))
}

// expression reads one element and its repetitions.
func (p *ere) expression() *node {
	var n *node
	switch t := p.tok; {
	case t.kind == tokSlash:
		return p.fail(`it ends with a backslash`)
	case t.kind == tokBackRef:
		return p.fail(`the back-reference \%c is not supported`, t.r)
	case t.kind == tokGNU && strings.ContainsRune("bB<>`'", t.r), p.is('^'), p.is('$'):
		p.next()
		return newAnchor(t.r) // which nothing can repeat
	case p.is('*'), p.is('+'), p.is('?'), p.is('{'):
		return p.fail("nothing is before %c that could be repeated", t.r)
	case t.kind == tokGNU:
		n = gnuClass(t.r)
	case p.is('.'):
		n = newSet(nil, true)
	case p.is('['):
		n = p.bracket()
	case p.is('('):
		n = p.group()
	default: // also a ) or } that closes nothing
		n = newLiteral(t.r)
	}
	p.next()
	for p.is('*') || p.is('+') || p.is('?') || p.is('{') {
		n = p.repeat(n)
	}
	return n
}

// group leaves the token ")" to be skipped.
func (p *ere) group() *node {
	p.depth++
	p.next()
	n := p.alternatives()
	p.depth--
	if !p.is(')') {
		return p.fail("a ( is not closed")
	}
	return n
}

// repeat applies the repetition at the token to n and skips it.
func (p *ere) repeat(n *node) *node {
	least, most := 0, endless
	switch p.tok.r {
	case '+':
		least = 1
	case '?':
		most = 1
	case '{':
		least, most = p.interval()
	}
	p.next()
	if p.err != nil {
		return n
	}
	return p.bounded(newRepeat(n, least, most))
}

func (p *ere) bounded(n *node) *node {
	if n.size > maxProgram {
		return p.fail("it is too big: see what repeats, and the intervals in {}")
	}
	return n
}

var errInterval = errors.New("an interval must be {n}, {n,}, {,m} or {n,m}")

// interval reads what is between { and }, up to the latter (regcomp.c:
// parse_dup_op). {,m} is {0,m}.
func (p *ere) interval() (least, most int) {
	least, ok := p.number()
	if least == endless {
		least, ok = 0, ok && p.isComma()
	}
	most = least
	if ok && p.isComma() {
		most, ok = p.number()
	}
	switch {
	case p.err != nil:
	case !ok || !p.is('}') || most != endless && least > most:
		p.fail("%w", errInterval)
	case max(least, most) > maxRepeat:
		p.fail("an interval in {} repeats more than %d times", maxRepeat)
	}
	return least, most
}

// number reads up to the next comma or }. Without any digit it is endless.
func (p *ere) number() (n int, ok bool) {
	n, ok = endless, true
	for {
		p.next()
		switch {
		case p.tok.kind == tokEnd:
			return n, false
		case p.is('}'), p.isComma():
			return n, ok
		case p.tok.kind != tokLiteral || p.tok.r < '0' || p.tok.r > '9':
			ok = false
		default:
			n = min(max(n, 0)*10+int(p.tok.r-'0'), maxRepeat+1)
		}
	}
}

func (p *ere) isComma() bool { return p.tok == token{tokLiteral, ','} }
