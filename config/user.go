package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/acl"
)

// maxUserName is the longest name of a manager user in bytes (manager.c:
// username is 80 bytes with the NUL).
const maxUserName = 79

// userDraft is a user section while it is being read.
type userDraft struct {
	User
	options acl.Options
	secret  secret
	old     []oldSecret
	// byName is the first certificate line with a name, not a fingerprint.
	byName *value
	// rules are the deny and permit lines; acls the names in acl lines.
	rules acl.List
	acls  []aclName
	// section is where the user stands, given what its section holds.
	section *section
	given   values
	// ruleLines are the lines of options.Rules.
	ruleLines []*value
	// pbxs are the names in the pbx line.
	pbxs  []string
	fence fenceDraft
}

type aclName struct {
	name string
	from *value
}

// userKeys are the keys of a user section.
var userKeys = append(secretKeys(func(u *userDraft) *secret { return &u.secret }), []key[userDraft]{
	// Those of manager.conf.
	{name: "deny", many: true, set: rule(func(u *userDraft) *acl.List { return &u.rules }, false)},
	{name: "permit", many: true, set: rule(func(u *userDraft) *acl.List { return &u.rules }, true)},
	{name: "acl", many: true, set: setACL},
	{name: "read", set: classes(func(u *userDraft) *acl.Options { return &u.options }, true)},
	{name: "write", set: classes(func(u *userDraft) *acl.Options { return &u.options }, false)},
	{name: "allowmultiplelogin", set: boolean(func(u *userDraft) *bool { return &u.AllowMultipleLogin })},
	{name: "displayconnects", set: boolean(func(u *userDraft) *bool { return &u.DisplayConnects })},
	{name: "writetimeout", set: duration(func(u *userDraft) *time.Duration { return &u.WriteTimeout }, time.Millisecond, 1, 100*time.Millisecond, (1<<31-1)*time.Millisecond)},
	{name: "eventfilter", many: true, set: addFilter},
	{name: "setvar", many: true, set: addSetVar},
	// Our own.
	{name: "oldsecret", many: true, set: addOldSecret},
	{name: "oldsecretfile", many: true, set: addOldSecretFile},
	{name: "certificate", many: true, set: addCertificate},
	{name: "login", set: choice(func(u *userDraft) *bool { return &u.options.Either }, "both", "either")},
	{name: "pbx", set: setPBXs},
	{name: "tenant", set: setTenants},
	{name: "allowevent", many: true, set: allowEvent},
	{name: "defaultpbx", set: text(func(u *userDraft) *string { return &u.DefaultPBX }, nil)},
	{name: "slowclient", set: choice(func(u *userDraft) *bool { return &u.DropEvents }, "close", "drop")},
	{name: "queuelimit", set: size(func(u *userDraft) *int64 { return &u.QueueLimit }, leastQueue, mostQueue)},
	{name: "maxsessions", set: integer(func(u *userDraft) *int { return &u.MaxSessions }, 0, 1_000_000)},
	{name: "actionrate", set: integer(func(u *userDraft) *int { return &u.ActionRate }, 0, 1_000_000)},
	{name: "pendinglimit", set: integer(func(u *userDraft) *int { return &u.PendingLimit }, 1, 65536)},
	{name: "compat", set: setCompat},
	{name: "fullybooted", set: boolean(func(u *userDraft) *bool { return &u.FullyBooted })},
	{name: "pbxlost", set: choice(func(u *userDraft) *bool { return &u.CloseWhenPBXLost }, "keep", "close")},
	{name: "sharedids", set: boolean(func(u *userDraft) *bool { return &u.SharedIDs })},
	{name: "proxyadmin", set: boolean(func(u *userDraft) *bool { return &u.ProxyAdmin })},
	{name: acl.AllowAction, many: true, set: addRule},
	{name: acl.DenyAction, many: true, set: addRule},
	{name: acl.AllowHeader, many: true, set: addRule},
	{name: acl.SetHeader, many: true, set: addRule},
	{name: "hardening", set: boolean(func(u *userDraft) *bool { return &u.options.Hardening })},
}...)

// setACL notes the names of an acl line; blanks after the commas are allowed.
func setACL(v *value, u *userDraft) {
	names, ok := list(v.text)
	if !ok {
		v.errorf("%s has an empty name in it", v.shown())
		return
	}
	for _, n := range names {
		u.acls = append(u.acls, aclName{n, v})
	}
}

// addFilter compiles an event filter. What stands in the brackets of the key
// are its criteria; without any it is a legacy filter (manager.c:
// manager_add_filter).
func addFilter(v *value, u *userDraft) {
	name, criteria, advanced := strings.Cut(v.key, "(")
	if name != "eventfilter" {
		v.warnf("Asterisk would ignore this filter: it knows eventfilter in small letters only")
	}
	criteria, closed := strings.CutSuffix(criteria, ")")
	var f acl.Filter
	var err error
	switch {
	case !advanced:
		f, err = acl.NewFilter(v.text)
	case !closed:
		err = errors.New("no ) before the =, and criteria cannot hold a =")
	default:
		f, err = acl.NewAdvancedFilter(criteria, v.text)
	}
	if err != nil {
		v.errorf("%s (to leave the filter out, as Asterisk does with bad ones, may let more events through)", err)
		return
	}
	u.options.Filters = append(u.options.Filters, f)
}

const (
	// maxSetVar is the longest setvar in bytes: Asterisk cuts what is longer
	// (manager.c: varbuf is 256 bytes with the NUL).
	maxSetVar = 255
	// maxSetVars is how many there may be: each becomes a line of the user's
	// Originate, which has 128 lines at most.
	maxSetVars = 64
)

// addSetVar takes a variable for the channels that the user originates. What
// it holds is shown to nobody: it may be secret.
func addSetVar(v *value, u *userDraft) {
	name, _, ok := strings.Cut(v.text, "=")
	switch {
	case !ok:
		v.errorf("no NAME=value (Asterisk would ignore it)")
	case name == "":
		v.errorf("no name before the = of the value")
	case len(v.text) > maxSetVar:
		v.errorf("longer than %d bytes (Asterisk would cut it)", maxSetVar)
	case len(u.SetVars) == maxSetVars:
		v.errorf("more than %d of them: they would leave no room for the headers of an Originate", maxSetVars)
	default:
		if trim(name) != name {
			v.warnf("the blank before the = of the value is part of the name of the variable, as in Asterisk")
		}
		u.SetVars = append(u.SetVars, v.text)
	}
}

// setCompat takes what the user wants of older releases.
func setCompat(v *value, u *userDraft) {
	u.CommandFollows = false
	if v.text == "" || fold(v.text) == "none" {
		return
	}
	for name := range strings.SplitSeq(v.text, ",") {
		switch name = trim(name); fold(name) {
		case "command-follows":
			u.CommandFollows = true
		default:
			v.errorf("there is no %q: there are none and command-follows", name)
		}
	}
}

func setPBXs(v *value, u *userDraft) {
	names, ok := list(v.text)
	if !ok {
		v.errorf("%s names no PBX, or has an empty name in it", v.shown())
		return
	}
	u.pbxs = names
}

// loadUser reads one user section.
func (l *loading) loadUser(s *section) {
	u := &userDraft{
		User: User{
			AllowMultipleLogin: l.general.allowMultiple,
			DisplayConnects:    l.general.displayConnects,
			QueueLimit:         l.general.QueueLimit,
			MaxSessions:        l.general.maxSessions,
			ActionRate:         l.general.actionRate,
			PendingLimit:       l.general.PendingLimit,
			FullyBooted:        true,
		},
		options: acl.Options{Name: s.name, Hardening: l.general.hardening},
	}
	l.users = append(l.users, u)
	if len(s.name) > maxUserName {
		l.report.errorf(s.place, s.name, "", "the name of a user has at most %d bytes", maxUserName)
	}
	given := apply(l, s, false, userKeys, u)
	u.section, u.given = s, given
	if v := given["queuelimit"]; v != nil && u.QueueLimit > l.general.TotalLimit {
		v.errorf("%s is more than totallimit, %s", v.shown(), sizeText(l.general.TotalLimit))
	}
	l.userSecret(s, u, given)
	l.userCertificates(u, given)
	l.userACLs(s, u, given)
	l.userRules(u)
	l.userPBXs(u, given)
	l.userFence(u, given)
}

// userACLs makes the lists that an address must pass. A name that is wrong
// denies everybody, though the configuration is refused anyway.
func (l *loading) userACLs(s *section, u *userDraft, given values) {
	if given["deny"] != nil || given["permit"] != nil {
		u.options.Lists = append(u.options.Lists, &u.rules)
	}
	seen := map[string]bool{}
	for _, n := range u.acls {
		a := l.acls[fold(n.name)]
		switch {
		case a == nil:
			n.from.errorf("there is no ACL %q", n.name)
			u.options.Lists = append(u.options.Lists, acl.DenyAll())
		case seen[fold(n.name)]:
			n.from.errorf("ACL %q is named twice (Asterisk would delete the user)", n.name)
		default:
			u.options.Lists = append(u.options.Lists, &a.List)
		}
		seen[fold(n.name)] = true
	}
	if l.ipv6() && !allows(u.options.Lists, "192.0.2.1") && allows(u.options.Lists, "2001:db8::1") {
		l.report.warnf(s.place, s.name, "deny", "IPv4 rules do not apply to IPv6 addresses, of which all may log in: add deny = ::/0")
	}
}

// ipv6 reports whether clients may come from IPv6 addresses.
func (l *loading) ipv6() bool { return slices.ContainsFunc(l.listensOn(), netip.Addr.Is6) }

func allows(lists []*acl.List, addr string) bool {
	for _, a := range lists {
		if !a.Allows(netip.MustParseAddr(addr)) {
			return false
		}
	}
	return true
}

// userPBXs resolves the names of PBXes to those of their sections.
func (l *loading) userPBXs(u *userDraft, given values) {
	var which []int
	for _, name := range u.pbxs {
		if i := l.pbx(name); i >= 0 {
			which = append(which, i)
		} else {
			given["pbx"].errorf("there is no [pbx:%s]", name)
		}
	}
	for i, p := range l.pbxs {
		if given["pbx"] == nil || slices.Contains(which, i) {
			u.PBXs = append(u.PBXs, p.Name)
		}
	}
	own := given["defaultpbx"]
	if own == nil {
		u.DefaultPBX = l.general.DefaultPBX
	}
	switch i := slices.IndexFunc(u.PBXs, func(name string) bool { return fold(name) == fold(u.DefaultPBX) }); {
	case i >= 0:
		u.DefaultPBX = u.PBXs[i]
	case own != nil && own.text != "":
		own.errorf("%s is none of the PBXes of this user", own.shown())
	default:
		u.DefaultPBX = ""
	}
}
