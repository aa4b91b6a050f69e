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

	// loginLimit is the size of the longest line or frame until a link is
	// logged in. ListCommands is the longest that is asked for.
	loginLimit = 1 << 20

	minBackoff, maxBackoff = 50 * time.Millisecond, 2 * time.Second

	refusedDelay = 30 * time.Second // after a refused login
	deadPeer     = 10 * time.Second // until a peer that is silent counts as dead
)

// link is one connection to the PBX, from its login to its end.
type link struct {
	// Static after login
	b        *Backend
	settings *Settings // where and how it is connected
	log      *zap.Logger
	conn     net.Conn // what is read and written
	raw      net.Conn // conn without its TLS: closing it never waits
	reader   *ami.Reader
	out      *queue.Queue
	events   bool // carries events, and no actions but our own Ping
	// startup is where the PBX is and when it was started, as it says; empty if it
	// does not, and on other links than that for events.
	startup string

	lastRead atomic.Int64 // Unix nanoseconds

	// Owned by the reader
	event   Event
	dropped int         // frames dropped since the last one that was of use
	goodbye bool        // the PBX said that it shuts down
	early   []ami.Frame // events that came while it logged in

	// Guarded by Backend.mu
	inflight   []*pending // in the order in which they were sent and will be answered
	taken      bool       // no new work: an exclusive action has it or waits for it
	reservedBy *pending   // the exclusive action that waits for it
	killed     error      // why we cut it
	dead       bool       // out of use; what was in flight is being answered
	renew      bool       // to be made anew as soon as nothing is pending on it
	since      time.Time  // when it was put into use
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
		if !up && (index == firstLink || index == eventsLink) {
			b.staysDown(err)
		}
		wait := refusedDelay
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			delay = 0
		case up && time.Since(start) > maxBackoff:
			delay, wait = 0, 0
		default:
			delay = min(max(2*delay, minBackoff), maxBackoff)
			wait = delay/2 + rand.N(delay/2+1)
		}
		switch {
		case up:
			log.Warn("link lost", zap.Error(err), zap.Duration("retry", wait))
		case err.Error() != said: // the same again and again is said once
			log.Warn("no link", zap.Error(err), zap.Duration("retry", wait))
		}
		said = err.Error()
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
	settings := b.settings.Load()
	dial := b.dial
	if dial == nil {
		dial = settings.dialTCP
	}
	raw, err := dial(ctx)
	if err != nil {
		return false, &stageError{errUnreachable, fmt.Errorf("connect to %s: %w", settings.address(), cause(err))}
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	l := &link{b: b, settings: settings, log: log, conn: raw, raw: raw, events: index == eventsLink}
	raw.SetDeadline(time.Now().Add(settings.ConnectTimeout))
	if settings.tls != nil {
		conn := tls.Client(raw, settings.tls)
		if err := conn.HandshakeContext(ctx); err != nil {
			return false, &stageError{errTLS, fmt.Errorf("TLS to %s: %w", settings.address(), cause(err))}
		}
		l.conn = conn
	}
	l.reader = ami.NewReader(l.conn, min(loginLimit, settings.AnswerLimit))
	if err := l.login(); err != nil {
		return false, &stageError{errLogin, fmt.Errorf("login to %s: %w", settings.address(), err)}
	}
	raw.SetDeadline(time.Time{})
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
	raw.Close()
	l.out.Abort()
	writer.Wait()
	if ctx.Err() != nil {
		err = stopped(ctx)
	}
	return true, b.linkDown(l, err)
}

func (s *Settings) dialTCP(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{
		Timeout: s.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5,
		},
		ControlContext: setUserTimeout,
	}
	return d.DialContext(ctx, "tcp", s.address())
}

// stopped says why a backend ends its links when the context of them ends.
func stopped(ctx context.Context) error {
	if err := context.Cause(ctx); isStop(err) {
		return err
	}
	return errStopping
}

// cause is err without the addresses that package net adds: they are in the
// log line already, and the local one differs each time.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// linkUp puts the link into use.
func (b *Backend) linkUp(l *link) {
	b.stats.Logins.Add(1)
	b.mu.Lock()
	l.since = time.Now()
	b.connected = append(b.connected, l)
	if !l.events {
		b.links = append(b.links, l)
		if len(b.links) == 1 {
			close(b.ready)
		}
	}
	failed := b.kickLocked(time.Now()) // it may take what waits
	b.mu.Unlock()
	b.settle(failed)
	if l.events {
		b.comesUp(l)
	}
}

// linkDown takes the link out of use and answers what was sent on it. It
// returns why the link was lost: err, or why we cut it.
func (b *Backend) linkDown(l *link, err error) error {
	b.stats.Losses.Add(1)
	b.mu.Lock()
	l.dead = true
	b.connected = slices.DeleteFunc(b.connected, func(other *link) bool { return other == l })
	b.links = slices.DeleteFunc(b.links, func(other *link) bool { return other == l })
	if len(b.links) == 0 && !l.events {
		b.ready = make(chan struct{})
	}
	b.releaseLocked(l)
	lost := make([]result, len(l.inflight))
	for i, p := range l.inflight {
		lost[i] = result{p, Answer{Err: ErrLost}}
		if p.timedOut {
			lost[i].answer.Err = ErrTimeout
		}
		if p.stream != nil {
			p.stream.link = nil
		}
	}
	l.inflight = nil
	switch {
	case isStop(err):
		b.stopping = true
	case l.killed != nil:
		err = l.killed
	}
	b.mu.Unlock()

	b.settle(lost)
	b.mu.Lock()
	failed := b.kickLocked(time.Now())
	b.mu.Unlock()
	b.settle(failed)
	if l.events {
		b.goesDown(l, err)
	}
	return err
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
