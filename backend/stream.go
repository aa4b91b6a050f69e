package backend

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Request is an action to be sent to a PBX.
type Request struct {
	// Action is sent under an ActionID of our own; its own comes back in the
	// answer.
	Action *ami.Action
	// Server, if not empty, is added to the frames of the answer.
	Server string
	// Progress, if not nil, is kept up to date.
	Progress *Progress
	// Done gets the answer, once. It is called from the goroutine of a link or
	// of the backend and must not wait for anything.
	Done func(Answer)
}

// Progress is how far a request has come. It is safe for use by many
// goroutines.
type Progress struct {
	sent, list atomic.Bool
}

// Sent reports whether the action was handed to a link: from then on its
// effects may show.
func (p *Progress) Sent() bool { return p.sent.Load() }

// List reports whether the answer has announced a list.
func (p *Progress) List() bool { return p.list.Load() }

// Answer is what came of a request.
type Answer struct {
	// Bytes are the frames of the answer in order, as the client is to get
	// them. They belong to the receiver of the answer.
	Bytes []byte
	// Err is one of ErrDown, ErrLost, ErrTimeout, ErrBusy and ErrTooLong if
	// there is no answer.
	Err error
}

// FaultError is returned for an action that would break Asterisk's limits
// after its ActionID was replaced.
type FaultError struct{ Fault ami.Fault }

func (e *FaultError) Error() string { return e.Fault.Message() }

// Stream is the order of one session's actions on one PBX: they are sent in
// the order of Do, on one link while any is unanswered, so that the PBX runs
// them in that order too.
type Stream struct {
	// Static after construction
	b     *Backend
	owner any

	// Guarded by b.mu
	waiting   []*pending // accepted and not yet sent
	link      *link      // where the unanswered ones are
	sent      int        // how many of them
	exclusive bool       // the one that is sent is exclusive
	queued    bool       // the stream is in b.waiting
	closed    bool
}

// NewStream returns a stream without actions. owner is what [Event].Owner will
// be for events that carry the ActionID of one of them.
func (b *Backend) NewStream(owner any) *Stream { return &Stream{b: b, owner: owner} }

// Do sends an action, now or as soon as its turn comes. If it returns an error
// (ErrDown or a *FaultError) the action is not sent and Done is not called.
func (s *Stream) Do(r Request) error {
	b := s.b
	if !b.up.Load() {
		return ErrDown
	}
	p := b.newPending(s, r)
	frame, fault := r.Action.AppendForward(nil, p.id)
	if fault != ami.FaultNone {
		return &FaultError{fault}
	}
	p.frame = frame
	if p.uncertain {
		p.fence, _ = b.newID()
		p.frame = ami.AppendHeader(p.frame, "Action", "Ping")
		p.frame = ami.AppendHeader(p.frame, "ActionID", p.fence)
		p.frame = ami.AppendEnd(p.frame)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.state.Up || s.closed {
		return ErrDown
	}
	b.pending++
	s.waiting = append(s.waiting, p)
	b.startLocked(s)
	return nil
}

// Close cancels what was not sent yet, without a call of Done. What was sent
// runs on and is answered.
func (s *Stream) Close() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	s.closed = true
	for _, p := range s.waiting {
		b.dropLocked(p)
	}
	s.waiting = nil
	b.kickLocked()
}

// pending is a request that was accepted and not yet answered.
type pending struct {
	// Static after Do
	stream    *Stream
	request   Request
	id        string
	number    uint64
	name      string // of the action, for logs
	frame     []byte
	fence     string // ActionID of the Ping behind it; empty: its end is certain
	uncertain bool
	exclusive bool
	timeout   time.Duration
	late      time.Duration // how long its id may come back in an event; 0: it does not

	// Owned by the reader of the link that it is sent on
	answer  []byte
	tooLong bool

	// Guarded by mu
	list     bool
	replied  bool
	failed   bool // its first response was an Error
	reserved *link
	expires  time.Time // while it waits for a link: when to give up
	deadline time.Time // once it is sent
}

func (b *Backend) newPending(s *Stream, r Request) *pending {
	id, n := b.newID()
	p := &pending{
		stream: s, request: r, id: id, number: n,
		name: r.Action.Name(), timeout: b.options.ActionTimeout,
	}
	info, known := ami.LookupAction(p.name)
	p.uncertain = !known || info.Kind == ami.KindUncertain ||
		info.Kind == ami.KindList && b.listsUnannounced()
	p.exclusive = p.uncertain
	if !known {
		return p
	}
	switch info.Name {
	case "Command", "Reload":
		p.exclusive = true
	case "Originate":
		ring := originateTimeout(r.Action)
		if async, _ := ami.ParseBool(r.Action.Get("Async")); async {
			p.late = ring + time.Minute
		} else {
			p.exclusive = true
			p.timeout = ring + 5*time.Second
		}
	case "UserEvent":
		p.late = time.Minute
	}
	return p
}

// originateTimeout is how long the PBX lets the call ring (manager.c:
// action_originate: milliseconds, 30,000 if absent or no number).
func originateTimeout(a *ami.Action) time.Duration {
	ms, err := strconv.Atoi(a.Get("Timeout"))
	if err != nil || ms <= 0 {
		ms = 30000
	}
	return time.Duration(min(ms, 24*3600*1000)) * time.Millisecond
}

// maxUnsent is how many bytes may wait for the socket of a link before it is
// given no further work.
const maxUnsent = 1 << 20

// startLocked sends as much of the stream's work as can be sent now.
func (b *Backend) startLocked(s *Stream) {
	for len(s.waiting) > 0 {
		p := s.waiting[0]
		l := b.pickLocked(s, p)
		if l == nil {
			if !s.queued {
				s.queued = true
				b.waiting = append(b.waiting, s)
			}
			return
		}
		s.waiting = s.waiting[1:]
		s.link, s.exclusive = l, p.exclusive
		s.sent++
		l.sendLocked(p, time.Now())
	}
}

// pickLocked finds the link on which p can be sent now, nil if it must wait.
func (b *Backend) pickLocked(s *Stream, p *pending) *link {
	if s.sent > 0 && (s.exclusive || p.exclusive || s.link.taken) {
		return nil // its own earlier actions come first
	}
	if s.sent > 0 {
		return s.link.ifRoomLocked()
	}
	if p.expires.IsZero() {
		p.expires = time.Now().Add(p.timeout)
	}
	if p.exclusive {
		return b.pickExclusiveLocked(p)
	}
	return b.leastLoadedLocked().ifRoomLocked()
}

// pickExclusiveLocked reserves a link for p, which then gets no new work, and
// returns it once it is idle. One link stays for the actions of others.
func (b *Backend) pickExclusiveLocked(p *pending) *link {
	if p.reserved == nil {
		if b.exclusive >= max(1, len(b.links)-1) {
			return nil
		}
		l := b.leastLoadedLocked()
		if l == nil {
			return nil
		}
		l.taken = true
		l.reservedBy = p
		b.exclusive++
		p.reserved = l
	}
	if len(p.reserved.inflight) > 0 {
		return nil
	}
	return p.reserved
}

func (b *Backend) leastLoadedLocked() *link {
	var best *link
	for _, l := range b.links {
		if !l.taken && (best == nil || len(l.inflight) < len(best.inflight)) {
			best = l
		}
	}
	return best
}

// dropLocked forgets a request that was not sent.
func (b *Backend) dropLocked(p *pending) {
	b.pending--
	if p.reserved != nil {
		b.releaseLocked(p.reserved)
	}
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

// kickLocked lets those that wait for a link try again, in order.
func (b *Backend) kickLocked() {
	streams := b.waiting
	b.waiting = nil
	for _, s := range streams {
		s.queued = false
		b.startLocked(s)
	}
}

// finishLocked takes p, which was sent on l, out of the books. Its Done is
// still to be called.
func (b *Backend) finishLocked(l *link, p *pending) {
	b.pending--
	if p.failed {
		delete(b.late.byNumber, p.number)
	}
	if p.exclusive {
		b.releaseLocked(l)
	}
	if s := p.stream; s != nil {
		s.sent--
		s.exclusive = false
		if len(s.waiting) > 0 && !s.queued {
			b.startLocked(s)
		}
	}
	b.kickLocked()
}

// failWaiting answers what was accepted and not sent with ErrDown.
func (b *Backend) failWaiting() {
	b.mu.Lock()
	var failed []*pending
	for _, s := range b.waiting {
		s.queued = false
		for _, p := range s.waiting {
			b.dropLocked(p)
			failed = append(failed, p)
		}
		s.waiting = nil
	}
	b.waiting = nil
	b.mu.Unlock()
	for _, p := range failed {
		p.request.Done(Answer{Err: ErrDown})
	}
}
