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

// maxName is how many bytes a name may have: more than any of Asterisk's
// (channel.h: AST_MAX_PUBLIC_UNIQUEID, 149).
const maxName = 256

// values are the headers that are looked at, in lower case.
type values struct {
	channel, uniqueid, newname, thing string
	tooLong                           bool // one of them is
}

func read(f ami.Frame, thing string) (v values) {
	get := func(name string) string {
		value, _ := f.Get(name)
		if len(value) > maxName {
			v.tooLong = true
			return ""
		}
		return ami.FoldName(string(value))
	}
	v.channel, v.uniqueid, v.newname = get("Channel"), get("Uniqueid"), get("Newname")
	if thing != "" {
		v.thing = get(thing)
	}
	return v
}

// learn changes the names by one lesson. It reports whether there was room.
func (n *names) learn(l lesson, kind Kind, v *values, limit int) (fits bool) {
	if v.tooLong {
		return false
	}
	switch l {
	case channelLives:
		if v.channel == "" {
			return true
		}
		if n.channels[v.channel] == nil && len(n.channels) >= limit {
			return false
		}
		n.add(v.channel, v.uniqueid)
	case channelRenamed:
		if v.newname == "" {
			return true
		}
		if n.channels[v.channel] == nil && n.uniqueids[v.uniqueid] == nil && len(n.channels) >= limit {
			return false
		}
		n.rename(v.channel, v.newname, v.uniqueid)
	case channelEnds:
		if c := n.uniqueids[v.uniqueid]; c != nil {
			n.remove(c)
		} else if c := n.channels[v.channel]; c != nil && v.uniqueid == "" {
			n.remove(c)
		}
	case thingEnds:
		delete(n.others, other{kind, v.thing})
		return true
	}
	if v.thing == "" {
		return true
	}
	if len(n.others) >= limit {
		_, known := n.others[other{kind, v.thing}]
		return known
	}
	n.others[other{kind, v.thing}] = struct{}{}
	return true
}
