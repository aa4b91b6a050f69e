package proxy

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/queue"
)

// holdTime is how long an event waits at most for the answer to an action that
// may have caused it; longer only for a list.
const holdTime = time.Second

// noPBX is the place of an action that the proxy answers itself.
const noPBX = -1

// slot keeps the place of one answer in the order of a session.
//
// The order is total for a session that sees one PBX. Otherwise it is kept for
// each PBX, and among actions without an ActionID, so that a PBX which is slow
// or dead holds up nothing but its own answers.
type slot struct {
	// Static once the slot is added
	pbx   int    // index in Server.pbxs, or noPBX
	named bool   // the action has an ActionID
	last  reason // not empty: the session ends here
	apply func() // if not nil, done when the answer is queued, with mu held

	progress backend.Progress

	// Guarded by Session.mu
	done   bool
	answer []byte
}

// heldEvent is an event that came while an action was under way that may have
// caused it: it must not overtake the answer, or fall into a list.
type heldEvent struct {
	pbx   int
	class ami.Class
	frame []byte
	after *slot // is queued after its answer
	since time.Time
}

// add gives the slot its place.
func (s *Session) add(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = append(s.slots, sl)
	s.flushLocked()
}

// reply answers an action of the proxy's own, in its place.
func (s *Session) reply(named bool, answer []byte) {
	s.add(&slot{pbx: noPBX, named: named, done: true, answer: answer})
}

// fill sets the answer of a slot.
func (s *Session) fill(sl *slot, answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.done, sl.answer = true, answer
	s.flushLocked()
}

// pending is the number of actions that a PBX has still to answer.
func (s *Session) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, sl := range s.slots {
		if sl.pbx != noPBX && !sl.done {
			n++
		}
	}
	return n
}

// flushLocked queues every answer whose turn it is.
func (s *Session) flushLocked() {
	waiting := s.slots[:0]
	for _, sl := range s.slots {
		if !sl.done || s.mustWait(sl, waiting) {
			waiting = append(waiting, sl)
			continue
		}
		s.queueLocked(sl)
	}
	clear(s.slots[len(waiting):])
	s.slots = waiting
}

// mustWait reports whether one of those before sl, which are not queued yet,
// has to be first.
func (s *Session) mustWait(sl *slot, before []*slot) bool {
	if !s.tagged || sl.last != "" {
		return len(before) > 0
	}
	for _, b := range before {
		if sl.pbx != noPBX && b.pbx == sl.pbx || !sl.named && !b.named {
			return true
		}
	}
	return false
}

func (s *Session) queueLocked(sl *slot) {
	if sl.apply != nil {
		sl.apply()
	}
	if len(sl.answer) > 0 && errors.Is(s.out.PutAnswer(sl.answer), queue.ErrOverflow) {
		s.abort(reasonAnswerLimit)
	}
	if len(s.held) > 0 {
		s.releaseLocked(func(e *heldEvent) bool { return e.after == sl })
	}
	if sl.last != "" {
		s.finish(sl.last)
	}
}

// putEvent queues an event, behind the answers that it has to wait for.
func (s *Session) putEvent(pbx int, class ami.Class, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := s.lastSentLocked(pbx)
	if after == nil {
		s.queueEventLocked(class, frame)
		return
	}
	if limit := s.user.QueueLimit; limit > 0 && s.heldBytes+int64(len(frame)) > limit {
		if s.out.Lose(1) != nil {
			s.abort(reasonSlowClient)
		}
		return
	}
	s.heldBytes += int64(len(frame))
	s.held = append(s.held, heldEvent{pbx, class, frame, after, time.Now()})
	if len(s.held) == 1 {
		s.armLocked(holdTime)
	}
}

// lastSentLocked is the last action that was sent to the PBX and whose answer
// is not queued, nil if there is none.
func (s *Session) lastSentLocked(pbx int) *slot {
	for i := len(s.slots) - 1; i >= 0; i-- {
		if sl := s.slots[i]; sl.pbx == pbx && sl.progress.Sent() {
			return sl
		}
	}
	return nil
}

func (s *Session) queueEventLocked(class ami.Class, frame []byte) {
	// The mask may have changed since (process_events tests again, too).
	if s.sees(class) && errors.Is(s.out.PutEvent(frame), queue.ErrOverflow) {
		s.abort(reasonSlowClient)
	}
}

// releaseLocked queues the held events for which free is true, in order.
func (s *Session) releaseLocked(free func(*heldEvent) bool) {
	kept := s.held[:0]
	for i := range s.held {
		e := &s.held[i]
		if !free(e) {
			kept = append(kept, *e)
			continue
		}
		s.heldBytes -= int64(len(e.frame))
		s.queueEventLocked(e.class, e.frame)
	}
	clear(s.held[len(kept):])
	s.held = kept
}

func (s *Session) armLocked(d time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.releaseOld)
	} else {
		s.timer.Reset(d)
	}
}

// releaseOld lets go the events that have waited long enough, unless they wait
// for the end of a list.
func (s *Session) releaseOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next := holdTime
	stuck := make(map[int]bool) // PBXes with an event that stays: order is kept
	s.releaseLocked(func(e *heldEvent) bool {
		wait := holdTime - now.Sub(e.since)
		if stuck[e.pbx] || wait > 0 || s.listOpenLocked(e.pbx) {
			stuck[e.pbx] = true
			if wait > 0 {
				next = min(next, wait)
			}
			return false
		}
		return true
	})
	if len(s.held) > 0 {
		s.armLocked(next)
	}
}

// listOpenLocked reports whether the PBX is in the middle of a list for this
// session.
func (s *Session) listOpenLocked(pbx int) bool {
	for _, sl := range s.slots {
		if sl.pbx == pbx && sl.progress.List() && !sl.done {
			return true
		}
	}
	return false
}

// answered returns what to do with the answer of a PBX.
func (s *Session) answered(sl *slot, p *pbx, id string) func(backend.Answer) {
	return func(a backend.Answer) {
		switch {
		case a.Err == nil:
			s.fill(sl, a.Bytes)
		case errors.Is(a.Err, backend.ErrTooLong):
			s.log.Warn("answer thrown away", zap.String("pbx", p.Name()), zap.Error(a.Err))
			s.abort(reasonAnswerLimit)
		default:
			s.fill(sl, ami.AppendResponse(nil, "Error", id, pbxError(p.Name(), a.Err)))
		}
	}
}

// pbxError is the text for a client whose action a PBX did not answer.
func pbxError(name string, err error) string { return "Server " + name + " " + err.Error() }
