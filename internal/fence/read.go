package fence

import (
	"bytes"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

const (
	maxIDs = 8 // of channels in one event: AttendedTransfer has up to seven
	// maxBridges is how many bridges an event names: AttendedTransfer has three.
	maxBridges = 4
)

// facts are the headers of an event, or of an item of a list, that tell whose it
// is. They point into the frame.
type facts struct {
	event []byte         // its name
	ids   [maxIDs][]byte // Uniqueids of channels, by whatever header
	nIDs  int
	// bridges are BridgeUniqueids.
	bridges  [maxBridges][]byte
	nBridges int
	mark     acl.Mark // that thing is one of
	thing    []byte   // what the event is about besides calls; nil: nothing

	channel, uniqueid, linkedid, context, exten, accountcode      []byte
	newname, technology, creator, bridgeName, eventName, response []byte
}

// named reports whether the event is about channels or bridges, known or not.
func (x *facts) named() bool { return x.nIDs+x.nBridges > 0 }

// failed reports whether the event says that an Originate came to nothing. It has
// the Uniqueid that the client asked for (manager.c: fast_originate), which can be
// that of any channel: that it was taken may be why it failed.
func (x *facts) failed() bool {
	return string(x.response) == "Failure" && string(x.event) == "OriginateResponse"
}

// things are the headers by which an event, or an item of a list, names what can
// be a tenant's and is no call. prefix is what the name lacks.
var things = map[string]struct {
	header string
	mark   acl.Mark
	prefix string
}{
	"AgentCalled":          {"queue", acl.ByQueue, ""},
	"AgentComplete":        {"queue", acl.ByQueue, ""},
	"AgentConnect":         {"queue", acl.ByQueue, ""},
	"AgentDump":            {"queue", acl.ByQueue, ""},
	"AgentRingNoAnswer":    {"queue", acl.ByQueue, ""},
	"Join":                 {"queue", acl.ByQueue, ""},
	"Leave":                {"queue", acl.ByQueue, ""},
	"QueueCallerAbandon":   {"queue", acl.ByQueue, ""},
	"QueueCallerJoin":      {"queue", acl.ByQueue, ""},
	"QueueCallerLeave":     {"queue", acl.ByQueue, ""},
	"QueueEntry":           {"queue", acl.ByQueue, ""},
	"QueueMember":          {"queue", acl.ByQueue, ""},
	"QueueMemberAdded":     {"queue", acl.ByQueue, ""},
	"QueueMemberPause":     {"queue", acl.ByQueue, ""},
	"QueueMemberPaused":    {"queue", acl.ByQueue, ""},
	"QueueMemberPenalty":   {"queue", acl.ByQueue, ""},
	"QueueMemberRemoved":   {"queue", acl.ByQueue, ""},
	"QueueMemberRinginuse": {"queue", acl.ByQueue, ""},
	"QueueMemberStatus":    {"queue", acl.ByQueue, ""},
	"QueueParams":          {"queue", acl.ByQueue, ""},
	"QueueSummary":         {"queue", acl.ByQueue, ""},

	"ConfbridgeEnd":        {"conference", acl.ByConference, ""},
	"ConfbridgeJoin":       {"conference", acl.ByConference, ""},
	"ConfbridgeLeave":      {"conference", acl.ByConference, ""},
	"ConfbridgeList":       {"conference", acl.ByConference, ""},
	"ConfbridgeListRooms":  {"conference", acl.ByConference, ""},
	"ConfbridgeMute":       {"conference", acl.ByConference, ""},
	"ConfbridgeRecord":     {"conference", acl.ByConference, ""},
	"ConfbridgeStart":      {"conference", acl.ByConference, ""},
	"ConfbridgeStopRecord": {"conference", acl.ByConference, ""},
	"ConfbridgeTalking":    {"conference", acl.ByConference, ""},
	"ConfbridgeUnmute":     {"conference", acl.ByConference, ""},
	"MeetmeEnd":            {"meetme", acl.ByConference, ""},
	"MeetmeJoin":           {"meetme", acl.ByConference, ""},
	"MeetmeLeave":          {"meetme", acl.ByConference, ""},
	"MeetmeList":           {"conference", acl.ByConference, ""},
	"MeetmeListRooms":      {"conference", acl.ByConference, ""},
	"MeetmeMute":           {"meetme", acl.ByConference, ""},
	"MeetmeTalking":        {"meetme", acl.ByConference, ""},
	"MeetmeTalkRequest":    {"meetme", acl.ByConference, ""},

	"ParkedCall":        {"parkinglot", acl.ByParkingLot, ""},
	"ParkedCallGiveUp":  {"parkinglot", acl.ByParkingLot, ""},
	"ParkedCallSwap":    {"parkinglot", acl.ByParkingLot, ""},
	"ParkedCallTimeOut": {"parkinglot", acl.ByParkingLot, ""},
	"Parkinglot":        {"name", acl.ByParkingLot, ""},
	"UnParkedCall":      {"parkinglot", acl.ByParkingLot, ""},

	"MessageWaiting": {"mailbox", acl.ByMailbox, ""},
	"MWIGet":         {"mailbox", acl.ByMailbox, ""},

	"AorList":           {"objectname", acl.ByDevice, "PJSIP/"},
	"ContactList":       {"endpoint", acl.ByDevice, "PJSIP/"},
	"ContactStatus":     {"endpointname", acl.ByDevice, "PJSIP/"},
	"DeviceStateChange": {"device", acl.ByDevice, ""},
	"EndpointList":      {"objectname", acl.ByDevice, "PJSIP/"},
	"PeerStatus":        {"peer", acl.ByDevice, ""},

	"ExtensionStatus": {"context", acl.ByContext, ""},
	"PresenceStatus":  {"context", acl.ByContext, ""},
}

// read takes from a frame what tells whose it is. Of a name that comes more than
// once the first counts, as everywhere.
func read(f ami.Frame) (x facts) {
	x.event = f.Event()
	thing, isThing := things[string(x.event)]
	user := string(x.event) == "UserEvent"
	for rest := []byte(f); len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		i := bytes.IndexByte(line, ':')
		if i < 0 {
			continue
		}
		name, value := line[:i], line[i+1:]
		for len(value) > 0 && value[0] < 33 {
			value = value[1:]
		}
		if user && foldIs(name, "userevent") {
			// Behind its name stands what a client wrote. What the dialplan raises tells
			// its channel before (stasis.c: multi_user_event_to_ami).
			break
		}
		x.take(name, value)
		if isThing && x.thing == nil && foldIs(name, thing.header) {
			x.mark, x.thing = thing.mark, value
			if thing.prefix != "" {
				x.thing = append([]byte(thing.prefix), value...)
			}
		}
	}
	return x
}

// take notes one header.
func (x *facts) take(name, value []byte) {
	if ends(name, "uniqueid") || foldIs(name, "uniqueid1") || foldIs(name, "uniqueid2") {
		switch {
		case len(value) == 0:
		case ends(name, "bridgeuniqueid"):
			if x.nBridges < maxBridges {
				x.bridges[x.nBridges] = value
				x.nBridges++
			}
		case x.nIDs < maxIDs:
			x.ids[x.nIDs] = value
			x.nIDs++
		}
	}
	var field *[]byte
	switch len(name) {
	case len("exten"):
		field = pick(name, "exten", &x.exten)
	case len("channel"):
		if field = pick(name, "channel", &x.channel); field == nil {
			field = pick(name, "context", &x.context)
		}
		if field == nil {
			field = pick(name, "newname", &x.newname)
		}
	case len("uniqueid"):
		if field = pick(name, "uniqueid", &x.uniqueid); field == nil {
			field = pick(name, "linkedid", &x.linkedid)
		}
		if field == nil {
			field = pick(name, "response", &x.response)
		}
		if field == nil && foldIs(name, "bridgeid") && len(value) > 0 && x.nBridges == 0 { // CoreShowChannel, Status
			x.bridges[0], x.nBridges = value, 1
		}
	case len("eventname"):
		field = pick(name, "eventname", &x.eventName)
	case len("bridgename"):
		field = pick(name, "bridgename", &x.bridgeName)
	case len("accountcode"):
		field = pick(name, "accountcode", &x.accountcode)
	case len("bridgecreator"):
		field = pick(name, "bridgecreator", &x.creator)
	case len("bridgetechnology"):
		field = pick(name, "bridgetechnology", &x.technology)
	}
	if field != nil && *field == nil {
		*field = value
	}
}

func pick(name []byte, want string, field *[]byte) *[]byte {
	if foldIs(name, want) {
		return field
	}
	return nil
}

// foldIs compares a name without case with one in lower case.
func foldIs(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range name {
		if c := name[i]; c != want[i] && (c < 'A' || c > 'Z' || c+('a'-'A') != want[i]) {
			return false
		}
	}
	return true
}

// ends is foldIs of the end of a name.
func ends(name []byte, want string) bool {
	return len(name) >= len(want) && foldIs(name[len(name)-len(want):], want)
}

// markedName is the name of a channel less what Asterisk puts behind it to make
// it unique: a number in hexadecimal, and the half of a Local channel.
func markedName(channel string) string {
	name, _, _ := strings.Cut(channel, ";")
	if i := strings.LastIndexByte(name, '-'); i > 0 && i < len(name)-1 && strings.Trim(name[i+1:], "0123456789abcdefABCDEF") == "" {
		return name[:i]
	}
	return name
}
