package acl

import (
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// A hardening is a test that no Asterisk makes, or only its newest. It returns
// the reason to refuse an action, empty for none.
type hardening func(a *ami.Action, d Directories) (reason string)

// Hardening refuses what would give a user more than his classes say: a way to
// run programs, to read or write files, to become another user. Class system
// holds all of that, so that most of these tests are for those without it.
// docs/manual/hardening.md says of each what it is for.
var (
	hardenings = map[string]hardening{ // for everybody
		"Command":        hardenBlacklist,
		"CreateConfig":   hardenConfigFile,
		"GetConfig":      hardenConfigFile,
		"GetConfigJSON":  hardenConfigFile,
		"ListCategories": hardenConfigFile,
		"ModuleLoad":     hardenModule,
		"Originate":      hardenLengths,
		"UpdateConfig":   hardenConfigFile,
	}
	hardeningsBelowSystem = map[string]hardening{ // for users without class system
		"AGI":            hardenAGI,
		"ChangeMonitor":  hardenMonitor,
		"Command":        hardenCommand,
		"CreateConfig":   hardenConfigWrite,
		"GetConfig":      hardenConfigRead,
		"GetConfigJSON":  hardenConfigRead,
		"Getvar":         hardenVariables,
		"ListCategories": hardenConfigRead,
		"Monitor":        hardenMonitor,
		"Originate":      hardenOriginate,
		"Setvar":         hardenVariables,
		"Status":         hardenVariables,
		"UpdateConfig":   hardenConfigWrite,
	}
)

// harden makes the tests of hardening on an action that has passed all others.
// The name is that in the table of actions.
func harden(name string, a *ami.Action, write ami.Class, d Directories) Verdict {
	reason := ""
	if test, ok := hardenings[name]; ok {
		reason = test(a, d)
	}
	if reason == "" && write&ami.ClassSystem == 0 {
		if test, ok := hardeningsBelowSystem[name]; ok {
			if reason = test(a, d); reason != "" {
				reason += " needs system"
			}
		}
	}
	if reason == "" {
		return Verdict{}
	}
	return refused("hardening: " + reason)
}

// hardenLengths bounds what the releases of Asterisk cut at various lengths:
// what was judged must be what is used. Ids become parts of file names and of
// commands in dialplans.
func hardenLengths(a *ami.Action, _ Directories) string {
	variables := 0
	for line := range a.Lines() {
		name, value, _ := strings.Cut(line, ":")
		for i := range lengths {
			l := &lengths[i]
			if len(name) != len(l.name) || !strings.EqualFold(name, l.name) {
				continue
			}
			value = strip(value)
			switch {
			case l.most > 0 && len(value) > l.most:
				return l.name + " is too long"
			case l.id && !plainID(value):
				return l.name + " has characters that no Uniqueid has"
			case l.most == 0:
				variables += strings.Count(value, "=")
			}
			break
		}
	}
	if variables > maxVariables {
		return "too many variables"
	}
	return ""
}

// lengths are those of Originate's headers in the release that cuts them
// soonest (manager.c: action_originate; channel.h: AST_MAX_CONTEXT,
// AST_MAX_EXTENSION, AST_MAX_ACCOUNT_CODE).
var lengths = [...]struct {
	name string
	most int // 0: it is variables that are counted
	id   bool
}{
	{"Variable", 0, false},
	{"Channel", maxChannel, false}, {"CallerID", 255, false},
	{"Context", 79, false}, {"Exten", 79, false}, {"Account", 79, false},
	{"ChannelId", maxUniqueid, true}, {"OtherChannelId", maxUniqueid, true},
}

// maxVariables is how many variables one Originate may set.
const maxVariables = 128

func plainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; !nameBytes[c] && strings.IndexByte(".-:@+=~", c) < 0 {
			return false
		}
	}
	return true
}

// hardenOriginate looks at what Asterisk does not: the variables, whose names
// may be functions to write to, applications that its list lacks, and the Data
// as an application reads it that takes quotes and backslashes away.
func hardenOriginate(a *ami.Action, _ Directories) string {
	for list := range a.All("Variable") {
		if what := escalates(list); what != "" {
			return what + " in Variable"
		}
	}
	app := a.Get("Application")
	if app == "" {
		return ""
	}
	return hardenApplication(app, a.Get("Data"))
}

// moreSystemApps are applications as in [systemApps], which Asterisk's list
// lacks: they write to databases, read and delete files, run pppd, and evaluate
// a text in which any character may stand for "$".
var moreSystemApps = [...]string{
	"dbdel", "dbput", "mysql", "realtime", "readfile", "minivm", "dahdiras", "zapras", "waitforcondition",
}

// recordingApps are applications, as in [systemApps], whose Data names a file to
// write to.
var recordingApps = [...]string{"dictate", "monitor", "receivefax", "record"}

func hardenApplication(app, data string) string {
	// Class agi does not do: an AGI script is at any address, and may run
	// everything.
	if !mayRun(app, data, 0) {
		return "this Application or Data"
	}
	for _, name := range moreSystemApps {
		if containsFold(app, name) {
			return "Application " + name
		}
	}
	if what := escalates(data); what != "" {
		return what + " in Data"
	}
	for _, name := range recordingApps {
		if containsFold(app, name) {
			return recordingName(data)
		}
	}
	return ""
}

// hardenVariables is for actions that name one variable or, Status, several.
func hardenVariables(a *ami.Action, _ Directories) string {
	for _, header := range [...]string{"Variable", "Variables", "Value"} {
		if what := escalates(a.Get(header)); what != "" {
			return what + " in " + header
		}
	}
	return ""
}

// hardenMonitor is for the names of recordings, which up to Asterisk 20 a shell
// command is made of (res_monitor.c: ast_monitor_stop).
func hardenMonitor(a *ami.Action, _ Directories) string {
	if reason := recordingName(a.Get("File")); reason != "" {
		return reason
	}
	return recordingName(a.Get("Format"))
}

func recordingName(name string) string {
	switch {
	case strings.ContainsAny(name, "`$\"\\"):
		return "a recording whose name a shell would read as more"
	case leavesDirectory(name):
		return "a recording with .. in its path"
	}
	return ""
}

// leavesDirectory reports whether ".." is an element of a path in a list of
// arguments.
func leavesDirectory(arguments string) bool {
	for element := range strings.FieldsFuncSeq(arguments, func(r rune) bool { return strings.ContainsRune("/,| ", r) }) {
		if element == ".." {
			return true
		}
	}
	return false
}
