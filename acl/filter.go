package acl

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// What is wrong with a filter. Asterisk answers the action Filter with a text
// of its own for each (manager.c: action_filter).
var (
	// ErrFilterFormat says that the filter or its criteria were not formatted
	// as they must be.
	ErrFilterFormat = errors.New("event filter was formatted incorrectly")
	// ErrFilterExpression says that the regular expression did not compile.
	ErrFilterExpression = errors.New("expression of the event filter did not compile")
)

// Filter is one compiled event filter. It is immutable and safe for use by many
// goroutines.
type Filter struct {
	exclude bool
	match   func(frame []byte) bool
}

// NewFilter compiles a legacy filter: a POSIX extended regular expression over
// the whole frame. A leading "!" excludes what it matches.
func NewFilter(expression string) (Filter, error) {
	rest, exclude := strings.CutPrefix(expression, "!")
	if rest == "" {
		return Filter{}, fmt.Errorf("%w: it has no expression", ErrFilterFormat)
	}
	re, err := regexp.Compile("(?s)" + rest)
	if err != nil {
		return Filter{}, fmt.Errorf("%w: %v", ErrFilterExpression, err)
	}
	return Filter{exclude: exclude, match: re.Match}, nil
}

// NewAdvancedFilter compiles what the configuration writes
// eventfilter(criteria) = expression, and the action Filter as MatchCriteria
// and Filter.
func NewAdvancedFilter(criteria, expression string) (Filter, error) {
	return NewFilter(expression)
}

// Filters is an immutable set of filters. A nil *Filters passes everything.
type Filters struct {
	include, exclude []Filter
}

// With returns a set that has more filters. f is left as it is, and may be nil.
func (f *Filters) With(more ...Filter) *Filters {
	set := &Filters{}
	if f != nil {
		set.include = append(set.include, f.include...)
		set.exclude = append(set.exclude, f.exclude...)
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

// Pass reports whether a session with these filters gets an event. frame is
// exactly the bytes that the session would get.
func (f *Filters) Pass(frame []byte) bool {
	if f == nil {
		return true
	}
	for i := range f.exclude {
		if f.exclude[i].match(frame) {
			return false
		}
	}
	for i := range f.include {
		if f.include[i].match(frame) {
			return true
		}
	}
	return len(f.include) == 0
}
