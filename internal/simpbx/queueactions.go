package simpbx

import (
	"fmt"
	"strconv"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

var queueActions = []action{
	{name: "QueueAdd", synopsis: "Add a member to a queue.", run: (*Request).queueAdd},
	{name: "QueuePause", synopsis: "Pause a member of queues, or end that.", run: (*Request).queuePause},
	{name: "QueueRemove", synopsis: "Remove a member from a queue.", run: (*Request).queueRemove},
	{name: "QueueReset", synopsis: "Set the counts of queues to zero.", run: (*Request).queueReset},
	{name: "QueueStatus", synopsis: "Tell queues, their members and callers.", run: (*Request).queueStatus},
	{name: "QueueSummary", synopsis: "Tell queues in short.", run: (*Request).queueSummary},
}

// queuesLocked are the queues that the action asks for.
func (r *Request) queuesLocked() []*queue {
	name := r.Get("Queue")
	if name == "" {
		return r.c.p.model.queues
	}
	if q := r.c.p.queueLocked(name); q != nil {
		return []*queue{q}
	}
	return nil
}

func (r *Request) queueStatus() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Queue status will follow")
	for _, q := range r.queuesLocked() {
		l.itemBare("QueueParams")
		r.add("Queue", q.name, "Max", "0", "Strategy", "rrmemory", "Calls", strconv.Itoa(len(q.waiting)),
			"Holdtime", seconds(q.holdTime), "TalkTime", seconds(q.talkTime),
			"Completed", strconv.Itoa(q.completed), "Abandoned", strconv.Itoa(q.abandoned),
			"ServiceLevel", "0", "ServicelevelPerf", "0.0", "ServicelevelPerf2", "0.0", "Weight", "0")
		l.endWithID()
		for _, m := range q.members {
			if only := r.Get("Member"); only != "" && only != m.iface {
				continue
			}
			l.itemBare("QueueMember")
			r.add("Queue", q.name, "Name", m.name, "Location", m.iface)
			r.add(m.numbers()...)
			r.add("Wrapuptime", "0")
			l.endWithID()
		}
		for i, w := range q.waiting {
			l.itemBare("QueueEntry")
			r.add("Queue", q.name, "Position", strconv.Itoa(i+1), "Channel", w.ch.name, "Uniqueid", w.ch.uniqueid,
				"CallerIDNum", known(w.ch.callerNum), "CallerIDName", known(w.ch.callerName),
				"ConnectedLineNum", known(w.ch.connNum), "ConnectedLineName", known(w.ch.connName),
				"Wait", seconds(time.Since(w.since)), "Priority", "0")
			l.endWithID()
		}
	}
	l.complete("QueueStatusComplete")
}

func (r *Request) queueSummary() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Queue summary will follow")
	for _, q := range r.queuesLocked() {
		loggedIn, available := 0, 0
		for _, m := range q.members {
			if m.endpoint != nil {
				loggedIn++
			}
			if m.free() {
				available++
			}
		}
		var longest time.Duration
		for _, w := range q.waiting {
			longest = max(longest, time.Since(w.since))
		}
		l.itemBare("QueueSummary")
		r.add("Queue", q.name, "LoggedIn", strconv.Itoa(loggedIn), "Available", strconv.Itoa(available),
			"Callers", strconv.Itoa(len(q.waiting)), "HoldTime", seconds(q.holdTime),
			"TalkTime", seconds(q.talkTime), "LongestHoldTime", seconds(longest))
		l.endWithID()
	}
	l.complete("QueueSummaryComplete")
}

func (r *Request) queueReset() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range r.queuesLocked() {
		q.completed, q.abandoned, q.holdTime, q.talkTime = 0, 0, 0, 0
	}
	r.Reply("Success", "Queue stats reset successfully")
}

// memberOf is the queue and interface that an action names; a nil queue means
// that the action was answered with an error.
func (r *Request) memberOf(verb string) (q *queue, iface string) {
	name, iface := r.Get("Queue"), r.Get("Interface")
	switch {
	case name == "":
		r.error("'Queue' not specified.")
		return nil, ""
	case iface == "":
		r.error("'Interface' not specified.")
		return nil, ""
	}
	if q = r.c.p.queueLocked(name); q == nil {
		r.error(fmt.Sprintf("Unable to %s queue: No such queue", verb))
	}
	return q, iface
}

func (r *Request) queueAdd() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	q, iface := r.memberOf("add interface to")
	if q == nil {
		return
	}
	if q.member(iface) != nil {
		r.error("Unable to add interface: Already there")
		return
	}
	m := p.newMemberLocked(iface, "dynamic")
	m.penalty, _ = strconv.Atoi(r.Get("Penalty"))
	m.paused, _ = ami.ParseBool(r.Get("Paused"))
	if name := r.Get("MemberName"); name != "" {
		m.name = name
	}
	q.members = append(q.members, m)
	p.memberLocked("QueueMemberAdded", q, m)
	r.Reply("Success", "Added interface to queue")
}

func (r *Request) queueRemove() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	q, iface := r.memberOf("remove interface from")
	if q == nil {
		return
	}
	m := q.member(iface)
	switch {
	case m == nil:
		r.error("Unable to remove interface: Not there")
		return
	case m.membership != "dynamic":
		r.error("Member not dynamic")
		return
	}
	for i := range q.members {
		if q.members[i] == m {
			q.members = append(q.members[:i:i], q.members[i+1:]...)
			break
		}
	}
	p.memberLocked("QueueMemberRemoved", q, m)
	r.Reply("Success", "Removed interface from queue")
}

func (r *Request) queuePause() {
	iface, paused := r.Get("Interface"), r.Get("Paused")
	if iface == "" || paused == "" {
		r.error("Need 'Interface' and 'Paused' parameters.")
		return
	}
	on, _ := ami.ParseBool(paused)
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	for _, q := range r.queuesLocked() {
		m := q.member(iface)
		if m == nil {
			continue
		}
		found = true
		m.paused, m.pausedReason = on, r.Get("Reason")
		if on {
			m.lastPause = time.Now()
		}
		p.memberLocked("QueueMemberPause", q, m)
	}
	switch {
	case !found:
		r.error("Interface not found")
	case on:
		r.Reply("Success", "Interface paused successfully")
	default:
		r.Reply("Success", "Interface unpaused successfully")
	}
}
