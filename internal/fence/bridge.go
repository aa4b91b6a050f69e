package fence

import (
	"slices"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

// learnBridge returns what is to be shown of the bridge, or of the channel that
// enters it.
func (x *Index) learnBridge(l lesson, h *facts) *[shows]ami.Frame {
	b := x.bridge(h)
	if b == nil {
		return nil
	}
	c := x.channels[string(h.uniqueid)]
	switch l {
	case bridgeEnds:
		for _, c := range slices.Clone(b.members) {
			x.leave(c)
		}
		delete(x.bridges, b.id)
	case bridgeIs:
		return &b.shown
	case bridgeEntered:
		if c == nil {
			if c = x.born(h); c == nil {
				return nil
			}
		}
		x.update(c, h)
		x.enter(c, b)
		return &c.shown
	case bridgeLeft:
		if c != nil && c.bridge == b {
			x.leave(c)
		}
	}
	return nil
}

// bridge is the bridge of an event, brought up to date; nil if there is none or
// no room for it.
func (x *Index) bridge(h *facts) *bridge {
	if h.nBridges == 0 {
		return nil
	}
	id := string(h.bridges[0])
	b := x.bridges[id]
	if b == nil {
		if len(x.bridges) >= x.limit {
			return nil
		}
		b = &bridge{id: id}
		x.bridges[id] = b
	}
	own := b.own
	switch string(h.creator) {
	case "ConfBridge":
		own = union(own, x.having(acl.ByConference, string(h.bridgeName)))
	case "Parking":
		own = union(own, x.having(acl.ByParkingLot, string(h.bridgeName)))
	}
	waiting := string(h.technology) == "holding_bridge"
	if b.waiting != waiting || !b.own.has(own) {
		b.waiting, b.own = waiting, own
		b.seen = union(b.seen, own)
		for _, c := range b.members {
			x.settle(c.call, true)
		}
	}
	return b
}

// enter puts a channel into a bridge, out of the one that it was in.
func (x *Index) enter(c *channel, b *bridge) {
	if c.bridge == b || b == nil {
		return
	}
	x.leave(c)
	c.bridge = b
	b.members = append(b.members, c)
	x.settle(c.call, false)
}

// leave takes a channel out of the bridge that it is in.
func (x *Index) leave(c *channel) {
	b := c.bridge
	if b == nil {
		return
	}
	c.bridge, c.shown[showBridge] = nil, nil
	b.members = slices.DeleteFunc(b.members, func(other *channel) bool { return other == c })
	if len(b.members) > 0 && !b.waiting {
		x.settle(b.members[0].call, true) // and with it all others there
	}
	x.settle(c.call, true)
}

// settle says anew who sees a call, and all calls that it is in conversation
// with. One that is in none stays visible to those who saw it, if keep is true.
func (x *Index) settle(k *call, keep bool) {
	calls, bridges := x.gather(k)
	var all Set
	for _, k := range calls {
		all = union(all, k.own)
	}
	for _, b := range bridges {
		if !b.waiting {
			all = union(all, b.own)
		}
	}
	for _, k := range calls {
		seen := all
		for _, c := range k.channels {
			if c.bridge != nil && c.bridge.waiting {
				seen = union(seen, c.bridge.own)
			}
		}
		if keep && len(calls) == 1 {
			seen = union(seen, k.seen)
		}
		if !k.seen.has(seen) {
			for _, c := range k.channels {
				x.moves = append(x.moves, moved{&c.shown, k.seen, seen})
			}
		}
		k.seen = seen
	}
	for _, b := range bridges {
		seen := b.own
		if !b.waiting {
			seen = union(all, b.own)
		}
		if !b.seen.has(seen) {
			x.moves = append(x.moves, moved{&b.shown, b.seen, seen})
		}
		b.seen = seen
	}
}

// gather finds the calls that are in conversation with one, and the bridges that
// their channels are in.
func (x *Index) gather(k *call) (calls []*call, bridges []*bridge) {
	x.round++
	k.round = x.round
	calls = []*call{k}
	for i := 0; i < len(calls); i++ {
		for _, c := range calls[i].channels {
			b := c.bridge
			if b == nil || b.round == x.round {
				continue
			}
			b.round = x.round
			bridges = append(bridges, b)
			if b.waiting {
				continue
			}
			for _, other := range b.members {
				if other.call.round != x.round {
					other.call.round = x.round
					calls = append(calls, other.call)
				}
			}
		}
	}
	return calls, bridges
}
