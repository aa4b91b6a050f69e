package acl

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// secretValue is what a user logs in with.
type secretValue struct {
	text string // needed for the MD5 challenge
	sum  [sha256.Size]byte
}

func newSecret(text string) *secretValue {
	return &secretValue{text: text, sum: sha256.Sum256([]byte(text))}
}

// HasSecret reports whether the user can log in at all.
func (p *Policy) HasSecret() bool { return p.secret().text != "" }

// CheckSecret reports whether secret is the user's. The time it takes depends
// on the secret offered only: hashes of equal length are compared, in constant
// time, whether the user has a secret or not.
func (p *Policy) CheckSecret(secret string) bool {
	own := p.secret()
	sum := sha256.Sum256([]byte(secret))
	equal := subtle.ConstantTimeCompare(sum[:], own.sum[:]) == 1
	return equal && own.text != ""
}

// CheckKey reports whether key answers the challenge: the MD5 of challenge and
// secret in lower-case hexadecimal digits (manager.c: authenticate). Without a
// challenge or a key it does not.
func (p *Policy) CheckKey(challenge, key string) bool {
	own := p.secret()
	sum := md5.Sum([]byte(challenge + own.text))
	want := make([]byte, 0, 2*md5.Size)
	want = hex.AppendEncode(want, sum[:])
	equal := subtle.ConstantTimeCompare(want, []byte(key)) == 1
	return equal && challenge != "" && own.text != ""
}
