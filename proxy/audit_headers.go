package proxy

import (
	"slices"
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	// maxTextShown is how many bytes of a text a record of the audit log shows.
	maxTextShown = 200
	// maxHeadersShown is how many headers of an action it shows.
	maxHeadersShown = 32
)

// shorten cuts a text that is too long for a record.
func shorten(text string) string {
	if len(text) > maxTextShown {
		return text[:maxTextShown] + "…"
	}
	return text
}

// shownHeader is how the audit log shows a header.
type shownHeader struct {
	name string
	as   func(value string) string
}

// shownHeaders are those that say what an action does, by the name in lower case.
// What is not among them is not shown: texts of messages, values of variables, of
// the database and of files, passwords.
var shownHeaders = func() map[string]shownHeader {
	all := map[string]shownHeader{}
	for _, name := range strings.Fields(`Channel Channel1 Channel2 ExtraChannel TimeoutChannel ChannelId OtherChannelId Caller
		Context Exten Extension Priority ExtraContext ExtraExten ExtraPriority Application CallerID Account Async Timeout
		Queue Interface MemberName StateInterface Penalty Paused Reason Uniqueid Event RingInUse Agent Soft
		Conference Meetme Usernum BridgeUniqueid BridgeTechnology Parkinglot ParkingSpace Cause State Direction Mute
		File MixMonitorID Mix Options Digit Duration Control Feature
		Module LoadType Filename SrcFilename DstFilename Reload Category Family Key Mailbox Folder ToFolder ToMailbox ToContext
		Endpoint URI Registration Peer Device Contact Destination To From DAHDIChannel Span Level Cache Object
		SessionID Username Address UserEvent Server Operation`) {
		all[ami.FoldName(name)] = shownHeader{name, shorten}
	}
	for _, h := range []shownHeader{
		{"Variable", variableNames}, {"Variables", variableNames},
		{"Data", untilAssignment}, {"ExtraData", untilAssignment}, {"PreDialGoSub", untilAssignment},
		{"Command", commandWords},
	} {
		all[ami.FoldName(h.name)] = h
	}
	return all
}()

// auditHeaders shows what an action does.
type auditHeaders struct{ *ami.Action }

// MarshalLogObject writes the headers in the order in which they came. Of one that
// is given again the first counts, as for Asterisk, but all of Variable do.
func (h auditHeaders) MarshalLogObject(e zapcore.ObjectEncoder) error {
	seen := make([]string, 0, maxHeadersShown)
	variables := make([]string, 0, maxHeadersShown)
	for line := range h.Lines() {
		key, value, _ := strings.Cut(line, ":")
		name := ami.FoldName(key)
		shown, ok := shownHeaders[name]
		switch {
		case !ok && isConfigEdit(name):
			shown = shownHeader{key, shorten}
		case !ok, name == "key" && !strings.HasPrefix(ami.FoldName(h.Name()), "db"): // a Login's, misspelled
			continue
		}
		value = strings.TrimLeftFunc(value, func(r rune) bool { return r <= ' ' })
		switch {
		case len(seen)+len(variables) == maxHeadersShown:
			continue
		case name == "variable":
			variables = append(variables, shown.as(value))
		case !slices.Contains(seen, name):
			seen = append(seen, name)
			e.AddString(shown.name, shown.as(value))
		}
	}
	if len(variables) > 0 {
		e.AddString("Variable", shorten(strings.Join(variables, ",")))
	}
	return nil
}

// isConfigEdit reports whether a header is one of UpdateConfig's that say where
// it changes what; the values are in others.
func isConfigEdit(name string) bool {
	return strings.HasPrefix(name, "action-") || strings.HasPrefix(name, "cat-") || strings.HasPrefix(name, "var-")
}

// redacted is in the place of what may be secret.
const redacted = "…"

// untilAssignment shows the arguments of an application up to a value that is
// assigned.
func untilAssignment(data string) string {
	if name, _, ok := strings.Cut(data, "="); ok {
		return shorten(name + "=" + redacted)
	}
	return shorten(data)
}

// variableNames shows the names of a list of variables, with the arguments of
// functions, and none of the values. Where quotes or escapes leave doubt about
// what is a name, nothing is shown.
func variableNames(list string) string {
	var names []string
	if strings.ContainsAny(list, `"\`) {
		name, _, _ := strings.Cut(list, "=")
		if strings.ContainsAny(name, `"\,`) {
			return redacted
		}
		return shorten(name) + "," + redacted
	}
	depth, start, inValue := 0, 0, false
	assigned := false // a comma may be one of a value, and what comes behind it no name
	for i := 0; i <= len(list); i++ {
		switch {
		case i == len(list) || depth == 0 && list[i] == ',':
			switch {
			case inValue:
			case assigned:
				names = append(names, redacted)
			default:
				names = append(names, list[start:i])
			}
			start, inValue = i+1, false
		case list[i] == '(' || list[i] == '[':
			depth++
		case list[i] == ')' || list[i] == ']':
			depth--
		case list[i] == '=' && !inValue:
			names, inValue, assigned = append(names, list[start:i]), true, true
		}
	}
	return shorten(strings.Join(names, ","))
}

// valueCommands are commands of the CLI that set a value, by their first words,
// with how many words come before it.
var valueCommands = []struct {
	words string
	shown int
}{
	{"database put", 4}, {"dialplan set global", 4}, {"dialplan set chanvar", 5},
}

// commandWords shows a command of the CLI, but for a value that it sets.
func commandWords(command string) string {
	words := strings.Fields(command)
	for _, c := range valueCommands {
		if len(words) > c.shown && strings.EqualFold(strings.Join(words[:strings.Count(c.words, " ")+1], " "), c.words) {
			return shorten(strings.Join(words[:c.shown], " ") + " " + redacted)
		}
	}
	return untilAssignment(command)
}

// changes reports whether an action may change something. Functions can do so
// that are only read.
func changes(a *ami.Action) bool {
	info, ok := ami.LookupAction(a.Name())
	switch {
	case !ok || !info.Reads:
		return true
	case info.Name == "Getvar":
		return strings.Contains(a.Get("Variable"), "(")
	case info.Name == "Status":
		return strings.Contains(a.Get("Variables"), "(")
	}
	return false
}
