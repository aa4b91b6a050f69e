package ajam

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	// nonceLife is how long a nonce is good (manager.c: auth_http_callback).
	nonceLife = 62 * time.Second
	// maxNonces is how many used nonces are remembered, some 150 bytes each.
	maxNonces = 16 << 10
)

// digests ask clients for their secrets by Digest (RFC 7616, and RFC 2617 as Asterisk
// does), and know which nonces are good. A nonce says itself that it is ours and when it
// was made, so that those who only ask for one cost no memory; remembered are the
// counters of those by which users have shown their secrets. It is safe for use by many
// goroutines.
//
// A nonce belongs to a session, which outlives it: the one that follows it belongs to
// the same. Other than Asterisk's, ours are no client's invention, no request is good
// twice (nor the first one, and without qop a nonce is good once), and the uri must be
// that of the request.
type digests struct {
	// Static after construction
	realm string
	key   [sha256.Size]byte // makes nonces ours
	start time.Time

	mu    sync.Mutex // guards the following
	used  map[digestSession]nonceUse
	sweep int // how many there may be before those that are too old are dropped
	// since is when what is remembered begins: older nonces may have been used.
	since time.Duration
}

// digestSession is who comes by a nonce: a user, by the name that counts for
// comparing, and the session of the nonce.
type digestSession struct {
	user string
	id   uint64
}

// nonceUse is the newest nonce that a session has used, and its counter.
type nonceUse struct {
	made    time.Duration
	counter uint32
}

// offer is what a client offers in the place of its secret: see acl.Digest.
type offer struct {
	sha256                bool
	realm, rest, response string
}

func newDigests(realm string) *digests {
	d := &digests{realm: realm, start: time.Now(), used: make(map[digestSession]nonceUse), sweep: 1024}
	rand.Read(d.key[:]) //nolint:errcheck // never fails
	return d
}

// authenticate says what a client has shown, and which session is its. check reports
// whether what a client offers shows that it knows the user's secret, or that the request
// was answered by itself; it is not asked about requests that are not good anyway. If the request shows nothing, it is
// answered, by a challenge mostly, and ok is false.
func (d *digests) authenticate(w http.ResponseWriter, r *http.Request, check func(user string, o offer) (taken, answered bool)) (c *credentials, s digestSession, ok bool) {
	c, ok = parseCredentials(r.Header["Authorization"])
	if !ok {
		d.challenge(w, newSessionID(), false)
		return nil, s, false
	}
	n, ours := d.parse(c.nonce)
	s = digestSession{ami.FoldName(c.user), n.session}
	switch {
	case !c.isFor(r):
		writeError(w, http.StatusBadRequest, "Bad Request", "The digest is for another URI than that of the request, which somebody on the way may have changed.")
		return nil, s, false
	case !ours: // from before a restart, say: the client need not ask its user again
		d.challenge(w, newSessionID(), true)
		return nil, s, false
	}
	taken, answered := check(c.user, offer{sha256: c.sha256, realm: d.realm, rest: c.rest(r.Method), response: c.response})
	switch {
	case answered:
		return nil, s, false
	case !taken:
		d.challenge(w, newSessionID(), false)
		return nil, s, false
	case !d.use(s, n, c.counter):
		d.challenge(w, n.session, true)
		return nil, s, false
	}
	return c, s, true
}

// challenge asks the client for a digest: by SHA-256 if it can, else MD5.
func (d *digests) challenge(w http.ResponseWriter, session uint64, stale bool) {
	nonce := d.nonce(session)
	rest := `, realm=` + quote(d.realm) + `, nonce="` + nonce + `", qop="auth", opaque="` + nonce + `"`
	if stale {
		rest += ", stale=true"
	}
	w.Header().Add("WWW-Authenticate", "Digest algorithm=SHA-256"+rest)
	w.Header().Add("WWW-Authenticate", "Digest algorithm=MD5"+rest)
	writeError(w, http.StatusUnauthorized, "Unauthorized", "")
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func newSessionID() uint64 {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return binary.BigEndian.Uint64(b[:])
}

// A nonce in binary is the time that it was made at, its session, and the half of a
// hash that nobody else can make.
const (
	nonceHead = 8 + 8
	nonceSize = nonceHead + sha256.Size/2
)

type nonce struct {
	made    time.Duration // since the start, by a clock that nobody sets
	session uint64
}

func (d *digests) nonce(session uint64) string {
	b := make([]byte, 0, nonceHead+sha256.Size)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Since(d.start)))
	b = binary.BigEndian.AppendUint64(b, session)
	return base64.RawURLEncoding.EncodeToString(d.sign(b)[:nonceSize])
}

func (d *digests) sign(head []byte) []byte {
	h := hmac.New(sha256.New, d.key[:])
	h.Write(head)
	return h.Sum(head)
}

// parse reads a nonce; ok is false if it is not ours.
func (d *digests) parse(text string) (n nonce, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != nonceSize {
		return n, false
	}
	want := d.sign(append(make([]byte, 0, nonceHead+sha256.Size), b[:nonceHead]...))
	n.made = time.Duration(binary.BigEndian.Uint64(b))
	n.session = binary.BigEndian.Uint64(b[8:])
	return n, hmac.Equal(want[:nonceSize], b)
}

// use uses a nonce once more; it returns false if it is not good for that.
func (d *digests) use(s digestSession, n nonce, counter uint32) bool {
	now := time.Since(d.start)
	d.mu.Lock()
	defer d.mu.Unlock()
	u, known := d.used[s]
	switch {
	case now-n.made > nonceLife || counter == 0:
		return false
	case !known && n.made < d.since:
		return false
	case known && (n.made < u.made || n.made == u.made && counter <= u.counter):
		return false
	}
	d.used[s] = nonceUse{n.made, counter}
	if len(d.used) > d.sweep {
		d.forgetLocked(now)
	}
	return true
}

// forgetLocked drops what cannot be good any more, and all if that is not enough: all
// clients are then asked once more.
func (d *digests) forgetLocked(now time.Duration) {
	for s, u := range d.used {
		if now-u.made > nonceLife {
			delete(d.used, s)
		}
	}
	if len(d.used) >= maxNonces {
		clear(d.used)
		d.since = now + 1
	}
	d.sweep = min(max(1024, 2*len(d.used)), maxNonces)
}

// credentials are what a client says of itself.
type credentials struct {
	user, nonce, uri, response string
	counter                    uint32 // 1 without qop
	cnonce, nc                 string // empty without qop
	sha256                     bool
}

// isFor reports whether the client has meant this request: its URI is what is asked
// for, as it stands or with its host.
func (c *credentials) isFor(r *http.Request) bool {
	if c.uri == r.RequestURI {
		return true
	}
	_, rest, ok := strings.Cut(c.uri, "://")
	i := strings.IndexByte(rest, '/')
	return ok && i >= 0 && strings.EqualFold(rest[:i], r.Host) && rest[i:] == r.RequestURI
}

// rest is what the response is the hash of, but for what only who knows the secret can
// tell.
func (c *credentials) rest(method string) string {
	var hash string
	if request := []byte(method + ":" + c.uri); c.sha256 {
		sum := sha256.Sum256(request)
		hash = hex.EncodeToString(sum[:])
	} else {
		sum := md5.Sum(request)
		hash = hex.EncodeToString(sum[:])
	}
	if c.nc == "" {
		return c.nonce + ":" + hash
	}
	return c.nonce + ":" + c.nc + ":" + c.cnonce + ":auth:" + hash
}

// parseCredentials reads the Authorization headers of a request, of which there must be
// one. ok is false if it is no digest that could be right.
func parseCredentials(headers []string) (c *credentials, ok bool) {
	if len(headers) != 1 {
		return nil, false
	}
	scheme, params, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, false
	}
	fields, ok := parseParams(params)
	if !ok {
		return nil, false
	}
	c = &credentials{user: fields["username"], nonce: fields["nonce"], uri: fields["uri"], response: fields["response"], counter: 1}
	switch algorithm := fields["algorithm"]; {
	case strings.EqualFold(algorithm, "SHA-256"):
		c.sha256 = true
	case algorithm != "" && !strings.EqualFold(algorithm, "MD5"):
		return nil, false
	}
	if qop, found := fields["qop"]; found {
		c.cnonce, c.nc = fields["cnonce"], fields["nc"]
		n, err := strconv.ParseUint(c.nc, 16, 32)
		if err != nil || c.cnonce == "" || !strings.EqualFold(qop, "auth") {
			return nil, false
		}
		c.counter = uint32(n)
	}
	return c, c.user != "" && fields["realm"] != "" && c.nonce != "" && c.uri != "" && c.response != ""
}

// parseParams reads name=value pairs between commas, with values that are tokens or
// quoted. No name may come twice: who reads the first and who the last would
// not mean the same.
func parseParams(s string) (fields map[string]string, ok bool) {
	fields = make(map[string]string)
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return fields, true
		}
		name, rest, found := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if _, twice := fields[name]; !found || twice || name == "" || strings.ContainsAny(name, " \t\",") {
			return nil, false
		}
		value, rest, found := cutValue(strings.TrimLeft(rest, " \t"))
		rest = strings.TrimLeft(rest, " \t")
		if !found || rest != "" && rest[0] != ',' {
			return nil, false
		}
		fields[name], s = value, rest
	}
}

// cutValue cuts a token or quoted string off.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, " \t,\"")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
