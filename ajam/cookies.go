package ajam

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/proxy"
)

// cookieName is that of Asterisk.
const cookieName = "mansession_id"

var (
	errTooMany = errors.New("ajam: too many sessions")
	errRenewed = errors.New("ajam: the cookie is from before a login")
)

// id names a session to its client. Who knows it has the session.
type id [16]byte

func newID() (i id) {
	rand.Read(i[:]) //nolint:errcheck // never fails
	return i
}

// session is a session and its cookie.
type session struct {
	*proxy.WebSession
	place *place

	// stranger is held while an action runs of a client that has not logged in: no other
	// request is to get in by the same id together with it.
	stranger sync.Mutex

	begin sync.Mutex // guards the following, and WebSession until start returns
	left  bool       // it had to go before it was there

	// byPage says that the login was sent by a page, as its browser told.
	byPage atomic.Bool

	// Guarded by sessions.mu
	id     id
	digest digestSession // in the place of the id, if its client comes by Digest
	over   bool
}

// sessions are all sessions by cookie. It is safe for use by many goroutines.
type sessions struct {
	// Static after construction
	srv     *proxy.Server
	options Options
	places  *places

	mu   sync.Mutex // guards the following; nothing of package proxy is called under it
	byID map[id]*session
	// byDigest are those of clients that come by Digest.
	byDigest map[digestSession]*session
}

func newSessions(srv *proxy.Server, o Options, log *zap.Logger) *sessions {
	return &sessions{srv: srv, options: o, places: newPlaces("sessions", sessionsEach*o.SessionLimit, log), byID: make(map[id]*session), byDigest: make(map[digestSession]*session)}
}

// of returns the session of a request, nil if it has none: the cookie may be unknown,
// or the session not open to the client's address. What a client has made up
// is never adopted.
func (t *sessions) of(r *http.Request) *session {
	i, ok := cookie(r)
	if !ok {
		return nil
	}
	t.mu.Lock()
	s := t.byID[i]
	t.mu.Unlock()
	if s == nil || !s.Admits(remote(r).Addr()) {
		return nil
	}
	return s
}

// loggedIn reports whether a request is of a session that has logged in.
func (t *sessions) loggedIn(r *http.Request) bool {
	s := t.of(r)
	if s == nil {
		return false
	}
	s.stranger.Lock()
	defer s.stranger.Unlock()
	return t.check(r, s) == nil && s.LoggedIn()
}

// open opens a session for who sent a request, with a cookie.
func (t *sessions) open(r *http.Request) (*session, error) {
	s, err := t.start(r)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.over {
		t.byID[s.id] = s
	}
	return s, nil
}

// start opens a session that nobody can find.
func (t *sessions) start(r *http.Request) (*session, error) {
	from := remote(r)
	s := &session{id: newID()}
	s.place = t.places.take(from.Addr(), func() { s.leave() })
	if s.place == nil {
		return nil, errTooMany
	}
	ws, err := t.srv.OpenWeb(proxy.WebOptions{
		Remote: from, Local: local(r), TLS: r.TLS != nil,
		Timeout: t.options.SessionTimeout, Ended: func() { t.remove(s) },
	})
	if err != nil {
		s.place.give()
		return nil, err
	}
	s.enter(ws)
	return s, nil
}

// enter makes it the session.
func (s *session) enter(ws *proxy.WebSession) {
	s.begin.Lock()
	defer s.begin.Unlock()
	s.WebSession = ws
	if s.left {
		ws.Close()
	}
}

// leave ends the session, also one that is about to begin.
func (s *session) leave() {
	s.begin.Lock()
	defer s.begin.Unlock()
	s.left = true
	if s.WebSession != nil {
		s.Close()
	}
}

// remove forgets a session that is over. It may be called with locks of package
// proxy held.
func (t *sessions) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.over = true
	delete(t.byID, s.id)
	if t.byDigest[s.digest] == s {
		delete(t.byDigest, s.digest)
	}
	s.place.give()
}

// do runs an action in the session of a request, and sets the cookie; fresh says that
// nobody else knows the session. A login gives it another id: who logs in must not do so
// in a session whose id somebody else has given him. It fails with errRenewed for requests
// that came by the one before and waited for the login, and as [proxy.WebSession.Do].
func (t *sessions) do(w http.ResponseWriter, r *http.Request, s *session, fresh bool, a *ami.Action) (*proxy.WebAnswer, error) {
	known := false
	if !fresh {
		s.stranger.Lock()
		err := t.check(r, s)
		if known = s.LoggedIn(); known || err != nil {
			s.stranger.Unlock()
		} else {
			defer s.stranger.Unlock() // later than the cookie: the next id is not for who has this one
		}
		if err != nil {
			return nil, err
		}
	}
	answer, err := s.Do(r.Context(), a)
	if !known && s.LoggedIn() {
		s.byPage.Store(tellsPage(r))
		if !fresh {
			t.renew(s)
		}
	}
	if err == nil {
		t.setCookie(w, r, s)
	}
	return answer, err
}

// check says whether a session still is that of the request.
func (t *sessions) check(r *http.Request, s *session) error {
	i, _ := cookie(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.over:
		return proxy.ErrSessionOver
	case s.id != i:
		return errRenewed
	}
	return nil
}

// renew gives a session another id.
func (t *sessions) renew(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.over {
		return
	}
	delete(t.byID, s.id)
	s.id = newID()
	t.byID[s.id] = s
}

// setCookie tells the client the session's id, as Asterisk does with every answer.
func (t *sessions) setCookie(w http.ResponseWriter, r *http.Request, s *session) {
	v := append(make([]byte, 0, 160), cookieName+`="`...)
	t.mu.Lock()
	v = hex.AppendEncode(v, s.id[:])
	t.mu.Unlock()
	v = append(v, `"; Version=1; Max-Age=`...)
	v = strconv.AppendInt(v, int64(t.options.SessionTimeout.Seconds()), 10)
	v = append(v, "; HttpOnly"...)
	switch {
	case r.TLS == nil:
		v = append(v, "; SameSite=Strict"...)
	case len(t.options.Origins) > 0: // whose pages could not send it otherwise
		v = append(v, "; SameSite=None; Secure"...)
	default:
		v = append(v, "; SameSite=Strict; Secure"...)
	}
	w.Header()["Set-Cookie"] = []string{string(v)}
}

// cookie finds the id that a request has: in the last Cookie header, by the first
// cookie of that name, whatever its case, with or without quotes (http.c:
// ast_http_get_cookies).
func cookie(r *http.Request) (i id, ok bool) {
	headers := r.Header["Cookie"]
	if len(headers) == 0 {
		return i, false
	}
	for part := range strings.SplitSeq(headers[len(headers)-1], ";") {
		name, value, _ := strings.Cut(part, "=")
		if !strings.EqualFold(strings.TrimSpace(name), cookieName) {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if len(value) != 2*len(i) {
			return i, false
		}
		_, err := hex.Decode(i[:], []byte(value))
		return i, err == nil
	}
	return i, false
}

// remote is the client's address, local ours.
func remote(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a
}

func local(r *http.Request) netip.AddrPort {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return addrPort(a)
}
