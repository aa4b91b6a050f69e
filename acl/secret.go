package acl

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// Match says which of a user's secrets a client has.
type Match uint8

// The zero value is none.
const (
	NoMatch  Match = iota
	Matches        // Options.Secret
	MatchOld       // one of Options.OldSecrets
)

// secrets are what a user logs in with: the secret first, then the old ones.
type secrets []secretValue

// secretValue is a text, or the hash of one.
type secretValue struct {
	text string // needed for the MD5 challenge; empty: never right
	sum  [sha256.Size]byte
	hash hash // nil: a text
	// decoy is never right, but takes as long to ask.
	decoy bool
}

func newSecrets(current string, old []string) secrets {
	all := secrets{newSecret(current)}
	for _, text := range old {
		all = append(all, newSecret(text))
	}
	return all
}

func newSecret(text string) secretValue {
	if !IsHash(text) {
		return secretValue{text: text, sum: sha256.Sum256([]byte(text))}
	}
	h, err := parseHash(text)
	if err != nil {
		return secretValue{} // config has refused it
	}
	return secretValue{hash: h}
}

// fits reports whether secret is right. sum is that of secret.
func (v *secretValue) fits(secret string, sum *[sha256.Size]byte) bool {
	if v.hash != nil {
		return v.hash.fits(secret) && !v.decoy && secret != ""
	}
	return subtle.ConstantTimeCompare(sum[:], v.sum[:]) == 1 && v.text != ""
}

// HasSecret reports whether the user can log in by a secret at all.
func (p *Policy) HasSecret() bool {
	for _, v := range p.secrets() {
		if v.text != "" || v.hash != nil && !v.decoy {
			return true
		}
	}
	return false
}

// HashWork is how long [Policy.CheckSecret] takes in about microseconds, 0 if
// none of the user's secrets is hashed. If it is not 0, the check also takes up to
// 256 MiB of memory, so no more than a few may be made at once; and the user
// cannot log in by an MD5 challenge.
func (p *Policy) HashWork() (work int) {
	for _, v := range p.secrets() {
		if v.hash != nil {
			work += v.hash.work()
		}
	}
	return work
}

// CheckSecret reports whether secret is one of the user's. If none of these is
// hashed, the time it takes depends on the secret offered and the number of the
// user's only: hashes of equal length are compared, in constant time, whether the
// user has a secret or not. For others it takes [Policy.HashWork].
func (p *Policy) CheckSecret(secret string) Match {
	sum := sha256.Sum256([]byte(secret))
	return p.match(func(v *secretValue) bool { return v.fits(secret, &sum) })
}

// CheckKey reports whether key answers the challenge: the MD5 of challenge and
// secret in lower-case hexadecimal digits (manager.c: authenticate). Without a
// challenge or a key it does not; nor does it for a hashed secret, whose text
// nobody knows here.
func (p *Policy) CheckKey(challenge, key string) Match {
	return p.match(func(v *secretValue) bool {
		sum := md5.Sum([]byte(challenge + v.text))
		want := make([]byte, 0, 2*md5.Size)
		want = hex.AppendEncode(want, sum[:])
		equal := subtle.ConstantTimeCompare(want, []byte(key)) == 1
		return equal && challenge != "" && v.text != ""
	})
}

// Digest is what a client offers over HTTP in the place of its secret (RFC 7616;
// manager.c: auth_http_callback).
type Digest struct {
	// SHA256 says that all hashes are SHA-256, not MD5.
	SHA256 bool
	// Realm is the server's own, whatever the client says.
	Realm string
	// Rest is what the last hash is of, behind the hash of user, realm and secret and a
	// colon: from the nonce on.
	Rest string
	// Response is the last hash in hexadecimal digits of either case.
	Response string
}

// CheckDigest reports whether a digest is of one of the user's secrets; the
// name in it is that of the configuration, letter by letter. It never is for a
// hashed secret, whose text nobody knows here, nor for an empty one.
func (p *Policy) CheckDigest(d Digest) Match {
	digits := hexMD5
	if d.SHA256 {
		digits = hexSHA256
	}
	response := []byte(strings.ToLower(d.Response))
	return p.match(func(v *secretValue) bool {
		first := digits(p.name + ":" + d.Realm + ":" + v.text)
		want := digits(first + ":" + d.Rest)
		equal := subtle.ConstantTimeCompare([]byte(want), response) == 1
		return equal && v.text != ""
	})
}

func hexMD5(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// match asks all of the user's secrets, whatever the first one says.
func (p *Policy) match(fits func(*secretValue) bool) Match {
	found := NoMatch
	all := p.secrets()
	for i := range all {
		switch right := fits(&all[i]); {
		case right && i == 0:
			found = Matches
		case right && found == NoMatch:
			found = MatchOld
		}
	}
	return found
}

// Decoy is [Nobody], but to check a secret takes as long as with this policy: so
// the time of an answer does not tell which users exist, even if some have hashed
// secrets.
func (p *Policy) Decoy() *Policy {
	var own secrets
	for _, v := range p.secrets() {
		own = append(own, secretValue{hash: v.hash, decoy: true})
	}
	return &Policy{lists: nobody.lists, secrets: func() secrets { return own }}
}
