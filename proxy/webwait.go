package proxy

import (
	"context"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// This file is about the events of a session by HTTP.

// waitMargin is how many seconds before its session's end a WaitEvent ends
// (manager.c: action_waitevent).
const waitMargin = 10

// keepRoom is for how many events a session keeps room: more than come between two
// WaitEvents of a client that follows them.
const keepRoom = 16

// webWait is a WaitEvent under way. A newer one takes its place.
type webWait struct {
	wake       chan struct{} // holds one token
	superseded bool          // guarded by Session.mu
}

// keepLocked keeps an event, in the place of the oldest if there are too many.
func (w *WebSession) keepLocked(e *event) bool {
	s := w.s
	size, limit := int64(len(e.frame)), s.user.QueueLimit
	for limit > 0 && s.heldBytes+size > limit && len(w.kept) > 0 {
		s.heldBytes -= int64(len(w.kept[0].frame))
		w.kept[0] = event{}
		w.kept = w.kept[1:]
		w.lost++
	}
	if limit > 0 && size > limit {
		w.lost++
	} else {
		s.heldBytes += size
		w.kept = append(w.kept, *e)
		s.events++
	}
	s.countLocked()
	if w.waiting != nil {
		w.waiting.rouse()
	}
	return true
}

func (x *webWait) rouse() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// waitEvent leaves the waiting to Do: other actions are not to wait for it.
func (w *WebSession) waitEvent(*ami.Action) bool {
	w.s.asking.waits = true
	return true
}

// wait is the action WaitEvent (manager.c: action_waitevent): the answer holds all
// events that were kept and that the session may see by now, and comes as soon
// as there is one, or when the time is over. Without any answer it returns for a
// client that is gone: the events are for its next one.
func (w *WebSession) wait(ctx context.Context, answer *WebAnswer, a *ami.Action) {
	me := &webWait{wake: make(chan struct{}, 1)}
	timeout := time.NewTimer(w.waitTimeout(a))
	defer timeout.Stop()
	w.beginWait(me)
	for last := false; !w.answerWait(me, answer, a, last); {
		select {
		case <-me.wake:
		case <-timeout.C:
			last = true
		case <-w.closing:
			last = true
		case <-ctx.Done():
			w.endWait(me)
			return
		case <-w.s.gone:
			return
		}
	}
}

// waitTimeout is how long a WaitEvent may wait: it ends well before its session
// would, in Asterisk's whole seconds.
func (w *WebSession) waitTimeout(a *ami.Action) time.Duration {
	w.mu.Lock()
	left := time.Duration(max(w.expires.Unix()-time.Now().Unix()-waitMargin, 0)) * time.Second
	w.mu.Unlock()
	if timeout := waitTimeout(a.Get("Timeout")); timeout >= 0 {
		return min(timeout, left)
	}
	return left
}

// beginWait puts a WaitEvent in the place of an older one. A client that has
// events off and asks for them has them on.
func (w *WebSession) beginWait(me *webWait) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mask.Load() == 0 {
		s.mask.Store(uint32(s.policy().Read()))
	}
	if w.waiting != nil {
		w.waiting.superseded = true
		w.waiting.rouse()
	}
	w.waiting = me
}

func (w *WebSession) endWait(me *webWait) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.waiting == me {
		w.waiting = nil
	}
}

// answerWait answers a WaitEvent if there are events, or it is to wait no longer.
func (w *WebSession) answerWait(me *webWait, answer *WebAnswer, a *ami.Action, last bool) bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var pieces [][]byte
	if !me.superseded {
		pieces = w.takeEventsLocked()
		if len(pieces) == 1 && !last {
			return false
		}
		w.waiting = nil
		var complete []byte
		pieces[0], complete = waitAnswer(a)
		pieces = append(pieces, complete)
	}
	answer.takeLocked(pieces)
	return true
}

// takeEventsLocked returns what was kept and the session may still see, behind a place
// for what comes before it.
func (w *WebSession) takeEventsLocked() [][]byte {
	s := w.s
	frames := make([][]byte, 1, len(w.kept)+3)
	if w.lost > 0 {
		frames = append(frames, eventsLost(w.lost))
	}
	for i := range w.kept {
		if e := &w.kept[i]; s.stillSeesLocked(e) {
			frames = append(frames, e.frame)
		}
	}
	if clear(w.kept); cap(w.kept) <= keepRoom {
		w.kept = w.kept[:0]
	} else {
		w.kept = nil
	}
	w.lost, s.heldBytes = 0, 0
	s.accountLocked()
	return frames
}
