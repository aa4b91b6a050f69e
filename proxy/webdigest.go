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

// Close ends the session, whatever is under way. It may be called more than once.
func (w *WebSession) Close() { w.s.abort(reasonClientClosed) }
