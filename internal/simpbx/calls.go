package simpbx

import (
	"fmt"
	"strconv"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// model is the state of the PBX's calls. It is guarded by PBX.mu.
type model struct {
	channels  map[string]*channel // by name
	byUnique  map[string]*channel
	unique    uint64 // of the next Uniqueid
	serial    uint64 // of the next channel name
	bridges   map[string]*bridge
	processed int // calls so far
	lively    int // calls that came by themselves and live
	live      map[*call]struct{}
	globals   map[string]string
	db        map[string]string // by /family/key
	endpoints []*endpoint
	queues    []*queue
}

// endpoint is a telephone and its state.
type endpoint struct {
	Endpoint
	channels []*channel
	status   deviceStatus // as last announced
}

// channel is a live channel. Empty caller ids are shown as <unknown>.
type channel struct {
	name, device, uniqueid, linkedid string
	order                            uint64
	endpoint                         *endpoint // nil for Local and for the trunk
	call                             *call
	state                            int
	callerNum, callerName            string
	connNum, connName                string
	account, context, exten          string
	priority                         int
	app, data                        string
	created, answered                time.Time
	bridge                           *bridge
	vars                             map[string]string
	varNames                         []string // in the order they were set
	onHold, music                    bool
	dest                             *channel // what it dialled, for the Cdr
	dialled                          bool     // the other end called it
	gone                             bool
}

// The states of a channel.
const (
	stateDown    = 0
	stateRing    = 4
	stateRinging = 5
	stateUp      = 6
)

var stateNames = map[int]string{stateDown: "Down", stateRing: "Ring", stateRinging: "Ringing", stateUp: "Up"}

// bridge is two channels that hear each other.
type bridge struct {
	id       string
	channels []*channel
}

// call is all channels that end together.
type call struct {
	p        *PBX
	channels []*channel
	over     bool
	lively   bool     // between people: they press keys, and may not answer
	epoch    int      // of steps; older ones are not taken
	by       *channel // whose end ended it
	// undo has what must be told before the channels go, last first.
	undo []func(cause int)
	// then is called once when the call has ended.
	then []func(cause int)
}

// afterLocked has run called after d unless the call has ended by then
// or was sent elsewhere.
func (c *call) afterLocked(d time.Duration, run func()) {
	epoch := c.epoch
	c.p.afterLocked(d, func() {
		if !c.over && c.epoch == epoch {
			run()
		}
	})
}

func (p *PBX) initModelLocked() {
	old := p.model
	p.model = model{
		channels: make(map[string]*channel),
		byUnique: make(map[string]*channel),
		live:     make(map[*call]struct{}),
		bridges:  make(map[string]*bridge),
		globals:  make(map[string]string),
		db:       old.db, // the database is a file
		unique:   old.unique,
	}
	if p.model.db == nil {
		p.model.db = make(map[string]string)
	}
	for _, e := range p.opts.Endpoints {
		p.model.endpoints = append(p.model.endpoints, &endpoint{Endpoint: e, status: deviceIdle})
	}
	p.initQueuesLocked()
	for i := range p.opts.Idle {
		ch := p.addChannelLocked(p.newCallLocked(), "PJSIP/idle", nil)
		ch.state, ch.answered = stateUp, ch.created
		ch.context, ch.exten = "default", "idle"
		ch.callerNum = strconv.Itoa(10000 + i)
		ch.app, ch.data = "Wait", "86400"
	}
}

func (p *PBX) newCallLocked() *call {
	c := &call{p: p}
	p.model.live[c] = struct{}{}
	p.model.processed++
	return c
}

// addChannelLocked makes a channel, without an event. Its name is device, a
// serial number and perhaps a suffix.
func (p *PBX) addChannelLocked(c *call, device string, e *endpoint) *channel {
	p.model.serial++
	return p.addNamedLocked(c, device, fmt.Sprintf("%s-%08x", device, p.model.serial-1), "", e)
}

func (p *PBX) addNamedLocked(c *call, device, name, uniqueid string, e *endpoint) *channel {
	now := time.Now()
	if uniqueid == "" {
		uniqueid = fmt.Sprintf("%d.%d", now.Unix(), p.model.unique)
		if p.opts.SystemName != "" {
			uniqueid = p.opts.SystemName + "-" + uniqueid
		}
	}
	ch := &channel{
		name: name, device: device, uniqueid: uniqueid, linkedid: uniqueid,
		order: p.model.unique, endpoint: e, call: c,
		context: "default", exten: "s", priority: 1, created: now,
		vars: make(map[string]string),
	}
	p.model.unique++
	if len(c.channels) > 0 {
		ch.linkedid = c.channels[0].linkedid
	}
	c.channels = append(c.channels, ch)
	p.model.channels[ch.name] = ch
	p.model.byUnique[ch.uniqueid] = ch
	if e != nil {
		e.channels = append(e.channels, ch)
	}
	return ch
}

// findLocked finds a channel by name or Uniqueid, as manager.c does.
func (p *PBX) findLocked(name string) *channel {
	if ch := p.model.channels[name]; ch != nil {
		return ch
	}
	return p.model.byUnique[name]
}

// append appends a channel's snapshot (manager_channels.c:
// ast_manager_build_channel_state_string_prefix).
func (ch *channel) append(b []byte, prefix string) []byte {
	b = ami.AppendHeader(b, prefix+"Channel", ch.name)
	b = ami.AppendHeader(b, prefix+"ChannelState", strconv.Itoa(ch.state))
	b = ami.AppendHeader(b, prefix+"ChannelStateDesc", stateNames[ch.state])
	b = ami.AppendHeader(b, prefix+"CallerIDNum", known(ch.callerNum))
	b = ami.AppendHeader(b, prefix+"CallerIDName", known(ch.callerName))
	b = ami.AppendHeader(b, prefix+"ConnectedLineNum", known(ch.connNum))
	b = ami.AppendHeader(b, prefix+"ConnectedLineName", known(ch.connName))
	b = ami.AppendHeader(b, prefix+"Language", "en")
	b = ami.AppendHeader(b, prefix+"AccountCode", ch.account)
	b = ami.AppendHeader(b, prefix+"Context", ch.context)
	b = ami.AppendHeader(b, prefix+"Exten", ch.exten)
	b = ami.AppendHeader(b, prefix+"Priority", strconv.Itoa(ch.priority))
	b = ami.AppendHeader(b, prefix+"Uniqueid", ch.uniqueid)
	return ami.AppendHeader(b, prefix+"Linkedid", ch.linkedid)
}

func known(s string) string {
	if s == "" {
		return "<unknown>"
	}
	return s
}

// tellLocked sends an event about one channel.
func (p *PBX) tellLocked(name string, class ami.Class, ch *channel, more ...string) {
	p.sendLocked(class, appendPairs(ch.append(p.eventLocked(name, class), ""), more))
}

func (p *PBX) stateLocked(ch *channel, state int) {
	if ch.state == state {
		return
	}
	ch.state = state
	if state == stateUp && ch.answered.IsZero() {
		ch.answered = time.Now()
	}
	p.tellLocked("Newstate", ami.ClassCall, ch)
	p.deviceLocked(ch.endpoint)
}

// execLocked is a channel that runs an application.
func (p *PBX) execLocked(ch *channel, app, data string) {
	ch.app, ch.data = app, data
	p.tellLocked("Newexten", ami.ClassDialplan, ch, "Extension", ch.exten, "Application", app, "AppData", data)
}

func (p *PBX) setVarLocked(ch *channel, name, value string) {
	if ch == nil {
		p.model.globals[name] = value
		p.emitLocked("VarSet", ami.ClassDialplan, "Channel", "none", "Uniqueid", "none", "Variable", name, "Value", value)
		return
	}
	if _, ok := ch.vars[name]; !ok {
		ch.varNames = append(ch.varNames, name)
	}
	ch.vars[name] = value
	p.tellLocked("VarSet", ami.ClassDialplan, ch, "Variable", name, "Value", value)
}

var causeTexts = map[int]string{
	0: "Unknown", 16: "Normal Clearing", 17: "User busy", 19: "User alerting, no answer",
	20: "Subscriber absent", 21: "Call Rejected", 26: "Answered elsewhere", 3: "No route to destination",
	32: "Normal, unspecified", 34: "Circuit/channel congestion",
}

func causeText(cause int) string {
	if t, ok := causeTexts[cause]; ok {
		return t
	}
	return "Normal, unspecified"
}

// endLocked ends a call. by, if not nil, is the channel whose end it was; soft
// says that the PBX ended it, and not the telephone.
func (p *PBX) endLocked(c *call, cause int, by *channel, soft bool) {
	if c.over {
		return
	}
	c.over, c.by = true, by
	delete(p.model.live, c)
	if by != nil {
		name := "HangupRequest"
		if soft {
			name = "SoftHangupRequest"
		}
		p.tellLocked(name, ami.ClassCall, by, "Cause", strconv.Itoa(cause))
	}
	for len(c.undo) > 0 {
		last := c.undo[len(c.undo)-1]
		c.undo = c.undo[:len(c.undo)-1]
		last(cause)
	}
	// The called channels go before those that called them.
	for len(c.channels) > 0 {
		p.hangupLocked(c.channels[len(c.channels)-1], cause)
	}
	for _, then := range c.then {
		then(cause)
	}
}

// hangupLocked is the end of one channel.
func (p *PBX) hangupLocked(ch *channel, cause int) {
	p.leaveLocked(ch)
	p.tellLocked("Hangup", ami.ClassCall, ch, "Cause", strconv.Itoa(cause), "Cause-txt", causeText(cause))
	delete(p.model.channels, ch.name)
	delete(p.model.byUnique, ch.uniqueid)
	ch.gone = true
	ch.call.channels = without(ch.call.channels, ch)
	if e := ch.endpoint; e != nil {
		e.channels = without(e.channels, ch)
		p.deviceLocked(e)
	}
	if !ch.dialled {
		p.cdrLocked(ch, cause)
	}
}

func without(list []*channel, ch *channel) []*channel {
	for i := range list {
		if list[i] == ch {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

func (p *PBX) cdrLocked(ch *channel, cause int) {
	const layout = "2006-01-02 15:04:05"
	now := time.Now()
	disposition, answered, billed := "NO ANSWER", "", time.Duration(0)
	switch {
	case ch.answered.IsZero() && cause == 17:
		disposition = "BUSY"
	case !ch.answered.IsZero():
		disposition, answered, billed = "ANSWERED", ch.answered.Format(layout), now.Sub(ch.answered)
	}
	dest := ""
	if ch.dest != nil {
		dest = ch.dest.name
	}
	p.emitLocked("Cdr", ami.ClassCDR,
		"AccountCode", ch.account, "Source", ch.callerNum, "Destination", ch.exten,
		"DestinationContext", ch.context, "CallerID", fmt.Sprintf("%q <%s>", ch.callerName, ch.callerNum),
		"Channel", ch.name, "DestinationChannel", dest,
		"LastApplication", ch.app, "LastData", ch.data,
		"StartTime", ch.created.Format(layout), "AnswerTime", answered, "EndTime", now.Format(layout),
		"Duration", seconds(now.Sub(ch.created)), "BillableSeconds", seconds(billed),
		"Disposition", disposition, "AMAFlags", "DOCUMENTATION",
		"UniqueID", ch.uniqueid, "UserField", "")
}
