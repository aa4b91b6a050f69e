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
	errShutdown  = errors.New("PBX shuts down")
	errRights    = errors.New("the user's rights on the PBX changed")

	errUnreachable = errors.New("cannot connect")
	errTLS         = errors.New("TLS failed")
	errLogin       = errors.New("login failed")
	errRefused     = errors.New("login refused")
)

// stageError is an error of a link that tells, for State, what failed by it.
type stageError struct {
	stage error // one of those above
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }

func (e *stageError) Unwrap() []error { return []error{e.stage, e.err} }

// reason is the text for State and for clients: one of few, without addresses.
func reason(err error) string {
	var refused *refusedError
	switch {
	case isStop(err):
		return err.Error()
	case errors.As(err, &refused):
		return errRefused.Error()
	case errors.Is(err, ami.ErrFrameTooLong):
		return errMalformed.Error()
	}
	for _, known := range []error{ErrTimeout, errMalformed, errShutdown, errRights, errUnreachable, errTLS, errLogin} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "connection lost"
}

// staysDown is called when an attempt to reach a PBX that is away has failed.
func (b *Backend) staysDown(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.state.Up {
		b.state.Reason = reason(err)
	}
}

// isStop reports whether a backend ended its links itself.
func isStop(err error) bool {
	return err == errStopping || err == errReconfigured || err == ErrRemoved
}

// comesUp is called when the events link is logged in, before its first event.
func (b *Backend) comesUp(l *link) {
	now := time.Now()
	b.mu.Lock()
	s := State{Up: true, Reason: "logged in", Since: now}
	if !b.lostFrom.IsZero() {
		s.LostFrom, s.LostTo = b.lostFrom, now
	}
	if l.startup != "" {
		s.Restarted = b.restartedLocked(l.startup)
	}
	b.namesDue, b.namesDelay = time.Time{}, 0
	b.state = s
	b.booting.Store(!l.meetsBooted())
	b.up.Store(true)
	b.mu.Unlock()
	restarted := zap.Skip()
	if s.Restarted != "" {
		restarted = zap.String("restarted", s.Restarted)
	}
	b.log.Info("PBX is up", zap.String("version", b.Version()), restarted)
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
		// wait for an answer before the deadline of each. A new one may work.
		silent = slices.DeleteFunc(slices.Clone(b.links), func(l *link) bool {
			return now.Sub(time.Unix(0, l.lastRead.Load())) < pingTimeout/2
		})
	}
	b.mu.Unlock()
	for _, l := range silent {
		l.kill(ErrTimeout)
	}
	if isStop(err) {
		b.log.Info("PBX disconnected", zap.String("reason", s.Reason))
	} else {
		b.log.Warn("PBX is down; reconnecting", zap.String("reason", s.Reason))
	}
	b.settle(failed)
	b.handler.State(b, s)
}
