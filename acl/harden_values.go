package acl

import (
	"bytes"
	"strings"
)

// escalates looks for what in a text with variables and functions would run a
// program, read or write a file or a database, or reveal a secret, and names
// it. Empty: nothing does.
//
// Which of the text is the name of a variable, an argument or a value depends
// on the release, and on the application or function that reads it: some take
// quotes and backslashes away once more, some read a variable whose name is
// their argument. So a name counts wherever it stands, with its quotes and
// backslashes taken away. Names of functions are in capitals in every release:
// Asterisk compares them byte for byte (pbx_functions.c:
// ast_custom_function_find_nolock).
func escalates(text string) string {
	var word [maxWord]byte
	n, within := 0, false // the length of the word, an open bracket before
	var last byte         // the character before, but for quotes and backslashes
	for i := 0; i <= len(text); i++ {
		c := byte(0) // ends the last word
		if i < len(text) {
			c = text[i]
		}
		switch {
		case c == '"' || c == '\\':
			continue
		case nameBytes[c]:
			if n < len(word) {
				word[n] = c
			}
			n++
		default:
			name := bytes.TrimLeft(word[:min(n, len(word))], "_")
			switch n = 0; {
			case c == '(' && escalatingFunction(name):
				return string(name) + "()"
			case len(name) >= minProgramVariable && programVariables[string(name)]:
				return string(name)
			}
		}
		switch c {
		case '{', '[':
			if within && last != 0 && strings.IndexByte("$^%#", last) >= 0 {
				return "a name made of variables" // nobody can tell which
			}
			within = within || c == '{'
		case '(':
			within = true
		}
		last = c
	}
	return ""
}

// maxWord is more than the longest name that is looked for, and enough for its
// family.
const maxWord = 32

// nameBytes are those of which names are made.
var nameBytes = func() (is [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") {
		is[c] = true
	}
	return is
}()

// escalatingFunctions are those that Asterisk itself keeps from managers where
// live_dangerously = no, as far as an action runs in the manager's own thread
// (ast_custom_function_register_escalating), and those that reveal what other
// actions show to class system only.
var escalatingFunctions = map[string]bool{
	// Files, programs and the database.
	"SHELL": true, "FILE": true, "FILE_COUNT_LINE": true, "FILE_FORMAT": true, "STAT": true,
	"DB": true, "CONFBRIDGE": true, "PERIODIC_HOOK": true, "LOCK": true, "TRYLOCK": true, "UNLOCK": true,
	// The environment of all programs that the PBX runs.
	"ENV": true,
	// Files of the configuration, passwords of endpoints and of mailboxes.
	"AST_CONFIG": true, "AST_SORCERY": true, "VM_INFO": true, "MINIVMACCOUNT": true,
}

// escalatingFamilies are the beginnings of more such names: EVAL_EXTEN,
// CURLOPT, DB_DELETE, REALTIME_STORE, PP_EACH_USER, and what func_odbc.conf
// defines.
var escalatingFamilies = [...]string{"EVAL", "CURL", "DB_", "ODBC", "REALTIME", "PP_"}

func escalatingFunction(name []byte) bool {
	if escalatingFunctions[string(name)] {
		return true
	}
	for _, family := range escalatingFamilies {
		if bytes.HasPrefix(name, []byte(family)) {
			return true
		}
	}
	return false
}

// programVariables are variables that Asterisk makes a command for a shell of,
// or the arguments of MixMonitor, one of which is such a command, or the name of
// an AGI script; or that make it evaluate the data of AGI's EXEC (res_monitor.c:
// ast_monitor_stop; app_queue.c: setup_mixmonitor; bridge_builtin_features.c:
// feature_automixmonitor; app_meetme.c: conf_run; res_agi.c: handle_exec).
var programVariables = map[string]bool{
	"MONITOR_EXEC": true, "MONITOR_EXEC_ARGS": true, "MONITOR_FILENAME": true, "MONITOR_OPTIONS": true,
	"TOUCH_MONITOR": true, "TOUCH_MIXMONITOR": true, "MEETME_AGI_BACKGROUND": true, "AGIEXECFULL": true,
}

// minProgramVariable is the length of the shortest of them.
const minProgramVariable = len("AGIEXECFULL")
