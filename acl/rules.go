package acl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Rules are a user's action rules, as the lines of a file give them. The zero
// value has no line and is ready for [Rules.Add]; what [New] was given must not
// be changed any more. The order of the lines never matters.
//
// An action needs an allowaction that names it and no denyaction that does. If
// any allowheader is for it, a header that a line names must be there and match,
// and a header that no line names must not be there.
type Rules struct {
	lines       []string // all, without their places, to compare by
	allow, deny []actionRule
	headers     []headerRule
	sets        []setRule
}

// The kinds of lines.
const (
	AllowAction = "allowaction"
	DenyAction  = "denyaction"
	AllowHeader = "allowheader"
	SetHeader   = "setheader"
)

// maxHeaderRules is how many allowheader lines there may be.
const maxHeaderRules = 256

// actionRule is an allowaction or denyaction line.
type actionRule struct {
	ruleLine
	actions []actionGlob
}

// headerRule is an allowheader line.
type headerRule struct {
	ruleLine
	actions []actionGlob
	header  string // in lower case
	values  Pattern
}

// setRule is a setheader line.
type setRule struct {
	ruleLine
	actions       []actionGlob
	header, value string
}

// ruleLine is where a rule stands and what it says.
type ruleLine struct {
	number int    // counts from 0, in the order of Add
	text   string // "file:14: allowheader(Originate) = Context: from-crm"
}

// actionGlob is one name of an action in a rule, which may have wildcards.
type actionGlob struct {
	glob
	name string // in lower case
}

// literal reports whether the glob names one action, and no others.
func (g *actionGlob) literal() bool { return !g.wild }

// Add takes one line of the file, "key = value": key is allowaction, denyaction,
// or allowheader(ACTIONS) or setheader(ACTIONS); where is its place, for reasons.
// An error says what is wrong, and the line was not taken. What lines mean
// together is for [Rules.Check].
func (r *Rules) Add(where, key, value string) error {
	kind, inner, bracket := strings.Cut(key, "(")
	kind = ami.FoldName(kind)
	at := ruleLine{len(r.lines), where + ": " + shorten(key+" = "+value)}
	var err error
	switch {
	case !bracket && kind == AllowAction:
		err = addActions(&r.allow, at, value)
	case !bracket && kind == DenyAction:
		err = addActions(&r.deny, at, value)
	case bracket && kind == AllowHeader:
		err = r.addHeader(at, inner, value)
	case bracket && kind == SetHeader:
		err = r.addSet(at, inner, value)
	case kind == AllowHeader || kind == SetHeader:
		err = fmt.Errorf("for which actions? Write %s(ACTION, …) = Header: …", kind)
	default:
		err = fmt.Errorf("%s has no brackets", kind)
	}
	if err == nil {
		r.lines = append(r.lines, key+" = "+value)
	}
	return err
}

func addActions(rules *[]actionRule, at ruleLine, value string) error {
	actions, err := parseActions(value)
	if err == nil {
		*rules = append(*rules, actionRule{at, actions})
	}
	return err
}

func (r *Rules) addHeader(at ruleLine, inner, value string) error {
	if len(r.headers) == maxHeaderRules {
		return fmt.Errorf("more than %d of them", maxHeaderRules)
	}
	actions, header, text, err := parseHeaderLine(inner, value)
	if err != nil {
		return err
	}
	values, err := NewPattern(text)
	if err != nil {
		return err
	}
	r.headers = append(r.headers, headerRule{at, actions, ami.FoldName(header), values})
	return nil
}

func (r *Rules) addSet(at ruleLine, inner, value string) error {
	actions, header, text, err := parseHeaderLine(inner, value)
	switch {
	case err != nil:
		return err
	case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return errors.New("a control character")
	case len(header)+len(": ")+len(text)+len("\r\n") > ami.MaxLine:
		return fmt.Errorf("longer than Asterisk reads (%d bytes)", ami.MaxLine)
	}
	for i := range actions {
		if !actions[i].literal() {
			return fmt.Errorf("%s is not the name of one action: a header is set for actions that are named in full", actions[i].name)
		}
	}
	r.sets = append(r.sets, setRule{at, actions, header, text})
	return nil
}

// parseHeaderLine takes "ACTIONS)" and "Header: value" apart.
func parseHeaderLine(inner, line string) (actions []actionGlob, header, value string, err error) {
	inner, closed := strings.CutSuffix(inner, ")")
	if !closed {
		return nil, "", "", errors.New("no ) before the =")
	}
	if actions, err = parseActions(inner); err != nil {
		return nil, "", "", err
	}
	header, value, colon := strings.Cut(line, ":")
	header, value = strings.Trim(header, " \t"), strings.Trim(value, " \t")
	switch {
	case !colon || header == "":
		return nil, "", "", errors.New("no Header: before the value")
	case strings.ContainsFunc(header, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("*?|", c) }):
		return nil, "", "", fmt.Errorf("%q is not the name of a header", header)
	case alwaysFine(header):
		return nil, "", "", fmt.Errorf("%s is not for rules: it never reaches the PBX as the client sent it", header)
	}
	return actions, header, value, nil
}

// parseActions reads a list of names of actions, of which each may have
// wildcards.
func parseActions(list string) (actions []actionGlob, err error) {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.Trim(name, " \t")
		if name == "" {
			return nil, errors.New("the name of an action is missing")
		}
		for i := range len(name) {
			if c := name[i]; c >= 0x80 || !wildBytes[c] && c != '?' {
				return nil, fmt.Errorf("%q is not the name of an action", name)
			}
		}
		g, err := newGlob(name, true)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		actions = append(actions, actionGlob{g, ami.FoldName(name)})
	}
	return actions, nil
}

// shorten is a line for the eyes of people.
func shorten(text string) string {
	const most = 120
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// names reports whether any glob matches the name of an action.
func names(actions []actionGlob, action string) bool {
	for i := range actions {
		if actions[i].match(action) {
			return true
		}
	}
	return false
}

// naming is the first of some rules that names an action, nil if none does.
func naming(rules []actionRule, action string) *actionRule {
	for i := range rules {
		if names(rules[i].actions, action) {
			return &rules[i]
		}
	}
	return nil
}

// allows says whether an action may be sent at all.
func (r *Rules) allows(action string) Verdict {
	if by := naming(r.deny, action); by != nil {
		return refused(by.text)
	}
	by := naming(r.allow, action)
	if by == nil {
		return refused("no allowaction names " + shorten(fmt.Sprintf("%q", action)))
	}
	return Verdict{Reason: by.text}
}

// namesLiterally reports whether an allowaction has the name of an action in
// full.
func (r *Rules) namesLiterally(action string) bool {
	for i := range r.allow {
		for j := range r.allow[i].actions {
			if g := &r.allow[i].actions[j]; g.literal() && g.match(action) {
				return true
			}
		}
	}
	return false
}

// bothRules are the rules of which each must allow an action, so that all of
// before and of more do: before itself if more has nothing new.
func bothRules(before, more []*ruleSet) []*ruleSet {
	all := slices.Clip(before)
	for _, r := range more {
		if !slices.ContainsFunc(before, r.equal) {
			all = append(all, r)
		}
	}
	return all
}

// equal reports whether two sets of rules have the same lines.
func (set *ruleSet) equal(other *ruleSet) bool {
	return slices.Equal(set.lines, other.lines)
}
