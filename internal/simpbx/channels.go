package simpbx

import (
	"strconv"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

var channelActions = []action{
	{name: "Getvar", synopsis: "Tell a variable.", run: (*Request).getvar},
	{name: "Hangup", synopsis: "Hang a channel up.", run: (*Request).hangup},
	{name: "Originate", synopsis: "Make a call.", run: (*Request).originate},
	{name: "Redirect", synopsis: "Send a channel elsewhere.", run: (*Request).redirect},
	{name: "Setvar", synopsis: "Set a variable.", run: (*Request).setvar},
}

func (r *Request) hangup() {
	name := r.Get("Channel")
	switch {
	case name == "":
		r.error("No channel specified")
		return
	case len(name) > 1 && name[0] == '/' && name[len(name)-1] == '/':
		r.hangupRegex(name)
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.findLocked(name)
	if ch == nil {
		r.error("No such channel")
		return
	}
	p.requestHangupLocked(ch, r.Get("Cause"))
	r.Reply("Success", "Channel Hungup")
}

// requestHangupLocked ends the call of a channel. A cause that is none is
// normal clearing.
func (p *PBX) requestHangupLocked(ch *channel, cause string) {
	n, err := strconv.Atoi(cause)
	if err != nil || n <= 0 {
		n = 16
	}
	p.endLocked(ch.call, n, ch, true)
}

func (r *Request) getvar() {
	name := r.Get("Variable")
	switch {
	case name == "":
		r.error("No variable specified")
		return
	case r.c.write&ami.ClassSystem == 0 && (strings.Contains(name, "SHELL") || strings.Contains(name, "EVAL")):
		r.error("GetVar Access Forbidden: Variable")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var ch *channel
	if c := r.Get("Channel"); c != "" {
		if ch = p.findLocked(c); ch == nil {
			r.error("No such channel")
			return
		}
	}
	value, _ := p.getVarLocked(ch, name)
	r.Reply("Success", "", "Variable", name, "Value", value)
}

// getVarLocked is a variable, or one of the few functions there are.
func (p *PBX) getVarLocked(ch *channel, name string) (string, bool) {
	if ch == nil {
		v, ok := p.model.globals[name]
		return v, ok
	}
	switch name {
	case "CHANNEL(name)":
		return ch.name, true
	case "CHANNEL(state)":
		return stateNames[ch.state], true
	case "CHANNEL(linkedid)":
		return ch.linkedid, true
	case "UNIQUEID", "CHANNEL(uniqueid)":
		return ch.uniqueid, true
	case "CALLERID(num)":
		return ch.callerNum, true
	case "CALLERID(name)":
		return ch.callerName, true
	case "EXTEN":
		return ch.exten, true
	case "CONTEXT":
		return ch.context, true
	}
	v, ok := ch.vars[name]
	if !ok {
		v, ok = p.model.globals[name]
	}
	return v, ok
}

func (r *Request) setvar() {
	name := r.Get("Variable")
	if name == "" {
		r.error("No variable specified")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var ch *channel
	if c := r.Get("Channel"); c != "" {
		if ch = p.findLocked(c); ch == nil {
			r.error("No such channel")
			return
		}
	}
	if strings.HasSuffix(name, ")") { // there are no functions to set
		r.error("Variable not set")
		return
	}
	p.setVarLocked(ch, name, r.Get("Value"))
	r.Reply("Success", "Variable Set")
}

func (r *Request) redirect() {
	name, exten, context := r.Get("Channel"), r.Get("Exten"), r.Get("Context")
	priority, err := strconv.Atoi(r.Get("Priority"))
	switch {
	case name == "":
		r.error("Channel not specified")
		return
	case context == "":
		r.error("Context not specified")
		return
	case exten == "":
		r.error("Exten not specified")
		return
	case r.Get("Priority") == "":
		r.error("Priority not specified")
		return
	case err != nil:
		r.error("Priority is invalid")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.findLocked(name)
	if ch == nil {
		r.error("Channel does not exist: " + name)
		return
	}
	p.redirectLocked(ch, context, exten, priority)
	r.Reply("Success", "Redirect successful")
}
