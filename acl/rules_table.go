package acl

import "github.com/amiproxy/amiproxy/ami"

// ownAction reports whether an action is the session's own affair, which needs
// no rule: it never reaches a PBX.
func ownAction(info *ami.ActionInfo) bool {
	return info != nil && (info.Kind == ami.KindSession || info.Name == "ListCommands")
}

// alwaysFine reports whether a header is none of the rules' business: it names
// the action, or is never sent to the PBX as it came.
func alwaysFine(header string) bool {
	return ami.EqualFold(header, "action") || ami.EqualFold(header, "actionid") || ami.EqualFold(header, "server")
}

// sentWhole reports whether all lines of an action are sent to the PBX, also
// those that no look-up finds.
func sentWhole(info *ami.ActionInfo) bool { return info != nil && info.Name == "UserEvent" }

// harmless are headers, in lower case, that say how an action is done and not
// what, to what or to whom. No rule need name them.
var harmless = map[string][]string{
	"Originate":            {"async", "timeout", "earlymedia", "codecs"},
	"Hangup":               {"cause"},
	"PJSIPHangup":          {"cause"},
	"QueueAdd":             {"penalty", "paused", "membername"},
	"QueueMemberRingInUse": {"ringinuse"},
	"QueuePause":           {"paused", "reason"},
	"QueuePenalty":         {"penalty"},
	"Setvar":               {"value"},
}

func powerless(info *ami.ActionInfo, header string) bool {
	if info == nil {
		return false
	}
	for _, name := range harmless[info.Name] {
		if ami.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// indispensable are the headers without which the PBX refuses an action: a user
// whose rules do not let one through can never send it.
var indispensable = map[string][]string{
	"Atxfer":        {"Channel", "Exten"},
	"BlindTransfer": {"Channel", "Exten"},
	"Bridge":        {"Channel1", "Channel2"},
	"Command":       {"Command"},
	"GetConfig":     {"Filename"},
	"Getvar":        {"Variable"},
	"Hangup":        {"Channel"},
	"Originate":     {"Channel"},
	"QueueAdd":      {"Queue", "Interface"},
	"QueuePause":    {"Interface"},
	"QueuePenalty":  {"Interface"},
	"QueueRemove":   {"Queue", "Interface"},
	"Redirect":      {"Channel", "Context", "Exten", "Priority"},
	"Setvar":        {"Variable"},
}

// listKind says what the value of a header is a list of.
type listKind uint8

const (
	noList      listKind = iota
	assignments          // NAME=value, and the header may be repeated
	plainNames
)

// listOf says which header of an action is a list, of whose items the names are
// matched: those that manager.c: astman_get_variables collects, and Status's.
func listOf(info *ami.ActionInfo, header string) listKind {
	if info == nil {
		return noList
	}
	switch info.Name {
	case "Originate", "MessageSend", "PJSIPNotify", "SIPnotify":
		if header == "variable" {
			return assignments
		}
	case "Status":
		if header == "variables" {
			return plainNames
		}
	}
	return noList
}
