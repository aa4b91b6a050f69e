package proxy

import (
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// source is where events come from, a PBX or the proxy itself, and the sessions
// that see them.
type source struct {
	srv   *Server
	index int // no other source has it, nor will have it; noPBX: the proxy

	// mu guards sessions. It is held while events are handed out, and comes
	// before Session.mu.
	mu       sync.RWMutex
	sessions []*Session

	// Owned by the goroutine that hands out the events
	events    uint64    // so many so far
	filtering filtering // by filters of sessions
}

func (src *source) subscribe(s *Session) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.sessions = append(src.sessions, s)
}

func (src *source) unsubscribe(s *Session) {
	src.mu.Lock()
	defer src.mu.Unlock()
	for i, other := range src.sessions {
		if other == s {
			last := len(src.sessions) - 1
			src.sessions[i], src.sessions[last] = src.sessions[last], nil
			src.sessions = src.sessions[:last]
			return
		}
	}
}

// isSeen reports whether there is anybody to hand events to.
func (src *source) isSeen() bool {
	src.mu.RLock()
	defer src.mu.RUnlock()
	return len(src.sessions) > 0
}

// handOut gives an event to every session that may see it: the same bytes to all
// who are to get the same. server is the PBX that it is from, empty if it is
// the proxy's own.
//
// sight says which tenants see it; introduces is not nil if it is of the past, and
// for those who only now come to see what it is of.
func (src *source) handOut(e *backend.Event, server string, sight fence.Sight, introduces *fence.Introduction) {
	now := src.srv.now()
	if now.disables(e.Frame) {
		return
	}
	src.events++
	v := variants{
		from: src, server: server, event: e, number: src.events, original: e.Frame,
		sight: sight, introduces: introduces,
	}
	if now.config.General.TimestampEvents {
		v.original = stamped(e.Frame, time.Now())
	}
	out := event{source: src.index, class: e.Class, sight: sight}
	src.mu.RLock()
	defer src.mu.RUnlock()
	for _, s := range src.sessions {
		if !s.sees(e.Class) {
			continue
		}
		named := e.Owner != nil && s.knows(e.Owner.(*Session))
		out.frame, out.passed = v.frame(s.tagged, named), s.audience.Load()
		switch {
		case !src.filtering.affords(out.passed.worst(out.frame)):
			s.abort(reasonFilters)
		case out.passed.gets(&v, s.tagged, named, out.frame):
			s.putEvent(&out)
		}
	}
}

// variants are the forms of one event, each made when it is first needed:
// with Server or without, with an ActionID or without.
type variants struct {
	from     *source
	server   string
	event    *backend.Event
	number   uint64
	original ami.Frame
	// sight is who sees it, for those with a fence; introduces is not nil if it
	// is for those only who come to see more.
	sight      fence.Sight
	introduces *fence.Introduction
	frames     [2][2][]byte
}

func (v *variants) frame(tagged, named bool) []byte {
	frame := &v.frames[index(tagged)][index(named)]
	if *frame != nil {
		return *frame
	}
	rewrite := ami.Rewrite{ID: v.event.ID}
	if named {
		rewrite.NewID = v.event.OwnerID
	}
	if tagged {
		rewrite.Server = v.server
	}
	if rewrite == (ami.Rewrite{}) {
		*frame = v.original
	} else {
		*frame = rewrite.Append(make([]byte, 0, len(v.original)+64), v.original)
	}
	return *frame
}
