package backend

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	houseInterval = 250 * time.Millisecond
	// pingAfter is how long a link may be silent before it is tested, and
	// pingTimeout how long the answer may take.
	pingAfter, pingTimeout = 5 * time.Second, 4 * time.Second
	// settle is how long the PBX must have been quiet about its modules before
	// its actions are listed again.
	settle = time.Second
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
			if now.After(l.inflight[0].deadline) {
				overdue = append(overdue, l)
			}
		case !l.taken && now.Sub(time.Unix(0, l.lastRead.Load())) > pingAfter:
			b.pingLocked(l, now)
		}
	}
	busy := b.expireLocked(now)
	b.late.expire(now)
	relist := !b.relist.IsZero() && now.After(b.relist) && b.state.Up
	if relist {
		b.relist = time.Time{}
	}
	b.mu.Unlock()

	for _, l := range overdue {
		l.log.Warn("link cut: no answer in time")
		l.kill(ErrTimeout)
	}
	for _, p := range busy {
		p.request.Done(Answer{Err: ErrBusy})
	}
	if relist {
		b.listCommands()
	}
}

// pingLocked tests an idle link.
func (b *Backend) pingLocked(l *link, now time.Time) {
	action := ami.NewAction("Action: Ping")
	p := &pending{request: Request{Action: action, Done: func(Answer) {}}, name: "Ping", timeout: pingTimeout}
	p.id, p.number = b.newID()
	p.frame, _ = action.AppendForward(nil, p.id)
	b.pending++
	l.sendLocked(p, now)
}

// expireLocked takes out the actions that waited too long for a link.
func (b *Backend) expireLocked(now time.Time) []*pending {
	var expired []*pending
	for _, s := range b.waiting {
		if len(s.waiting) == 0 {
			continue
		}
		if p := s.waiting[0]; !p.expires.IsZero() && now.After(p.expires) {
			s.waiting = s.waiting[1:]
			b.dropLocked(p)
			expired = append(expired, p)
		}
	}
	if expired != nil {
		b.kickLocked()
	}
	return expired
}

// listAgain asks for the PBX's actions once it has settled: they come and go
// with its modules.
func (b *Backend) listAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.relist = time.Now().Add(settle)
}

func (b *Backend) listCommands() {
	err := b.house.Do(Request{
		Action: ami.NewAction("Action: ListCommands"),
		Done: func(a Answer) {
			if a.Err == nil && isSuccess(a.Bytes) {
				b.authority.Store(parseAuthority(a.Bytes))
			}
		},
	})
	if err != nil {
		b.log.Debug("ListCommands not sent", zap.Error(err))
	}
}

// booted is the FullyBooted event of a PBX and when it came.
type booted struct {
	frame  ami.Frame
	at     time.Time
	uptime int64 // -1: the frame has none (Asterisk 13 and older)
	reload int64
}

func newBooted(f ami.Frame, at time.Time) *booted {
	return &booted{frame: f, at: at, uptime: number(f, "Uptime"), reload: number(f, "LastReload")}
}

func number(f ami.Frame, name string) int64 {
	v, ok := f.Get(name)
	if !ok {
		return -1
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// FullyBooted is the event that the PBX would send to one who logs in now, nil
// if it is away or has not finished booting.
func (b *Backend) FullyBooted(now time.Time) ami.Frame {
	booted := b.booted.Load()
	if booted == nil {
		return nil
	}
	elapsed := int64(now.Sub(booted.at) / time.Second)
	var out []byte
	for line := range bytes.Lines(booted.frame) {
		switch {
		case booted.uptime >= 0 && bytes.HasPrefix(line, []byte("Uptime:")):
			out = ami.AppendHeader(out, "Uptime", strconv.FormatInt(booted.uptime+elapsed, 10))
		case booted.reload >= 0 && bytes.HasPrefix(line, []byte("LastReload:")):
			out = ami.AppendHeader(out, "LastReload", strconv.FormatInt(booted.reload+elapsed, 10))
		default:
			out = append(out, line...)
		}
	}
	return out
}
