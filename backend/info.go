package backend

import "time"

// rateSpan is the time over which rates are measured.
const rateSpan = 5 * time.Second

// Info is how a PBX and its links are doing at one moment.
type Info struct {
	State
	Address string // host:port of the configuration
	Version string // see Backend.Version

	// Links is how many links are logged in, MaxLinks how many there should be.
	Links, MaxLinks int
	// Pending is Backend.Pending; Waiting of these have not been sent yet.
	Pending, Waiting int
	// Actions were sent to the PBX and Events came from it, since the start.
	Actions, Events uint64
	// ActionRate and EventRate are how many a second, in the last seconds.
	ActionRate, EventRate float64
	// Logins, Losses and Dropped are those of Stats.
	Logins, Losses, Dropped uint64
	// NamesKnown: all that has a name on the PBX is known (see Backend.Names),
	// of which Channels are channels.
	NamesKnown bool
	Channels   int
}

// Info is how the PBX and its links are doing now. The fields may be of
// moments that are next to each other.
func (b *Backend) Info() Info {
	now, settings := b.sampleNow(time.Now()), b.settings.Load()
	info := Info{
		Address: settings.address(), Version: b.Version(), MaxLinks: settings.Links,
		Actions: now.actions, Events: now.events,
		Logins: b.stats.Logins.Load(), Losses: b.stats.Losses.Load(), Dropped: b.stats.Dropped.Load(),
		NamesKnown: b.names.Complete(), Channels: b.names.Len(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	info.State = b.state
	info.Links = len(b.connected)
	info.Pending, info.Waiting = b.pending, b.pending
	for _, l := range b.links {
		for _, p := range l.inflight {
			if b.isOthers(p) {
				info.Waiting--
			}
		}
	}
	info.ActionRate, info.EventRate = b.samples.rates(now)
	return info
}

// isOthers reports whether an action is not one of our own.
func (b *Backend) isOthers(p *pending) bool { return p.stream != nil && p.stream != b.house }

// sample is the counters at one time.
type sample struct {
	at              time.Time
	actions, events uint64
}

func (b *Backend) sampleNow(now time.Time) sample {
	return sample{now, b.stats.Actions.Load(), b.stats.Events.Load()}
}

// sampleLocked takes a sample if the last one is a second old.
func (b *Backend) sampleLocked(now time.Time) {
	if now.Sub(b.samples[len(b.samples)-1].at) >= time.Second {
		b.samples.add(b.sampleNow(now))
	}
}

// samples are the latest ones, one a second, the oldest first; those not yet
// taken are zero.
type samples [rateSpan / time.Second]sample

func (s *samples) add(latest sample) {
	copy(s[:], s[1:])
	s[len(s)-1] = latest
}

// rates are how many actions and events a second there were between the
// oldest sample and now. What happened within less than a second counts as
// that of a second.
func (s *samples) rates(now sample) (actions, events float64) {
	i := 0
	for i < len(s)-1 && s[i].at.IsZero() {
		i++
	}
	seconds := max(now.at.Sub(s[i].at).Seconds(), 1)
	return float64(now.actions-s[i].actions) / seconds, float64(now.events-s[i].events) / seconds
}
