package backend

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

var (
	errStopping  = errors.New("the proxy stops")
	errMalformed = errors.New("protocol error")
)

// reason is the text for State and for clients: one of few, without addresses.
func reason(err error) string {
	switch {
	case errors.Is(err, errStopping):
		return errStopping.Error()
	case errors.Is(err, ErrTimeout):
		return ErrTimeout.Error()
	case errors.Is(err, errMalformed), errors.Is(err, ami.ErrFrameTooLong):
		return errMalformed.Error()
	}
	return "connection lost"
}

// comesUp is called when the events link is logged in, before its first event.
func (b *Backend) comesUp() {
	now := time.Now()
	b.mu.Lock()
	s := State{Up: true, Reason: "logged in", Since: now}
	if !b.lostFrom.IsZero() {
		s.LostFrom, s.LostTo = b.lostFrom, now
	}
	b.state = s
	b.up.Store(true)
	b.mu.Unlock()
	b.log.Info("PBX is up", zap.String("version", b.Version()))
	b.learnDirectories()
	b.checkRights()
	b.listNames()
	b.handler.State(b, s)
}

// goesDown is called when the events link is lost, after its last event.
func (b *Backend) goesDown(l *link, err error) {
	now := time.Now()
	b.mu.Lock()
	s := State{Reason: reason(err), Since: now}
	b.state = s
	b.up.Store(false)
	// What came until then has been read: events are missed from there on, even
	// if the loss was only noticed later.
	b.lostFrom = time.Unix(0, l.lastRead.Load())
	b.booted.Store(nil)
	b.names.Lose()
	failed := b.kickLocked(now)
	var silent []*link
	if errors.Is(err, ErrTimeout) {
		// The PBX is silent, not gone: nothing else would end the links that
		// wait for an answer before the deadline of each.
		silent = slices.Clone(b.links)
	}
	b.mu.Unlock()
	for _, l := range silent {
		l.kill(ErrTimeout)
	}
	if errors.Is(err, errStopping) {
		b.log.Info("PBX disconnected", zap.String("reason", s.Reason))
	} else {
		b.log.Warn("PBX is down; reconnecting", zap.String("reason", s.Reason))
	}
	b.settle(failed)
	b.handler.State(b, s)
}
