package proxy

import (
	"context"
	"net/netip"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

// Digest is what a client offers over HTTP in the place of its secret.
type Digest = acl.Digest

// TakesDigest reports whether a digest is of a secret of a user who may log in by it from
// an address. It logs nobody in, and counts no failure: that is for LogInByDigest, to
// which a digest that is not taken should be given too.
func (srv *Server) TakesDigest(from netip.Addr, username string, d Digest) bool {
	now := srv.now()
	user, policy := now.user(username), now.decoy
	if user != nil {
		policy = user.Policy
	}
	match := policy.CheckDigest(d)
	lockedOut := srv.lockouts.refusesUser(from, username, srv.general())
	return user != nil && match != acl.NoMatch && policy.Admits(from) && !policy.NeedsCertificate() && !lockedOut
}

// LogInByDigest logs the client of a new session in, as the action Login would by a
// secret: a refusal takes as long, counts, and ends the session. Events are off until
// the first WaitEvent. It is to be called before all other methods.
func (w *WebSession) LogInByDigest(ctx context.Context, username string, d Digest) bool {
	w.s.digest = &d
	answer, err := w.Do(ctx, ami.NewAction("Action: Login", "Username: "+username, "Events: off"))
	if err != nil {
		return false
	}
	answer.Close()
	return w.LoggedIn()
}

// Discard ends the session unless its client could miss it: if no request is under way, it
// gets no events and has kept none, and has added no filters.
func (w *WebSession) Discard() {
	if w.stopUnneeded() {
		w.s.abort(reasonClientClosed)
	}
}

// stopUnneeded has a session take no more requests if it may be discarded.
func (w *WebSession) stopUnneeded() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.uses > 0 || s.mask.Load() != 0 || len(w.kept) > 0 || w.lost > 0 || s.filterBytes > 0 {
		return false
	}
	w.over = true
	return true
}

// Close ends the session, whatever is under way. It may be called more than once.
func (w *WebSession) Close() { w.s.abort(reasonClientClosed) }
