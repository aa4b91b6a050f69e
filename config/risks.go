package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// risks tells of what is allowed and gives more away than most mean to.
func (l *loading) risks(sections []*section) {
	l.exposedFiles(sections)
	l.plainListeners()
	for _, u := range l.users {
		l.userRisks(u)
	}
}

// exposedFiles finds files with secrets that everybody may read. Those of
// secretfile are told of where they are read.
func (l *loading) exposedFiles(sections []*section) {
	told := map[string]bool{}
	for _, s := range sections {
		for _, e := range s.entries {
			if baseKey(e.key) == "secret" && e.value != "" && !strings.HasPrefix(e.value, "${") && slices.Contains(l.loader.exposed, e.file) && !told[e.file] {
				told[e.file] = true
				l.report.riskf(e.place, s.name, "secret", "everybody may read this file: chmod o= it, or use secretfile")
			}
		}
	}
	for _, n := range []*listener{&l.general.listen, &l.http.listen} {
		key := n.key
		if key.from == nil { // it is with the certificate
			key = n.cert
		}
		if v := key.from; v != nil && n.tls && slices.Contains(l.loader.exposed, key.name) {
			l.report.riskf(v.place, v.section, v.key, "everybody may read %s: chmod o= it", v.shown())
		}
	}
}

// plainListeners looks whether clients from elsewhere may send secrets in clear
// text. (To listen on all addresses without TLS is a warning of its own.)
func (l *loading) plainListeners() {
	look := func(n *listener, on bool, v *value, only string) {
		if on && v != nil && isPublic(n.addr) && (n.tls || !n.addr.IsUnspecified()) {
			l.report.riskf(v.place, v.section, v.key, "clients may log in from public addresses without TLS: secrets and events go over the network in clear text (%s TLS only)", only)
		}
	}
	g, h := &l.general, &l.http
	look(&g.listen, g.Enabled, g.given["bindaddr"], "enabled = no leaves")
	look(&h.listen, h.Enabled, h.given["bindaddr"], "bindaddr = 127.0.0.1 with a tlsbindaddr leaves them")
}

func isPublic(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsLoopback() && !addr.IsPrivate() && !addr.IsLinkLocalUnicast()
}

// fromElsewhere reports whether clients of other machines can connect.
func (l *loading) fromElsewhere() bool {
	return slices.ContainsFunc(l.listensOn(), func(a netip.Addr) bool { return !a.IsLoopback() })
}

// mighty are the actions that come close to a shell on the PBX, or give its
// secrets away, and the headers that must not hold just anything.
var mighty = []struct {
	action, classes string
	headers         []string
}{
	{"Originate", "originate", []string{"Channel", "Context", "Application"}},
	{"Command", "command", []string{"Command"}},
	{"UpdateConfig", "config", []string{"DstFilename"}},
	{"GetConfig", "system,config", []string{"Filename"}},
	{"GetConfigJSON", "system,config", []string{"Filename"}},
	{"ModuleLoad", "system", []string{"Module"}},
	{"MixMonitor", "system", []string{"File"}},
	{"DialplanExtensionAdd", "system", []string{"Context"}},
	{"AGI", "agi", []string{"Command"}},
}

// userRisks looks at what a user may do with nobody to stop it.
func (l *loading) userRisks(u *userDraft) {
	at := func(key string) (place, string) {
		if v := u.given[key]; v != nil {
			return v.place, key
		}
		return u.section.place, key
	}
	if len(u.options.Lists) == 0 && l.fromElsewhere() && u.secret.given {
		where, key := at("deny")
		l.report.riskf(where, u.section.name, key, "none, and no permit or acl: this user may log in from every address")
	}
	policy := acl.New(u.options)
	if policy.Fence() != nil {
		l.tenantRisks(u, policy, at)
	}
	var unruled []string
	for _, m := range mighty {
		classes, err := acl.ParseClasses(m.classes)
		if err != nil || u.options.Write&classes == 0 {
			continue
		}
		if policy.Fence() != nil && !policy.Names(m.action) {
			continue // refused, or confined to the user's tenants
		}
		var open []string
		for _, header := range m.headers {
			if u.options.Rules.Open(m.action, header) {
				open = append(open, header)
			}
		}
		switch {
		case len(open) == 0:
		case u.options.Rules == nil:
			unruled = append(unruled, m.action)
		default:
			where, key := at(acl.AllowAction)
			l.report.riskf(where, u.section.name, key, "%s may have anything for %s: add allowheader(%s) = %s: … and its other headers, or deny it", m.action, strings.Join(open, ", "), m.action, open[0])
		}
	}
	if len(unruled) > 0 {
		where, key := at("write")
		l.report.riskf(where, u.section.name, key, "without allowaction and allowheader lines this gives the user nearly all of the PBX, by %s", strings.Join(unruled, ", "))
	}
}

// tenantRisks looks at what takes a user out of its fence.
func (l *loading) tenantRisks(u *userDraft, policy *acl.Policy, at func(key string) (place, string)) {
	risk := func(key, format string, args ...any) {
		where, key := at(key)
		l.report.riskf(where, u.section.name, key, format, args...)
	}
	if system, err := acl.ParseClasses("system"); err == nil && u.options.Write&system != 0 {
		risk("write", "system does away with most of hardening, also for a user with a tenant: leave it out, or deny what needs it")
	}
	if u.ProxyAdmin {
		risk("proxyadmin", "the user's actions on the proxy are about the sessions of all users, whatever their tenant")
	}
	for _, action := range policy.Unconfined() {
		risk(acl.AllowAction, "%s cannot be confined to a tenant: it tells of all of the PBX, or acts on it", action)
	}
}

// allIsTheirs tells of a tenant's line that everything matches.
func (t *tenantDraft) allIsTheirs(l *loading) {
	for _, line := range t.lines {
		for item := range strings.SplitSeq(line.from.text, ",") {
			if trim(item) == "*" {
				v := line.from
				l.report.riskf(v.place, v.section, v.key, "any: everything with a %s is this tenant's, whoever else's it is", line.mark)
			}
		}
	}
}
