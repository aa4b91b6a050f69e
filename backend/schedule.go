package backend

import "time"

// This file says which action goes out when, and on which link.
//
// A stream whose first waiting action could go out but for want of a link is
// in Backend.waiting, and tries again whenever that may help. A stream that
// waits for its own earlier actions is not: their answers start it.

// maxUnsent is how many bytes may wait for the socket of a link before it is
// given no further work.
const maxUnsent = 1 << 20

// result is a request and what came of it.
type result struct {
	p      *pending
	answer Answer
}

// settle calls Done for requests that were taken out of their stream's queue,
// and goes on with what waited for that. Nothing of a stream is started, and
// so nothing answered, before the call of Done for what came before it.
func (b *Backend) settle(results []result) {
	for len(results) > 0 {
		for _, r := range results {
			r.answer.ID = r.p.id
			r.p.request.Done(r.answer)
		}
		now := time.Now()
		b.mu.Lock()
		var failed []result
		kick := false
		for _, r := range results {
			kick = b.forgetLocked(r.p, now) || kick
		}
		for _, r := range results {
			s := r.p.stream
			switch {
			case s == nil || len(s.waiting) == 0 || s.queued:
			case s.unanswered == 0 && len(b.waiting) > 0:
				// It has had its turn: those who wait go first.
				s.queued, kick = true, true
				b.waiting = append(b.waiting, s)
			default:
				failed = append(failed, b.startLocked(s, now)...)
			}
		}
		if kick || b.crowded {
			failed = append(failed, b.kickLocked(now)...)
		}
		b.mu.Unlock()
		results = failed
	}
}

// forgetLocked takes an answered request out of the books. It reports whether
// that is of use to others than its own stream.
func (b *Backend) forgetLocked(p *pending, now time.Time) (kick bool) {
	if s := p.stream; s != nil {
		b.countLocked(s, -1)
		s.unanswered--
	}
	if p.failed {
		b.late.forget(p.number)
	}
	l := p.link
	if l == nil || l.dead {
		return false
	}
	l.inflight[0] = nil
	l.inflight = l.inflight[1:]
	if len(l.inflight) > 0 {
		l.inflight[0].startClock(now)
	}
	if p.exclusive {
		b.releaseLocked(l)
		return true
	}
	return l.taken && len(l.inflight) == 0
}

// countLocked counts what others have pending.
func (b *Backend) countLocked(s *Stream, n int) {
	if s != b.house {
		b.pending += n
	}
}

// startClock is called when the request is the oldest on its link: Asterisk
// runs one after the other.
func (p *pending) startClock(now time.Time) { p.deadline = now.Add(p.timeout) }

// usableLocked reports whether actions can be sent.
func (b *Backend) usableLocked() bool { return b.state.Up && len(b.links) > 0 && !b.stopping }

// kickLocked lets the streams that wait for a link try again, in order, and
// returns those that are to be told that they waited in vain.
func (b *Backend) kickLocked(now time.Time) (failed []result) {
	streams := b.waiting
	b.waiting = b.waiting[:0] // no stream adds more than itself
	b.crowded = false
	for _, s := range streams {
		s.queued = false
		failed = append(failed, b.startLocked(s, now)...)
	}
	clear(streams[len(b.waiting):])
	return failed
}

// startLocked sends as much of the stream's work as can be sent now. It
// returns what has waited in vain, for settle.
func (b *Backend) startLocked(s *Stream, now time.Time) (failed []result) {
	for len(s.waiting) > 0 {
		p := s.waiting[0]
		switch {
		case p.withdrawn && s.unanswered > 0:
			return failed // the answers to those before it come first
		case p.withdrawn:
			return s.failLocked(1, ErrWithdrawn)
		case s.unanswered > 0:
		case !b.usableLocked():
			return s.failLocked(len(s.waiting), ErrDown)
		case p.expires.IsZero():
			// Those in front of a synchronous Originate may ring as long as it
			// would itself.
			p.expires = now.Add(p.timeout)
		case now.After(p.expires):
			return s.failLocked(1, ErrBusy)
		}
		l := b.pickLocked(s, p)
		if l == nil {
			if s.unanswered == 0 {
				s.queued = true
				b.waiting = append(b.waiting, s)
				b.crowded = b.crowded || !p.exclusive
			}
			return nil
		}
		s.popLocked()
		s.link = l
		l.sendLocked(p, now)
	}
	return nil
}

// popLocked takes the first waiting action out.
func (s *Stream) popLocked() *pending {
	p := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	s.unanswered++
	return p
}

// failLocked takes the first n waiting actions out, for settle.
func (s *Stream) failLocked(n int, err error) []result {
	failed := make([]result, n)
	s.link = nil
	for i := range failed {
		p := s.popLocked()
		if p.reserved != nil {
			s.b.releaseLocked(p.reserved)
			s.b.crowded = true // have the others try at the next kick
		}
		failed[i] = result{p, Answer{Err: err}}
	}
	return failed
}

// pickLocked finds the link on which p can be sent now, nil if it must wait.
func (b *Backend) pickLocked(s *Stream, p *pending) *link {
	switch {
	case s.unanswered > 0 && (p.exclusive || s.link == nil || s.link.taken):
		return nil // the answers of its own earlier ones come first
	case s.unanswered > 0:
		return s.link.ifRoomLocked()
	case p.exclusive:
		return b.pickExclusiveLocked(p)
	default:
		return b.leastLoadedLocked().ifRoomLocked()
	}
}

// pickExclusiveLocked reserves a link for p, which then gets no new work, and
// returns it once it is idle. One link stays for the actions of others, if
// there is more than one.
func (b *Backend) pickExclusiveLocked(p *pending) *link {
	if p.reserved == nil {
		if b.exclusive >= max(1, len(b.links)-1) {
			return nil
		}
		l := b.leastLoadedLocked()
		if l == nil {
			return nil
		}
		l.taken, l.reservedBy, p.reserved = true, p, l
		b.exclusive++
	}
	if len(p.reserved.inflight) > 0 {
		return nil
	}
	return p.reserved
}

// leastLoadedLocked is the link with the fewest unanswered actions of those
// that are not taken, nil if all are.
func (b *Backend) leastLoadedLocked() *link {
	var best *link
	for _, l := range b.links {
		if !l.taken && (best == nil || len(l.inflight) < len(best.inflight)) {
			best = l
		}
	}
	return best
}

// releaseLocked ends the use of a link by an exclusive action.
func (b *Backend) releaseLocked(l *link) {
	if !l.taken {
		return
	}
	l.taken = false
	b.exclusive--
	if l.reservedBy != nil {
		l.reservedBy.reserved = nil
		l.reservedBy = nil
	}
}

// sendLocked hands p to the writer of the link.
func (l *link) sendLocked(p *pending, now time.Time) {
	p.link, p.reserved, l.reservedBy = l, nil, nil
	l.inflight = append(l.inflight, p)
	if l.b.isOthers(p) {
		l.b.stats.Actions.Add(1)
	}
	if len(l.inflight) == 1 {
		p.startClock(now)
	}
	if p.late > 0 {
		l.b.late.add(p.number, lateID{
			owner: p.stream.owner, ownerID: p.request.Action.ID(), until: now.Add(p.late),
		})
	}
	if p.request.Progress != nil {
		p.request.Progress.sent.Store(true)
	}
	// A queue that is closed belongs to a link that is ending: linkDown
	// answers p.
	l.out.PutAnswer(p.frame)
}

// ifRoomLocked is the link itself, nil if it is nil or its writer lags behind.
func (l *link) ifRoomLocked() *link {
	if l == nil {
		return nil
	}
	if _, unsent := l.out.Size(); unsent > maxUnsent {
		return nil
	}
	return l
}
