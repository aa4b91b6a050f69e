package simpbx

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// setUp is how long it takes until a telephone that is called says something.
const setUp = 50 * time.Millisecond

// aboutLocked is a random time around d, between half and twice of it.
func (p *PBX) aboutLocked(d time.Duration) time.Duration {
	return d/2 + time.Duration(p.rng.Float64()*p.rng.Float64()*2*float64(d))
}

func (p *PBX) endpointLocked(name string) *endpoint {
	for _, e := range p.model.endpoints {
		if e.Name == name || e.Number == name {
			return e
		}
	}
	return nil
}

// answerLocked is the PBX's own answer to a channel.
func (p *PBX) answerLocked(ch *channel) {
	if ch.state == stateUp {
		return
	}
	p.execLocked(ch, "Answer", "")
	p.stateLocked(ch, stateUp)
}

// enterLocked has a channel do what its Exten stands for. answered, if not
// nil, is called when something has answered.
func (p *PBX) enterLocked(ch *channel, answered func()) {
	if answered == nil {
		answered = func() {}
	}
	c := ch.call
	switch e, q := p.endpointLocked(ch.exten), p.queueLocked(ch.exten); {
	case e != nil:
		p.execLocked(ch, "Dial", "PJSIP/"+e.Name+",30")
		p.dialLocked(ch, e, dialling{answered: func(dest *channel) {
			p.stateLocked(ch, stateUp)
			answered()
			p.bridgeLocked(ch, dest)
			p.talkLocked(c, ch, dest)
		}})
	case q != nil:
		p.answerLocked(ch)
		answered()
		p.joinLocked(ch, q)
	case strings.HasPrefix(ch.exten, "nosuch"):
		c.afterLocked(0, func() { p.endLocked(c, 3, nil, false) })
	case strings.HasPrefix(ch.exten, "busy"):
		c.afterLocked(setUp, func() { p.endLocked(c, 17, nil, false) })
	case strings.HasPrefix(ch.exten, "noanswer"):
		p.execLocked(ch, "Ringing", "")
		c.afterLocked(time.Minute, func() { p.endLocked(c, 19, nil, false) })
	default:
		p.answerLocked(ch)
		p.execLocked(ch, "Wait", seconds(p.opts.Talk))
		answered()
		p.talkLocked(c, ch)
	}
}

// runAppLocked has a channel run one application: Wait and Queue are known,
// any other takes the time of a call.
func (p *PBX) runAppLocked(ch *channel, app, data string) {
	p.execLocked(ch, app, data)
	c := ch.call
	first, _, _ := strings.Cut(data, ",")
	switch {
	case strings.EqualFold(app, "Wait"):
		n, _ := strconv.ParseFloat(first, 64)
		c.afterLocked(time.Duration(n*float64(time.Second)), func() { p.endLocked(c, 16, ch, true) })
	case strings.EqualFold(app, "Queue") && p.queueLocked(first) != nil:
		p.joinLocked(ch, p.queueLocked(first))
	case strings.EqualFold(app, "Hangup"), strings.EqualFold(app, "NoOp"):
		c.afterLocked(0, func() { p.endLocked(c, 16, ch, true) })
	default:
		p.talkLocked(c, ch)
	}
}

// dialling says what is to happen when a telephone is rung.
type dialling struct {
	fate     int                 // cause of the failure to come; 0: it is answered
	begun    func(dest *channel) // before DialBegin
	answered func(dest *channel)
	failed   func() // before the end of dest; nil: the call ends
}

// dialLocked rings an endpoint for a channel.
func (p *PBX) dialLocked(ch *channel, e *endpoint, d dialling) {
	c := ch.call
	dest := p.addChannelLocked(c, "PJSIP/"+e.Name, e)
	dest.dialled = true
	ch.dest = dest
	dest.account = ch.account
	p.tellLocked("Newchannel", ami.ClassCall, dest)
	dest.callerNum, dest.callerName = e.Number, e.Name
	p.tellLocked("NewCallerid", ami.ClassCall, dest, "CID-CallingPres", "0 (Presentation Allowed, Not Screened)")
	dest.connNum, dest.connName = ch.callerNum, ch.callerName
	p.tellLocked("NewConnectedLine", ami.ClassCall, dest)
	p.setVarLocked(ch, "DIALEDPEERNUMBER", e.Name)
	dest.app, dest.data = "AppDial", "(Outgoing Line)"
	if d.begun != nil {
		d.begun(dest)
	}
	p.dialBeginLocked(ch, dest, e.Name)

	pending := true
	c.undo = append(c.undo, func(cause int) {
		if pending {
			p.dialTellLocked("DialEnd", ch, dest, dialStatus(cause))
		}
	})
	c.afterLocked(setUp, func() {
		if d.fate != 17 {
			p.stateLocked(dest, stateRinging)
			p.dialTellLocked("DialState", ch, dest, "RINGING")
		}
	})
	ring := setUp + p.aboutLocked(p.opts.Ring)
	if d.fate == 17 {
		ring = setUp
	}
	c.afterLocked(ring, func() {
		if dest.gone { // hung up on its own
			return
		}
		pending = false
		if d.fate != 0 {
			p.dialTellLocked("DialEnd", ch, dest, dialStatus(d.fate))
			if d.failed == nil {
				p.endLocked(c, d.fate, nil, false)
				return
			}
			d.failed()
			p.hangupLocked(dest, d.fate)
			return
		}
		p.stateLocked(dest, stateUp)
		p.dialTellLocked("DialEnd", ch, dest, "ANSWER")
		ch.connNum, ch.connName = e.Number, e.Name
		d.answered(dest)
	})
}

func dialStatus(cause int) string {
	switch cause {
	case 17:
		return "BUSY"
	case 19:
		return "NOANSWER"
	case 3, 34:
		return "CHANUNAVAIL"
	}
	return "CANCEL"
}

// talkLocked lets a call last a while; then one of the channels hangs up.
func (p *PBX) talkLocked(c *call, channels ...*channel) {
	by := channels[p.rng.IntN(len(channels))]
	c.afterLocked(p.aboutLocked(p.opts.Talk), func() { p.endLocked(c, 16, by, false) })
	p.chatterLocked(c, channels)
	if p.opts.RTCP > 0 {
		p.rtcpLocked(c, channels)
	}
}

func (p *PBX) bridgeFields(b []byte, br *bridge) []byte {
	return appendPairs(b, []string{
		"BridgeUniqueid", br.id, "BridgeType", "basic", "BridgeTechnology", "simple_bridge",
		"BridgeCreator", "<unknown>", "BridgeName", "<unknown>",
		"BridgeNumChannels", strconv.Itoa(len(br.channels)), "BridgeVideoSourceMode", "none",
	})
}

// bridgeLocked connects channels until the call ends.
func (p *PBX) bridgeLocked(channels ...*channel) {
	hi, lo := p.rng.Uint64(), p.rng.Uint64()
	br := &bridge{id: fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)}
	p.sendLocked(ami.ClassCall, p.bridgeFields(p.eventLocked("BridgeCreate", ami.ClassCall), br))
	p.model.bridges[br.id] = br
	for _, ch := range channels {
		br.channels = append(br.channels, ch)
		ch.bridge = br
		b := p.bridgeFields(p.eventLocked("BridgeEnter", ami.ClassCall), br)
		p.sendLocked(ami.ClassCall, ch.append(b, ""))
	}
	c := channels[0].call
	c.undo = append(c.undo, func(int) {
		for _, ch := range channels {
			p.leaveLocked(ch)
		}
	})
}

// leaveLocked takes a channel out of its bridge, and the last one ends that.
func (p *PBX) leaveLocked(ch *channel) {
	br := ch.bridge
	if br == nil {
		return
	}
	p.holdLocked(ch, false)
	p.musicLocked(ch, false)
	ch.bridge = nil
	br.channels = without(br.channels, ch)
	b := p.bridgeFields(p.eventLocked("BridgeLeave", ami.ClassCall), br)
	p.sendLocked(ami.ClassCall, ch.append(b, ""))
	if len(br.channels) == 0 {
		delete(p.model.bridges, br.id)
		p.sendLocked(ami.ClassCall, p.bridgeFields(p.eventLocked("BridgeDestroy", ami.ClassCall), br))
	}
}

func (p *PBX) holdLocked(ch *channel, on bool) {
	if ch.onHold == on {
		return
	}
	ch.onHold = on
	if on {
		p.tellLocked("Hold", ami.ClassCall, ch, "MusicClass", "default")
	} else {
		p.tellLocked("Unhold", ami.ClassCall, ch)
	}
	p.deviceLocked(ch.endpoint)
}

func (p *PBX) musicLocked(ch *channel, on bool) {
	if ch.music == on {
		return
	}
	ch.music = on
	if on {
		p.tellLocked("MusicOnHoldStart", ami.ClassCall, ch, "Class", "default")
	} else {
		p.tellLocked("MusicOnHoldStop", ami.ClassCall, ch)
	}
}

// redirectLocked takes a channel away from what it does, and ends the other
// channels of its call.
func (p *PBX) redirectLocked(ch *channel, context, exten string, priority int) {
	c := ch.call
	c.epoch++ // what was to come does not
	for len(c.undo) > 0 {
		last := c.undo[len(c.undo)-1]
		c.undo = c.undo[:len(c.undo)-1]
		last(16)
	}
	p.leaveLocked(ch)
	for _, other := range append([]*channel(nil), c.channels...) {
		if other != ch {
			p.hangupLocked(other, 16)
		}
	}
	ch.context, ch.exten, ch.priority = context, exten, priority
	p.enterLocked(ch, nil)
}
