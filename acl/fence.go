package acl

import (
	"errors"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Fence is what a user is confined to: the calls and things of some tenants, and
// the events that rules name. It is immutable and safe for use by many
// goroutines. A nil Fence confines nobody.
type Fence struct {
	tenants []string // names in lower case, sorted
	events  []EventRule
}

// NewFence returns the fence around tenants, by their names. Of events that tell
// nothing of whose they are, it lets those through that a rule names.
func NewFence(tenants []string, events []EventRule) *Fence {
	f := &Fence{events: events}
	for _, name := range tenants {
		f.tenants = append(f.tenants, ami.FoldName(name))
	}
	slices.Sort(f.tenants)
	f.tenants = slices.Compact(f.tenants)
	return f
}

// Tenants are the names of the tenants in lower case, in order. The slice must not be
// changed.
func (f *Fence) Tenants() []string {
	if f == nil {
		return nil
	}
	return f.tenants
}

// Within reports whether any of some tenants, by names in lower case, is one of
// the fence's.
func (f *Fence) Within(tenants []string) bool {
	if f == nil {
		return true
	}
	for _, name := range tenants {
		if slices.Contains(f.tenants, name) {
			return true
		}
	}
	return false
}

// alwaysSeen are events that tell nothing but that the PBX, or the way to it,
// comes and goes: clients wait for them.
var alwaysSeen = []string{"FullyBooted", "Shutdown", "ProxyServerState"}

// Lets reports whether an event that does not tell whose it is comes through:
// one that a rule names, if all rules that are about its headers match.
func (f *Fence) Lets(event ami.Frame) bool {
	if f == nil {
		return true
	}
	name := string(event.Event())
	lets := slices.Contains(alwaysSeen, name)
	for i := range f.events {
		switch r := &f.events[i]; {
		case r.event != name:
		case r.header == "":
			lets = true
		default:
			if value, _ := event.Get(r.header); !r.pattern.Match(string(value)) {
				return false
			}
		}
	}
	return lets
}

// And returns the fence of those who are in both: f itself if g confines no more
// than that.
func (f *Fence) And(g *Fence) *Fence {
	switch {
	case g == nil:
		return f
	case f == nil:
		return g
	}
	n := &Fence{}
	for _, name := range f.tenants {
		if slices.Contains(g.tenants, name) {
			n.tenants = append(n.tenants, name)
		}
	}
	// An event must be named by both, and do by the headers of both.
	for _, rules := range [2][2]*Fence{{f, g}, {g, f}} {
		for _, r := range rules[0].events {
			if (r.header != "" || rules[1].names(r.event)) && !slices.ContainsFunc(n.events, r.equal) {
				n.events = append(n.events, r)
			}
		}
	}
	if len(n.tenants) == len(f.tenants) && len(n.events) == len(f.events) && slices.EqualFunc(n.events, f.events, EventRule.equal) {
		return f
	}
	return n
}

// names reports whether a rule lets an event through.
func (f *Fence) names(event string) bool {
	return slices.ContainsFunc(f.events, func(r EventRule) bool { return r.event == event && r.header == "" })
}

// EventRule lets an event through a fence, or says what a header of it must be.
type EventRule struct {
	event   string
	header  string // empty: it lets the event through
	pattern Pattern
}

// LetEvent is the rule that lets the events of a name through.
func LetEvent(name string) EventRule { return EventRule{event: name} }

// LetEventWith is the rule that events of a name must have a header that
// matches, from "Header: pattern | pattern". It lets nothing through.
func LetEventWith(name, condition string) (EventRule, error) {
	header, text, ok := strings.Cut(condition, ":")
	header = strings.TrimSpace(header)
	if !ok || header == "" || strings.ContainsAny(header, " \t") {
		return EventRule{}, errors.New(`no "Header: pattern"`)
	}
	p, err := NewPattern(text)
	return EventRule{event: name, header: header, pattern: p}, err
}

// Event is the name of the event that the rule is about.
func (r EventRule) Event() string { return r.event }

func (r EventRule) equal(other EventRule) bool {
	return r.event == other.event && ami.FoldName(r.header) == ami.FoldName(other.header) && r.pattern.String() == other.pattern.String()
}
