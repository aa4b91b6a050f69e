package acl

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a check of a hash may cost, which the hash itself says. Whoever may write
// the configuration could else stop the proxy with one line.
const (
	// maxHashMemory is in KiB: 256 MiB.
	maxHashMemory = 256 << 10
	// maxHashWork is memory times passes in KiB: about a second.
	maxHashWork      = 1 << 20
	maxHashThreads   = 16
	maxBcrypt        = 14
	minSalt, maxSalt = 8, 64
	minSum, maxSum   = 16, 64
)

// What [HashSecret] makes: for argon2id what OWASP advises, 19 MiB and some 30 ms; for
// bcrypt what is usual.
const (
	defaultMemory = 19 << 10
	defaultPasses = 2
	defaultBcrypt = 10
)

// hash is the hash of a secret.
type hash interface {
	// fits reports whether it is that of the secret. It takes as long as work
	// says, and a lot of memory.
	fits(secret string) bool
	// work is how long that takes, in about microseconds.
	work() int
}

// IsHash reports whether a secret is meant to be the hash of one, of whatever
// kind, and cannot be one in clear text.
func IsHash(secret string) bool {
	for _, p := range []string{"$argon2", "$2a$", "$2b$", "$2x$", "$2y$", "$scrypt$", "$pbkdf2", "$1$", "$5$", "$6$", "$7$", "$y$"} {
		if strings.HasPrefix(secret, p) {
			return true
		}
	}
	return false
}

// CheckHash says what is wrong with a secret for which [IsHash] is true: a kind
// that is not supported, parameters that take too much time or memory, or damage.
// The error shows nothing of the hash but its parameters.
func CheckHash(secret string) error {
	_, err := parseHash(secret)
	return err
}

// parseHash reads argon2id in the PHC string format, and bcrypt.
func parseHash(text string) (hash, error) {
	switch kind, _, _ := strings.Cut(text[1:], "$"); kind {
	case "argon2id":
		return parseArgon2(text)
	case "2a", "2b", "2y":
		return parseBcrypt(text)
	}
	return nil, errors.New("a hash of a kind that is not supported: argon2id and bcrypt are (amiproxy hash makes them)")
}

// argon2Hash is argon2id, version 19.
type argon2Hash struct {
	passes, memory uint32 // memory in KiB
	threads        uint8
	salt, sum      []byte
}

var errArgon2 = errors.New("not of the form $argon2id$v=19$m=KIB,t=PASSES,p=THREADS$SALT$HASH: is it cut off?")

func parseArgon2(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, errArgon2
	}
	var numbers [3]int
	parameters := strings.Split(parts[3], ",")
	if len(parameters) != len(numbers) {
		return nil, errArgon2
	}
	for i, prefix := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(parameters[i], prefix)
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil {
			return nil, errArgon2
		}
		numbers[i] = int(n)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || err2 != nil {
		return nil, errArgon2
	}
	switch memory, passes, threads := numbers[0], numbers[1], numbers[2]; {
	case passes < 1 || threads < 1 || memory < 8*threads:
		return nil, fmt.Errorf("a hash with m=%d,t=%d,p=%d cannot be: m is at least 8 times p, and t and p are at least 1", memory, passes, threads)
	case memory > maxHashMemory || threads > maxHashThreads || memory > maxHashWork/passes:
		return nil, fmt.Errorf("a check of this hash would take too much: m=%d,t=%d,p=%d, but m is at most %d (KiB), m times t %d, p %d", memory, passes, threads, maxHashMemory, maxHashWork, maxHashThreads)
	case len(salt) < minSalt || len(salt) > maxSalt || len(sum) < minSum || len(sum) > maxSum:
		return nil, fmt.Errorf("a hash of %d bytes with a salt of %d: %d to %d and %d to %d are possible; is it cut off?", len(sum), len(salt), minSum, maxSum, minSalt, maxSalt)
	default:
		h := &argon2Hash{uint32(passes), uint32(memory), uint8(threads), salt, sum}
		if h.text() != text { // written otherwise than any program does
			return nil, errArgon2
		}
		return h, nil
	}
}

func (h *argon2Hash) fits(secret string) bool {
	return subtle.ConstantTimeCompare(h.of(secret), h.sum) == 1
}

// of is what sum would be if it were the hash of the secret.
func (h *argon2Hash) of(secret string) []byte {
	return argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
}

// text is the hash in the form in which it is stored.
func (h *argon2Hash) text() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, encode(h.salt), encode(h.sum))
}

func (h *argon2Hash) work() int { return int(h.passes) * int(h.memory) }

// bcryptHash is bcrypt, in the form in which it is stored. As everywhere it sees
// the first 72 bytes of a secret.
type bcryptHash struct {
	text []byte
	cost int
}

func parseBcrypt(text string) (hash, error) {
	const digits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	h := &bcryptHash{text: []byte(text)}
	var err error
	if h.cost, err = bcrypt.Cost(h.text); err != nil || len(text) != 60 || strings.Trim(text[7:], digits) != "" {
		return nil, errors.New("not of the form $2b$COST$ and 53 characters: is it cut off?")
	}
	if h.cost > maxBcrypt {
		return nil, fmt.Errorf("a check of this hash would take too long: cost %d, but %d is the most; %d is usual", h.cost, maxBcrypt, defaultBcrypt)
	}
	return h, nil
}

func (h *bcryptHash) fits(secret string) bool {
	return bcrypt.CompareHashAndPassword(h.text, []byte(secret)) == nil
}

func (h *bcryptHash) work() int { return 60 << h.cost }

// maxSecret is the longest secret in bytes that fits on a line of Login.
const maxSecret = 1024 - len("Secret: \r\n")

// HashSecret returns a hash of the secret for [Options.Secret]: argon2id, or
// bcrypt. It fails for a secret that could never be used: one that a Login cannot
// hold, or of which bcrypt would leave out the end.
func HashSecret(secret string, useBcrypt bool) (string, error) {
	switch {
	case secret == "":
		return "", errors.New("the secret is empty")
	case len(secret) > maxSecret:
		return "", fmt.Errorf("the secret has more than %d bytes: no Login could hold it", maxSecret)
	case strings.HasPrefix(secret, " ") || strings.ContainsAny(secret, "\r\n\x00"):
		return "", errors.New("the secret begins with a blank, or holds a line end or NUL byte: no Login could hold it")
	case useBcrypt && len(secret) > 72:
		return "", errors.New("the secret has more than 72 bytes, which are all that bcrypt sees: take argon2id")
	case useBcrypt:
		sum, err := bcrypt.GenerateFromPassword([]byte(secret), defaultBcrypt)
		return string(sum), err
	}
	h := &argon2Hash{passes: defaultPasses, memory: defaultMemory, threads: 1, salt: make([]byte, 16), sum: make([]byte, 32)}
	rand.Read(h.salt) // never fails
	h.sum = h.of(secret)
	return h.text(), nil
}
