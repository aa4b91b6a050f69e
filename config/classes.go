package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// asteriskReads is the list of classes that Asterisk makes of a read or write
// line: the last name must be exact, every other one stands for all that it is
// the beginning of, and blanks count (manager.c: get_perm, ast_instring).
func asteriskReads(text string) string {
	var granted []string
	tokens := strings.Split(text, ",")
	for _, c := range classNames {
		for i, t := range tokens {
			if i < len(tokens)-1 && strings.HasPrefix(c, t) || c == t && c != "none" {
				granted = append(granted, c)
				break
			}
		}
	}
	return strings.Join(granted, ",")
}

// classNames are Asterisk's, in its order (manager.c: perms).
var classNames = strings.Fields("system call log verbose command agent user config dtmf reporting cdr dialplan originate agi cc aoc test security message all none")

// classes takes a list of classes strictly, and says how Asterisk would have
// read it where that is different. A name with a blank beside it grants nothing,
// as in Asterisk: nobody is to have more rights here by the same line.
func classes(field func(*userDraft) *acl.Options, read bool) func(*value, *userDraft) {
	return func(v *value, u *userDraft) {
		lax := asteriskReads(v.text)
		meant := "as no rights at all"
		if lax != "" {
			meant = fmt.Sprintf("as %q", lax)
		}
		if slices.Contains(strings.Split(lax, ","), "all") {
			meant = "as all rights"
		}
		set, err := acl.ParseClasses(v.text)
		if err != nil {
			v.errorf("%s is no list of classes: %s; Asterisk would read it %s", v.shown(), firstReason(err), meant)
			return
		}
		if same, err := acl.ParseClasses(lax); err != nil || same != set {
			v.warnf("%s counts %s: remove the blanks, beside which a name means nothing (to Asterisk either)", v.shown(), meant)
			set &= same
		}
		if o := field(u); read {
			o.Read = set
		} else {
			o.Write = set
		}
	}
}

// firstReason is the text of an error without what it says in brackets.
func firstReason(err error) string {
	reason, _, _ := strings.Cut(err.Error(), " (")
	return reason
}
