package acl

import (
	"iter"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Grounds is what there is on a PBX, and whose it is. Tenants are named in lower
// case; what is not there is nobody's.
type Grounds interface {
	// Channel says which tenants see a channel, by its name or Uniqueid.
	Channel(name string) []string
	// Bridge says which tenants see a bridge, by its BridgeUniqueid.
	Bridge(id string) []string
	// Thing says which tenants have a thing.
	Thing(m Mark, name string) []string
	// Linked reports whether there are channels with an id as their Linkedid.
	Linked(id string) bool
	// MayDial reports whether a dial string leads to one of some tenants.
	MayDial(dial string, tenants []string) bool
}

// bound is what a header of an action may hold of a user with a fence.
type bound struct {
	header string
	kind   boundKind
	mark   Mark // of things
	prefix string
}

type boundKind uint8

const (
	// What names something outside does what it does when there is no such thing.
	aChannel boundKind = iota
	aBridge
	aThing
	aContext // "default" where it is missing

	// What would do something even so is refused.
	toThing    // leads to a context, account or mailbox
	toPlace    // the same, and must be there: else the place is that where the channel is, whosever that is
	toDial     // is dialled
	readsOwn   // variables, to be read, of the channel itself
	writesOwn  // one that is set
	assignsOwn // some that are set, in headers that may come again
	freshID    // the Uniqueid of a new channel
	notPattern // a channel, and none by a regular expression
	given      // without it the action is about more than the fence
	absent     // with it, it may be
	plainFile  // a file in the folder for such, or options: no path, and no more than that one argument
	literally  // only if a rule names the action
)

func channels(headers ...string) (all []bound) {
	for _, h := range headers {
		all = append(all, bound{header: h, kind: aChannel})
	}
	return all
}

var (
	byChannel  = channels("Channel")
	noHeaders  = []bound{}
	queueIn    = bound{"Queue", aThing, ByQueue, ""}
	conference = bound{"Conference", aThing, ByConference, ""}
	mailbox    = []bound{{"Mailbox", aThing, ByMailbox, ""}}
	endpoint   = []bound{{"Endpoint", aThing, ByDevice, "PJSIP/"}}
	toContext  = bound{"Context", toPlace, ByContext, ""}
	noGlobals  = bound{header: "Channel", kind: given}
	hangs      = []bound{{header: "Channel", kind: notPattern}}
	member     = []bound{queueIn, {header: "Queue", kind: given}}
	moderates  = append(channels("Channel"), conference)
	monitor    = append(channels("Channel"), bound{header: "File", kind: plainFile})
	records    = append(channels("Channel"), conference, bound{header: "RecordFile", kind: plainFile})
)

// fenced are the actions that a user with a fence may send, with what they may be
// about. Others name nothing that is known to be somebody's, and tell or change
// something.
var fenced = map[string][]bound{
	// Lists, of which the items are left out that are not within.
	"BridgeList": noHeaders, "ConfbridgeList": noHeaders, "ConfbridgeListRooms": noHeaders, "CoreShowChannels": noHeaders,
	"DeviceStateList": noHeaders, "ExtensionStateList": noHeaders, "MeetmeList": noHeaders, "MeetmeListRooms": noHeaders,
	"MWIGet": noHeaders, "ParkedCalls": noHeaders, "Parkinglots": noHeaders, "PJSIPShowAors": noHeaders,
	"PJSIPShowContacts": noHeaders, "PJSIPShowEndpoints": noHeaders, "QueueStatus": noHeaders, "QueueSummary": noHeaders,
	"BridgeInfo": {{header: "BridgeUniqueid", kind: aBridge}}, "CoreShowChannelMap": byChannel,
	"Status": append(channels("Channel"), bound{header: "Variables", kind: readsOwn}),

	"AbsoluteTimeout": byChannel, "CancelAtxfer": byChannel, "ChangeMonitor": monitor, "ControlPlayback": byChannel,
	"LocalOptimizeAway": byChannel, "MixMonitorMute": byChannel, "Monitor": monitor, "MuteAudio": byChannel,
	"PauseMonitor": byChannel, "PlayMF": byChannel, "SendFlash": byChannel, "SendText": byChannel,
	"SetCDRUserField": byChannel, "StopMixMonitor": byChannel, "StopMonitor": byChannel, "UnpauseMonitor": byChannel,
	"AGI":    append(channels("Channel"), bound{kind: literally}),
	"Atxfer": append(channels("Channel"), toContext), "BlindTransfer": append(channels("Channel"), toContext),
	"Bridge":        channels("Channel1", "Channel2"),
	"BridgeDestroy": {{header: "BridgeUniqueid", kind: aBridge}},
	"BridgeKick":    append(channels("Channel"), bound{header: "BridgeUniqueid", kind: aBridge}),
	"Getvar":        append(channels("Channel"), noGlobals, bound{header: "Variable", kind: readsOwn}),
	"Hangup":        hangs, "PJSIPHangup": hangs,
	// The command is an argument behind the file and the options (app_mixmonitor.c: manager_mixmonitor).
	"MixMonitor": append(monitor, bound{header: "Options", kind: plainFile}, bound{header: "Command", kind: absent}),
	"Originate": {
		{header: "Channel", kind: toDial}, toContext, {header: "Account", kind: toThing, mark: ByAccountCode},
		{header: "Application", kind: absent}, {header: "PreDialGoSub", kind: absent},
		{header: "Variable", kind: assignsOwn}, {header: "ChannelId", kind: freshID}, {header: "OtherChannelId", kind: freshID},
	},
	// It is as if the other end had pressed the key: of a transfer, perhaps.
	"PlayDTMF": append(channels("Channel"), bound{header: "Receive", kind: absent}),
	"Park":     append(channels("Channel", "Channel2", "TimeoutChannel", "AnnounceChannel"), bound{"Parkinglot", aThing, ByParkingLot, ""}),
	"Redirect": append(channels("Channel", "ExtraChannel"), toContext,
		bound{"ExtraContext", toThing, ByContext, ""}),
	"Setvar": append(channels("Channel"), noGlobals, bound{header: "Variable", kind: writesOwn}),

	"QueueAdd": {queueIn, {header: "Interface", kind: toDial}, {header: "StateInterface", kind: toDial}}, "QueueRemove": {queueIn},
	// What it writes can be read as an entry of another queue: the fields are parted by bars.
	"QueueLog":             {queueIn, {kind: literally}},
	"QueueMemberRingInUse": member, "QueuePause": member, "QueuePenalty": member, "QueueReset": member,
	"QueueChangePriorityCaller": append(channels("Caller"), queueIn), "QueueWithdrawCaller": append(channels("Caller"), queueIn),

	"ConfbridgeKick": moderates, "ConfbridgeLock": moderates, "ConfbridgeMute": moderates, "ConfbridgeSetSingleVideoSrc": moderates,
	"ConfbridgeStartRecord": records, "ConfbridgeStopRecord": moderates, "ConfbridgeUnlock": moderates, "ConfbridgeUnmute": moderates,
	"MeetmeMute": {{"Meetme", aThing, ByConference, ""}}, "MeetmeUnmute": {{"Meetme", aThing, ByConference, ""}},

	"ExtensionState": {{"Context", aContext, ByContext, ""}},
	"MailboxCount":   mailbox, "MailboxStatus": mailbox,
	"MWIDelete": {{"Mailbox", toThing, ByMailbox, ""}, {header: "Mailbox", kind: given}}, "MWIUpdate": {{"Mailbox", toThing, ByMailbox, ""}},
	"PJSIPQualify": endpoint, "PJSIPShowEndpoint": endpoint,
}

// boundsOf are those of the action of a name, whatever its case.
func boundsOf(action string) ([]bound, bool) {
	info, ok := ami.LookupAction(action)
	if !ok {
		return nil, false
	}
	bounds, ok := fenced[info.Name]
	return bounds, ok
}

// Confine says whether a user with a fence may send an action to a PBX, after
// [Policy.May]. hide are the headers that name what is outside the fence:
// the action is to be sent with names of nothing in their place, so that the answer is that
// of Asterisk to who asks for what is not there.
//
// An action that cannot be confined is refused, unless a rule of the user names
// it literally; so are headers that lead out of the fence.
func (p *Policy) Confine(a *ami.Action, on Grounds) (v Verdict, hide []string) {
	if p.fence == nil {
		return v, nil
	}
	bounds, ok := boundsOf(a.Name())
	named := p.Names(a.Name())
	const unconfined = "tenant: the action cannot be confined, and no allowaction names it"
	if !ok && !named {
		return refused(unconfined), nil
	}
	for _, b := range bounds {
		value := a.Get(b.header)
		inside := p.fence.inside(b, value, on)
		switch b.kind {
		case readsOwn:
			inside = value == "" || p.readsOnlyOwn(a.Name(), b.header, value)
		case writesOwn:
			inside = value == "" || setsOwn(value, p.chooses(a.Name(), b.header))
		case assignsOwn:
			inside = value == "" || assignsOnlyOwn(a.All(b.header), p.chooses(a.Name(), b.header))
		}
		switch {
		case inside:
		case b.kind < toThing:
			hide = append(hide, b.header)
		case named && b.kind.lifted():
		case b.kind == notPattern && !strings.HasPrefix(value, "/"):
			hide = append(hide, b.header)
		case b.kind == readsOwn, b.kind == writesOwn, b.kind == assignsOwn:
			return refused("tenant: " + b.header + " leads out of the fence, or is of the dialplan and no allowheader says which it may be"), nil
		case b.kind == literally:
			return refused(unconfined), nil
		case value == "":
			return refused("tenant: without " + b.header + " it is about more than the fence"), nil
		default:
			return refused("tenant: " + b.header + " leads out of the fence"), nil
		}
	}
	return v, hide
}

// lifted reports whether a rule that names the action does without the bound.
func (k boundKind) lifted() bool {
	return k == toThing || k == toPlace || k == toDial || k == absent || k == plainFile || k == literally
}

// confines reports whether no action of that name gets through the fence.
func (p *Policy) confines(name string) bool {
	if p.fence == nil {
		return false
	}
	return !confinable(name) && !p.Names(name)
}

// Unconfined are the actions that a user with a fence may send though they tell of
// all of the PBX, or act on it, since a rule names them literally.
func (p *Policy) Unconfined() (actions []string) {
	for _, info := range ami.Actions() {
		// A UserEvent is for the user's tenants, and those who are not confined.
		if p.fence != nil && !confinable(info.Name) && info.Name != "UserEvent" && p.MayList(info.Name, info.Classes) {
			actions = append(actions, info.Name)
		}
	}
	return actions
}

// confinable reports whether an action can be confined to tenants by what it is
// about, or never reaches a PBX. Others are refused to users with a fence, unless a
// rule names them literally.
func confinable(action string) bool {
	if info, ok := ami.LookupAction(action); ok && ownAction(info) {
		return true
	}
	bounds, ok := boundsOf(action)
	return ok && !slices.ContainsFunc(bounds, func(b bound) bool { return b.kind == literally })
}

// Lists reports whether the answer to an action is a list of which the items are
// to be judged one by one.
func (f *Fence) Lists(action string) bool {
	info, _ := ami.LookupAction(action)
	_, ok := boundsOf(action)
	return f != nil && ok && (info.Kind == ami.KindList || info.Name == "CoreShowChannelMap")
}

func (f *Fence) inside(b bound, value string, on Grounds) bool {
	switch b.kind {
	case absent:
		return value == ""
	case given, toPlace:
		if value == "" || b.kind == given {
			return value != ""
		}
	case literally:
		return false
	}
	if value == "" && b.kind == aContext {
		value = "default" // manager.c: action_extensionstate
	}
	if value == "" {
		return true
	}
	switch b.kind {
	case aChannel:
		return f.Within(on.Channel(value)) || b.header == "Channel" && everybody(value)
	case notPattern:
		return value[0] != '/' && f.Within(on.Channel(value))
	case aBridge:
		return f.Within(on.Bridge(value))
	case aThing, aContext, toThing, toPlace:
		return f.Within(on.Thing(b.mark, b.prefix+value))
	case toDial:
		return on.MayDial(value, f.tenants)
	case plainFile:
		return !strings.ContainsAny(value, "/(,|")
	case freshID:
		return !isUniqueid(value) && !on.Linked(value)
	}
	return false
}

// isUniqueid reports whether an id is of the form that Asterisk itself gives to
// channels, "1795344096.34" with the name of the system before it or not, or the
// beginning of one. They
// can be foretold: a channel with that of another's next call, or of one that
// began another's conversation, would be taken for it (channel.c:
// __ast_channel_alloc_ap asks only for ids that clients choose whether there is
// such a channel). To that Asterisk 22 takes the beginning of an id for all of it,
// so that the answer would tell when there are calls. Of ids that clients chose
// [Grounds] tell.
func isUniqueid(id string) bool {
	const digits = "0123456789"
	rest := strings.TrimRight(id, digits)
	if strings.Trim(rest, digits+".") == "" {
		return true
	}
	if rest == id || !strings.HasSuffix(rest, ".") {
		return false
	}
	rest = rest[:len(rest)-1]
	return len(rest)-len(strings.TrimRight(rest, digits)) >= len("123456789")
}

// everybody reports whether the channel is that of ConfbridgeKick, Mute and
// Unmute for all who are in the conference. No channel has such a name.
func everybody(channel string) bool {
	switch channel {
	case "all", "admin", "participants":
		return true
	}
	return false
}

// The functions that tell of, or change, nothing but their channel. Others tell
// of other channels (IMPORT, CHANNELS, SHARED), of the PBX (GLOBAL, DB, HINT), or
// send the channel where the fence is not asked (CHANNEL(after_bridge_goto)).
var (
	ownReads  = []string{"CALLERID", "CDR", "CHANNEL", "CONNECTEDLINE", "PJSIP_HEADER", "REDIRECTING", "SIP_HEADER", "TIMEOUT", "VOLUME"}
	ownWrites = []string{"CALLERID", "CDR", "CHANNEL(language)", "CHANNEL(musicclass)", "CHANNEL(userfield)", "CONNECTEDLINE", "PJSIP_HEADER(add", "REDIRECTING", "TIMEOUT", "VOLUME"}
)

// leadOut are variables by which Asterisk chooses where a channel goes on, which
// extension it runs besides, whom it calls back, where it is parked or counted,
// or what file it writes, if anything makes it look there. See also leadOutFamilies.
var leadOut = []string{
	"ATTENDEDTRANSFER", "BLINDTRANSFER", "BRIDGE_FEATURES", "DYNAMIC_FEATURES", "EXITCONTEXT", "FORWARD_CONTEXT", "GOSUB_RESULT", "GOTO_ON_BLINDXFR",
	"MACRO_CONTEXT", "MACRO_RESULT", "MEETME_EXIT_CONTEXT", "MEETME_RECORDINGFILE", "OUTBOUND_GROUP", "OUTBOUND_GROUP_ONCE",
	"PARKINGDYNAMIC", "PARKINGDYNCONTEXT", "PARKINGLOT", "SPY_EXIT_CONTEXT", "TRANSFER_CONTEXT",
}

// leadOutFamilies are the beginnings of more: CONNECTED_LINE_SEND_SUB and
// REDIRECTING_CALLER_SEND_MACRO name an extension that runs when the number of the
// other end changes, as by Setvar (channel.c: ast_channel_connected_line_sub).
var leadOutFamilies = []string{"CONNECTED_LINE_", "REDIRECTING_"}

// setsOwn reports whether to set a variable does nothing beyond the channel. What a
// plain one does only the writer of the dialplan knows, whose Dial may take its options
// from it: a line of the rules has to choose, as chosen says that one has. The
// account code, by which calls are told apart, is not a client's to set. Functions
// take quotes and backslashes away from their arguments.
func setsOwn(name string, chosen bool) bool {
	name = unquote(name)
	plain := strings.TrimLeft(name, "_")
	if !chosen && !strings.ContainsAny(name, "()") { // a bracket alone is of a call that a comma parts
		return false
	}
	family := func(start string) bool { return strings.HasPrefix(plain, start) }
	return onlyFunctions(name, ownWrites) && !slices.Contains(leadOut, plain) && !programVariables[plain] &&
		!slices.ContainsFunc(leadOutFamilies, family) && !(strings.Contains(name, "(") && containsFold(name, "account"))
}

// readsOnlyOwn reports whether variables that are to be read are all of their
// channel, as calls of some functions are. A plain name can be that of a variable
// of the whole PBX, which is found through every channel (pbx_variables.c:
// ast_str_retrieve_variable): a line of the rules has to say that it may be read.
func (p *Policy) readsOnlyOwn(action, header, variables string) bool {
	if !onlyFunctions(variables, ownReads) {
		return false
	}
	items := []string{variables}
	if header == "Variables" { // a list
		items = strings.FieldsFunc(variables, partsNames)
	}
	return p.chooses(action, header) || !slices.ContainsFunc(items, func(item string) bool {
		name, _, call := strings.Cut(item, "(")
		return !call || !slices.Contains(ownReads, name)
	})
}

// partsNames reports whether a name may begin behind a character, in any release.
func partsNames(r rune) bool { return r == ',' || r == '|' }

// assignsOnlyOwn is setsOwn of all names in lists of assignments. Any comma or
// bar may begin a name, or be part of one, by the release (see viewedHeader.judge).
func assignsOnlyOwn(lists iter.Seq[string], chosen bool) bool {
	for list := range lists {
		for item := range strings.FieldsFuncSeq(list, partsNames) {
			name, _, _ := strings.Cut(item, "=")
			if !setsOwn(strings.TrimLeft(unquote(name), " "), chosen) {
				return false
			}
		}
	}
	return true
}

// onlyFunctions reports whether a list of variables calls no function but some.
func onlyFunctions(variables string, allowed []string) bool {
	for rest := variables; ; {
		i := strings.IndexByte(rest, '(')
		if i < 0 {
			return true
		}
		ok := false
		for _, f := range allowed {
			name, argument, _ := strings.Cut(f, "(")
			before := rest[:i]
			ok = ok || strings.HasPrefix(rest[i+1:], argument) && strings.HasSuffix(before, name) &&
				(len(before) == len(name) || before[len(before)-len(name)-1] == ',')
		}
		if !ok {
			return false
		}
		rest = rest[i+1:]
	}
}
