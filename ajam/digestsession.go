package ajam

import (
	"errors"
	"net/http"

	"github.com/amiproxy/amiproxy/proxy"
)

// shown is who has shown its secret by Digest.
type shown struct {
	proxy.Digest
	user  string
	key   digestSession
	first bool // of the requests with its nonce
}

// authenticate says who has sent a request. If it shows no secret it is answered.
func (h *Server) authenticate(w http.ResponseWriter, r *http.Request) (who shown, ok bool) {
	c, key, ok := h.digests.authenticate(w, r, func(user string, o offer) (taken, answered bool) {
		who.Digest = proxy.Digest{SHA256: o.sha256, Realm: o.realm, Rest: o.rest, Response: o.response}
		if h.sessions.srv.TakesDigest(remote(r).Addr(), user, who.Digest) {
			return true, false
		}
		s, err := h.sessions.start(r) // so that it takes time, and counts
		if errors.Is(err, errTooMany) {
			h.refuse(w, err) // as who knows the secret: nobody is to guess as fast as he can meanwhile
			return false, true
		}
		if err == nil {
			s.LogInByDigest(r.Context(), user, who.Digest)
			s.Close()
		}
		return false, false
	})
	if ok {
		who.user, who.key, who.first = c.user, key, c.counter == 1
	}
	return who, ok
}

// sessionOf finds the session of who has shown its secret; a new one is logged in by
// it. If there is none the request is answered.
func (h *Server) sessionOf(w http.ResponseWriter, r *http.Request, who *shown) *session {
	if s := h.sessions.ofDigest(who.key); s != nil && s.Admits(remote(r).Addr()) {
		return s
	}
	s, err := h.sessions.start(r)
	if err != nil {
		h.refuse(w, err)
		return nil
	}
	if !s.LogInByDigest(r.Context(), who.user, who.Digest) {
		s.Close()
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusForbidden, "Permission denied", "Permission denied")
		return nil
	}
	return h.sessions.keep(who.key, s)
}

// runDigest runs the action in the session of who has shown its secret. Many clients get a
// nonce for each request: the session of the first is kept only if it holds something.
func (h *Server) runDigest(w http.ResponseWriter, r *http.Request, u *uri, f *form) {
	who, ok := h.authenticate(w, r)
	if !ok {
		return
	}
	for range digestTries {
		s := h.sessionOf(w, r, &who)
		if s == nil {
			return
		}
		settle(r, s)
		answer, err := s.Do(r.Context(), f.action())
		switch {
		case errors.Is(err, proxy.ErrSessionOver): // it ended as the request came
			h.sessions.drop(s)
			continue
		case err != nil:
			h.refuse(w, err)
			return
		}
		defer func() {
			answer.Close()
			if who.first {
				s.Discard()
			}
		}()
		h.answer(w, r, u, f, s, answer)
		return
	}
	h.refuse(w, proxy.ErrSessionOver)
}

// digestTries is how many sessions may end as a request comes.
const digestTries = 3

// ofDigest returns the session of who comes by Digest, nil if there is none.
func (t *sessions) ofDigest(key digestSession) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byDigest[key]
}

// drop lets nobody find a session by Digest any more.
func (t *sessions) drop(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byDigest[s.digest] == s {
		delete(t.byDigest, s.digest)
	}
}

// keep makes a session the one of who comes by Digest, unless another request was
// faster: then that one's is.
func (t *sessions) keep(key digestSession, s *session) *session {
	t.mu.Lock()
	other := t.byDigest[key]
	if other == nil && !s.over {
		s.digest = key
		t.byDigest[key] = s
	}
	t.mu.Unlock()
	if other == nil {
		return s
	}
	s.Close()
	return other
}
