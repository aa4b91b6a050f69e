package proxy

import (
	linked "container/list"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
)

const (
	// maxRecords is how many addresses are remembered, and maxKnown how many users
	// of each: some 10 MB if all are.
	maxRecords = 10_000
	maxKnown   = 16
	// maxDoublings is how often a lockout takes twice as long as that before.
	maxDoublings = 4
)

// lockouts remembers where failed logins came from, and who logged in from where.
// An address from which too many failed is locked out for a while, but for the
// users who logged in from there before: each of these has failures of its own. So
// an attacker can guess no faster, and keeps out nobody with whom he shares an
// address.
//
// It is safe for use by many goroutines.
type lockouts struct {
	seed maphash.Seed // static

	mu      sync.Mutex // guards the following
	records map[netip.Addr]*linked.Element
	recent  linked.List // of *record, the one in use last in front
}

// record is what is known of an address.
type record struct {
	origin netip.Addr
	strikes
	known []knownUser // those who logged in from there, the last one last
}

type knownUser struct {
	name uint64 // a hash
	strikes
}

// strikes are failed logins.
type strikes struct {
	failed int       // in the window that began at since
	since  time.Time // zero: none failed
	until  time.Time // is locked out until then
	times  int       // lockouts in a row
	// refused counts those refused in the last lockout.
	refused int
}

func newLockouts() *lockouts {
	return &lockouts{seed: maphash.MakeSeed(), records: make(map[netip.Addr]*linked.Element)}
}

// Network is what counts as one address where clients are counted by theirs: with IPv6
// a network of 64 bits, all of which whoever has one address usually has.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// findLocked returns the record of an address; nil if there is none and none is to be
// made.
func (l *lockouts) findLocked(a netip.Addr, make bool) *record {
	a = Network(a)
	if e := l.records[a]; e != nil {
		l.recent.MoveToFront(e)
		return e.Value.(*record)
	}
	if !make {
		return nil
	}
	if len(l.records) >= maxRecords {
		oldest := l.recent.Back()
		delete(l.records, oldest.Value.(*record).origin)
		l.recent.Remove(oldest)
	}
	r := &record{origin: a}
	l.records[a] = l.recent.PushFront(r)
	return r
}

// of returns the strikes that count for a user: its own if it is known there, those of
// the address otherwise.
func (r *record) of(name uint64) *strikes {
	for i := range r.known {
		if r.known[i].name == name {
			return &r.known[i].strikes
		}
	}
	return &r.strikes
}

func (l *lockouts) hash(username string) uint64 {
	return maphash.String(l.seed, ami.FoldName(username))
}

// refuses reports whether nobody can log in from an address right now.
func (l *lockouts) refuses(a netip.Addr, g *config.General) bool {
	if g.AuthFailures == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r, now := l.findLocked(a, false), time.Now()
	if r == nil || !r.locked(now) || slices.ContainsFunc(r.known, func(k knownUser) bool { return !k.locked(now) }) {
		return false
	}
	r.refused++
	return true
}

// refusesUser reports whether a user cannot log in from an address right now.
func (l *lockouts) refusesUser(a netip.Addr, username string, g *config.General) bool {
	if g.AuthFailures == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.findLocked(a, false)
	if r == nil {
		return false
	}
	s := r.of(l.hash(username))
	if !s.locked(time.Now()) {
		return false
	}
	s.refused++
	return true
}

// standing is how an address stands: from 0, good, to 2, bad. It decides whose
// place a new client may take.
func (l *lockouts) standing(a netip.Addr, g *config.General) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r, now := l.findLocked(a, false), time.Now(); {
	case r == nil:
		return 1
	case r.locked(now) || !r.since.IsZero() && now.Sub(r.since) < g.AuthWindow:
		return 2
	case len(r.known) > 0:
		return 0
	}
	return 1
}

// succeeded notes that a user has logged in from an address.
func (l *lockouts) succeeded(a netip.Addr, username string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, name := l.findLocked(a, true), l.hash(username)
	r.known = slices.DeleteFunc(r.known, func(k knownUser) bool { return k.name == name })
	if len(r.known) == maxKnown {
		r.known = slices.Delete(r.known, 0, 1)
	}
	r.known = append(r.known, knownUser{name: name})
}

// failed notes that a login as a user has failed. If that is one too many it
// returns what the log is to tell.
func (l *lockouts) failed(a netip.Addr, username string, g *config.General) []zap.Field {
	if g.AuthFailures == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.findLocked(a, true)
	s := r.of(l.hash(username))
	refused := s.refused
	if !s.fail(time.Now(), g) {
		return nil
	}
	network := netip.PrefixFrom(r.origin, r.origin.BitLen())
	if r.origin.Is6() {
		network = netip.PrefixFrom(r.origin, 64)
	}
	fields := []zap.Field{
		zap.Stringer("address", network), zap.Duration("for", time.Until(s.until).Round(time.Second)),
		zap.Int("failures", g.AuthFailures), zap.Int("refused in the lockout before", refused),
	}
	if s != &r.strikes {
		fields = append(fields, zap.String("username", username))
	}
	return fields
}

func (s *strikes) locked(now time.Time) bool { return now.Before(s.until) }

// fail adds a failure, and reports whether it begins a lockout.
func (s *strikes) fail(now time.Time, g *config.General) bool {
	if s.locked(now) {
		return false // its check began before
	}
	if now.Sub(s.since) >= g.AuthWindow {
		s.failed, s.since = 0, now
	}
	if s.failed++; s.failed < g.AuthFailures {
		return false
	}
	// Who comes again within as long as he was locked out goes on where he was.
	if last := g.AuthLockout << max(s.times-1, 0); s.times > 0 && now.Sub(s.until) > max(last, g.AuthWindow) {
		s.times = 0
	}
	s.until = now.Add(g.AuthLockout << min(s.times, maxDoublings))
	s.times = min(s.times+1, maxDoublings+1)
	s.failed, s.since, s.refused = 0, time.Time{}, 0
	return true
}
