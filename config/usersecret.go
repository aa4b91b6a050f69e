package config

import (
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// maxOldSecrets is how many a user may have: a check of the secret asks them
// all, and hashed ones take their time.
const maxOldSecrets = 4

// oldSecret is an oldsecret line, or an oldsecretfile line.
type oldSecret struct {
	from *value
	text string
	file path // no name: text holds the secret
}

func addOldSecret(v *value, u *userDraft) {
	u.old = append(u.old, oldSecret{from: v, text: v.text})
}

func addOldSecretFile(v *value, u *userDraft) {
	o := oldSecret{from: v}
	if file(func(o *oldSecret) *path { return &o.file })(v, &o); o.file.from != nil {
		u.old = append(u.old, o)
	}
}

// userSecret takes the secret of a user, and the old ones.
func (l *loading) userSecret(s *section, u *userDraft, given values) {
	known := u.secret.resolve(l, given)
	v := given["secret"]
	if v == nil {
		v = given["secretfile"]
	}
	switch {
	case known:
		u.options.Secret = u.secret.text
		l.checkSecret(v, u.secret.text)
	case v == nil && !s.broken && given["certificate"] == nil:
		l.report.warnf(s.place, s.name, "secret", "missing: this user can never log in")
	}
	for i, o := range u.old {
		text, ok := o.text, true
		if o.file.from != nil {
			text, ok = o.file.readSecret(l)
		}
		switch {
		case !ok: // reported
		case v == nil:
			o.from.errorf("there is no secret, or secretfile, that it is the old one of")
		case i == maxOldSecrets:
			o.from.errorf("more than %d old secrets", maxOldSecrets)
		case text == "":
			o.from.errorf("empty")
		case known && text == u.secret.text:
			o.from.warnf("the same as the secret: it has no effect")
		default:
			l.checkSecret(o.from, text)
			u.options.OldSecrets = append(u.options.OldSecrets, text)
		}
	}
}

// checkSecret judges a secret of a user. The line that it comes from is v.
func (l *loading) checkSecret(v *value, text string) {
	switch {
	case acl.IsHash(text):
		if err := acl.CheckHash(text); err != nil {
			v.errorf("%s", err)
		} else if l.hashed == nil {
			l.hashed = v
		}
	case text == "":
		v.warnf("empty: this user can never log in (Asterisk would let anybody in as this user)")
	case strings.HasPrefix(text, "${") && strings.HasSuffix(text, "}") && !strings.HasSuffix(baseKey(v.key), "file"):
		v.warnf("${ is taken as it stands in a user section: use %sfile to keep a secret out of this file", baseKey(v.key))
	}
}

// checkChallenge turns the challenge off if a secret is hashed: who answers one
// shows the MD5 of it and of the text of the secret, which nobody knows here.
func (l *loading) checkChallenge() {
	if l.hashed != nil && l.general.Challenge {
		l.general.Challenge = false
		l.hashed.warnf("hashed, so login by MD5 challenge is off for all users, as with challenge = no in [general], which ends this warning: a Challenge does not say for whom it is, and a hash cannot answer it")
	}
}
