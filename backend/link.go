package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/queue"
)

const (
	// eventsLink is the index of the link that carries events; firstLink is the
	// one that finds out whether the PBX is there and lets us in. The others
	// wait for it, so that a PBX which refuses us sees one attempt and not many.
	eventsLink, firstLink = 0, 1

	maxBackoff   = 2 * time.Second
	refusedDelay = 30 * time.Second // after a refused login
	deadPeer     = 10 * time.Second // until a peer that is silent counts as dead
)

// link is one connection to the PBX, from its login to its end.
type link struct {
	b        *Backend
	log      *zap.Logger
	conn     net.Conn // what is read and written
	raw      net.Conn // conn without its TLS: closing it never waits
	reader   *ami.Reader
	out      *queue.Queue
	events   bool // carries events, and no actions but our own Ping
	event    Event
	lastRead atomic.Int64 // Unix nanoseconds

	// Guarded by b.mu
	inflight   []*pending // in the order in which they were sent and will be answered
	taken      bool       // no new work: an exclusive action has it or waits for it
	reservedBy *pending   // the exclusive action
	killed     error      // why we cut it
}

// keepLink connects, and connects again, until ctx ends.
func (b *Backend) keepLink(ctx context.Context, index int) {
	log := b.log.With(zap.Int("link", index))
	delay := time.Duration(0)
	said := ""
	for ctx.Err() == nil {
		if index != firstLink && !b.waitReady(ctx) {
			return
		}
		start := time.Now()
		up, err := b.runLink(ctx, index, log)
		if ctx.Err() != nil {
			return
		}
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			delay = refusedDelay
		case up && time.Since(start) > maxBackoff:
			delay = 0
		default:
			delay = min(max(2*delay, 50*time.Millisecond), maxBackoff)
		}
		if up || err.Error() != said {
			// The same failure again and again is said once.
			log.Warn("link lost", zap.Error(err), zap.Duration("retry", delay))
			said = err.Error()
		}
		wait := delay/2 + rand.N(delay/2+1)
		if delay == refusedDelay {
			wait = delay
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// waitReady waits for a first action link, false if ctx ends before.
func (b *Backend) waitReady(ctx context.Context) bool {
	b.mu.Lock()
	ready := b.ready
	b.mu.Unlock()
	select {
	case <-ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// runLink connects, logs in and serves one connection to its end. up says
// whether it got as far as being logged in.
func (b *Backend) runLink(ctx context.Context, index int, log *zap.Logger) (up bool, err error) {
	raw, err := b.dial(ctx)
	if err != nil {
		return false, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	l := &link{b: b, log: log, conn: raw, raw: raw, events: index == eventsLink}
	raw.SetDeadline(time.Now().Add(b.options.ConnectTimeout))
	if b.tls != nil {
		conn := tls.Client(raw, b.tls)
		if err := conn.HandshakeContext(ctx); err != nil {
			return false, fmt.Errorf("TLS to %s: %w", b.address(), err)
		}
		l.conn = conn
	}
	l.reader = ami.NewReader(l.conn, b.options.AnswerLimit)
	if err := l.login(); err != nil {
		return false, fmt.Errorf("login to %s: %w", b.address(), err)
	}
	raw.SetDeadline(time.Time{})
	b.stats.Logins.Add(1)
	l.lastRead.Store(time.Now().UnixNano())

	l.out = queue.New(queue.Options{})
	var writer sync.WaitGroup
	writer.Go(func() {
		if l.out.Drain(l.conn) != nil {
			raw.Close() // wakes the reader
		}
	})
	b.linkUp(l)
	err = l.read()
	if ctx.Err() != nil {
		err = errStopping
	}
	raw.Close()
	l.out.Abort()
	writer.Wait()
	b.linkDown(l, err)
	return true, err
}

func (b *Backend) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{
		Timeout: b.options.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5,
		},
		ControlContext: setUserTimeout,
	}
	conn, err := d.DialContext(ctx, "tcp", b.address())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", b.address(), err)
	}
	return conn, nil
}

func (b *Backend) linkUp(l *link) {
	b.mu.Lock()
	if l.events {
		b.events = true
	} else {
		b.links = append(b.links, l)
		if len(b.links) == 1 {
			close(b.ready)
		}
	}
	b.connected = append(b.connected, l)
	b.mu.Unlock()
	b.changeState("logged in")
	b.mu.Lock()
	b.kickLocked() // the new link may take what waits
	b.mu.Unlock()
}

// linkDown takes the link out of use and answers what was sent on it.
func (b *Backend) linkDown(l *link, err error) {
	b.stats.Losses.Add(1)
	b.mu.Lock()
	if l.events {
		b.events = false
		b.lostFrom = time.Now()
	}
	if i := slices.Index(b.links, l); i >= 0 {
		b.links = slices.Delete(b.links, i, i+1)
		if len(b.links) == 0 {
			b.ready = make(chan struct{})
		}
	}
	b.connected = slices.DeleteFunc(b.connected, func(other *link) bool { return other == l })
	lost := l.inflight
	l.inflight = nil
	b.releaseLocked(l)
	for _, p := range lost {
		b.pending--
		if p.stream != nil {
			p.stream.sent--
			p.stream.exclusive = false
		}
	}
	killed := l.killed
	b.kickLocked()
	b.mu.Unlock()
	for i, p := range lost {
		reason := ErrLost
		if i == 0 && errors.Is(killed, ErrTimeout) {
			reason = ErrTimeout
		}
		p.request.Done(Answer{Err: reason})
	}
	if killed != nil {
		err = killed
	}
	b.changeState(err.Error())
}

// kill ends the link from outside its own goroutines.
func (l *link) kill(reason error) {
	l.b.mu.Lock()
	if l.killed == nil {
		l.killed = reason
	}
	l.b.mu.Unlock()
	l.raw.Close()
}

// sendLocked hands p to the writer.
func (l *link) sendLocked(p *pending, now time.Time) {
	l.inflight = append(l.inflight, p)
	p.deadline = now.Add(p.timeout)
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
