package simpbx

import (
	"container/heap"
	"time"
)

// clock holds the steps that are to come: all that moves calls. It is guarded
// by PBX.mu; one goroutine runs the steps, in order, under that lock.
type clock struct {
	steps steps
	seq   uint64
}

type step struct {
	at  time.Time
	seq uint64 // steps of one moment keep their order
	run func()
}

type steps []step

func (s steps) Len() int { return len(s) }
func (s steps) Less(i, j int) bool {
	if s[i].at.Equal(s[j].at) {
		return s[i].seq < s[j].seq
	}
	return s[i].at.Before(s[j].at)
}
func (s steps) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *steps) Push(x any)   { *s = append(*s, x.(step)) }
func (s *steps) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = step{}
	*s = old[:len(old)-1]
	return last
}

// afterLocked has run called after d, with PBX.mu held.
func (p *PBX) afterLocked(d time.Duration, run func()) {
	p.clock.seq++
	s := step{time.Now().Add(d), p.clock.seq, run}
	heap.Push(&p.clock.steps, s)
	if p.clock.steps[0].seq == s.seq {
		p.wakeClock()
	}
}

func (p *PBX) wakeClock() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// runClock is the goroutine that moves all calls.
func (p *PBX) runClock() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.runDue())
		select {
		case <-timer.C:
		case <-p.nudge:
		case <-p.done:
			return
		}
	}
}

// runDue runs the steps whose time has come and returns when to come again.
func (p *PBX) runDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if len(p.clock.steps) == 0 {
			return time.Hour
		}
		next := p.clock.steps[0].at
		if d := time.Until(next); d > 0 {
			return d
		}
		heap.Pop(&p.clock.steps).(step).run()
	}
}
