package proxy

import (
	"sync/atomic"
	"time"

	bucket "golang.org/x/time/rate"

	"github.com/amiproxy/amiproxy/config"
)

// limits are what a user may do how often. All its sessions share them, and a
// reload changes them for those who are logged in too. They are safe for use by
// many goroutines.
type limits struct {
	actions *bucket.Limiter // of all sessions together
	pending atomic.Int64    // actions of each session that may be unanswered
}

func newLimits(u *config.User) *limits {
	l := &limits{actions: bucket.NewLimiter(actionRate(u))}
	l.pending.Store(int64(u.PendingLimit))
	return l
}

// set makes the limits those of the user.
func (l *limits) set(u *config.User) {
	limit, burst := actionRate(u)
	l.actions.SetBurst(burst)
	l.actions.SetLimit(limit)
	l.pending.Store(int64(u.PendingLimit))
}

// actionRate is the user's limit: as many actions at once as in a second.
func actionRate(u *config.User) (limit bucket.Limit, burst int) {
	if u.ActionRate == 0 {
		return bucket.Inf, 1
	}
	return bucket.Limit(u.ActionRate), u.ActionRate
}

// awaitRate waits until the session may run one more action: what a client sends
// beyond its user's actionrate stays in the socket, as it does in Asterisk while an
// action runs. It returns at once when the session is to end.
func (s *Session) awaitRate() {
	if s.limits == nil || s.limits.actions.Allow() {
		return
	}
	turn := time.NewTimer(s.limits.actions.Reserve().Delay())
	defer turn.Stop()
	for s.reason.Load() == nil {
		select {
		case <-turn.C:
			return
		case <-s.room: // the session may have ended
		case <-s.gone:
			return
		case <-s.srv.stopping:
			return
		}
	}
}
