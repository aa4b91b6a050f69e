package config

import (
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// namedACL is an [acl:NAME] section, or a section of the aclfile.
type namedACL struct {
	acl.List
	place
	name string
}

// aclKeys are the keys of [acl:NAME] and of every section of an acl.conf.
var aclKeys = []key[namedACL]{
	{name: "deny", many: true, set: rule(func(a *namedACL) *acl.List { return &a.List }, false)},
	{name: "permit", many: true, set: rule(func(a *namedACL) *acl.List { return &a.List }, true)},
}

// loadACLs reads the [acl:NAME] sections, and the aclfile if there is one.
func (l *loading) loadACLs(sections []*section) {
	l.acls = map[string]*namedACL{}
	for _, s := range sections {
		_, name, _ := strings.Cut(s.name, ":")
		l.loadACL(s, name)
	}
	from := l.general.aclFile
	if from.from == nil {
		return
	}
	text, ok := from.read(l)
	if !ok {
		return
	}
	for _, s := range l.sections(from.name, text) {
		switch {
		case s.template:
			l.checkTemplate(s)
		case fold(s.name) == "general":
			l.report.errorf(s.place, s.name, "", "an aclfile holds ACLs only")
		default:
			l.loadACL(s, s.name)
		}
	}
}

func (l *loading) loadACL(s *section, name string) {
	a := &namedACL{place: s.place, name: name}
	apply(l, s, false, aclKeys, a)
	old := l.acls[fold(name)]
	switch {
	case name == "" || strings.Contains(name, ",") || trim(name) != name:
		l.report.errorf(s.place, s.name, "", "an ACL needs a name, without commas and blanks around it")
		return
	case old != nil:
		l.report.errorf(s.place, s.name, "", "there is an ACL %s at %s already", old.name, old.place)
		return
	case len(s.entries) == 0 && !s.broken:
		l.report.warnf(s.place, s.name, "", "no deny and no permit: this ACL lets everybody in")
	}
	l.acls[fold(name)] = a
}
