package proxy

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// holdTime is how long an event waits at most for the answer to an action that
// may have caused it; longer only for a list.
const holdTime = time.Second

// holdGrain is how long one that has waited so long may have to wait for others:
// each look at what is held takes as long as there are events and actions.
const holdGrain = holdTime / 20

// maxSlots is how many answers of a session may wait for their turn before the
// client's further actions have to: the reader then leaves them in the socket,
// as Asterisk does while it runs an action. It exceeds the usual pendinglimit,
// beyond which actions are refused.
const maxSlots = 1024

const (
	// noPBX is the place of an action that the proxy answers itself.
	noPBX = -1
	// everyPBX is that of a WaitEvent: events of every PBX wait behind it.
	everyPBX = -2
	// severalPBXs is that of a merged list: slot.parts says which.
	severalPBXs = -3
)

// progress is how far a request has come; see backend.Progress.
type progress interface {
	Sent() bool
	List() bool
}

// part is one PBX's share in a merged list.
type part struct {
	pbx      int
	progress progress
}

// slot keeps the place of one answer in the order of a session.
//
// The order is total for a session that sees one PBX. Otherwise it is kept for
// each PBX, and among actions without an ActionID, so that a PBX which is slow
// or dead holds up nothing but its own answers.
type slot struct {
	// Static once the slot is added
	pbx   int        // pbx.index, or noPBX
	named bool       // the action has an ActionID
	to    *WebAnswer // gets the answer in the place of the queue, whatever the order; nil: none does
	last  reason     // not empty: the session ends here
	// apply, if not nil, is called with mu held when it is the slot's turn; it
	// may still change the answer.
	apply func()

	// progress is how far the PBX is; nil with noPBX.
	progress progress
	// parts are the PBXes that a merged list is asked of, pbx is then severalPBXs;
	// merge is what they make of it.
	parts []part
	merge *merge

	// Guarded by Session.mu
	done    bool
	answer  []byte
	more    [][]byte // what the answer goes on with
	counted int64    // bytes of the action, then of the answer, in Session.slotBytes
}

// size is the length of the answer in bytes.
func (sl *slot) size() int64 {
	n := len(sl.answer)
	for _, frames := range sl.more {
		n += len(frames)
	}
	return int64(n)
}

// isOf reports whether yes is true for a PBX that the slot waits for.
func (sl *slot) isOf(yes func(pbx int) bool) bool {
	if sl.pbx >= 0 {
		return yes(sl.pbx)
	}
	return slices.ContainsFunc(sl.parts, func(p part) bool { return yes(p.pbx) })
}

// at reports whether the slot waits for a PBX and is so far there.
func (sl *slot) at(pbx int, far func(progress) bool) bool {
	if sl.pbx == pbx {
		return far(sl.progress)
	}
	return slices.ContainsFunc(sl.parts, func(p part) bool { return p.pbx == pbx && far(p.progress) })
}

// event is an event on its way to a session.
type event struct {
	source int  // source.index; noPBX: the proxy itself
	own    bool // the proxy's word of the source, also for who may not see that any more
	class  ami.Class
	frame  []byte
	passed *audience // which it was let through to
	sight  fence.Sight
}

// heldEvent is an event that came while an action was under way that may have
// caused it: it must not overtake the answer, or fall into a list.
type heldEvent struct {
	event
	after *slot // is queued after its answer
	since time.Time
}

// add gives the slot of the action that is being handled its place.
func (s *Session) add(sl *slot) {
	sl.to = s.asking
	s.place(sl)
}

// place gives a slot its place.
func (s *Session) place(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = append(s.slots, sl)
	s.slotBytes += sl.counted
	if sl.last != "" {
		s.endWaitLocked()
	}
	s.flushLocked()
}

// reply answers an action of the proxy's own, in its place.
func (s *Session) reply(named bool, answer []byte) {
	s.add(&slot{pbx: noPBX, named: named, done: true, answer: answer})
}

// fill sets the answer of a slot, which may come in pieces.
func (s *Session) fill(sl *slot, answer []byte, more ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.done, sl.answer, sl.more = true, answer, more
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

// awaitRoom waits until no more than most answers of the session are in waiting.
func (s *Session) awaitRoom(most int) {
	for s.reason.Load() == nil {
		s.mu.Lock()
		full := len(s.slots) > most
		s.wanted = -1
		if full {
			s.wanted = most
		}
		s.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-s.room:
		case <-s.gone:
			return
		}
	}
}

// wake makes a reader that waits for room look again.
func (s *Session) wake() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// flushLocked queues every answer whose turn it is.
func (s *Session) flushLocked() {
	kept := s.slots[:0]
	unnamed := false // one without an ActionID was kept
	clear(s.blocked)
	for _, sl := range s.slots {
		wait := false
		switch {
		case !sl.done:
			wait = true
		case sl.to != nil: // it is in nobody's way
		case !s.tagged || sl.last != "":
			wait = len(kept) > 0
		default:
			wait = !sl.named && unnamed || sl.isOf(func(pbx int) bool { return s.blocked[pbx] })
		}
		if !wait {
			s.queueLocked(sl)
			continue
		}
		kept = append(kept, sl)
		if sl.done {
			size := sl.size()
			s.slotBytes += size - sl.counted
			sl.counted = size
		}
		unnamed = unnamed || !sl.named
		if s.tagged {
			sl.isOf(func(pbx int) bool { s.blocked[pbx] = true; return false })
		}
	}
	clear(s.slots[len(kept):])
	s.slots = kept
	s.boundLocked()
	if len(kept) <= s.wanted {
		s.wake()
	}
}

// boundLocked closes the session if too much waits in slots and for them.
func (s *Session) boundLocked() {
	if limit := s.answerLimit; limit > 0 && s.slotBytes+s.unsentBytes > limit {
		s.abort(reasonAnswerLimit)
	}
	s.countLocked()
}

func (s *Session) queueLocked(sl *slot) {
	if sl.apply != nil {
		sl.apply()
	}
	if sl.counted > 0 {
		s.slotBytes -= sl.counted
		s.accountLocked()
	}
	if sl.to != nil {
		if sl.last != "" {
			s.finish(sl.last) // first: the client may be back as soon as it has its answer
		}
		sl.to.takeLocked(append([][]byte{sl.answer}, sl.more...))
		sl.answer, sl.more = nil, nil
		return
	}
	if len(sl.answer) > 0 {
		s.queueAnswer(sl.answer)
	}
	for _, frames := range sl.more {
		s.queueAnswer(frames)
	}
	sl.answer, sl.more = nil, nil // who has the slot is not to keep what was written
	if len(s.held)+s.heldLost > 0 {
		s.releaseLocked(func(e *heldEvent) bool { return e.after == sl })
	}
	if sl.last != "" {
		s.finish(sl.last)
	}
}

// putEvent queues an event, behind the answers that it has to wait for.
func (s *Session) putEvent(e *event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client.keepLocked(e) {
		return
	}
	after := s.lastSentLocked(e.source)
	if after == nil {
		s.queueEventLocked(e)
		return
	}
	size, limit := int64(len(e.frame)), s.user.QueueLimit
	if limit > 0 && s.heldBytes+size > limit/2 {
		s.hurryLocked(e.source)
	}
	if s.heldLost > 0 || limit > 0 && s.heldBytes+size > limit {
		// Once one was lost all are, until those before it are out: so the
		// gap is told in its place.
		if s.heldLost++; !s.user.DropEvents {
			s.abort(reasonSlowClient)
		}
	} else {
		s.heldBytes += size
		s.held = append(s.held, heldEvent{*e, after, time.Now()})
		s.countLocked()
	}
	s.endWaitLocked()
	if len(s.held)+s.heldLost == 1 {
		s.armLocked(holdTime)
	}
}

// hurryLocked ends merged lists that a PBX has answered and others have not: its
// events wait behind them, and they are not the fault of the client, which would
// lose them or its session.
func (s *Session) hurryLocked(pbx int) {
	for _, sl := range s.slots {
		if sl.merge != nil && !sl.done {
			sl.merge.hurry(pbx)
		}
	}
}

// lastSentLocked is the last action that was sent to the PBX and whose answer
// is not queued, nil if there is none.
func (s *Session) lastSentLocked(pbx int) *slot {
	if pbx == noPBX {
		return s.lastLocked()
	}
	for i := len(s.slots) - 1; i >= 0; i-- {
		if sl := s.slots[i]; sl.pbx == everyPBX || sl.at(pbx, progress.Sent) {
			return sl
		}
	}
	return nil
}

// lastLocked is the last action whose answer is not queued, whoever gives it, nil
// if there is none: the proxy's own events come behind that. Where answers
// have no total order these events keep theirs by waiting for the same one.
func (s *Session) lastLocked() *slot {
	if s.tagged {
		for i := range s.held {
			if e := &s.held[i]; e.source == noPBX {
				return e.after
			}
		}
	}
	if n := len(s.slots); n > 0 {
		return s.slots[n-1]
	}
	return nil
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
		s.accountLocked()
		s.queueEventLocked(&e.event)
	}
	clear(s.held[len(kept):])
	s.held = kept
	if len(kept) == 0 && s.heldLost > 0 {
		s.out.Lose(s.heldLost)
		s.heldLost = 0
	}
}

func (s *Session) armLocked(d time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.releaseOld)
	} else {
		s.timer.Reset(d)
	}
}

// releaseOld lets go the events that have waited long enough. While a list of
// their PBX is under way they go on waiting: until it is queued, no event may
// end a call that it still shows.
func (s *Session) releaseOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	listing := make([]bool, s.srv.now().indexes)
	for pbx := range listing {
		listing[pbx] = slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.at(pbx, progress.List) })
	}
	now := time.Now()
	next := holdTime
	s.releaseLocked(func(e *heldEvent) bool {
		wait := holdTime - now.Sub(e.since)
		if wait > 0 {
			next = min(next, wait)
		}
		return wait <= 0 && (e.source == noPBX || !listing[e.source])
	})
	if len(s.held) > 0 {
		s.armLocked(max(next, holdGrain))
	}
}

// answered returns what to do with the answer of a PBX.
func (s *Session) answered(sl *slot, p *pbx, action, id string, hidden []hiding) func(backend.Answer) {
	return func(a backend.Answer) {
		a = s.confine(p, action, id, hidden, a)
		switch {
		case a.Err == nil:
			s.fill(sl, a.Bytes, a.More...)
		case errors.Is(a.Err, backend.ErrTooLong):
			s.throwAway(p, a.Err)
		default:
			s.fill(sl, ami.AppendResponse(nil, "Error", id, s.refusalOf(p, a.Err)))
		}
	}
}

// throwAway ends the session for an answer that was too long for it.
func (s *Session) throwAway(p *pbx, err error) {
	s.logThrownAway(p, err)
	s.abort(reasonAnswerLimit)
}

func (s *Session) logThrownAway(p *pbx, err error) {
	s.log.Warn("answer thrown away", zap.String("pbx", p.Name()), zap.Error(err))
}

// countPart counts what one PBX has answered to a merged list, until the slot
// is filled.
func (s *Session) countPart(sl *slot, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.done || !slices.Contains(s.slots, sl) {
		return
	}
	sl.counted += int64(size)
	s.slotBytes += int64(size)
	s.boundLocked()
}

// pbxError is the text for a client whose action a PBX did not answer.
func pbxError(name string, err error) string {
	why := "is not connected"
	switch {
	case errors.Is(err, backend.ErrLost):
		why = "was lost before it answered"
	case errors.Is(err, backend.ErrTimeout):
		why = "did not answer in time"
	case errors.Is(err, backend.ErrBusy):
		why = "is busy"
	}
	return "Server " + name + " " + why
}
