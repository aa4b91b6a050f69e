package acl

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// What is wrong with a filter. Asterisk answers the action Filter with a text
// of its own for each (manager.c: action_filter).
var (
	// ErrFilterFormat says that the filter, or its criteria, are not formatted
	// as they must be.
	ErrFilterFormat = errors.New("the event filter is formatted incorrectly")
	// ErrFilterExpression says that the regular expression did not compile, or
	// that it is one which can not be matched here.
	ErrFilterExpression = errors.New("the expression of the event filter does not compile")
)

// Filter is one compiled event filter. It is immutable and safe for use by many
// goroutines. The zero Filter includes every event.
//
// A filter is as Asterisk 22 has it, on whatever release the events come from
// (manager.c: manager_add_filter, filter_cmp_fn), but for these:
//   - A regular expression with a back-reference, an expression of more than
//     2048 bytes, an interval of more than 1000 and what compiles to too much
//     do not compile. Matching takes a time that is linear in the event.
//   - So do anchors that depend on more than their place: \< and \> away from a
//     character of a word, and ^ or $ where what is beside it may be a line feed,
//     or other text, or nothing, as in "(a\n)*^b".
//   - For \b, \B, \< and \> only the letters and digits of ASCII, and "_", are
//     parts of words.
//   - A name or header without its "(" is formatted incorrectly; it makes
//     Asterisk crash.
type Filter struct {
	exclude    bool
	name       []byte // of the event; empty: any
	header     []byte // with its colon; empty: the whole frame is matched
	method     filterMethod
	text       []byte         // what the method compares with
	expression *regexp.Regexp // of methodRegex
	size       int            // of the expression, in instructions
}

type filterMethod int

const (
	methodNone filterMethod = iota // what there is matches
	methodRegex
	methodExact
	methodStartsWith
	methodEndsWith
	methodContains
)

var filterMethods = map[string]filterMethod{
	"none": methodNone, "regex": methodRegex, "exact": methodExact,
	"starts_with": methodStartsWith, "ends_with": methodEndsWith, "contains": methodContains,
}

// NewFilter compiles a legacy filter, which the configuration writes eventfilter =
// expression, and the action Filter without MatchCriteria: a POSIX extended regular
// expression, which is looked for in the whole frame. "." matches line ends too, "^"
// and "$" are the ends of the frame. A leading "!" makes a filter that excludes.
//
// The error is an [ErrFilterFormat] when there is no expression, and an
// [ErrFilterExpression] when it does not compile.
func NewFilter(expression string) (Filter, error) {
	expression, exclude := strings.CutPrefix(expression, "!")
	if expression == "" {
		return Filter{}, fmt.Errorf("%w: it has no expression", ErrFilterFormat)
	}
	f := Filter{exclude: exclude, method: methodRegex}
	return f.with(expression)
}

// NewAdvancedFilter compiles what the configuration writes eventfilter(criteria) =
// expression, and the action Filter with MatchCriteria: criteria. They are, in any
// order, in small letters, with commas or spaces between them:
//
//	action(include), action(exclude)  what the filter does, whatever a leading "!" of
//	                                  the expression says
//	name(NAME)                        the event has this name
//	header(NAME)                      the value of this header is what is matched, of any
//	                                  of them where there are more, but never an empty one
//	method(METHOD)                    how: regex, exact, starts_with, ends_with, contains,
//	                                  or none, the default, which takes no expression
//
// The names are case-sensitive. Without header the whole frame is matched.
//
// The error is an [ErrFilterFormat] when something is missing, unknown or does not
// go together, above all when criteria is empty, and an [ErrFilterExpression] when a
// regular expression does not compile.
func NewAdvancedFilter(criteria, expression string) (Filter, error) {
	var f Filter
	expression, f.exclude = strings.CutPrefix(expression, "!")
	options := strings.FieldsFunc(criteria, func(r rune) bool { return r == ' ' || r == ',' || r == ')' })
	for _, option := range options {
		if err := f.set(option); err != nil {
			return Filter{}, fmt.Errorf("%w: %w", ErrFilterFormat, err)
		}
	}
	problem := ""
	switch {
	case len(options) == 0:
		problem = "its criteria have no action, name, header or method"
	case f.method != methodNone && expression == "":
		problem = "it has a method, but no expression"
	case f.method == methodNone && expression != "":
		problem = "it has an expression, but no method, such as method(regex)"
	case f.method == methodNone && f.name == nil && f.header == nil:
		problem = "it has no name, no header and no expression"
	}
	if problem != "" {
		return Filter{}, fmt.Errorf("%w: %s", ErrFilterFormat, problem)
	}
	return f.with(expression)
}

// set sets one option of the criteria. Asterisk knows them by what they begin with,
// and takes the last of several.
func (f *Filter) set(option string) error {
	key, value, ok := strings.Cut(option, "(")
	value = strings.TrimRightFunc(value, func(r rune) bool { return r <= ' ' })
	if !ok || value == "" {
		return fmt.Errorf("there is no value in brackets behind %.40q", key)
	}
	switch {
	case strings.HasPrefix(key, "action"):
		if value != "include" && value != "exclude" {
			return fmt.Errorf("the action %.40q is neither include nor exclude", value)
		}
		f.exclude = value == "exclude"
	case strings.HasPrefix(key, "name"):
		f.name = []byte(value)
	case strings.HasPrefix(key, "header"):
		f.header = []byte(strings.TrimSuffix(value, ":") + ":")
	case strings.HasPrefix(key, "method"):
		if f.method, ok = filterMethods[value]; !ok {
			return fmt.Errorf("there is no method %.40q", value)
		}
	default:
		return fmt.Errorf("%.40q is none of action, name, header and method", key)
	}
	return nil
}

// with returns f with its expression.
func (f Filter) with(expression string) (Filter, error) {
	if strings.ContainsRune(expression, 0) {
		return Filter{}, fmt.Errorf("%w: there is a NUL in the expression", ErrFilterFormat)
	}
	if f.method != methodRegex {
		f.text = []byte(expression)
		return f, nil
	}
	var err error
	if f.expression, f.size, err = compileERE(expression); err != nil {
		return Filter{}, fmt.Errorf("%w: %w", ErrFilterExpression, err)
	}
	return f, nil
}

// matches reports whether the filter is for the event (manager.c: filter_cmp_fn).
func (f *Filter) matches(frame []byte) bool {
	if f.name != nil && !bytes.Equal(f.name, eventName(frame)) {
		return false
	}
	if f.header == nil {
		return f.matchesText(frame)
	}
	for len(frame) > 0 {
		line, rest, _ := bytes.Cut(frame, []byte("\n"))
		frame = rest
		value, ok := bytes.CutPrefix(line, f.header)
		if !ok {
			continue
		}
		value = bytes.TrimSuffix(value, []byte("\r"))
		for len(value) > 0 && value[0] <= ' ' {
			value = value[1:]
		}
		if len(value) > 0 && f.matchesText(value) {
			return true
		}
	}
	return false
}

// eventName returns the name of the event, which its first line has.
func eventName(frame []byte) []byte {
	name, ok := bytes.CutPrefix(frame, []byte("Event: "))
	if !ok {
		return nil
	}
	name, _, _ = bytes.Cut(name, []byte("\n"))
	return bytes.TrimSuffix(name, []byte("\r"))
}

func (f *Filter) matchesText(text []byte) bool {
	switch f.method {
	case methodRegex:
		return f.matchesExpression(text)
	case methodExact:
		return bytes.Equal(text, f.text)
	case methodStartsWith:
		return bytes.HasPrefix(text, f.text)
	case methodEndsWith:
		return bytes.HasSuffix(text, f.text)
	case methodContains:
		return bytes.Contains(text, f.text)
	}
	return true
}

// escaped are buffers for escapeBytes.
var escaped = sync.Pool{New: func() any { return new([]byte) }}

// maxEscaped is the size in bytes from which on a buffer is not kept.
const maxEscaped = 64 << 10

func (f *Filter) matchesExpression(text []byte) bool {
	if utf8.Valid(text) {
		return f.expression.Match(text)
	}
	buf := escaped.Get().(*[]byte)
	*buf = escapeBytes((*buf)[:0], text)
	found := f.expression.Match(*buf)
	if cap(*buf) <= maxEscaped {
		escaped.Put(buf)
	}
	return found
}

// Filters is an immutable set of filters, safe for use by many goroutines. The
// order of the filters does not matter. A nil *Filters, and one without a filter,
// passes everything.
type Filters struct {
	include, exclude []Filter
	and              *Filters // what an event has to pass as well
}

// With returns a set that has more filters. f is left as it is, and may be nil.
func (f *Filters) With(more ...Filter) *Filters {
	set := &Filters{}
	if f != nil {
		set.include, set.exclude, set.and = slices.Clip(f.include), slices.Clip(f.exclude), f.and
	}
	for _, one := range more {
		if one.exclude {
			set.exclude = append(set.exclude, one)
		} else {
			set.include = append(set.include, one)
		}
	}
	return set
}

// And returns the filters that pass what both f and g pass: f itself if g adds
// nothing that f has not taken in before.
func (f *Filters) And(g *Filters) *Filters {
	switch {
	case g == nil:
		return f
	case f == nil:
		return g
	case f.equal(g):
		return f.And(g.and)
	}
	n := *f
	if n.and = f.and.And(g); n.and == f.and {
		return f
	}
	return &n
}

// equal reports whether both sets have the same filters, but for what else an
// event has to pass.
func (f *Filters) equal(g *Filters) bool {
	return slices.EqualFunc(f.include, g.include, Filter.equal) && slices.EqualFunc(f.exclude, g.exclude, Filter.equal)
}

func (f Filter) equal(g Filter) bool {
	return f.exclude == g.exclude && f.method == g.method && f.size == g.size &&
		bytes.Equal(f.name, g.name) && bytes.Equal(f.header, g.header) && bytes.Equal(f.text, g.text) &&
		(f.expression == nil) == (g.expression == nil) &&
		(f.expression == nil || f.expression.String() == g.expression.String())
}

// Size is a measure of what the filters cost, in memory and in the time that
// an event takes: 8 for each, and for a regular expression one for each
// instruction of its program, of which it has 2048 at most. Who lets clients add
// filters must bound it.
func (f *Filters) Size() (size int) {
	if f == nil {
		return 0
	}
	for _, list := range [][]Filter{f.include, f.exclude} {
		for i := range list {
			size += 8 + list[i].size
		}
	}
	return size + f.and.Size()
}

// Pass reports whether a session with these filters gets an event: one of those
// that include matches it, if there is any such, and none of those that exclude
// (manager.c: should_send_event). frame is exactly the bytes that the session would
// get. It is for events that are broadcast: not for responses, the items of lists,
// and the FullyBooted of a login.
func (f *Filters) Pass(frame []byte) bool {
	if f == nil {
		return true
	}
	return (len(f.include) == 0 || anyMatches(f.include, frame)) && !anyMatches(f.exclude, frame) && f.and.Pass(frame)
}

func anyMatches(filters []Filter, frame []byte) bool {
	for i := range filters {
		if filters[i].matches(frame) {
			return true
		}
	}
	return false
}
