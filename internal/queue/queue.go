// Package queue is a byte-bounded FIFO of shared frames, many producers and one
// consumer: what waits for a socket.
//
// Producers never wait. What does not fit is refused, or lost and told in
// place. The consumer takes all that there is and writes it at once:
//
//	q := queue.New(queue.Options{Events: 4 << 20, Answers: 64 << 20})
//	go func() { err := q.Drain(conn) … }()
//	err := q.PutEvent(frame) // frame is shared: nobody may modify it
//	q.Close()                // what is queued is still written
//
// Bytes count from Put until they are written, so that a bound is a bound on
// what one slow reader can hold.
package queue

import (
	"errors"
	"sync"
	"sync/atomic"
)

var (
	// ErrOverflow is returned by a Put that would break a bound.
	ErrOverflow = errors.New("queue: limit exceeded")
	// ErrClosed is returned by a Put after Close or Abort.
	ErrClosed = errors.New("queue: closed")
)

// Total bounds many queues together. The zero value has no limit.
type Total struct {
	// Limit in bytes; 0: none. Not to be changed while in use.
	Limit int64
	used  atomic.Int64
}

// Used is the number of bytes in all queues of the total, and of what was added
// to it.
func (t *Total) Used() int64 { return t.used.Load() }

// Add counts n bytes that are held elsewhere, also beyond the limit; a negative
// n takes them back.
func (t *Total) Add(n int64) {
	if t != nil {
		t.used.Add(n)
	}
}

// reserve counts n bytes unless that would break the limit.
func (t *Total) reserve(n int64) bool {
	if t == nil {
		return true
	}
	if used := t.used.Add(n); t.Limit > 0 && used > t.Limit {
		t.used.Add(-n)
		return false
	}
	return true
}

// Options bound a queue.
type Options struct {
	// Events and Answers are the bounds in bytes of what PutEvent and
	// PutAnswer may leave unwritten. 0: none.
	Events, Answers int64
	// Total, if not nil, bounds this queue together with others.
	Total *Total
	// Lost, if not nil, makes PutEvent lose an event that breaks the bound Events
	// instead of refusing it. It returns the frame that tells of n lost events, which
	// is queued where they would have been. It is called with the queue
	// locked and must only build the frame.
	Lost func(n int) []byte
}

// Queue is the FIFO. Its methods are safe for use by many goroutines, except
// that only one may Take or Drain.
type Queue struct {
	mu      sync.Mutex // guards the following
	options Options
	ready   sync.Cond // signalled when there is something for the consumer
	items   [][]byte
	events  int64 // bytes queued or taken and not yet written
	answers int64
	taken   struct{ events, answers int64 } // of these, taken
	lost    int                             // events lost since the last item
	closed  bool
	aborted bool
}

// New returns an empty queue.
func New(o Options) *Queue {
	q := &Queue{options: o}
	q.ready.L = &q.mu
	return q
}

// SetBounds changes the bounds and the Lost function; Total stays as it was.
// What is queued already stays queued.
func (q *Queue) SetBounds(o Options) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.tellLostLocked() // what Lost was up to now may be nil from here on
	}
	o.Total = q.options.Total
	q.options = o
}

// PutEvent queues a frame that may be lost or refused when the consumer is
// slow. The queue keeps frame, which must not be modified any more.
func (q *Queue) PutEvent(frame []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	size := int64(len(frame))
	if limit := q.options.Events; limit > 0 && q.events+size > limit {
		return q.loseLocked(1)
	}
	if !q.options.Total.reserve(size) {
		return ErrOverflow // not for this consumer to pay
	}
	q.events += size
	q.putLocked(frame)
	return nil
}

// Lose counts n events as lost, as if they had been put and did not fit. After
// Close there is no place left to tell of them, and nothing happens.
func (q *Queue) Lose(n int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	return q.loseLocked(n)
}

// PutAnswer queues what the client has asked for. It has a bound of its own,
// so that events cannot push it out. The queue keeps frame.
func (q *Queue) PutAnswer(frame []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	size := int64(len(frame))
	if limit := q.options.Answers; limit > 0 && q.answers+size > limit || !q.options.Total.reserve(size) {
		return ErrOverflow
	}
	q.answers += size
	q.putLocked(frame)
	return nil
}

func (q *Queue) putLocked(frame []byte) {
	q.tellLostLocked()
	q.items = append(q.items, frame)
	q.ready.Signal()
}

func (q *Queue) loseLocked(n int) error {
	if q.options.Lost == nil {
		return ErrOverflow
	}
	q.lost += n
	q.ready.Signal()
	return nil
}

// tellLostLocked queues the notice of a gap. It is small, and counts as an
// answer so that a full event bound does not keep it back.
func (q *Queue) tellLostLocked() {
	if q.lost == 0 {
		return
	}
	notice := q.options.Lost(q.lost)
	q.lost = 0
	q.answers += int64(len(notice))
	q.options.Total.Add(int64(len(notice)))
	q.items = append(q.items, notice)
}

// Take waits until there is something, and returns all of it; what Take
// returned before counts as written from now on. It returns nil once the queue
// is closed and empty, or aborted. The queue goes on in the memory of spare,
// which is usually what Take returned before; it may be nil.
func (q *Queue) Take(spare [][]byte) [][]byte {
	clear(spare) // nobody is to hold written frames while the queue is idle
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writtenLocked()
	for len(q.items) == 0 && q.lost == 0 && !q.closed {
		q.ready.Wait()
	}
	q.tellLostLocked()
	if len(q.items) == 0 {
		return nil
	}
	batch := q.items
	q.items = spare[:0]
	q.taken.events, q.taken.answers = q.events, q.answers
	return batch
}

// writtenLocked stops counting what was taken.
func (q *Queue) writtenLocked() {
	q.events -= q.taken.events
	q.answers -= q.taken.answers
	q.options.Total.Add(-q.taken.events - q.taken.answers)
	q.taken.events, q.taken.answers = 0, 0
}

// Size is the number of bytes not yet written.
func (q *Queue) Size() (events, answers int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.events, q.answers
}

// Close refuses all further frames; those queued can still be taken.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Signal()
}

// Abort refuses all further frames and throws away those queued.
func (q *Queue) Abort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.aborted {
		return
	}
	q.aborted = true
	q.items, q.lost = nil, 0
	q.taken.events, q.taken.answers = q.events, q.answers
	q.writtenLocked()
	q.ready.Signal()
}
