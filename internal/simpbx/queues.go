package simpbx

import (
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// queue is a call queue; guarded by PBX.mu.
type queue struct {
	name      string
	members   []*member
	waiting   []*caller
	completed int
	abandoned int
	holdTime  time.Duration // of the last call
	talkTime  time.Duration
	next      int // member to ask first
}

type member struct {
	iface, name  string
	membership   string // static or dynamic
	penalty      int
	callsTaken   int
	lastCall     time.Time
	lastPause    time.Time
	login        time.Time
	inCall       bool
	paused       bool
	pausedReason string
	endpoint     *endpoint // nil: an interface that the PBX does not know
}

// caller is a channel that waits.
type caller struct {
	ch       *channel
	since    time.Time
	position int // when it came
}

// deviceStatus is a device state as queues number them (devicestate.h).
type deviceStatus int

const (
	deviceIdle      deviceStatus = 1
	deviceInUse     deviceStatus = 2
	deviceInvalid   deviceStatus = 4
	deviceRinging   deviceStatus = 6
	deviceRingInUse deviceStatus = 7
	deviceOnHold    deviceStatus = 8
)

// deviceTexts is what the CLI calls the states.
var deviceTexts = map[deviceStatus]string{
	deviceIdle: "Not in use", deviceInUse: "In use", deviceInvalid: "Invalid",
	deviceRinging: "Ringing", deviceRingInUse: "Ring+Inuse", deviceOnHold: "On Hold",
}

func (s deviceStatus) String() string {
	switch s {
	case deviceIdle:
		return "NOT_INUSE"
	case deviceInUse:
		return "INUSE"
	case deviceRinging:
		return "RINGING"
	case deviceRingInUse:
		return "RINGINUSE"
	case deviceOnHold:
		return "ONHOLD"
	}
	return "INVALID"
}

// extension is the state as hints number and name it (pbx.h).
func (s deviceStatus) extension() (int, string) {
	switch s {
	case deviceIdle:
		return 0, "Idle"
	case deviceInUse:
		return 1, "InUse"
	case deviceRinging:
		return 8, "Ringing"
	case deviceRingInUse:
		return 9, "InUse&Ringing"
	case deviceOnHold:
		return 16, "Hold"
	}
	return 4, "Unavailable"
}

func (e *endpoint) now() deviceStatus {
	ringing, used, held := 0, 0, 0
	for _, ch := range e.channels {
		switch {
		case ch.state == stateRinging:
			ringing++
		case ch.onHold:
			held++
		default:
			used++
		}
	}
	switch {
	case ringing > 0 && used+held > 0:
		return deviceRingInUse
	case ringing > 0:
		return deviceRinging
	case used > 0:
		return deviceInUse
	case held > 0:
		return deviceOnHold
	}
	return deviceIdle
}

// deviceLocked tells the state of an endpoint if it has changed.
func (p *PBX) deviceLocked(e *endpoint) {
	if e == nil || e.status == e.now() {
		return
	}
	e.status = e.now()
	p.emitLocked("DeviceStateChange", ami.ClassCall, "Device", "PJSIP/"+e.Name, "State", e.status.String())
	number, text := e.status.extension()
	p.emitLocked("ExtensionStatus", ami.ClassCall, "Exten", e.Number, "Context", "default",
		"Hint", "PJSIP/"+e.Name, "Status", strconv.Itoa(number), "StatusText", text)
	for _, q := range p.model.queues {
		for _, m := range q.members {
			if m.endpoint == e {
				p.memberLocked("QueueMemberStatus", q, m)
			}
		}
	}
}

func (p *PBX) initQueuesLocked() {
	for _, o := range p.opts.Queues {
		q := &queue{name: o.Name}
		for _, name := range o.Members {
			q.members = append(q.members, p.newMemberLocked("PJSIP/"+name, "static"))
		}
		p.model.queues = append(p.model.queues, q)
	}
}

func (p *PBX) newMemberLocked(iface, membership string) *member {
	m := &member{iface: iface, name: iface, membership: membership, login: time.Now()}
	if name, ok := strings.CutPrefix(iface, "PJSIP/"); ok {
		m.endpoint = p.endpointLocked(name)
	}
	return m
}

func (p *PBX) queueLocked(name string) *queue {
	for _, q := range p.model.queues {
		if q.name == name {
			return q
		}
	}
	return nil
}

func (q *queue) member(iface string) *member {
	for _, m := range q.members {
		if m.iface == iface {
			return m
		}
	}
	return nil
}

func (m *member) status() deviceStatus {
	if m.endpoint == nil {
		return deviceInvalid
	}
	return m.endpoint.status
}

// free reports whether a member can be rung. A telephone that was just called
// has told nobody yet.
func (m *member) free() bool { return !m.paused && m.endpoint != nil && len(m.endpoint.channels) == 0 }

func unix(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func yes(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// numbers are the fields that events and list items of a member share.
func (m *member) numbers() []string {
	return []string{
		"StateInterface", m.iface, "Membership", m.membership, "Penalty", strconv.Itoa(m.penalty),
		"CallsTaken", strconv.Itoa(m.callsTaken), "LastCall", unix(m.lastCall), "LastPause", unix(m.lastPause),
		"LoginTime", unix(m.login), "InCall", yes(m.inCall), "Status", strconv.Itoa(int(m.status())),
		"Paused", yes(m.paused), "PausedReason", m.pausedReason,
	}
}

// memberLocked tells what a member of a queue is doing.
func (p *PBX) memberLocked(event string, q *queue, m *member) {
	b := appendPairs(p.eventLocked(event, ami.ClassAgent), []string{"Queue", q.name, "MemberName", m.name, "Interface", m.iface})
	b = appendPairs(b, m.numbers())
	p.sendLocked(ami.ClassAgent, appendPairs(b, []string{"Ringinuse", "1", "Wrapuptime", "0"}))
}

// joinLocked puts a channel into a queue.
func (p *PBX) joinLocked(ch *channel, q *queue) {
	p.execLocked(ch, "Queue", q.name)
	w := &caller{ch: ch, since: time.Now(), position: len(q.waiting) + 1}
	q.waiting = append(q.waiting, w)
	p.tellLocked("QueueCallerJoin", ami.ClassAgent, ch, "Queue", q.name,
		"Position", strconv.Itoa(w.position), "Count", strconv.Itoa(len(q.waiting)))
	p.musicLocked(ch, true)
	ch.call.undo = append(ch.call.undo, func(int) {
		at := q.index(w)
		if at < 0 {
			return
		}
		p.musicLocked(ch, false)
		q.abandoned++
		p.tellLocked("QueueCallerAbandon", ami.ClassAgent, ch, "Queue", q.name, "Position", strconv.Itoa(at+1),
			"OriginalPosition", strconv.Itoa(w.position), "HoldTime", seconds(time.Since(w.since)))
		p.departLocked(q, w)
	})
	ch.call.afterLocked(setUp, func() { p.offerLocked(q, w) })
	if ch.call.lively {
		ch.call.afterLocked(p.aboutLocked(2*p.opts.Talk), func() {
			if q.index(w) >= 0 {
				p.endLocked(ch.call, 16, ch, false) // nobody waits for ever
			}
		})
	}
}

func (q *queue) index(w *caller) int {
	for i := range q.waiting {
		if q.waiting[i] == w {
			return i
		}
	}
	return -1
}

func (p *PBX) departLocked(q *queue, w *caller) {
	at := q.index(w)
	q.waiting = append(q.waiting[:at:at], q.waiting[at+1:]...)
	p.tellLocked("QueueCallerLeave", ami.ClassAgent, w.ch, "Queue", q.name,
		"Position", strconv.Itoa(at+1), "Count", strconv.Itoa(len(q.waiting)))
}

// agentLocked tells an event of a caller and an agent.
func (p *PBX) agentLocked(event string, w *caller, dest *channel, q *queue, m *member, more ...string) {
	b := w.ch.append(p.eventLocked(event, ami.ClassAgent), "")
	b = dest.append(b, "Dest")
	b = appendPairs(b, []string{"Queue", q.name, "Interface", m.iface, "MemberName", m.name})
	p.sendLocked(ami.ClassAgent, appendPairs(b, more))
}

// offerLocked rings the next free member for a caller, or tries again later.
func (p *PBX) offerLocked(q *queue, w *caller) {
	c := w.ch.call
	again := func() { c.afterLocked(time.Second/2, func() { p.offerLocked(q, w) }) }
	var m *member
	for i := range q.members {
		if at := (q.next + i) % len(q.members); q.members[at].free() {
			m, q.next = q.members[at], at+1
			break
		}
	}
	if m == nil || q.waiting[0] != w {
		again()
		return
	}
	var rung time.Time
	d := dialling{
		begun: func(dest *channel) {
			rung = time.Now()
			p.agentLocked("AgentCalled", w, dest, q, m)
		},
		answered: func(dest *channel) { p.connectLocked(q, w, m, dest, rung) },
	}
	if c.lively && p.rng.IntN(6) == 0 {
		d.fate = 19
		d.failed = func() {
			p.agentLocked("AgentRingNoAnswer", w, w.ch.dest, q, m, "RingTime", strconv.FormatInt(time.Since(rung).Milliseconds(), 10))
			again()
		}
	}
	p.dialLocked(w.ch, m.endpoint, d)
}

// connectLocked is an agent and a caller that talk.
func (p *PBX) connectLocked(q *queue, w *caller, m *member, dest *channel, rung time.Time) {
	c := w.ch.call
	p.musicLocked(w.ch, false)
	p.departLocked(q, w)
	hold := rung.Sub(w.since)
	q.holdTime = hold
	m.inCall = true
	p.agentLocked("AgentConnect", w, dest, q, m, "HoldTime", seconds(hold), "RingTime", seconds(time.Since(rung)))
	p.memberLocked("QueueMemberStatus", q, m)
	begun := time.Now()
	c.undo = append(c.undo, func(int) {
		m.inCall = false
		m.callsTaken++
		m.lastCall = time.Now()
		q.completed++
		q.talkTime = time.Since(begun)
		reason := "caller"
		if c.by == dest {
			reason = "agent"
		}
		p.agentLocked("AgentComplete", w, dest, q, m, "HoldTime", seconds(hold), "TalkTime", seconds(q.talkTime), "Reason", reason)
		p.memberLocked("QueueMemberStatus", q, m)
	})
	p.bridgeLocked(dest, w.ch)
	p.talkLocked(c, w.ch, dest)
}
