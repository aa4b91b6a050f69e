package acl

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Hashes that other programs made, of "password" and "U*U".
const (
	argon2Password = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	bcryptStars    = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
)

// cheap is a hash of "s3cret" whose check takes no time.
var cheap = argon2Text(argon2Hash{passes: 1, memory: 8, threads: 1, salt: []byte("saltsalt")}, "s3cret")

func TestHashedSecrets(t *testing.T) {
	for _, test := range []struct {
		hash, secret string
		want         Match
	}{
		{argon2Password, "password", Matches},
		{argon2Password, "Password", NoMatch},
		{argon2Password, "", NoMatch},
		{argon2Password, argon2Password, NoMatch},
		{bcryptStars, "U*U", Matches},
		{strings.Replace(bcryptStars, "$2a$", "$2y$", 1), "U*U", Matches},
		{strings.Replace(bcryptStars, "$2a$", "$2b$", 1), "U*U", Matches},
		{bcryptStars, "U*V", NoMatch},
		{bcryptStars, bcryptStars, NoMatch},
		{cheap, "s3cret", Matches},
		// Nobody is let in by what cannot be read, or by nothing.
		{cheap[:len(cheap)-1], cheap[:len(cheap)-1], NoMatch},
		{"$6$salt$sum", "$6$salt$sum", NoMatch},
		{argon2Text(argon2Hash{passes: 1, memory: 8, threads: 1, salt: []byte("saltsalt")}, ""), "", NoMatch},
	} {
		p := New(Options{Secret: test.hash})
		if got := p.CheckSecret(test.secret); got != test.want {
			t.Errorf("%.20s…, %q: %v", test.hash, test.secret, got)
		}
		// A hash is no text: who has stolen it can do nothing with it.
		if p.CheckKey("1", keyOf("1", test.hash)) != NoMatch || p.CheckKey("1", keyOf("1", "")) != NoMatch {
			t.Errorf("%.20s…: the hash answers a challenge", test.hash)
		}
		if want := CheckHash(test.hash) == nil; p.HasSecret() != want || (p.HashWork() > 0) != want {
			t.Errorf("%.20s…: HasSecret %v, work %d", test.hash, p.HasSecret(), p.HashWork())
		}
	}
}

func TestOldSecrets(t *testing.T) {
	p := New(Options{Secret: "new", OldSecrets: []string{"older", cheap, "new", ""}})
	for secret, want := range map[string]Match{
		"new": Matches, "older": MatchOld, "s3cret": MatchOld, "": NoMatch, "x": NoMatch,
	} {
		if got := p.CheckSecret(secret); got != want {
			t.Errorf("%q: %v", secret, got)
		}
		if secret == "s3cret" {
			want = NoMatch
		}
		if got := p.CheckKey("77", keyOf("77", secret)); got != want {
			t.Errorf("the key by %q: %v", secret, got)
		}
	}
	if p := New(Options{OldSecrets: []string{"old"}}); p.CheckSecret("") != NoMatch || p.CheckSecret("old") != MatchOld {
		t.Error("without a secret")
	}
}

func TestCheckHash(t *testing.T) {
	const salt, sum = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for text, want := range map[string]string{
		argon2Password: "",
		bcryptStars:    "",
		"$argon2id$v=19$m=262144,t=4,p=16$" + salt + "$" + sum:                   "",
		"$argon2id$v=19$m=262145,t=1,p=1$" + salt + "$" + sum:                    "would take too much",
		"$argon2id$v=19$m=10485760,t=1,p=4$" + salt + "$" + sum:                  "would take too much",
		"$argon2id$v=19$m=262144,t=5,p=1$" + salt + "$" + sum:                    "would take too much",
		"$argon2id$v=19$m=8,t=2147483647,p=1$" + salt + "$" + sum:                "would take too much",
		"$argon2id$v=19$m=65536,t=2,p=17$" + salt + "$" + sum:                    "would take too much",
		"$argon2id$v=19$m=4294967304,t=1,p=1$" + salt + "$" + sum:                "not of the form",
		"$argon2id$v=19$m=15,t=1,p=2$" + salt + "$" + sum:                        "cannot be",
		"$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + sum:                     "cannot be",
		"$argon2id$v=19$m=65536,t=2,p=0$" + salt + "$" + sum:                     "cannot be",
		"$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + sum:                     "not of the form",
		"$argon2id$v=19$m=65536,t=2,p=1,x=1$" + salt + "$" + sum:                 "not of the form",
		"$argon2id$v=19$m=+65536,t=2,p=1$" + salt + "$" + sum:                    "not of the form",
		"$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum:                     "not of the form",
		"$argon2id$m=65536,t=2,p=1$" + salt + "$" + sum:                          "not of the form",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt:                                 "not of the form",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum + "=":               "not of the form",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + strings.Repeat("A", 22): "", // 16 bytes
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + "CTFhFdXPJA":            "of 7 bytes",
		"$argon2id$v=19$m=65536,t=2,p=1$c29t$" + sum:                             "salt of 3",
		"$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum:                      "not supported",
		"$argon2d$v=19$m=65536,t=2,p=1$" + salt + "$" + sum:                      "not supported",
		"$argon2":                  "not supported",
		"$6$salt$sum":              "not supported",
		"$2x" + bcryptStars[3:]:    "not supported",
		bcryptStars[:59]:           "not of the form",
		bcryptStars + "x":          "not of the form",
		bcryptStars[:59] + "$":     "not of the form",
		"$2b$15" + bcryptStars[6:]: "too long",
		"$2b$31" + bcryptStars[6:]: "too long",
		"$2b$99" + bcryptStars[6:]: "not of the form",
		"$2b$":                     "not of the form",
	} {
		if !IsHash(text) {
			t.Errorf("%s: no hash at all", text)
		}
		err := CheckHash(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), sum[:8]) || strings.Contains(err.Error(), bcryptStars[32:40])) {
			t.Errorf("%s: %v shows the hash", text, err)
		}
	}
	for _, text := range []string{"", "$", "s3cret", "$s3cret", " " + argon2Password, "argon2id"} {
		if IsHash(text) {
			t.Errorf("%q is a hash", text)
		}
	}
}

func TestHashSecret(t *testing.T) {
	for _, useBcrypt := range []bool{false, true} {
		h, err := HashSecret("s3cret", useBcrypt)
		if err != nil {
			t.Fatal(err)
		}
		if CheckHash(h) != nil || strings.HasPrefix(h, "$argon2id$v=19$m=19456,t=2,p=1$") == useBcrypt {
			t.Errorf("%s: %v", h, CheckHash(h))
		}
		if New(Options{Secret: h}).CheckSecret("s3cret") != Matches {
			t.Errorf("%s does not fit", h)
		}
	}
	for _, secret := range []string{"", " x", "a\nb", "a\x00b", strings.Repeat("x", 1015)} {
		if h, err := HashSecret(secret, false); err == nil {
			t.Errorf("%q: %s", secret, h)
		}
	}
	if _, err := HashSecret(strings.Repeat("x", 73), true); err == nil || !strings.Contains(err.Error(), "72 bytes") {
		t.Errorf("bcrypt of 73 bytes: %v", err)
	}
}

// A decoy takes what the policy takes, and lets nobody in.
func TestDecoy(t *testing.T) {
	p := New(Options{Secret: cheap, OldSecrets: []string{bcryptStars, "text"}})
	d := p.Decoy()
	if d.HashWork() != p.HashWork() || d.HashWork() == 0 || d.HasSecret() || d.Admits(netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("work %d of %d, %v", d.HashWork(), p.HashWork(), d.HasSecret())
	}
	for _, secret := range []string{"s3cret", "U*U", "text", ""} {
		if d.CheckSecret(secret) != NoMatch || d.CheckKey("1", keyOf("1", secret)) != NoMatch {
			t.Errorf("%q lets somebody in", secret)
		}
	}
	if s := fmt.Sprintf("%+v %#v", p, d); strings.Contains(s, "E5YP") || strings.Contains(s, "text") {
		t.Errorf("shown: %s", s)
	}
}

// argon2Text is the hash of a secret with the parameters and the salt of h.
func argon2Text(h argon2Hash, secret string) string {
	h.sum = make([]byte, 32)
	h.sum = h.of(secret)
	return h.text()
}

// Whatever is written as a hash is either refused or can be checked at a bounded
// cost; and what is made from one that is taken is taken for the same.
func FuzzCheckHash(f *testing.F) {
	for _, text := range []string{argon2Password, bcryptStars, cheap, "$argon2id$v=19$m=8,t=1,p=1$$", "$2b$04$"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !IsHash(text) {
			return
		}
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if h.work() > maxHashWork {
			t.Errorf("%q would take %d", text, h.work())
		}
		if a, ok := h.(*argon2Hash); ok {
			if a.memory > maxHashMemory || a.threads > maxHashThreads || a.text() != text {
				t.Errorf("%q is %q", text, a.text())
			}
		}
	})
}

// The secret that fits is the one that was hashed, and no other.
func TestHashProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := argon2Hash{
			passes: rapid.Uint32Range(1, 3).Draw(t, "t"), threads: uint8(rapid.IntRange(1, 4).Draw(t, "p")),
			salt: rapid.SliceOfN(rapid.Byte(), minSalt, maxSalt).Draw(t, "salt"),
		}
		h.memory = rapid.Uint32Range(8*uint32(h.threads), 64).Draw(t, "m")
		one, other := rapid.StringN(1, -1, 100).Draw(t, "one"), rapid.StringN(1, -1, 100).Draw(t, "other")
		p := New(Options{Secret: argon2Text(h, one)})
		if p.CheckSecret(one) != Matches || (p.CheckSecret(other) == Matches) != (one == other) {
			t.Errorf("%q, %q", one, other)
		}
	})
}
