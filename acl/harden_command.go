package acl

import (
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// hardenBlacklist is Asterisk's blacklist for a command as the CLI reads it:
// words are parted by tabs too, and have no quotes and backslashes.
func hardenBlacklist(a *ami.Action, _ Directories) string {
	command := a.Get("Command")
	if strings.ContainsAny(command, "\t\"\\") && blacklisted(unquote(command)) {
		return "this Command is Asterisk's to refuse, but for its quotes, backslashes or tabs"
	}
	return ""
}

// hardenCommand leaves to class command alone what looks, reloads or acts on
// calls and queues as other actions do. Everything else needs class system: some
// commands run programs ("channel originate", "mixmonitor start"), write files
// ("pjsip set logger pcap") or functions ("dialplan set chanvar"), stop the PBX
// or change its database, and every module may add more.
//
// Words are parted at every blank, quoted or not. No word of any command has a
// blank in it, so that the second word here is the CLI's, or there is no such
// command.
func hardenCommand(a *ami.Action, _ Directories) string {
	var first [4]string // no phrase below is longer
	words := first[:0]
	for word := range strings.FieldsFuncSeq(ami.FoldName(a.Get("Command")), func(r rune) bool { return r == ' ' || r == '\t' }) {
		if words = append(words, word); len(words) == len(first) {
			break
		}
	}
	if len(words) == 0 {
		return "" // the PBX's to complain of
	}
	for _, secret := range secretCommands {
		if beginsWith(words, secret) {
			return "Command " + strings.Join(secret, " ")
		}
	}
	if words[0] == "show" || words[0] == "reload" || len(words) > 1 && plainVerbs[words[1]] {
		return ""
	}
	for _, plain := range plainCommands {
		if beginsWith(words, plain) {
			return ""
		}
	}
	return "Command " + words[0]
}

// plainVerbs are second words of commands that look or reload, in every module.
var plainVerbs = map[string]bool{"show": true, "list": true, "reload": true}

var (
	// plainCommands are others that need class command only.
	plainCommands = phrases(
		"agent logoff", "bridge kick", "bridge technology show", "cc report status", "channel redirect",
		"channel request hangup", "confbridge kick", "confbridge lock", "confbridge mute", "confbridge unlock",
		"confbridge unmute", "core waitfullybooted", "database get", "database showkey", "devstate change",
		"dialplan locks show", "dnsmgr status", "iax2 qualify", "logger filter show", "logger rotate",
		"media cache show", "meetme kick", "meetme lock", "meetme mute", "meetme unlock", "meetme unmute",
		"pjsip qualify", "presencestate change", "queue add member", "queue pause member", "queue priority caller",
		"queue remove member", "queue reset stats", "queue set penalty", "queue set ringinuse",
		"queue unpause member", "sip qualify", "soft hangup", "sorcery memory cache show",
	)
	// secretCommands look, but show passwords.
	secretCommands = phrases(
		"iax2 show users", "manager show user", "pjsip show auth", "pjsip show auths", "show manager user",
		"sip show user", "sip show users",
	)
)

func phrases(all ...string) (words [][]string) {
	for _, phrase := range all {
		words = append(words, strings.Fields(phrase))
	}
	return words
}

func beginsWith(words, phrase []string) bool {
	if len(words) < len(phrase) {
		return false
	}
	for i := range phrase {
		if words[i] != phrase[i] {
			return false
		}
	}
	return true
}

// hardenAGI looks at a command of AGI as at an Originate: EXEC runs an
// application, and SET VARIABLE writes to functions. It runs in the channel's
// thread, which nothing keeps from either (res_agi.c: agi_handle_command).
func hardenAGI(a *ami.Action, _ Directories) string {
	command := unquote(a.Get("Command"))
	words := strings.FieldsFunc(command, func(r rune) bool { return r == ' ' })
	if len(words) == 0 {
		return ""
	}
	switch first := ami.FoldName(words[0]); {
	case first == "database":
		return "AGI DATABASE"
	case first == "exec" && len(words) > 1:
		data := strings.Join(words[2:], " ")
		if strings.Contains(data, "${") || strings.Contains(data, "$[") {
			return "AGI EXEC with variables in its data" // AGIEXECFULL
		}
		return hardenApplication(words[1], data)
	case first == "record" && leavesDirectory(command):
		return "a recording with .. in its path"
	}
	if what := escalates(command); what != "" {
		return what + " in Command"
	}
	return ""
}

// unquote takes quotes and backslashes away, and makes blanks of tabs.
func unquote(command string) string { return unquoter.Replace(command) }

var unquoter = strings.NewReplacer(`"`, "", `\`, "", "\t", " ")
