package acl

import (
	"fmt"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// ruleSet is rules ready to judge by: what they say of each action that
// Asterisk has, and that they allow, is found once.
type ruleSet struct {
	*Rules
	views map[*ami.ActionInfo]*ruleView
}

// ruleView is what rules say of one action.
type ruleView struct {
	verdict Verdict // on its name
	headers []viewedHeader
	sets    []*setRule
	named   bool // an allowaction has the name in full
}

// viewedHeader is a line that is for the action.
type viewedHeader struct {
	*headerRule
	list     listKind
	optional bool // the header may be missing
}

func compileRules(r *Rules) *ruleSet {
	set := &ruleSet{r, make(map[*ami.ActionInfo]*ruleView)}
	for i := range ami.Actions() {
		info := &ami.Actions()[i]
		if v := r.compileView(info.Name, info); v.verdict.Allowed() {
			set.views[info] = v
		}
	}
	return set
}

func (r *Rules) compileView(action string, info *ami.ActionInfo) *ruleView {
	v := &ruleView{verdict: r.allows(action), named: r.namesLiterally(action)}
	for i := range r.sets {
		if s := &r.sets[i]; names(s.actions, action) {
			v.sets = append(v.sets, s)
		}
	}
	for i := range r.headers {
		if h := &r.headers[i]; names(h.actions, action) {
			list := listOf(info, h.header)
			optional := h.values.Match("") || list != noList || v.isSet(h.header)
			v.headers = append(v.headers, viewedHeader{h, list, optional})
		}
	}
	return v
}

// view is what the rules say of an action; info may be nil.
func (set *ruleSet) view(action string, info *ami.ActionInfo) *ruleView {
	if v := set.views[info]; v != nil {
		return v
	}
	return set.compileView(action, info)
}

// judge says whether an action may be sent. What it looks at is what
// [ami.Action.AppendForward] sends and [ruleSet.set] has made of it: a line that
// no look-up can find is not there, and of a header that is given again every
// value must match, whichever a release of Asterisk reads.
func (set *ruleSet) judge(a *ami.Action, info *ami.ActionInfo) Verdict {
	action := a.Name()
	v := set.view(action, info)
	if !v.verdict.Allowed() || len(v.headers) == 0 {
		return v.verdict
	}
	if reason := v.headersOf(a, action, info); reason != "" {
		return refused(reason)
	}
	return v.verdict
}

// headersOf says what is wrong with the headers of an action, "" if nothing is.
func (v *ruleView) headersOf(a *ami.Action, action string, info *ami.ActionInfo) string {
	reads := originateReads(a, info)
	var met [maxHeaderRules]bool
	for text := range a.Lines() {
		name, value, colon := strings.Cut(text, ":")
		if !colon || name == "" {
			if sentWhole(info) {
				return "a line without a header"
			}
			continue
		}
		if alwaysFine(name) || v.isSet(name) {
			continue
		}
		value = ami.SkipBlanks(value)
		named := false
		for i := range v.headers {
			h := &v.headers[i]
			if !ami.EqualFold(h.header, name) {
				continue
			}
			named, met[i] = true, true
			if !reads.ignores(h.header, value) {
				if reason := h.judge(value); reason != "" {
					return reason
				}
			}
		}
		if !named && !powerless(info, name) {
			return fmt.Sprintf("no allowheader(%s) names %s", actionName(action, info), shorten(fmt.Sprintf("%q", name)))
		}
	}
	for i := range v.headers {
		if h := &v.headers[i]; !met[i] && !h.optional && !reads.ignores(h.header, "") {
			return h.text + ": it is missing"
		}
	}
	if reads.byContext && !v.governs("context") {
		return fmt.Sprintf("no allowheader(%s) names Context, which Asterisk reads where Application is missing", actionName(action, info))
	}
	return ""
}

// judge says what is wrong with a value, "" if nothing is.
func (h *viewedHeader) judge(value string) string {
	if h.list == noList {
		if h.values.Match(value) {
			return ""
		}
		return h.text + ": it is " + quoted(h.header, value)
	}
	if h.values.all {
		return ""
	}
	// Where Asterisk parts the items depends on its release: at commas but not
	// those in quotes or brackets, or at bars (app.c: __ast_app_separate_args).
	// Every one of them may begin an item here.
	for more := true; more; {
		item := value
		if i := strings.IndexAny(value, ",|"); i >= 0 {
			item, value = value[:i], value[i+1:]
		} else {
			more = false
		}
		if h.list == assignments {
			name, _, ok := strings.Cut(item, "=")
			if !ok && !strings.Contains(item, "(") {
				continue // dropped
			}
			// FILE(/x,CALLERID(name)=y is one item with one bracket open.
			item = name
		}
		if item != "" && !h.values.Match(item) {
			return h.text + ": one is " + quoted(h.header, item)
		}
	}
	return ""
}

// quoted is a value as a reason shows it. Those that may be secret or private
// are not shown.
func quoted(header, value string) string {
	switch header {
	case "secret", "key", "password", "pin", "val", "value", "body", "message":
		return "another"
	}
	if value == "" {
		return "empty"
	}
	return shorten(fmt.Sprintf("%q", value))
}

// governs reports whether any line, also one that sets it, names a header.
func (v *ruleView) governs(header string) bool {
	for i := range v.headers {
		if v.headers[i].header == header {
			return true
		}
	}
	return v.isSet(header)
}

// isSet reports whether the client's header is replaced.
func (v *ruleView) isSet(header string) bool {
	for _, s := range v.sets {
		if ami.EqualFold(s.header, header) {
			return true
		}
	}
	return false
}

// set puts the headers of setheader lines in the place of the client's.
func (set *ruleSet) set(a *ami.Action, info *ami.ActionInfo) *ami.Action {
	for _, s := range set.view(a.Name(), info).sets {
		a = a.With(s.header, s.value)
	}
	return a
}

// originateReading is what Asterisk reads of an Originate: Application and Data, or
// else Context, Exten and Priority (manager.c: action_originate). With an
// Application it still looks whether there is such an extension, so that those
// which are there must match all the same.
type originateReading struct{ byApplication, byContext bool }

func originateReads(a *ami.Action, info *ami.ActionInfo) originateReading {
	if info == nil || info.Name != "Originate" {
		return originateReading{}
	}
	application := a.Get("Application") != ""
	return originateReading{application, !application}
}

// ignores reports whether Asterisk does without a header.
func (o originateReading) ignores(header, value string) bool {
	switch header {
	case "application", "data":
		return o.byContext
	case "context", "exten", "priority":
		return o.byApplication && value == ""
	}
	return false
}

// actionName is the name of an action as the table spells it.
func actionName(action string, info *ami.ActionInfo) string {
	if info != nil {
		return info.Name
	}
	return action
}
