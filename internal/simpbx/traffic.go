package simpbx

import (
	"fmt"
	"strconv"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// scheduleCallsLocked begins the calls that come by themselves. When there are
// more than the telephones can take, callers do not even try.
func (p *PBX) scheduleCallsLocked() {
	if p.opts.Calls <= 0 {
		return
	}
	gap := time.Duration(p.rng.ExpFloat64() / p.opts.Calls * float64(time.Second))
	p.afterLocked(min(gap, time.Hour), func() {
		if p.model.lively < 2*len(p.model.endpoints)+4 {
			p.startCallLocked()
		}
		p.scheduleCallsLocked()
	})
}

// schedulePeersLocked has a telephone drop out and come back now and then,
// between calls.
func (p *PBX) schedulePeersLocked() {
	if p.opts.Calls <= 0 || len(p.model.endpoints) == 0 {
		return
	}
	p.afterLocked(p.aboutLocked(30*time.Second), func() {
		e := p.model.endpoints[p.rng.IntN(len(p.model.endpoints))]
		p.contactLocked(e, "Unreachable", "0")
		p.afterLocked(2*time.Second, func() { p.contactLocked(e, "Reachable", strconv.Itoa(5000+p.rng.IntN(20000))) })
		p.schedulePeersLocked()
	})
}

func (p *PBX) contactLocked(e *endpoint, status, roundtrip string) {
	p.emitLocked("ContactStatus", ami.ClassSystem, "URI", "sip:"+e.Name+"@192.0.2.10:5060", "ContactStatus", status,
		"AOR", e.Name, "EndpointName", e.Name, "RoundtripUsec", roundtrip)
	p.emitLocked("PeerStatus", ami.ClassSystem, "ChannelType", "PJSIP", "Peer", "PJSIP/"+e.Name, "PeerStatus", status)
}

// markReloadLocked is a reload of the configuration.
func (p *PBX) markReloadLocked(module string) {
	p.reloaded = time.Now()
	setDefault(&module, "All")
	p.emitLocked("Reload", ami.ClassSystem, "Module", module, "Status", "0")
}

// idleLocked is a random endpoint that does nothing, nil if there is none.
func (p *PBX) idleLocked(not *endpoint) *endpoint {
	n := len(p.model.endpoints)
	if n == 0 {
		return nil
	}
	from := p.rng.IntN(n)
	for i := range n {
		if e := p.model.endpoints[(from+i)%n]; e != not && len(e.channels) == 0 {
			return e
		}
	}
	return nil
}

// startCallLocked makes a call as people do: to a colleague, or from outside
// to a colleague or to a queue.
func (p *PBX) startCallLocked() {
	c := p.newCallLocked()
	c.lively = true
	p.model.lively++
	c.then = append(c.then, func(int) { p.model.lively-- })
	var ch *channel
	if from := p.idleLocked(nil); from != nil && p.rng.IntN(2) == 0 {
		ch = p.addChannelLocked(c, "PJSIP/"+from.Name, from)
		ch.callerNum, ch.callerName = from.Number, from.Name
	} else {
		ch = p.addChannelLocked(c, "PJSIP/"+p.opts.Trunk, nil)
		ch.callerNum = strconv.Itoa(5550100 + p.rng.IntN(900))
	}
	to := p.idleLocked(ch.endpoint)
	if n := len(p.model.queues); n > 0 && (ch.endpoint == nil || to == nil) && p.rng.IntN(3) > 0 {
		ch.exten = p.model.queues[p.rng.IntN(n)].name
	} else if to != nil {
		ch.exten = to.Number
	} else {
		ch.exten = "echo"
	}
	p.tellLocked("Newchannel", ami.ClassCall, ch)
	p.stateLocked(ch, stateRing)
	if p.queueLocked(ch.exten) == nil && to != nil && p.rng.IntN(5) == 0 {
		p.execLocked(ch, "Dial", "PJSIP/"+to.Name+",30")
		p.dialLocked(ch, to, dialling{fate: []int{17, 19}[p.rng.IntN(2)]})
		return
	}
	p.enterLocked(ch, nil)
}

// chatterLocked is what happens in a call between people.
func (p *PBX) chatterLocked(c *call, channels []*channel) {
	if !c.lively || len(channels) < 2 {
		return
	}
	ch, other := channels[0], channels[1]
	talk := float64(p.opts.Talk)
	switch p.rng.IntN(4) {
	case 0:
		c.afterLocked(time.Duration(talk*0.2), func() {
			digit := strconv.Itoa(p.rng.IntN(10))
			p.tellLocked("DTMFBegin", ami.ClassDTMF, ch, "Digit", digit, "Direction", "Received")
			c.afterLocked(100*time.Millisecond, func() {
				p.tellLocked("DTMFEnd", ami.ClassDTMF, ch, "Digit", digit, "DurationMs", "100", "Direction", "Received")
			})
		})
	case 1:
		c.afterLocked(time.Duration(talk*0.2), func() {
			p.holdLocked(other, true)
			p.musicLocked(ch, true)
			c.afterLocked(time.Duration(talk*0.2), func() {
				p.musicLocked(ch, false)
				p.holdLocked(other, false)
			})
		})
	}
}

// rtcpLocked makes the reports of a call's media, sent and received in turn.
func (p *PBX) rtcpLocked(c *call, channels []*channel) {
	ssrc := p.rng.Uint32()
	n := 0
	gap := time.Duration(float64(time.Second) / p.opts.RTCP)
	var next func()
	next = func() {
		p.reportLocked(channels[n/2%len(channels)], n, ssrc)
		n++
		c.afterLocked(gap, next)
	}
	c.afterLocked(gap, next)
}

func (p *PBX) reportLocked(ch *channel, n int, ssrc uint32) {
	now := time.Now()
	phone, here := "192.0.2.10:4000", "192.0.2.1:10000"
	name := "RTCPSent"
	fields := []string{"To", phone, "From", here}
	if n%2 == 1 {
		name = "RTCPReceived"
		fields = []string{"To", here, "From", phone, "RTT", "0.0120"}
		ssrc++
	}
	packets := int(now.Sub(ch.created) / (20 * time.Millisecond))
	p.tellLocked(name, ami.ClassReporting, ch, append(fields,
		"SSRC", fmt.Sprintf("0x%08x", ssrc), "PT", "200(SR)", "ReportCount", "1",
		"SentNTP", stamp(now), "SentRTP", strconv.Itoa(packets*160),
		"SentPackets", strconv.Itoa(packets), "SentOctets", strconv.Itoa(packets*160),
		"Report0SourceSSRC", fmt.Sprintf("0x%08x", ssrc^1), "Report0FractionLost", "0",
		"Report0CumulativeLost", "0", "Report0HighestSequence", strconv.Itoa(packets&0xffff),
		"Report0SequenceNumberCycles", strconv.Itoa(packets>>16), "Report0IAJitter", strconv.Itoa(p.rng.IntN(60)),
		"Report0LSR", strconv.Itoa(int(uint32(now.UnixMicro()))), "Report0DLSR", "0.4790")...)
}
