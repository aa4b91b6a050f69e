package proxy

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// Explain reads actions, as a client would send them, and writes what would
// become of each if the user sent it: whether it may, what decides, and where it
// goes. pbx is the name of the only PBX to ask about; empty: all of the user's.
// It reports whether all are allowed. Nothing is sent anywhere.
//
// What only a PBX can tell is taken from what is known of the newest Asterisk:
// which actions there are, and the classes that they need. An error is that of
// r or w, or says that there is no such user or PBX.
func Explain(cfg *config.Config, user, pbx string, r io.Reader, w io.Writer) (allowed bool, err error) {
	e := &explainer{cfg: cfg, user: cfg.Users[ami.FoldName(user)]}
	if e.user == nil {
		return false, fmt.Errorf("there is no user %q in the configuration", user)
	}
	e.pbxs = e.user.PBXs
	if pbx != "" {
		if e.pbxs = e.seen(pbx); e.pbxs == nil {
			return false, fmt.Errorf("user %q may use no PBX %q", user, pbx)
		}
	}
	allowed, none := true, true
	// The end of the text ends its last action too.
	actions := ami.NewActionReader(io.MultiReader(r, strings.NewReader("\n\n")))
	for {
		a, err := actions.Read()
		switch {
		case err == io.EOF && none:
			return false, errors.New("there is no action on the standard input: write one as a client sends it, such as Action: Ping")
		case err == io.EOF:
			return allowed, nil
		case err != nil:
			return false, err
		case a.Size() == 0:
			continue
		}
		none = false
		x := e.explain(a)
		allowed = allowed && x.refusal == ""
		if _, err := io.WriteString(w, x.text(a.Name())); err != nil {
			return false, err
		}
	}
}

// explainer answers for one user.
type explainer struct {
	cfg  *config.Config
	user *config.User
	pbxs []string // to ask about
}

// explanation is what would become of one action.
type explanation struct {
	refusal string
	facts   [][2]string // each with its title
}

func (x *explanation) add(title, fact string) { x.facts = append(x.facts, [2]string{title, fact}) }

func (x *explanation) refused(text, why string) *explanation {
	x.refusal = text
	if why != "" {
		x.add("by", why)
	}
	return x
}

func (x *explanation) text(action string) string {
	var b strings.Builder
	verdict := "allowed"
	if x.refusal != "" {
		verdict = "refused: " + shown(x.refusal)
	}
	fmt.Fprintf(&b, "%s: %s\n", shown(action), verdict)
	for _, f := range x.facts {
		fmt.Fprintf(&b, "  %-5s  %s\n", f[0], f[1])
	}
	return b.String()
}

// shown is a text for a terminal, of which it must not be able to take control.
func shown(name string) string {
	if q := fmt.Sprintf("%q", name); name == "" || q != `"`+name+`"` {
		return q
	}
	return name
}

// explain makes the tests of [Session.handle], in that order.
func (e *explainer) explain(a *ami.Action) *explanation {
	x := &explanation{}
	if f := a.Fault(); f != ami.FaultNone {
		return x.refused(f.Message(), "")
	}
	name := ami.FoldName(a.Name())
	info, known := ami.LookupAction(name)
	if name == "" {
		return x.refused(textMissingAction, "")
	}
	if _, local := localActions[name]; local {
		return e.explainLocal(x, a, info)
	}
	if _, admin := adminActions[name]; admin {
		if !e.user.ProxyAdmin {
			return x.refused(unknownAction(a.Name()), "proxyadmin: the user has it not")
		}
		x.add("by", "proxyadmin")
		x.add("to", "amiproxy itself")
		return x
	}
	if !known {
		return x.refused(unknownAction(a.Name()), "no Asterisk that amiproxy knows has it; if the PBX does, its class and the user's rules decide")
	}
	before := a
	a = e.user.Policy.Set(a)
	v, hidden := e.judge(a, info)
	to, refusal := e.where(a)
	if refusal != "" && (a.Get("Server") != "" || e.user.Policy.MayList(name, info.Classes)) {
		return x.refused(refusal, "")
	}
	x.add("class", className(e.user.Policy.Authority(name, info.Classes))+" (as the newest Asterisk has it: that of a PBX which is connected counts)")
	if !v.Allowed() {
		return x.refused(v.Refusal, v.Reason)
	}
	x.add("by", v.Reason)
	if headers := replaced(before, a); headers != "" {
		x.add("sets", headers)
	}
	if hidden != "" {
		x.add("fence", hidden+": unless it is of the user's tenants, the answer is that there is no such thing")
	}
	x.add("to", to)
	return x
}

// judge makes the tests of [mayAt], at the first PBX that allows the action. hidden are
// the headers that name what is of no tenant of the user, as long as no PBX says more.
func (e *explainer) judge(a *ami.Action, info *ami.ActionInfo) (v acl.Verdict, hidden string) {
	v = e.user.Policy.May(a, info.Classes, usualDirectories)
	if !v.Allowed() || e.user.Policy.Fence() == nil {
		return v, ""
	}
	pbxs := e.pbxs
	if named := e.seen(a.Get("Server")); named != nil {
		pbxs = named
	}
	var within acl.Verdict
	for _, name := range pbxs {
		calls := fence.New(1)
		calls.SetTenants(slices.DeleteFunc(slices.Clone(e.cfg.Tenants), func(t *acl.Tenant) bool { return !t.On(name) }))
		var headers []string
		if within, headers = e.user.Policy.Confine(a, calls); within.Allowed() {
			return v, strings.Join(headers, ", ")
		}
	}
	return within, ""
}

// explainLocal is for what the proxy answers itself.
func (e *explainer) explainLocal(x *explanation, a *ami.Action, info *ami.ActionInfo) *explanation {
	x.add("to", "amiproxy itself")
	if v := e.user.Policy.May(a, info.Classes, acl.Directories{}); info.Name == "Filter" && !v.Allowed() {
		return x.refused(v.Refusal, v.Reason)
	}
	return x
}

// usualDirectories are where most PBXes keep their files. One that is connected
// tells its own.
var usualDirectories = acl.Directories{Config: "/etc/asterisk", Modules: "/usr/lib/asterisk/modules"}

func className(class ami.Class) string {
	if class == ami.ClassNone {
		return "none"
	}
	return strings.TrimSuffix(class.String(), ",all")
}

// replaced are the names of the headers that the user's rules set.
func replaced(before, after *ami.Action) string {
	old := slices.Collect(before.Lines())
	var headers []string
	for line := range after.Lines() {
		if name, _, _ := strings.Cut(line, ":"); !slices.Contains(old, line) {
			headers = append(headers, name)
		}
	}
	return strings.Join(headers, ", ")
}

// where says to which PBX an action goes, as far as that can be told without
// them.
func (e *explainer) where(a *ami.Action) (to, refusal string) {
	server, name := a.Get("Server"), ami.FoldName(a.Name())
	switch {
	case len(e.user.PBXs) == 0:
		return "", "the user may use no PBX"
	case server != "":
		if named := e.seen(server); named != nil {
			return named[0], ""
		}
		return "", "No such server: " + server
	case len(e.pbxs) == 1:
		return e.pbxs[0], ""
	}
	owner := ""
	if len(ownedBy[name]) > 0 && slices.ContainsFunc(ownedBy[name], func(n named) bool { return a.Get(n.header) != "" }) {
		owner = "the one of " + strings.Join(e.pbxs, ", ") + " that has what it names; else "
	}
	switch { // as in Session.route
	case merges(a, name):
		return owner + "all of " + strings.Join(e.pbxs, ", "), ""
	case e.user.DefaultPBX != "":
		return owner + e.user.DefaultPBX, ""
	case owner != "":
		return owner + "none (Server header required)", ""
	}
	return "", "Server header required"
}

// seen is the PBX of a name among those of the user, nil if it is none.
func (e *explainer) seen(pbx string) []string {
	i := slices.IndexFunc(e.user.PBXs, func(name string) bool { return ami.FoldName(name) == ami.FoldName(pbx) })
	if i < 0 {
		return nil
	}
	return e.user.PBXs[i : i+1]
}
