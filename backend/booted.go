package backend

import (
	"slices"
	"strconv"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// booted is what the PBX said when it was fully booted.
type booted struct {
	// started and reloaded are since when its Uptime and LastReload count; zero
	// if it does not tell (Asterisk 13 and older).
	started, reloaded time.Time
}

func newBooted(f ami.Frame, now time.Time) *booted {
	return &booted{started: since(f, "Uptime", now), reloaded: since(f, "LastReload", now)}
}

// running is for how long the PBX has run by now, 0 if it does not tell.
func (b *booted) running(now time.Time) time.Duration {
	if b.started.IsZero() {
		return 0
	}
	return now.Sub(b.started)
}

func since(f ami.Frame, name string, now time.Time) time.Time {
	v, _ := f.Get(name)
	seconds, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil {
		return time.Time{}
	}
	return now.Add(-time.Duration(seconds) * time.Second)
}

// reload notes that the whole configuration of the PBX was loaded anew.
func (b *Backend) reload(now time.Time) {
	if old := b.booted.Load(); old != nil && !old.reloaded.IsZero() {
		b.booted.Store(&booted{started: old.started, reloaded: now})
	}
}

// FullyBooted is the event that the PBX would send to one who logs in now
// (manager.c: action_login), nil if it is away or has not finished booting.
func (b *Backend) FullyBooted(now time.Time) ami.Frame {
	booted := b.booted.Load()
	if booted == nil {
		return nil
	}
	out := ami.AppendHeader(nil, "Event", "FullyBooted")
	out = ami.AppendHeader(out, "Privilege", "system,all")
	out = appendSeconds(out, "Uptime", booted.started, now)
	out = appendSeconds(out, "LastReload", booted.reloaded, now)
	out = ami.AppendHeader(out, "Status", "Fully Booted")
	return ami.AppendEnd(out)
}

// Booting reports whether the PBX is there and will have more actions than it has
// said by now: its modules are being loaded, or it has yet to list what they
// brought. One that never says that it has booted, as its user there may not read
// the class system, is booting for ever.
func (b *Backend) Booting() bool { return b.Up() && b.booting.Load() }

// meetsBooted reports whether the PBX had booted when the link logged in: it says
// so before it answers anything else (manager.c: action_login). Asterisk 1.4 says
// it to nobody, unless it is told to by asterisk.conf.
func (l *link) meetsBooted() bool {
	return l.b.Version() == "1.0" || slices.ContainsFunc(l.early, func(f ami.Frame) bool {
		return string(f.Event()) == "FullyBooted"
	})
}

func appendSeconds(dst []byte, name string, from, now time.Time) []byte {
	if from.IsZero() {
		return dst
	}
	return ami.AppendHeader(dst, name, strconv.FormatInt(int64(now.Sub(from)/time.Second), 10))
}
