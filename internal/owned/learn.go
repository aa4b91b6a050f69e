package owned

import "github.com/amiproxy/amiproxy/ami"

// lesson is what an event, or an item of a listing, tells of names.
type lesson uint8

const (
	channelLives lesson = iota
	channelRenamed
	channelEnds
	thingLives
	thingEnds
)

// lessons is all that is learned from: event name to what it says. Other events
// are not looked at, so that nobody can teach the index by what he writes
// (UserEvent) or makes the dialplan say.
var lessons = map[string]struct {
	lesson lesson
	kind   Kind
	header string // that holds the name of a thing
}{
	"Newchannel":  {lesson: channelLives},
	"Newstate":    {lesson: channelLives},
	"BridgeEnter": {lesson: channelLives, kind: Bridge, header: "BridgeUniqueid"},
	"BridgeLeave": {lesson: channelLives},
	"Rename":      {lesson: channelRenamed},
	"Hangup":      {lesson: channelEnds},

	"BridgeCreate":  {thingLives, Bridge, "BridgeUniqueid"},
	"BridgeDestroy": {thingEnds, Bridge, "BridgeUniqueid"},

	"ConfbridgeStart": {thingLives, Conference, "Conference"},
	"ConfbridgeJoin":  {thingLives, Conference, "Conference"},
	"ConfbridgeEnd":   {thingEnds, Conference, "Conference"},
	"MeetmeJoin":      {thingLives, Conference, "Meetme"},
	"MeetmeEnd":       {thingEnds, Conference, "Meetme"},

	"ParkedCall":        {thingLives, Parked, "ParkingSpace"},
	"UnParkedCall":      {thingEnds, Parked, "ParkingSpace"},
	"ParkedCallTimeOut": {thingEnds, Parked, "ParkingSpace"},
	"ParkedCallGiveUp":  {thingEnds, Parked, "ParkingSpace"},

	// Items of lists.
	"CoreShowChannel":     {lesson: channelLives},
	"Status":              {lesson: channelLives},
	"BridgeListItem":      {thingLives, Bridge, "BridgeUniqueid"},
	"ConfbridgeListRooms": {thingLives, Conference, "Conference"},
	"MeetmeListRooms":     {thingLives, Conference, "Conference"},
}

// Learn takes what an event of the PBX tells. Events are to come in order.
func (x *Index) Learn(f ami.Frame) {
	l, ok := lessons[string(f.Event())]
	if !ok {
		return
	}
	v := read(f, l.header)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.names.learn(l.lesson, l.kind, &v, x.limit) {
		x.complete = false
	}
	if x.listing != nil {
		x.listing.event(l.lesson, l.kind, &v)
	}
}

// values are the headers that are looked at, in the frame's own bytes.
type values struct{ channel, uniqueid, linkedid, newname, thing []byte }

func read(f ami.Frame, thing string) values {
	var v values
	v.channel, _ = f.Get("Channel")
	v.uniqueid, _ = f.Get("Uniqueid")
	v.linkedid, _ = f.Get("Linkedid")
	v.newname, _ = f.Get("Newname")
	if thing != "" {
		v.thing, _ = f.Get(thing)
	}
	return v
}

// learn changes the names by one lesson. It reports whether there was room.
func (n *names) learn(l lesson, kind Kind, v *values, limit int) (fits bool) {
	channel, uniqueid := ami.FoldName(string(v.channel)), string(v.uniqueid)
	switch l {
	case channelLives:
		if channel == "" {
			return true
		}
		if n.channels[channel] == nil && len(n.channels) >= limit {
			return false
		}
		n.add(channel, uniqueid, string(v.linkedid))
	case channelRenamed:
		if to := ami.FoldName(string(v.newname)); to != "" {
			n.rename(channel, to, uniqueid)
		}
	case channelEnds:
		if c := n.uniqueids[uniqueid]; c != nil {
			n.remove(c)
		} else if c := n.channels[channel]; c != nil && uniqueid == "" {
			n.remove(c)
		}
	case thingEnds:
		delete(n.others, other{kind, string(v.thing)})
		return true
	}
	if len(v.thing) == 0 {
		return true
	}
	if len(n.others) >= limit {
		_, known := n.others[other{kind, string(v.thing)}]
		return known
	}
	n.others[other{kind, string(v.thing)}] = struct{}{}
	return true
}
