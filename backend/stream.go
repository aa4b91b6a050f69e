package backend

import (
	"slices"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// share is what a stream may always have pending, so that who asks for one
// thing after the other does not suffer from those who fill Options.PendingLimit:
// one action, and the one before it, which counts until its Done has returned.
const share = 2

// Stream is the order of one session's actions on one PBX. They are sent in
// the order of Do, on one link while any is unanswered, so that the PBX runs
// them in that order; and Done is called for them in that order, whatever
// becomes of them.
type Stream struct {
	// Static after construction
	b     *Backend
	owner any

	// Guarded by Backend.mu
	waiting    []*pending // accepted and not yet sent
	unanswered int        // taken out of waiting, Done still to be called
	link       *link      // where those are; nil: none may follow them there
	queued     bool       // the stream is in Backend.waiting
	closed     bool
}

// NewStream returns a stream without actions. owner is what [Event].Owner will
// be for events that carry the ActionID of one of them.
func (b *Backend) NewStream(owner any) *Stream { return &Stream{b: b, owner: owner} }

// Do sends an action, now or as soon as its turn comes. If it returns an error
// (ErrDown, ErrBusy or a *FaultError) the action is not sent and Done is not
// called.
func (s *Stream) Do(r Request) error {
	b := s.b
	if !b.up.Load() {
		return ErrDown
	}
	p, err := b.newPending(s, r)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed || !b.usableLocked() {
		return ErrDown
	}
	if s != b.house && b.pending >= b.settings.Load().PendingLimit && len(s.waiting)+s.unanswered >= share {
		return ErrBusy
	}
	b.countLocked(s, 1)
	s.waiting = append(s.waiting, p)
	if len(s.waiting) == 1 { // else those before it are waiting for something
		b.startLocked(s, time.Now())
	}
	return nil
}

// Withdraw keeps those actions from being sent that were not sent yet and for
// which which is true: in its turn each gets ErrWithdrawn. which is called with
// no lock held.
func (s *Stream) Withdraw(which func(*ami.Action) bool) {
	b := s.b
	b.mu.Lock()
	waiting := slices.Clone(s.waiting)
	b.mu.Unlock()
	waiting = slices.DeleteFunc(waiting, func(p *pending) bool { return !which(p.request.Action) })
	if len(waiting) == 0 {
		return
	}
	b.mu.Lock()
	for _, p := range waiting { // of no matter to one that was sent meanwhile
		p.withdrawn = true
	}
	failed := b.kickLocked(time.Now())
	b.mu.Unlock()
	b.settle(failed)
}

// Close cancels what was not sent yet, without a call of Done. What was sent
// runs on and is answered.
func (s *Stream) Close() {
	b := s.b
	b.mu.Lock()
	s.closed = true
	released := false
	b.countLocked(s, -len(s.waiting))
	for _, p := range s.waiting {
		if p.reserved != nil {
			b.releaseLocked(p.reserved)
			released = true
		}
	}
	s.waiting = nil
	b.hurryLocked(s)
	var failed []result
	if released || s.queued {
		failed = b.kickLocked(time.Now())
	}
	b.mu.Unlock()
	b.settle(failed)
}

// hurryLocked lets an exclusive action that nobody waits for any more have its
// link no longer than an ordinary one: a synchronous Originate may ring for
// hours.
func (b *Backend) hurryLocked(s *Stream) {
	latest := time.Now().Add(b.settings.Load().ActionTimeout)
	for _, l := range b.links {
		if len(l.inflight) > 0 && l.taken {
			if p := l.inflight[0]; p.stream == s && p.deadline.After(latest) {
				p.deadline = latest
			}
		}
	}
}
