package fence

import (
	"bytes"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

// lesson is what an event tells of calls.
type lesson uint8

const (
	channelBorn lesson = iota
	channelIs          // tells how it is now
	channelRenamed
	channelEnds
	channelQueues
	channelDials // what it dials was born of it
	bridgeIs
	bridgeEntered
	bridgeLeft
	bridgeEnds
)

// lessons is all that is learned from. Other events are not, so that nobody
// can teach the index by what he writes (UserEvent) or makes the dialplan say.
var lessons = map[string]struct {
	lesson lesson
	// one and two are the headers with the Uniqueids of two channels of which
	// the second was born of the first.
	one, two string
	keep     int // what the frame is to be shown as, later; 0: not
}{
	"Newchannel": {lesson: channelBorn, keep: showBirth + 1},
	// It may overtake Newchannel.
	"CEL":              {lesson: channelBorn},
	"Newexten":         {lesson: channelIs},
	"Newstate":         {lesson: channelIs, keep: showState + 1},
	"NewAccountCode":   {lesson: channelIs},
	"NewCallerid":      {lesson: channelIs},
	"NewConnectedLine": {lesson: channelIs},
	"Rename":           {lesson: channelRenamed, keep: showName + 1},
	"Hangup":           {lesson: channelEnds},

	"QueueCallerJoin": {lesson: channelQueues},
	"Join":            {lesson: channelQueues}, // Asterisk 11 and older

	"DialBegin":   {lesson: channelDials, one: "uniqueid", two: "destuniqueid"},
	"LocalBridge": {lesson: channelDials, one: "localoneuniqueid", two: "localtwouniqueid"},
	// Asterisk 11 and older, where there are no bridges.
	"Dial":   {lesson: channelDials, one: "uniqueid", two: "destuniqueid"},
	"Bridge": {lesson: channelDials, one: "uniqueid1", two: "uniqueid2"},
	"Link":   {lesson: channelDials, one: "uniqueid1", two: "uniqueid2"},

	"BridgeCreate":    {lesson: bridgeIs, keep: showBirth + 1},
	"ConfbridgeStart": {lesson: bridgeIs, keep: showName + 1},
	"BridgeEnter":     {lesson: bridgeEntered, keep: showBridge + 1},
	"BridgeLeave":     {lesson: bridgeLeft},
	"BridgeDestroy":   {lesson: bridgeEnds},
}

// Learn takes what an event of the PBX tells. It says who may see the event, those
// too whose action caused it, and what those have to be told before it who come
// to see something by it. The frame is kept.
func (x *Index) Learn(f ami.Frame, causedBy []string) (Sight, []Introduction) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.tenants) == 0 {
		return Sight{Named: true}, nil
	}
	h := read(f)
	l, ok := lessons[string(h.event)]
	if !ok || string(h.event) == "CEL" && string(h.eventName) != "CHAN_START" {
		sight := Sight{Tenants: union(x.whose(&h), causedBy), Named: h.named()}
		if string(h.event) == "CEL" {
			sight.Tenants = x.whoseWaits(sight.Tenants, f)
		}
		x.keepEarly(f, &h, sight.Tenants)
		return sight, nil
	}
	var parting Set
	if l.lesson == channelEnds || l.lesson == bridgeLeft || l.lesson == bridgeEnds {
		parting = x.whose(&h)
	}
	var keep *[shows]ami.Frame
	if l.lesson >= bridgeIs {
		keep = x.learnBridge(l.lesson, &h)
	} else {
		keep = x.learnChannel(l.lesson, &h, f, l.one, l.two)
	}
	introductions := append(x.introduce(), x.overtook...)
	x.overtook = nil
	if keep != nil && l.keep > 0 && len(f) <= maxShownSize {
		keep[l.keep-1] = f
	}
	return Sight{Tenants: union(parting, x.whose(&h)), Named: true}, introductions
}

// learnChannel returns what is shown of the channel.
func (x *Index) learnChannel(l lesson, h *facts, f ami.Frame, one, two string) *[shows]ami.Frame {
	if l == channelDials {
		from, _ := f.Get(one)
		to, _ := f.Get(two)
		if a, b := x.channels[string(from)], x.channels[string(to)]; a != nil && b != nil && a.call != b.call {
			x.adopt(a.call, b)
		}
		return nil
	}
	c := x.channels[string(h.uniqueid)]
	_, ended := x.ended[string(h.uniqueid)]
	switch {
	case l == channelEnds:
		if c != nil {
			x.hangUp(c)
		} else if !ended && len(h.uniqueid) > 0 {
			x.remember(string(h.uniqueid), nil)
		}
		return nil
	case c == nil && ended && string(h.event) != "Newchannel":
		return nil // what comes late: CEL may
	case c == nil && (l == channelBorn || l == channelIs):
		if c = x.born(h); c == nil {
			return nil
		}
	case c == nil:
		return nil
	case string(h.event) == "CEL": // what a channel began as, not what it is
	case l == channelRenamed:
		x.rename(c, ami.FoldName(string(h.newname)))
	case l == channelQueues:
		x.claim(c.call, x.having(acl.ByQueue, string(h.thing)))
	default:
		x.update(c, h)
	}
	return &c.shown
}

// born puts a channel in, with the call that it is part of; nil if there is no
// room or it is none.
func (x *Index) born(h *facts) *channel {
	if len(h.channel) == 0 || len(h.uniqueid) == 0 || len(x.channels) >= x.limit {
		return nil
	}
	begins := string(h.event) == "Newchannel" || string(h.event) == "CEL" // others tell where it is now
	c := &channel{name: ami.FoldName(string(h.channel)), uniqueid: string(h.uniqueid), linkedid: string(h.linkedid)}
	if other := x.names[c.name]; other != nil {
		x.hangUp(other) // we did not see it end
	}
	switch parent, all := x.parent(c.name), x.linked[c.linkedid]; {
	case parent != nil:
		c.call = parent.call
	case len(all) == 1 && (all[0].call.orphan && !begins || c.linkedid != c.uniqueid):
		// Whose id is the Linkedid began the call, if it was there before it was listed.
		// If it begins only now it has only the id: a client can choose one.
		c.call = all[0].call
	default: // the first of a call; or of one of several, and who dialled it will tell which
		c.call = &call{orphan: c.linkedid != c.uniqueid}
	}
	c.call.channels = append(c.call.channels, c)
	x.channels[c.uniqueid], x.names[c.name] = c, c
	x.link(c.call, c.linkedid, 1)
	c.context, c.accountcode = string(h.context), string(h.accountcode)
	own := union(x.having(acl.ByChannel, markedName(string(h.channel))),
		union(x.having(acl.ByContext, c.context), x.having(acl.ByAccountCode, c.accountcode)))
	if begins {
		delete(x.before, c.uniqueid)
	}
	own = union(own, x.before[c.uniqueid])
	if begins && c.linkedid == c.uniqueid {
		own = union(own, x.having(acl.ByDID, string(h.exten)))
	}
	c.call.own = union(c.call.own, own)
	x.settle(c.call, false)
	x.overtook = x.takeEarly(c.uniqueid, c.call.seen)
	return c
}

// update takes what has changed of a channel.
func (x *Index) update(c *channel, h *facts) {
	if len(h.linkedid) > 0 && string(h.linkedid) != c.linkedid {
		x.link(c.call, c.linkedid, -1)
		c.linkedid = string(h.linkedid)
		x.link(c.call, c.linkedid, 1)
	}
	if string(h.context) != c.context {
		c.context = string(h.context)
		x.claim(c.call, x.having(acl.ByContext, c.context))
	}
	if string(h.accountcode) != c.accountcode {
		c.accountcode = string(h.accountcode)
		x.claim(c.call, x.having(acl.ByAccountCode, c.accountcode))
	}
}

// claim says that a call is of some tenants.
func (x *Index) claim(k *call, tenants Set) {
	if !k.own.has(tenants) {
		k.own = union(k.own, tenants)
		x.settle(k, true)
	}
}

func (x *Index) rename(c *channel, to string) {
	if to == "" {
		return
	}
	if x.names[c.name] == c {
		delete(x.names, c.name)
	}
	c.name = to
	x.names[to] = c
}

// link counts the channels of a call that have a Linkedid.
func (x *Index) link(k *call, linkedid string, n int) {
	if linkedid == "" {
		return
	}
	all := x.linked[linkedid]
	i := slices.IndexFunc(all, func(l linked) bool { return l.call == k })
	if i < 0 {
		x.linked[linkedid] = append(all, linked{k, n})
		return
	}
	if all[i].n += n; all[i].n > 0 {
		return
	}
	if all = slices.Delete(all, i, i+1); len(all) > 0 {
		x.linked[linkedid] = all
	} else {
		delete(x.linked, linkedid)
	}
}

// adopt gives a channel to the call that dialled it: all of an orphan call, as
// nothing else can be in it.
func (x *Index) adopt(k *call, c *channel) {
	young := c.call
	joining := []*channel{c}
	if young.orphan {
		joining = slices.Clone(young.channels)
		k.own = union(k.own, young.own)
	}
	x.settle(k, false)
	for _, c := range joining {
		x.link(young, c.linkedid, -1)
		c.call = k
		x.link(k, c.linkedid, 1)
		x.moves = append(x.moves, moved{&c.shown, young.seen, union(young.seen, k.seen)})
	}
	k.channels = append(k.channels, joining...)
	young.channels = slices.DeleteFunc(young.channels, func(c *channel) bool { return c.call == k })
	if len(young.channels) > 0 {
		x.settle(young, true)
	}
	x.settle(k, true)
}

// hangUp takes a channel out.
func (x *Index) hangUp(c *channel) {
	x.remember(c.uniqueid, c.call.seen)
	x.link(c.call, c.linkedid, -1)
	delete(x.channels, c.uniqueid)
	if x.names[c.name] == c {
		delete(x.names, c.name)
	}
	k := c.call
	k.channels = slices.DeleteFunc(k.channels, func(other *channel) bool { return other == c })
	x.leave(c)
}

// remember keeps for some time who saw a channel that ends. If its id was that of
// another before, what is still to come of the two cannot be told apart: it is
// for who saw both.
func (x *Index) remember(uniqueid string, seen Set) {
	x.takeEarly(uniqueid, nil)
	if other, again := x.ended[uniqueid]; again {
		seen = both(seen, other)
	}
	if len(x.endings) < maxEnded {
		x.endings = append(x.endings, uniqueid)
	} else {
		delete(x.ended, x.endings[x.oldest])
		x.endings[x.oldest] = uniqueid
		x.oldest = (x.oldest + 1) % maxEnded
	}
	x.ended[uniqueid] = seen
}

// introduce makes the events that tell of what has moved: bridges first, then
// channels, then who is in which bridge.
func (x *Index) introduce() (all []Introduction) {
	for show := range shows {
		for _, m := range x.moves {
			if f := m.shown[show]; f != nil && !m.before.has(m.now) {
				all = append(all, Introduction{f, m.before, m.now})
			}
		}
	}
	x.moves = nil
	return all
}

// whoseWaits leaves of those who see a CEL those who may know the others that it
// names: of a channel that waits in a bridge, as in a parking lot, Peer lists all that
// wait there (cel.c: bridge_enter_cb).
func (x *Index) whoseWaits(s Set, f ami.Frame) Set {
	if extra, _ := f.Get("Extra"); !bytes.Contains(extra, []byte(`"holding_bridge"`)) {
		return s
	}
	peers, _ := f.Get("Peer")
	for name := range strings.SplitSeq(string(peers), ",") {
		if c := x.names[ami.FoldName(name)]; c != nil {
			s = slices.DeleteFunc(slices.Clone(s), func(tenant string) bool { return !slices.Contains(c.call.seen, tenant) })
		}
	}
	return s
}
