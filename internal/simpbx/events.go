package simpbx

import (
	"strconv"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Emit sends a frame as it is, closing empty line included, to every session
// that gets events of its class: the one in its Privilege header. Without one
// only sessions with an event mask of everything get it; <none> is for all.
// The PBX keeps the frame, which must not be changed afterwards. Emit does not
// wait for anybody.
func (p *PBX) Emit(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broadcastLocked(ami.Frame(frame).Class(), frame)
}

// Event builds an event and sends it like [PBX.Emit]: Event, Privilege, the
// SystemName if there is one, then the headers, given as names and values in
// turn.
func (p *PBX) Event(name string, class ami.Class, headers ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sendLocked(class, appendPairs(p.eventLocked(name, class), headers))
}

// Inject sends raw bytes to every session that is logged in, whatever its
// mask, in its place among the events: for frames that are no frames.
func (p *PBX) Inject(raw []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broadcastLocked(ami.ClassNone, raw)
}

// Backlog is the largest number of bytes of events that wait for one session:
// what a benchmark looks at in order not to send more than is read.
func (p *PBX) Backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	for c := range p.conns {
		c.mu.Lock()
		most = max(most, c.queued)
		c.mu.Unlock()
	}
	return most
}

// eventLocked begins an event as manager.c: __manager_event_sessions_va does.
func (p *PBX) eventLocked(name string, class ami.Class) []byte {
	b := make([]byte, 0, 768)
	b = ami.AppendHeader(b, "Event", name)
	b = ami.AppendHeader(b, "Privilege", class.String())
	if p.opts.SystemName != "" {
		b = ami.AppendHeader(b, "SystemName", p.opts.SystemName)
	}
	return b
}

// sendLocked ends an event and sends it.
func (p *PBX) sendLocked(class ami.Class, b []byte) {
	p.broadcastLocked(class, ami.AppendEnd(b))
}

func (p *PBX) broadcastLocked(class ami.Class, frame []byte) {
	for c := range p.conns {
		c.push(class, frame)
	}
}

// emitLocked is eventLocked and sendLocked around ready headers.
func (p *PBX) emitLocked(name string, class ami.Class, headers ...string) {
	p.sendLocked(class, appendPairs(p.eventLocked(name, class), headers))
}

// fullyBootedLocked ends a FullyBooted event.
func (p *PBX) fullyBootedLocked(b []byte) []byte {
	if !p.legacy {
		b = ami.AppendHeader(b, "Uptime", seconds(time.Since(p.started)))
		b = ami.AppendHeader(b, "LastReload", seconds(time.Since(p.reloaded)))
	}
	b = ami.AppendHeader(b, "Status", "Fully Booted")
	return ami.AppendEnd(b)
}

func appendPairs(b []byte, pairs []string) []byte {
	for i := 0; i+1 < len(pairs); i += 2 {
		b = ami.AppendHeader(b, pairs[i], pairs[i+1])
	}
	return b
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
