package backend

import (
	"context"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	houseInterval = 250 * time.Millisecond
	// pingAfter is how long a link may be silent before it is tested, and
	// pingTimeout how long the answer may take.
	pingAfter, pingTimeout = 5 * time.Second, 4 * time.Second
	// quiet is how long the PBX must have been quiet about its modules before
	// its actions are listed again.
	quiet = time.Second
)

// keepHouse does what happens with time, until ctx ends: deadlines, tests of
// idle links, forgetting.
func (b *Backend) keepHouse(ctx context.Context) {
	tick := time.NewTicker(houseInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.tidy(now)
		}
	}
}

func (b *Backend) tidy(now time.Time) {
	b.mu.Lock()
	var overdue []*link
	for _, l := range b.connected {
		switch {
		case len(l.inflight) > 0:
			if p := l.inflight[0]; now.After(p.deadline) {
				p.timedOut = true
				overdue = append(overdue, l)
			}
		case l.provesLocked(now), now.Sub(time.Unix(0, l.lastRead.Load())) > pingAfter:
			b.pingLocked(l, now)
		}
	}
	renew := b.renewLocked(now)
	rights := !b.rights.due.IsZero() && now.After(b.rights.due) && b.usableLocked()
	if rights {
		b.rights.due = time.Time{}
		if b.rights.lacking() {
			b.rights.due = now.Add(refusedDelay)
		}
	}
	failed := b.kickLocked(now) // some may have waited too long
	b.sampleLocked(now)
	b.late.sweep(now)
	relist := !b.relist.IsZero() && now.After(b.relist) && b.usableLocked()
	if relist {
		b.relist = time.Time{}
	}
	recheck := relist && b.recheck
	b.recheck = b.recheck && !relist
	names := !b.namesDue.IsZero() && now.After(b.namesDue) && b.usableLocked()
	if names {
		b.namesDue = time.Time{}
	}
	b.mu.Unlock()

	for _, l := range overdue {
		l.kill(ErrTimeout)
	}
	if renew != nil {
		renew.kill(errRights)
	}
	b.settle(failed)
	if relist {
		b.listCommands()
	}
	if recheck || rights {
		b.checkRights()
	}
	if names {
		b.listNames()
	}
}

// pingLocked tests an idle link, or whether the PBX is still the one that it was.
func (b *Backend) pingLocked(l *link, now time.Time) {
	action := ami.NewAction("Action: Ping")
	proves := l.provesLocked(now)
	done := func(a Answer) {
		if proves && a.Err == nil {
			l.outlives()
		}
	}
	p := &pending{request: Request{Action: action, Done: done}, name: "Ping", timeout: pingTimeout}
	p.id, p.number = b.newID()
	p.frame, _ = action.AppendForward(nil, p.id)
	l.sendLocked(p, now)
}

// listAgain asks for the PBX's actions once it has settled: they come and go
// with its modules.
func (b *Backend) listAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.relist = time.Now().Add(quiet)
}

func (b *Backend) listCommands() {
	booted := b.booted.Load() != nil
	err := b.house.Do(Request{
		Action: ami.NewAction("Action: ListCommands"),
		Done: func(a Answer) {
			switch {
			case a.Err != nil:
				b.listAgain()
			case ami.Frame(a.Bytes).Succeeds():
				b.authority.Store(parseAuthority(a.Bytes))
				if booted && b.booting.Swap(false) {
					b.learnDirectories() // while it boots it does not know the command
				}
			}
		},
	})
	if err != nil {
		b.listAgain()
	}
}
