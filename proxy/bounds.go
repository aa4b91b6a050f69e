package proxy

import (
	"errors"
	"slices"
	"sync"

	"github.com/amiproxy/amiproxy/internal/queue"
)

// This file says what happens when a session holds too much for its client.

// strangerLimit is how many bytes of answers may wait for a client that has
// not logged in: its actions have short ones.
const strangerLimit = 64 << 10

func (s *Session) queueAnswer(frame []byte) {
	for errors.Is(s.out.PutAnswer(frame), queue.ErrOverflow) {
		_, queued := s.out.Size()
		if !s.makeRoom(queued, len(frame), s.answerLimit, reasonAnswerLimit) {
			return
		}
	}
}

// queueEventLocked queues an event unless the mask or the filters, which may
// have changed since it came, are against it (process_events tests again, too).
func (s *Session) queueEventLocked(e *event) {
	if !s.stillSeesLocked(e) {
		return
	}
	s.events++
	for errors.Is(s.out.PutEvent(e.frame), queue.ErrOverflow) {
		queued, _ := s.out.Size()
		if !s.makeRoom(queued, len(e.frame), s.user.QueueLimit, reasonSlowClient) {
			return
		}
	}
}

// stillSeesLocked reports whether an event that was for the session when it came
// still is.
func (s *Session) stillSeesLocked(e *event) bool {
	if !s.sees(e.class) || !e.own && slices.Contains(s.taken, e.source) {
		return false
	}
	a := s.audience.Load()
	return a == e.passed || a.lets(e.sight, e.frame) && s.passAgain(a, e.frame)
}

// makeRoom is for a frame that did not fit. If the bound that it broke is the
// session's own, the session is cut; if it is that of all sessions together,
// the one that holds most is. It reports whether to try again.
func (s *Session) makeRoom(queued int64, size int, limit int64, why reason) bool {
	if limit > 0 && queued+int64(size) > limit {
		s.abort(why)
		return false
	}
	if total := &s.srv.total; total.Limit == 0 || total.Used()+int64(size) <= total.Limit {
		return true // somebody made room meanwhile
	}
	fattest := s.srv.fattest()
	if fattest == nil {
		fattest = s
	}
	fattest.abort(reasonTotalLimit)
	return fattest != s
}

// account is a session's share in Server.total of what is not in its queue
// yet. It is safe for use by many goroutines.
type account struct {
	total *queue.Total

	mu     sync.Mutex // guards the following
	n      int64
	closed bool
}

func (a *account) set(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.total.Add(n - a.n)
		a.n = n
	}
}

func (a *account) size() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// close takes the share back for good.
func (a *account) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.Add(-a.n)
	a.n, a.closed = 0, true
}

// accountLocked tells the account what the session holds outside of its queue.
func (s *Session) accountLocked() {
	s.account.set(s.slotBytes + s.unsentBytes + s.heldBytes + s.filterBytes)
}

// countLocked accounts for what waits in slots and for them. If that is too
// much for all sessions together, the one that holds most is cut.
func (s *Session) countLocked() {
	before := s.account.size()
	s.accountLocked()
	total := &s.srv.total
	if s.account.size() <= before || total.Limit == 0 || total.Used() <= total.Limit {
		return
	}
	if fattest := s.srv.fattest(); fattest != nil {
		fattest.abort(reasonTotalLimit)
	}
}

// fattest is the session that holds most bytes for its client, nil if none
// holds any.
func (srv *Server) fattest() (fattest *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	most := int64(0)
	for s := range srv.sessions {
		events, answers := s.out.Size()
		if n := events + answers + s.account.size(); n > most {
			fattest, most = s, n
		}
	}
	return fattest
}
