package proxy

import (
	"strconv"
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// pbx is a PBX and the sessions that see it. It hands the PBX's events to them.
type pbx struct {
	*backend.Backend
	index int // in Server.pbxs

	// mu guards sessions. It is held while events are handed out, and comes
	// before Session.mu.
	mu       sync.RWMutex
	sessions []*Session
}

func (p *pbx) subscribe(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = append(p.sessions, s)
}

func (p *pbx) unsubscribe(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.sessions {
		if other == s {
			last := len(p.sessions) - 1
			p.sessions[i], p.sessions[last] = p.sessions[last], nil
			p.sessions = p.sessions[:last]
			return
		}
	}
}

// Event gives an event to every session that may see it: the same bytes to all
// who are to get the same.
func (p *pbx) Event(_ *backend.Backend, e *backend.Event) {
	v := variants{pbx: p, event: e}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, s := range p.sessions {
		if s.sees(e.Class) {
			s.putEvent(p.index, e.Class, v.forSession(s))
		}
	}
}

// variants are the forms of one event, each made when it is first needed:
// with Server or without, with an ActionID or without.
type variants struct {
	pbx    *pbx
	event  *backend.Event
	frames [2][2][]byte
}

func (v *variants) forSession(s *Session) []byte {
	named := v.event.Owner != nil && s.knows(v.event.Owner.(*Session))
	frame := &v.frames[index(s.tagged)][index(named)]
	if *frame != nil {
		return *frame
	}
	rewrite := ami.Rewrite{ID: v.event.ID}
	if named {
		rewrite.NewID = v.event.OwnerID
	}
	if s.tagged {
		rewrite.Server = v.pbx.Name()
	}
	if rewrite == (ami.Rewrite{}) {
		*frame = v.event.Frame
	} else {
		*frame = rewrite.Append(make([]byte, 0, len(v.event.Frame)+64), v.event.Frame)
	}
	return *frame
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// knows reports whether s is shown the ActionIDs of owner.
func (s *Session) knows(owner *Session) bool {
	return s == owner || s.user == owner.user && s.user.SharedIDs
}

// State tells the sessions that the PBX came or went.
func (p *pbx) State(_ *backend.Backend, state backend.State) {
	frame := stateEvent(p.Name(), state)
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, s := range p.sessions {
		if !state.Up && s.user.CloseWhenPBXLost && len(s.views) == 1 {
			s.endWith(reasonPBXLost)
		} else if s.sees(ami.ClassNone) {
			s.putEvent(p.index, ami.ClassNone, frame)
		}
	}
}

// stateEvent is our own event ProxyServerState.
func stateEvent(name string, state backend.State) []byte {
	word := "Down"
	if state.Up {
		word = "Up"
	}
	f := ami.AppendHeader(nil, "Event", "ProxyServerState")
	f = ami.AppendHeader(f, "Privilege", "system,all")
	f = ami.AppendHeader(f, "State", word)
	f = ami.AppendHeader(f, "Reason", state.Reason)
	f = ami.AppendHeader(f, "Since", unixSeconds(state.Since))
	if !state.LostTo.IsZero() {
		f = ami.AppendHeader(f, "EventsLostFrom", unixSeconds(state.LostFrom))
		f = ami.AppendHeader(f, "EventsLostTo", unixSeconds(state.LostTo))
	}
	f = ami.AppendHeader(f, "Server", name)
	return ami.AppendEnd(f)
}

func unixSeconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// sees reports whether the session's mask lets an event of that class through.
func (s *Session) sees(class ami.Class) bool {
	return s.user.Policy.Sees(ami.Class(s.mask.Load()), class)
}
