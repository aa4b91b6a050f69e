package acl

import (
	"fmt"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// checkOriginate is the test of Application and Data. Asterisk makes it after
// looking at other headers, whose errors therefore come first (manager.c:
// action_originate). Of these a priority that is a label cannot be told from
// here.
func checkOriginate(a *ami.Action, write ami.Class, _ Directories) Verdict {
	app := a.Get("Application")
	if app == "" || mayRun(app, a.Get("Data"), write) {
		return Verdict{}
	}
	return Verdict{originateRefusal(a), "write: needs system (agi for an AGI of Queue) for this Application or Data"}
}

// originateRefusal is the text for an Originate whose Application or Data is
// refused.
func originateRefusal(a *ami.Action) string {
	channel, timeout := a.Get("Channel"), a.Get("Timeout")
	switch {
	case len(a.Get("ChannelId")) > maxUniqueid || len(a.Get("OtherChannelId")) > maxUniqueid:
		return fmt.Sprintf("Uniqueid length exceeds maximum of %d", maxUniqueid)
	case channel == "":
		return "Channel not specified"
	case timeout != "" && !startsWithNumber(timeout):
		return "Invalid timeout"
	case !strings.Contains(channel[:min(len(channel), maxChannel)], "/"):
		return "Invalid channel"
	}
	return "Originate Access Forbidden: app or data blacklisted"
}

const (
	// maxChannel is how much of Originate's Channel Asterisk looks at.
	maxChannel = 255
	// maxUniqueid is how long an id for the new channel may be.
	maxUniqueid = 149
)

// Originate's rules (manager.c: originate_app_permissions).
var (
	// Applications of a name with one of these anywhere, in any case.
	systemApps = [...]string{
		"agi", "dbdeltree", "exec", "externalivr", "mixmonitor", "originate",
		"reload", "system",
	}
	// Data with one of these anywhere, in this case; the rules for SHELL and EVAL
	// are those of [runsCode].
	systemData = [...]string{"CURL", "DB", "FILE", "ODBC", "REALTIME"}
)

// mayRun reports whether a user may run an application on a new channel. The
// first rule that fits decides.
func mayRun(app, data string, write ami.Class) bool {
	if write&ami.ClassSystem != 0 {
		return true // satisfies every rule
	}
	for _, name := range systemApps {
		if containsFold(app, name) {
			return false
		}
	}
	// To the newest Asterisk these are the last rules, and so do not count where
	// that for Queue fits. All others look at Data whatever the application.
	if runsCode(data, write) {
		return false
	}
	if containsFold(app, "queue") {
		// The sixth argument of Queue is an AGI script. How the arguments are
		// told apart depends on the version of the PBX, and we do not know
		// which one will read them, so every reading must be allowed. Only if
		// the readings agree on a script does this rule decide alone.
		newest := hasSixth(data, readNewest)
		older := hasSixth(data, readOlder)
		if (newest || older || hasSixth(data, readOldest)) && write&ami.ClassAGI == 0 {
			return false
		}
		if newest && older {
			return true
		}
	}
	for _, word := range systemData {
		if strings.Contains(data, word) {
			return false
		}
	}
	return true
}

// reading is how a version of Asterisk splits arguments (app.c:
// __ast_app_separate_args).
type reading struct {
	separator byte
	brackets  bool // square ones protect separators, as round ones do
	rest      bool // the sixth argument of Queue is all that is left
}

var (
	readNewest = reading{separator: ',', brackets: true} // since 1.8
	readOlder  = reading{separator: ','}                 // 1.6
	readOldest = reading{separator: '|', rest: true}     // 1.4
)

// hasSixth reports whether there is a sixth argument in data that is not empty.
func hasSixth(data string, r reading) bool {
	argument, parens, squares, quoted := 1, 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '(':
			parens++
		case c == ')':
			parens = max(parens-1, 0)
		case c == '[' && r.brackets:
			squares++
		case c == ']' && r.brackets:
			squares = max(squares-1, 0)
		case c == '"':
			quoted = !quoted
			continue // a quote is no part of the argument
		case c == '\\':
			if i++; i == len(data) {
				return false
			}
		case c == r.separator && parens == 0 && squares == 0 && !quoted:
			argument++
			switch {
			case argument == 6 && r.rest:
				return i+1 < len(data)
			case argument > 6:
				return false
			}
			continue
		}
		if argument == 6 {
			return true
		}
	}
	return false
}

// startsWithNumber reports whether C's sscanf finds a decimal number.
func startsWithNumber(s string) bool {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	return s != "" && '0' <= s[0] && s[0] <= '9'
}

// containsFold reports whether s contains word, which is in lower case, without
// regard to ASCII case.
func containsFold(s, word string) bool {
	for ; len(s) >= len(word); s = s[1:] {
		n := 0
		for n < len(word) && ami.FoldByte(s[n]) == word[n] {
			n++
		}
		if n == len(word) {
			return true
		}
	}
	return false
}
