package simpbx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Reasons of an OriginateResponse: control frames of Asterisk.
const (
	reasonFailed   = 0
	reasonNoAnswer = 3
	reasonAnswered = 4
	reasonBusy     = 5
)

// order is what an Originate asks for.
type order struct {
	id, device        string
	app, data         string
	context, exten    string
	callerNum, caller string
	uniqueid, other   string
	account           string
	timeout           time.Duration
	async             bool
	vars              [][2]string
	done              chan bool // of a synchronous one, holds one result
}

// originate answers an Originate; the order of its tests is that of
// manager.c: action_originate.
func (r *Request) originate() {
	o := &order{
		id: r.ID(), device: r.Get("Channel"),
		app: r.Get("Application"), data: r.Get("Data"),
		context: r.Get("Context"), exten: r.Get("Exten"),
		uniqueid: r.Get("ChannelId"), other: r.Get("OtherChannelId"),
		account: r.Get("Account"),
		timeout: 30 * time.Second, done: make(chan bool, 1),
	}
	o.async, _ = ami.ParseBool(r.Get("Async"))
	o.caller, o.callerNum = splitCallerID(r.Get("CallerID"))
	if message, lf := r.checkOriginate(o); message != "" {
		if lf {
			r.errorLF(message)
		} else {
			r.error(message)
		}
		return
	}
	for v := range r.All("Variable") {
		for _, item := range splitArgs(v) {
			if name, value, ok := strings.Cut(item, "="); ok && name != "" {
				o.vars = append(o.vars, [2]string{name, value})
			}
		}
	}
	slices.Reverse(o.vars) // last header first (manager.c: astman_get_variables)

	p := r.c.p
	if o.async {
		r.Reply("Success", "Originate successfully queued")
		// What follows comes after the answer, on this connection too.
		p.mu.Lock()
		p.afterLocked(0, func() { p.originateLocked(o) })
		p.mu.Unlock()
		return
	}
	result := o.done
	p.mu.Lock()
	p.originateLocked(o)
	p.mu.Unlock()
	select {
	case ok := <-result:
		if ok {
			r.Reply("Success", "Originate successfully queued")
		} else {
			r.error("Originate failed")
		}
	case <-r.c.done:
	}
}

func (r *Request) checkOriginate(o *order) (message string, lf bool) {
	priority := r.Get("Priority")
	switch {
	case o.device == "":
		return "Channel not specified", false
	case priority != "" && !isNumber(priority):
		return "Invalid priority", false
	}
	if t := r.Get("Timeout"); t != "" {
		ms, err := strconv.Atoi(t)
		if err != nil {
			return "Invalid timeout", false
		}
		o.timeout = time.Duration(ms) * time.Millisecond
	}
	switch {
	case !strings.Contains(o.device, "/"):
		return "Invalid channel", false
	case o.app != "":
		if r.forbiddenApp(o) {
			return "Originate Access Forbidden: app or data blacklisted", false
		}
	case o.exten == "" || o.context == "" || priority == "":
		return "Originate with 'Exten' requires 'Context' and 'Priority'", false
	case strings.HasPrefix(o.exten, "nosuch"):
		return "Extension does not exist.", false
	}
	if len(o.uniqueid) > 149 || len(o.other) > 149 {
		return "Uniqueid length exceeds maximum of 149", true
	}
	return "", false
}

// forbiddenApp is manager.c: originate_app_permissions.
func (r *Request) forbiddenApp(o *order) bool {
	app := strings.ToLower(o.app)
	for _, part := range []string{"agi", "dbdeltree", "exec", "externalivr", "mixmonitor", "originate", "reload", "system"} {
		if strings.Contains(app, part) {
			return r.c.write&ami.ClassSystem == 0
		}
	}
	if args := strings.Split(o.data, ","); strings.Contains(app, "queue") && len(args) > 5 && args[5] != "" {
		return r.c.write&(ami.ClassAGI|ami.ClassSystem) == 0
	}
	for _, part := range []string{"CURL", "DB", "EVAL", "FILE", "ODBC", "REALTIME", "SHELL"} {
		if strings.Contains(o.data, part) {
			return r.c.write&ami.ClassSystem == 0
		}
	}
	return false
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// splitCallerID reads Name <Number>, "Name" <Number>, or a number.
func splitCallerID(s string) (name, num string) {
	name, rest, ok := strings.Cut(s, "<")
	if !ok {
		return "", s
	}
	num, _, _ = strings.Cut(rest, ">")
	return strings.Trim(strings.TrimSpace(name), `"`), num
}

// splitArgs cuts at commas outside quotes and parentheses (app.c:
// __ast_app_separate_args).
func splitArgs(s string) []string {
	var items []string
	var b strings.Builder
	quoted, depth := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			continue
		case c == '"':
			quoted = !quoted
			continue
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ',' && depth == 0 && len(items) < 63:
			items = append(items, b.String())
			b.Reset()
			continue
		}
		b.WriteByte(s[i])
	}
	return append(items, b.String())
}

// originateLocked makes the call and sees to its result.
func (p *PBX) originateLocked(o *order) {
	tech, rest, _ := strings.Cut(o.device, "/")
	var ch *channel
	switch {
	case tech == "Local":
		ch = p.originateLocal(o, rest)
	case tech == "PJSIP":
		ch = p.originatePJSIP(o, rest)
	}
	if ch == nil {
		p.originatedLocked(o, nil, reasonFailed)
	}
}

// originatedLocked tells the result, once.
func (p *PBX) originatedLocked(o *order, ch *channel, reason int) {
	if o.done == nil {
		return
	}
	o.done <- reason == reasonAnswered
	o.done = nil
	if !o.async {
		return
	}
	b := p.eventLocked("OriginateResponse", ami.ClassCall)
	if o.id != "" {
		b = ami.AppendHeader(b, "ActionID", o.id)
	}
	response, name, uniqueid := "Failure", o.device, "<unknown>"
	if reason == reasonAnswered {
		response = "Success"
	}
	if ch != nil {
		name, uniqueid = ch.name, ch.uniqueid
	}
	b = ami.AppendHeader(b, "Response", response)
	b = ami.AppendHeader(b, "Channel", name)
	if o.app != "" {
		b = appendPairs(b, []string{"Application", o.app, "Data", o.data})
	} else {
		b = appendPairs(b, []string{"Context", o.context, "Exten", o.exten})
	}
	p.sendLocked(ami.ClassCall, appendPairs(b, []string{
		"Reason", strconv.Itoa(reason), "Uniqueid", uniqueid,
		"CallerIDNum", known(o.callerNum), "CallerIDName", known(o.caller),
	}))
}

// newOutgoing gives a fresh channel what the order says of it.
func (o *order) newOutgoing(ch *channel) {
	ch.callerNum, ch.callerName, ch.account = o.callerNum, o.caller, o.account
	ch.dialled = true
	ch.context = "default"
	if o.app == "" {
		ch.context, ch.exten = o.context, o.exten
	}
}

func (p *PBX) announceLocked(o *order, ch *channel) {
	p.execLocked(ch, "AppDial2", "(Outgoing Line)")
	for _, v := range o.vars {
		p.setVarLocked(ch, v[0], v[1])
	}
}

func (p *PBX) dialBeginLocked(caller, dest *channel, dial string) {
	b := p.eventLocked("DialBegin", ami.ClassCall)
	if caller != nil {
		b = caller.append(b, "")
	}
	b = dest.append(b, "Dest")
	p.sendLocked(ami.ClassCall, ami.AppendHeader(b, "DialString", dial))
}

func (p *PBX) dialTellLocked(name string, caller, dest *channel, status string) {
	b := p.eventLocked(name, ami.ClassCall)
	if caller != nil {
		b = caller.append(b, "")
	}
	b = dest.append(b, "Dest")
	p.sendLocked(ami.ClassCall, ami.AppendHeader(b, "DialStatus", status))
}

// originateLocal makes the two halves of a Local channel. The second runs
// what was called; when that answers, the first does and runs what the order
// says.
func (p *PBX) originateLocal(o *order, dial string) *channel {
	exten, context, ok := strings.Cut(dial, "@")
	context, _, _ = strings.Cut(context, "/")
	if !ok {
		context = "default"
	}
	if strings.HasPrefix(exten, "nosuch") {
		return nil
	}
	c := p.newCallLocked()
	device := "Local/" + exten + "@" + context
	base := fmt.Sprintf("%s-%08x", device, p.model.serial)
	p.model.serial++
	one := p.addNamedLocked(c, device, base+";1", o.uniqueid, nil)
	two := p.addNamedLocked(c, device, base+";2", o.other, nil)
	o.newOutgoing(one)
	two.context, two.exten, two.state = context, exten, stateRing
	two.connNum, two.connName = one.callerNum, one.callerName
	p.tellLocked("Newchannel", ami.ClassCall, one)
	p.tellLocked("Newchannel", ami.ClassCall, two)
	p.announceLocked(o, one)
	b := one.append(p.eventLocked("LocalBridge", ami.ClassCall), "LocalOne")
	b = two.append(b, "LocalTwo")
	p.sendLocked(ami.ClassCall, appendPairs(b, []string{"Context", context, "Exten", exten, "LocalOptimization", "Yes"}))
	p.dialBeginLocked(nil, one, exten+"@"+context)
	p.watchLocked(o, c, one)
	p.enterLocked(two, func() { p.pickedUpLocked(o, one) })
	return one
}

// originatePJSIP rings a telephone, which then runs what the order says.
func (p *PBX) originatePJSIP(o *order, dial string) *channel {
	// PJSIP/NUMBER@trunk goes out, PJSIP/name is ours.
	name := dial
	if _, at, ok := strings.Cut(dial, "@"); ok {
		name = at
	}
	e := p.endpointLocked(name)
	exists := e != nil || name == p.opts.Trunk || strings.HasPrefix(name, "busy") || strings.HasPrefix(name, "noanswer")
	if !exists {
		return nil
	}
	c := p.newCallLocked()
	ch := p.addChannelLocked(c, "PJSIP/"+name, e)
	if o.uniqueid != "" {
		delete(p.model.byUnique, ch.uniqueid)
		ch.uniqueid, ch.linkedid = o.uniqueid, o.uniqueid
		p.model.byUnique[ch.uniqueid] = ch
	}
	o.newOutgoing(ch)
	p.tellLocked("Newchannel", ami.ClassCall, ch)
	p.announceLocked(o, ch)
	p.dialBeginLocked(nil, ch, dial)
	p.watchLocked(o, c, ch)
	c.afterLocked(setUp, func() {
		if strings.HasPrefix(name, "busy") {
			p.endLocked(c, 17, nil, false)
			return
		}
		p.stateLocked(ch, stateRinging)
		p.dialTellLocked("DialState", nil, ch, "RINGING")
	})
	if !strings.HasPrefix(name, "noanswer") {
		c.afterLocked(setUp+p.aboutLocked(p.opts.Ring), func() { p.pickedUpLocked(o, ch) })
	}
	return ch
}

// watchLocked sees to the end of an order that is not answered: its timeout,
// or the end of the call.
func (p *PBX) watchLocked(o *order, c *call, ch *channel) {
	c.undo = append(c.undo, func(cause int) {
		if o.done == nil {
			return
		}
		p.dialTellLocked("DialEnd", nil, ch, dialStatus(cause))
	})
	c.then = append(c.then, func(cause int) {
		reason := map[int]int{17: reasonBusy, 19: reasonNoAnswer}[cause]
		p.originatedLocked(o, ch, reason)
	})
	c.afterLocked(max(o.timeout, 0), func() {
		if o.done != nil {
			p.endLocked(c, 19, nil, false)
		}
	})
}

// pickedUpLocked is the answer of the originated channel.
func (p *PBX) pickedUpLocked(o *order, ch *channel) {
	p.stateLocked(ch, stateUp)
	p.dialTellLocked("DialEnd", nil, ch, "ANSWER")
	p.originatedLocked(o, ch, reasonAnswered)
	if o.app != "" {
		p.runAppLocked(ch, o.app, o.data)
		return
	}
	p.enterLocked(ch, nil)
}
