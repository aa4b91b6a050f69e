package acl

import (
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// check is a test that Asterisk makes inside of an action, after that of the
// classes: of its sender's other classes, or of its values. A refusal is
// Asterisk's text.
type check func(a *ami.Action, write ami.Class, d Directories) Verdict

// checks are those of the newest Asterisk, by the action's name as the table
// of actions spells it.
var checks = map[string]check{
	"Command":        checkCommand,
	"CreateConfig":   checkCreateConfig,
	"GetConfig":      checkConfigFile,
	"GetConfigJSON":  checkConfigFile,
	"Getvar":         checkGetvar,
	"ListCategories": checkConfigFile,
	"ModuleLoad":     checkModuleLoad,
	"Originate":      checkOriginate,
	"Status":         checkStatus,
	"UpdateConfig":   checkUpdateConfig,
}

func checkGetvar(a *ami.Action, write ami.Class, _ Directories) Verdict {
	if runsCode(a.Get("Variable"), write) {
		return Verdict{"GetVar Access Forbidden: Variable", "write: needs system for SHELL or EVAL in Variable"}
	}
	return Verdict{}
}

func checkStatus(a *ami.Action, write ami.Class, _ Directories) Verdict {
	if runsCode(a.Get("Variables"), write) {
		return Verdict{"Status Access Forbidden: Variables", "write: needs system for SHELL or EVAL in Variables"}
	}
	return Verdict{}
}

// runsCode reports whether a list of variables could run a shell and write
// does not allow it (manager.c: function_capable_string_allowed_with_auths).
func runsCode(variables string, write ami.Class) bool {
	return write&ami.ClassSystem == 0 &&
		(strings.Contains(variables, "SHELL") || strings.Contains(variables, "EVAL"))
}

func checkCommand(a *ami.Action, _ ami.Class, _ Directories) Verdict {
	if blacklisted(a.Get("Command")) {
		return Verdict{"Command blacklisted", "Asterisk: no user may send this Command"}
	}
	return Verdict{}
}

// blacklist are the first two words of what no Command may run, whoever sends
// it (manager.c: command_blacklist).
var blacklist = [...][2]string{
	{"module", "load"}, {"module", "unload"}, {"restart", "gracefully"},
}

// blacklisted reads a command as manager.c: check_blacklist does: words are
// parted by spaces only, quotes and backslashes are letters like any other,
// and no word can be shortened. The CLI itself parts them at tabs too and takes
// quotes and backslashes away, so that it runs some that this lets through.
func blacklisted(command string) bool {
	var words [2]string
	n := 0
	for word := range strings.SplitSeq(command, " ") {
		if word = strip(word); word == "" {
			continue
		}
		words[n] = ami.FoldName(word)
		if n++; n == len(words) {
			break
		}
	}
	for _, forbidden := range blacklist {
		if words == forbidden {
			return true
		}
	}
	return false
}

// strip is strings.h: ast_strip, which takes every control character for a
// blank.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}
