package acl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Finding is what is wrong, or odd, with one line of rules among the others.
type Finding struct {
	// Line counts the lines in the order of [Rules.Add], from 0.
	Line int
	// Warning: the rules mean something, but hardly what was meant.
	Warning bool
	Text    string
}

// Check finds what no single line can tell. Rules with a finding that is no
// warning are not to be used. closest guesses what misspelled names were meant to
// be; nil: nobody asks.
func (r *Rules) Check(closest Closest) (found []Finding) {
	add := func(l ruleLine, warning bool, format string, args ...any) {
		found = append(found, Finding{l.number, warning, fmt.Sprintf(format, args...)})
	}
	if len(r.allow) == 0 && len(r.lines) > 0 {
		first := ruleLine{}
		add(first, true, "without an allowaction the user can send no action at all")
	}
	for _, d := range r.deny {
		for _, g := range d.actions {
			if g.literal() && ownAction(lookup(g.name)) {
				add(d.ruleLine, false, "%s is the session's own affair and cannot be denied", spell(g.name))
			}
		}
	}
	for _, h := range r.headers {
		r.checkActions(h.ruleLine, h.actions, add)
	}
	for _, s := range r.sets {
		r.checkActions(s.ruleLine, s.actions, add)
	}
	r.checkTwice(add)
	r.checkComplete(add)
	if closest != nil {
		r.checkNames(closest, add)
	}
	return found
}

type addFinding = func(l ruleLine, warning bool, format string, args ...any)

// checkActions looks whether the actions that a line is about can be sent.
func (r *Rules) checkActions(l ruleLine, actions []actionGlob, add addFinding) {
	for _, g := range actions {
		switch {
		case !g.literal():
			if len(r.allow) > 0 && !r.allowsSome(&g) {
				add(l, true, "%s is no action that an allowaction names", g.name)
			}
		case ownAction(lookup(g.name)):
			add(l, false, "%s is the session's own affair and never reaches a PBX", spell(g.name))
		case naming(r.allow, g.name) == nil:
			add(l, false, "no allowaction names %s", spell(g.name))
		}
	}
}

// allowsSome reports whether a glob matches an action that is allowed: one that
// Asterisk has, or that is named in full.
func (r *Rules) allowsSome(g *actionGlob) bool {
	for _, info := range ami.Actions() {
		if g.match(info.Name) && naming(r.allow, info.Name) != nil {
			return true
		}
	}
	for _, allow := range r.allow {
		for i := range allow.actions {
			if allow.actions[i].literal() && g.match(allow.actions[i].name) {
				return true
			}
		}
	}
	return false
}

// checkTwice finds headers of an action about which two lines speak.
func (r *Rules) checkTwice(add addFinding) {
	type subject struct{ action, header string }
	seen, set := map[subject]ruleLine{}, map[subject]ruleLine{}
	each := func(actions []actionGlob, header string, do func(subject)) {
		for _, g := range actions {
			if g.literal() {
				do(subject{g.name, ami.FoldName(header)})
			}
		}
	}
	for _, s := range r.sets {
		each(s.actions, s.header, func(about subject) {
			if first, ok := set[about]; ok && first.number != s.number {
				add(s.ruleLine, false, "%s of %s is set twice: %s", s.header, spell(about.action), first.text)
			}
			set[about] = s.ruleLine
		})
	}
	for _, h := range r.headers {
		each(h.actions, h.header, func(about subject) {
			if first, ok := seen[about]; ok && first.number != h.number {
				add(h.ruleLine, false, "a second line for %s of %s (write one, with the patterns parted by |); the first: %s", about.header, spell(about.action), first.text)
			}
			if first, ok := set[about]; ok {
				add(h.ruleLine, false, "%s of %s is set, whatever the client sends: %s", about.header, spell(about.action), first.text)
			}
			seen[about] = h.ruleLine
		})
	}
}

// checkComplete finds actions that the lines leave no way to send.
func (r *Rules) checkComplete(add addFinding) {
	for _, h := range r.headers {
		for _, g := range h.actions {
			info := lookup(g.name)
			if !g.literal() || info == nil || r.first(g.name) != h.number {
				continue
			}
			v := r.compileView(info.Name, info)
			for _, header := range indispensable[info.Name] {
				if name := ami.FoldName(header); !v.governs(name) && !powerless(info, name) {
					add(h.ruleLine, true, "no line names %s of %s, without which a PBX refuses it: add allowheader(%s) = %s: *, or patterns", header, info.Name, info.Name, header)
				}
			}
			for _, own := range v.headers {
				if info.Name == "Originate" && own.header == "channel" && !own.values.all && !strings.Contains(own.values.String(), "/") {
					add(own.ruleLine, true, "no technology, as in PJSIP/100: a PBX refuses every such Channel")
				}
			}
			if info.Name == "Originate" && !v.governs("context") && !v.governs("application") {
				add(h.ruleLine, true, "no line names Context or Application of Originate: every one will be refused")
			}
		}
	}
}

// first is the first allowheader line with an action's name in full.
func (r *Rules) first(action string) int {
	for _, h := range r.headers {
		if slices.ContainsFunc(h.actions, func(g actionGlob) bool { return g.literal() && g.name == action }) {
			return h.number
		}
	}
	return -1
}

func lookup(action string) *ami.ActionInfo {
	info, _ := ami.LookupAction(action)
	return info
}

// spell is the name of an action as Asterisk spells it.
func spell(action string) string { return actionName(action, lookup(action)) }
