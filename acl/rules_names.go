package acl

import (
	"iter"
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// knownHeaders are, in lower case, the headers that actions of Asterisk 16 to 22
// read (astman_get_header, in the file of each module), but for those that are
// numbered. There may be more in others.
var knownHeaders = strings.Fields(strings.ToLower(`
Account Agent AllVariables AnnounceChannel AOCBillingId Application ApplicationData Async Base64Body Body
BridgeTechnology BridgeType BridgeUniqueid Cache Caller CallerID Category Cause Channel Channel1 Channel2 ChannelId
ChannelPrefix ChargedItem ChargeType ChargingAssociationId ChargingAssociationNumber ChargingAssociationPlan
ChargingType Code Codecs Command CommandID Conference Context Control CurrencyAmount CurrencyMultiplier CurrencyName
DAHDIChannel Data Destination Device Digit Direction DstFilename Duration EarlyMedia Endpoint Event Exten Extension
ExtraChannel ExtraContext ExtraExten ExtraPriority Family File Filename Filter Folder Format From Granularity
GranularityTimeScale ID Immediate Interface Jabber Key Level Line LoadType Mailbox Match MatchCriteria Meetme Member
MemberName Members Message Mix MixMonitorID Module MsgType NewMessages Number Object OldMessages Operation Option
Options OtherChannelId Parameters ParkingLot ParkingSpace Paused Peer Penalty PreDialGoSub PreserveEffectiveContext
Priority Provider Queue RateType Reason Receive RecordFile Recursive Registration Reload Replace RingInUse Rule Rules
ScreenName SessionNumber Soft Span SrcFilename State StateInterface SuppressEvents Time Timeout TimeoutChannel
TimeScale To ToContext ToFolder ToMailbox Tone TotalType UniqueId URI UserEvent Usernum Val Value Variable Variables
VolumeUnit WithdrawInfo Wrapuptime`))

// Closest finds the name that a word was probably meant to be, "" if none is
// near. All are in lower case.
type Closest func(word string, names iter.Seq[string]) string

// checkNames finds names that look misspelled. A rule that allows something
// misspelled refuses too much; one that denies it denies nothing, and is no rule to
// start with.
func (r *Rules) checkNames(closest Closest, add addFinding) {
	actions := func(l ruleLine, list []actionGlob, deny bool) {
		for _, g := range list {
			if !g.literal() || lookup(g.name) != nil {
				continue
			}
			switch guess := closest(g.name, actionNames); {
			case guess != "" && deny:
				add(l, false, "Asterisk has no action %s (did you mean %s? If a module of yours has it, write %s? or the like)", g.name, spell(guess), g.name[:len(g.name)-1])
			case guess != "":
				add(l, true, "Asterisk has no action %s (did you mean %s?)", g.name, spell(guess))
			case deny:
				add(l, true, "Asterisk has no action %s", g.name)
			}
		}
	}
	header := func(l ruleLine, name string) {
		if name = ami.FoldName(name); !slices.Contains(knownHeaders, name) {
			if guess := closest(name, slices.Values(knownHeaders)); guess != "" {
				add(l, true, "no action of Asterisk reads a header %s (did you mean %s?)", name, guess)
			}
		}
	}
	for _, a := range r.allow {
		actions(a.ruleLine, a.actions, false)
	}
	for _, d := range r.deny {
		actions(d.ruleLine, d.actions, true)
	}
	for _, h := range r.headers {
		header(h.ruleLine, h.header)
	}
	for _, s := range r.sets {
		header(s.ruleLine, s.header)
	}
}

// actionNames are those of all actions in lower case.
func actionNames(yield func(string) bool) {
	for _, info := range ami.Actions() {
		if !yield(ami.FoldName(info.Name)) {
			return
		}
	}
}

// Open reports whether the rules let an action through with anything in a
// header. Without rules all is open; r may be nil.
func (r *Rules) Open(action, header string) bool {
	if r == nil || len(r.lines) == 0 {
		return true
	}
	v := r.compileView(action, lookup(action))
	if !v.verdict.Allowed() || v.isSet(header) {
		return false
	}
	for i := range v.headers {
		if h := &v.headers[i]; ami.EqualFold(h.header, header) && !h.values.all {
			return false
		}
	}
	return len(v.headers) == 0 || v.governs(ami.FoldName(header))
}
