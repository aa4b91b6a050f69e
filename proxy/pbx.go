package proxy

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// pbx is a PBX and the sessions that see it. It hands the PBX's events to them.
type pbx struct {
	*backend.Backend
	source
	// cancel ends the backend. It is set when that is started.
	cancel context.CancelCauseFunc
	calls  *fence.Index    // and whose they are
	house  *backend.Stream // of actions of the proxy's own
	// removed: it is no longer in the configuration and about to end.
	removed atomic.Bool
}

// start connects to the PBX, until it is removed or the server ends.
func (p *pbx) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancelCause(p.srv.context)
	p.srv.backends.Go(func() {
		p.Run(ctx)
		if p.removed.Load() {
			p.leaveAll()
			p.Names().Forget() // those who saw it keep p as long as they stay
		}
	})
}

// remove ends a PBX that is no longer in the configuration: what it has not
// answered gets an Error, and then the sessions that see it are told.
func (p *pbx) remove() {
	p.removed.Store(true)
	p.cancel(backend.ErrRemoved)
}

func (p *pbx) leaveAll() {
	p.mu.Lock()
	sessions := p.sessions
	p.sessions = nil
	p.mu.Unlock()
	p.tellRemoved(backend.ErrRemoved.Error(), sessions...)
}

// leave ends what a session sees of the PBX.
func (p *pbx) leave(s *Session) {
	p.unsubscribe(s)
	p.tellRemoved("no longer permitted", s)
}

func (p *pbx) tellRemoved(why string, sessions ...*Session) {
	frame := stateEvent(p.Name(), "Removed", backend.State{Reason: why, Since: time.Now()})
	unwanted := p.srv.now().disables(frame)
	for _, s := range sessions {
		p.tell(s, frame, unwanted, true)
	}
}

// Event gives an event to every session that may see it.
func (p *pbx) Event(_ *backend.Backend, e *backend.Event) {
	sight := p.learn(e)
	p.handOut(e, p.Name(), sight, nil)
}

// stamped returns an event with a Timestamp, as timestampevents makes it
// (manager.c: __manager_event_sessions_va): behind Privilege, seconds and
// microseconds. One that the PBX has stamped there is left as it is; further
// down it is the event's own, such as a header of a UserEvent.
func stamped(f ami.Frame, now time.Time) ami.Frame {
	privilege := bytes.IndexByte(f, '\n') + 1
	end := privilege + bytes.IndexByte(f[privilege:], '\n') + 1
	if !bytes.HasPrefix(f[privilege:], []byte("Privilege:")) || bytes.HasPrefix(f[end:], []byte("Timestamp:")) {
		return f
	}
	g := make(ami.Frame, 0, len(f)+40)
	g = append(g, f[:end]...)
	g = ami.AppendHeader(g, "Timestamp", timestamp(now))
	return append(g, f[end:]...)
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// knows reports whether s is shown the ActionIDs of owner.
func (s *Session) knows(owner *Session) bool {
	return s == owner || s.rights.Load().SharedIDs &&
		ami.FoldName(s.user.Policy.Name()) == ami.FoldName(owner.user.Policy.Name())
}

// State tells the sessions that the PBX came or went.
func (p *pbx) State(_ *backend.Backend, state backend.State) {
	if p.removed.Load() {
		return // leaveAll tells them, when all is answered
	}
	if state.Up {
		p.learnCalls()
	}
	frame := stateEvent(p.Name(), stateWord(state), state)
	unwanted := p.srv.now().disables(frame)
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, s := range p.sessions {
		p.tell(s, frame, unwanted, !state.Up)
	}
}

// tell gives a session our event about the PBX, unless that is unwanted, or
// closes it if it is one that does not outlive a PBX that is lost.
func (p *pbx) tell(s *Session, frame []byte, unwanted, lost bool) {
	if lost && s.user.CloseWhenPBXLost && !s.tagged {
		s.endWith(reasonPBXLost)
	} else if a := s.audience.Load(); !unwanted && s.sees(ami.ClassNone) && a.passes(frame) {
		s.putEvent(&event{source: p.index, own: true, class: ami.ClassNone, frame: frame, passed: a})
	}
}

// stateEvent is our own event ProxyServerState.
func stateEvent(name, word string, state backend.State) []byte {
	f := ami.AppendHeader(nil, "Event", "ProxyServerState")
	f = ami.AppendHeader(f, "Privilege", "system,all")
	f = ami.AppendHeader(f, "State", word)
	f = ami.AppendHeader(f, "Reason", state.Reason)
	f = ami.AppendHeader(f, "Since", unixSeconds(state.Since))
	if !state.LostTo.IsZero() {
		f = ami.AppendHeader(f, "EventsLostFrom", unixSeconds(state.LostFrom))
		f = ami.AppendHeader(f, "EventsLostTo", unixSeconds(state.LostTo))
	}
	if state.Restarted != "" {
		f = ami.AppendHeader(f, "Restarted", state.Restarted)
	}
	f = ami.AppendHeader(f, "Server", name)
	return ami.AppendEnd(f)
}

func stateWord(state backend.State) string {
	if state.Up {
		return "Up"
	}
	return "Down"
}

func unixSeconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// sees reports whether the session's mask lets an event of that class through.
func (s *Session) sees(class ami.Class) bool {
	return s.policy().Sees(ami.Class(s.mask.Load()), class)
}
