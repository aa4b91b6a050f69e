package proxy

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// audience is the sessions that have the same fence and event filters: what one of
// them gets of an event, all of them get. A nil audience has neither.
//
// Sessions are in that of their user until they add filters of their own.
type audience struct {
	fence   *acl.Fence // immutable, as filters is; nil: none
	filters *acl.Filters
	// cost is what a byte of an event takes at worst, 0 if it is not counted:
	// that of the user's own filters is the operator's choice.
	cost time.Duration
	// again is what was spent on events that were let through before this
	// audience was there; guarded by Session.mu.
	again filtering
	// verdicts are on the latest event of each PBX, own on that of the proxy. Each is
	// owned by the goroutine that hands out the source's events.
	verdicts []verdict
	own      verdict
}

// verdict is what filters say of one event, for each form of it: they see the
// bytes that the session would get.
type verdict struct {
	event  uint64 // number of the event
	passes [2][2]opinion
}

type opinion uint8

const (
	unknown opinion = iota
	no
	yes
)

// newAudience returns the audience of those who have the filters and the fence,
// nil if there are none.
func newAudience(filters *acl.Filters, fence *acl.Fence, pbxs int) *audience {
	if filters == nil && fence == nil {
		return nil
	}
	return &audience{fence: fence, filters: filters, verdicts: make([]verdict, pbxs)}
}

// all are the filters of the audience.
func (a *audience) all() *acl.Filters {
	if a == nil {
		return nil
	}
	return a.filters
}

// confines is the fence of the audience.
func (a *audience) confines() *acl.Fence {
	if a == nil {
		return nil
	}
	return a.fence
}

// count makes the time that the filters take count.
func (a *audience) count() { a.cost = time.Duration(a.filters.Size()) * filterStep }

// and returns the audience of those of a who get what more filters let through
// as well, and who have that fence.
func (a *audience) and(more *acl.Filters, fence *acl.Fence, pbxs int) *audience {
	n := newAudience(a.all().And(more), fence, pbxs)
	if a != nil && a.cost > 0 {
		n.count()
	}
	return n
}

// gets reports whether the audience gets the frame, which is the event v in
// the form given. It is only for the goroutine that hands out the source's events.
func (a *audience) gets(v *variants, tagged, named bool, frame []byte) bool {
	if a == nil {
		return v.introduces == nil
	}
	last := &a.own
	if v.from.index != noPBX {
		last = &a.verdicts[v.from.index]
	}
	if last.event != v.number {
		*last = verdict{event: v.number}
	}
	known := &last.passes[index(tagged)][index(named)]
	if *known == unknown {
		start := time.Now()
		*known = no
		if a.sees(v) && a.filters.Pass(frame) {
			*known = yes
		}
		v.from.filtering.charge(time.Since(start), a.worst(frame))
	}
	return *known == yes
}

// sees reports whether an event is inside the fence, and not known there already.
func (a *audience) sees(v *variants) bool {
	if v.introduces != nil && (a.fence == nil || a.fence.Within(v.introduces.Before)) {
		return false
	}
	return a.lets(v.sight, v.original)
}

// lets reports whether what is of some tenants is inside the fence.
func (a *audience) lets(sight fence.Sight, frame ami.Frame) bool {
	return a == nil || a.fence == nil || a.fence.Within(sight.Tenants) || !sight.Named && a.fence.Lets(frame)
}

// passes is gets of filters, for any goroutine.
func (a *audience) passes(frame []byte) bool { return a == nil || a.filters.Pass(frame) }

// passAgain judges an event that other filters have let through: others of the
// PBX may be waiting for this session. One that takes too long is cut.
func (s *Session) passAgain(a *audience, frame []byte) bool {
	worst := a.worst(frame)
	if worst == 0 {
		return a.passes(frame)
	}
	if !a.again.affords(worst) {
		s.abort(reasonFilters)
		return false
	}
	start := time.Now()
	defer func() { a.again.charge(time.Since(start), worst) }()
	return a.passes(frame)
}

// worst is how long the audience may take to judge a frame, 0 if that is not counted.
func (a *audience) worst(frame []byte) time.Duration {
	if a == nil {
		return 0
	}
	return a.cost * time.Duration(min(len(frame), filterBig))
}

const (
	// filterStep is what one instruction of a filter takes for one byte at worst.
	filterStep = 20 * time.Nanosecond
	// filterShare is how much of each filterWindow the filters that sessions add
	// may take of the time of the goroutine that hands out a PBX's events.
	filterShare  = filterWindow / 2
	filterWindow = time.Second
	// filterBig is the most that counts of an event, so that nobody can make one
	// so big that it ends sessions with some usual filters.
	filterBig = 32 << 10
	// filterTrifle is what they may always take for one event.
	filterTrifle = time.Millisecond / 2
)

// filtering is the time that the filters that sessions added have taken of a
// PBX's, in the present window.
type filtering struct {
	since time.Time
	spent time.Duration
}

// affords reports whether there is time for what may take as long as worst.
func (f *filtering) affords(worst time.Duration) bool {
	if worst <= filterTrifle {
		return true
	}
	if now := time.Now(); now.Sub(f.since) >= filterWindow {
		*f = filtering{since: now}
	}
	return f.spent+worst <= filterShare
}

// charge counts what was spent: no more than worst, since a machine can pause.
func (f *filtering) charge(spent, worst time.Duration) { f.spent += min(spent, worst) }

// maxFilters bounds the filters that a session adds (acl: Filters.Size), since
// all who see the PBX wait while an event is judged: 256 simple ones, or one of
// the most costly. See also filterShare.
const maxFilters = 4096

// filterWeight is how many bytes a filter holds for each step of its Size at
// worst, as measured: what sessions add counts among what all may hold.
const filterWeight = 192

// Texts of Asterisk (manager.c: action_filter).
const (
	textNoOperation = "Unknown operation"
	textNoFilter    = "Filter did not compile.  Check the syntax of the filter given."
	textBadFilter   = "Filter was formatted incorrectly.  Check the syntax of the filter given."
	textFullFilter  = "Internal Error. Failed adding filter."
)

// addFilter is the action Filter (manager.c: action_filter): one more filter
// for this session. There is no way to take one away.
func (s *Session) addFilter(a *ami.Action) bool {
	if v := s.mayDo(a); !v.Allowed() {
		return s.deny(a, nil, v)
	}
	if !strings.EqualFold(a.Get("Operation"), "Add") {
		return s.refuse(a, textNoOperation)
	}
	var filter acl.Filter
	var err error
	if criteria := a.Get("MatchCriteria"); criteria == "" {
		filter, err = acl.NewFilter(a.Get("Filter"))
	} else {
		filter, err = acl.NewAdvancedFilter(criteria, a.Get("Filter"))
	}
	if err != nil {
		s.log.Debug("filter refused", zap.Error(err))
		if errors.Is(err, acl.ErrFilterExpression) {
			return s.refuse(a, textNoFilter)
		}
		return s.refuse(a, textBadFilter)
	}
	sl := &slot{pbx: noPBX, named: a.ID() != "", done: true}
	sl.apply = func() {
		now := s.audience.Load()
		filters := now.all().With(filter)
		if filters.Size() > s.policy().Filters().Size()+maxFilters {
			sl.answer = ami.AppendResponse(nil, "Error", a.ID(), textFullFilter)
			return
		}
		own := newAudience(filters, now.confines(), s.srv.now().indexes)
		own.count()
		s.audience.Store(own)
		s.filterBytes += filterWeight * int64(filters.Size()-now.all().Size())
		s.countLocked()
		sl.answer = ami.AppendResponse(nil, "Success", a.ID(), "Success")
	}
	s.add(sl)
	return true
}

// mayDo makes the test of rights for an action that the proxy answers itself
// and that not everybody may send: the newest Asterisk has to allow it, and
// every PBX of the session that has it.
func (s *Session) mayDo(a *ami.Action) acl.Verdict {
	info, _ := ami.LookupAction(a.Name())
	verdict := s.policy().May(a, info.Classes, acl.Directories{})
	for _, v := range s.views {
		if class, ok := v.Authority().Class(a.Name()); ok && verdict.Allowed() {
			verdict = s.policy().May(a, class, acl.Directories{})
		}
	}
	return verdict
}
