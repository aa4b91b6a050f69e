package config

import (
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// tenantDraft is a [tenant:NAME] section while it is being read.
type tenantDraft struct {
	place
	name  string
	pbxs  []string
	lines []tenantLine
}

type tenantLine struct {
	mark acl.Mark
	from *value
}

// tenantKeys are the keys of a [tenant:NAME] section.
var tenantKeys = []key[tenantDraft]{
	{name: "pbx", set: func(v *value, t *tenantDraft) { t.pbxs = v.pbxNames() }},
	tenantMark(acl.ByContext),
	tenantMark(acl.ByChannel),
	tenantMark(acl.ByAccountCode),
	tenantMark(acl.ByDID),
	tenantMark(acl.ByQueue),
	tenantMark(acl.ByConference),
	tenantMark(acl.ByParkingLot),
	tenantMark(acl.ByMailbox),
	tenantMark(acl.ByDevice),
}

func tenantMark(m acl.Mark) key[tenantDraft] {
	return key[tenantDraft]{name: m.String(), many: true, set: func(v *value, t *tenantDraft) {
		t.lines = append(t.lines, tenantLine{m, v})
	}}
}

// loadTenant reads one [tenant:NAME] section.
func (l *loading) loadTenant(s *section) {
	_, name, _ := strings.Cut(s.name, ":")
	t := &tenantDraft{place: s.place, name: name}
	given := apply(l, s, false, tenantKeys, t)
	if !pbxName(name) {
		l.report.errorf(s.place, s.name, "", "the name of a tenant is 1 to 32 of A-Z a-z 0-9 _ . -")
	}
	for i, pbx := range t.pbxs {
		if j := l.pbx(pbx); j >= 0 {
			t.pbxs[i] = l.pbxs[j].Name
		} else {
			given["pbx"].errorf("there is no [pbx:%s]", pbx)
		}
	}
	tenant := acl.NewTenant(name, t.pbxs...)
	for _, line := range t.lines {
		if err := tenant.Add(line.mark, line.from.text); err != nil {
			line.from.errorf("%s", err)
		}
	}
	t.allIsTheirs(l)
	if len(t.lines) == 0 && !s.broken {
		l.report.warnf(s.place, s.name, "", "no line says what is the tenant's: its users see nothing")
	}
	if l.tenant(name) != nil {
		l.report.errorf(s.place, s.name, "", "there is a tenant %s already", name)
		return
	}
	l.tenants = append(l.tenants, tenant)
}

// tenant finds a tenant by its name, compared without case; nil if there is none.
func (l *loading) tenant(name string) *acl.Tenant {
	for _, t := range l.tenants {
		if t.Name() == fold(name) {
			return t
		}
	}
	return nil
}

// pbxNames is a list of names of PBXes, or of tenants; nil if it is none.
func (v *value) pbxNames() []string {
	names, ok := list(v.text)
	if !ok {
		v.errorf("%s names nothing, or has an empty name in it", v.shown())
		return nil
	}
	return names
}

// fenceDraft is what a user section says of its fence.
type fenceDraft struct {
	tenants []string
	let     []*value // allowevent, and allowevent(…)
}

func setTenants(v *value, u *userDraft) { u.fence.tenants = v.pbxNames() }

func allowEvent(v *value, u *userDraft) { u.fence.let = append(u.fence.let, v) }

// userFence makes the fence of a user who has a tenant line, right or wrong.
func (l *loading) userFence(u *userDraft, given values) {
	fenced := given["tenant"]
	if fenced == nil {
		if v := given["allowevent"]; v != nil {
			v.errorf("means nothing without tenant: a user without a fence sees all events that read allows")
		}
		return
	}
	for _, name := range u.fence.tenants {
		if l.tenant(name) == nil {
			fenced.errorf("there is no [tenant:%s]", name)
		}
	}
	var rules []acl.EventRule
	named := map[string]bool{}
	for _, v := range u.fence.let {
		if strings.Contains(v.key, "(") {
			continue
		}
		for _, name := range v.pbxNames() {
			if strings.Trim(name, eventLetters) != "" {
				v.errorf("%q is no name of an event", name)
			}
			named[name] = true
			rules = append(rules, acl.LetEvent(name))
		}
	}
	for _, v := range u.fence.let {
		_, name, conditional := strings.Cut(v.key, "(")
		if !conditional {
			continue
		}
		name, closed := strings.CutSuffix(name, ")")
		rule, err := acl.LetEventWith(trim(name), v.text)
		switch {
		case !closed:
			v.errorf("no ) before the =")
		case err != nil:
			v.errorf("%s", err)
		case !named[trim(name)]:
			v.errorf("no allowevent = %s: the condition lets nothing through by itself", trim(name))
		default:
			rules = append(rules, rule)
		}
	}
	u.options.Fence = acl.NewFence(u.fence.tenants, rules)
}

// eventLetters are those of names of events.
const eventLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
