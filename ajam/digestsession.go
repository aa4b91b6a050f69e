package ajam

import (
	"net/http"

	"github.com/amiproxy/amiproxy/proxy"
)

// authenticate finds the session of a request that shows its secret by Digest; a new
// one is logged in by it. If there is none the request is answered.
func (h *Server) authenticate(w http.ResponseWriter, r *http.Request) *session {
	var shown proxy.Digest
	user, key, ok := h.digests.authenticate(w, r, func(user string, o offer) bool {
		shown = proxy.Digest{SHA256: o.sha256, Realm: o.realm, Rest: o.rest, Response: o.response}
		if h.sessions.srv.TakesDigest(remote(r).Addr(), user, shown) {
			return true
		}
		if s, err := h.sessions.start(r); err == nil { // so that it takes time, and counts
			s.LogInByDigest(r.Context(), user, shown)
			s.Close()
		}
		return false
	})
	if !ok {
		return nil
	}
	if s := h.sessions.ofDigest(key); s != nil && s.Admits(remote(r).Addr()) {
		return s
	}
	s, err := h.sessions.start(r)
	if err != nil {
		h.refuse(w, err)
		return nil
	}
	if !s.LogInByDigest(r.Context(), user, shown) {
		s.Close()
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusForbidden, "Permission denied", "Permission denied")
		return nil
	}
	return h.sessions.keep(key, s)
}

// ofDigest returns the session of who comes by Digest, nil if there is none.
func (t *sessions) ofDigest(key digestSession) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byDigest[key]
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
