package config

import "github.com/amiproxy/amiproxy/acl"

// addRule takes an allowaction, denyaction, allowheader(…) or setheader(…) line.
func addRule(v *value, u *userDraft) {
	if u.options.Rules == nil {
		u.options.Rules = &acl.Rules{}
	}
	if err := u.options.Rules.Add(v.place.String(), v.key, v.text); err != nil {
		v.errorf("%s", err)
		return
	}
	u.ruleLines = append(u.ruleLines, v)
}

// userRules looks at what the lines of a user's rules mean together.
func (l *loading) userRules(u *userDraft) {
	if u.options.Rules == nil {
		return
	}
	for _, f := range u.options.Rules.Check(closest) {
		say := u.ruleLines[f.Line].errorf
		if f.Warning {
			say = u.ruleLines[f.Line].warnf
		}
		say("%s", f.Text)
	}
}
