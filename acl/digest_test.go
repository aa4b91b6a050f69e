package acl_test

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
)

// TestCheckDigest: the examples of RFC 7616, 3.9.1, whose responses are given there.
func TestCheckDigest(t *testing.T) {
	const (
		realm      = "http-auth@example.org"
		nonce      = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
		cnonce     = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
		hashMD5    = "39aff3a2bab6126f332b942af96d3366" // of GET:/dir/index.html
		hashSHA256 = "9a3fdae9a622fe8de177c24fa9c070f2b181ec85e15dcbdc32e10c82ad450b04"
		rest       = nonce + ":00000001:" + cnonce + ":auth:"
	)
	md5Digest := acl.Digest{Realm: realm, Rest: rest + hashMD5, Response: "8ca523f5e9506fed4657c9700eebdbec"}
	shaDigest := acl.Digest{SHA256: true, Realm: realm, Rest: rest + hashSHA256, Response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"}
	user := func(name, secret string, old ...string) *acl.Policy {
		return acl.New(acl.Options{Name: name, Secret: secret, OldSecrets: old})
	}
	const secret = "Circle of Life"
	hashed, err := acl.HashSecret(secret, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []acl.Digest{md5Digest, shaDigest} {
		upper, other := d, d
		upper.Response = strings.ToUpper(d.Response)
		other.Rest += "x"
		short, long := d, d
		short.Response, long.Response = d.Response[1:], d.Response+"0"
		swapped := d
		swapped.SHA256 = !d.SHA256
		for _, tt := range []struct {
			name   string
			policy *acl.Policy
			digest acl.Digest
			want   acl.Match
		}{
			{"right", user("Mufasa", secret), d, acl.Matches},
			{"upper case", user("Mufasa", secret), upper, acl.Matches},
			{"old", user("Mufasa", "new", "older", secret), d, acl.MatchOld},
			{"name in another case", user("mufasa", secret), d, acl.NoMatch},
			{"wrong secret", user("Mufasa", "Circle of life"), d, acl.NoMatch},
			{"hashed", user("Mufasa", hashed), d, acl.NoMatch},
			{"decoy", user("Mufasa", secret).Decoy(), d, acl.NoMatch},
			{"nobody", acl.Nobody(), d, acl.NoMatch},
			{"none", user("Mufasa", ""), d, acl.NoMatch},
			{"other rest", user("Mufasa", secret), other, acl.NoMatch},
			{"too short", user("Mufasa", secret), short, acl.NoMatch},
			{"too long", user("Mufasa", secret), long, acl.NoMatch},
			{"other algorithm", user("Mufasa", secret), swapped, acl.NoMatch},
			{"empty", user("Mufasa", secret), acl.Digest{}, acl.NoMatch},
		} {
			if got := tt.policy.CheckDigest(tt.digest); got != tt.want {
				t.Errorf("%s (SHA-256 %v): %v, want %v", tt.name, d.SHA256, got, tt.want)
			}
		}
	}
}

// TestCheckDigestOfNoSecret: Asterisk takes a missing secret for the text (null), or
// for an empty one.
func TestCheckDigestOfNoSecret(t *testing.T) {
	sum := func(s string) string {
		h := md5.Sum([]byte(s))
		return hex.EncodeToString(h[:])
	}
	for _, text := range []string{"", "(null)"} {
		for _, p := range []*acl.Policy{acl.New(acl.Options{Name: "u"}), acl.New(acl.Options{Name: "u", OldSecrets: []string{""}}), acl.Nobody()} {
			d := acl.Digest{Realm: "r", Rest: "rest", Response: sum(sum(p.Name()+":r:"+text) + ":rest")}
			if got := p.CheckDigest(d); got != acl.NoMatch {
				t.Errorf("a user without a secret has %q: %v", text, got)
			}
		}
	}
}
