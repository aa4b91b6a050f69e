//go:build unix

package test

import (
	"regexp"
	"strings"
	"time"
)

// differences are all answers that the proxy makes otherwise than Asterisk, to a user with
// hardening = no.
var differences = []difference{
	{
		in:  regexp.MustCompile(`^lone CR$| at byte \d+$`),
		why: "what the proxy writes itself (here: the name of an unknown action) holds no CR of the client, which other parsers may take for a line's end",
		proxy: func(answer string) string {
			return regexp.MustCompile(`: [^\n]*\. Use Action: ListCommands`).ReplaceAllStringFunc(answer, func(text string) string { return strings.ReplaceAll(text, "\r", "") })
		},
	},
	{
		in: regexp.MustCompile(`^(Originate refused on 16|files)$`), only: 16,
		why: "the tests of the newest Asterisk are made for all releases, with its text",
		proxy: func(answer string) string {
			answer = strings.ReplaceAll(answer, "escalated priveledges", "escalated privileges")
			return regexp.MustCompile(`Forbidden: (Application|Data)`).ReplaceAllString(answer, "Forbidden: app or data blacklisted")
		},
	},
	{
		in:  regexp.MustCompile(`^(user with an empty secret|empty secret by challenge)$`),
		why: "nobody logs in with an empty secret (check warns); Asterisk lets anybody in as a user who has one",
		proxy: func(answer string) string {
			before, _, _ := strings.Cut(answer, "Response: Success\r\nMessage: Authentication accepted")
			return before + "Response: Error\r\nMessage: Authentication failed\r\n\r\n[closed]\n"
		},
		later: time.Second,
	},
	{
		in: regexp.MustCompile(`^files outside that are not there$`), only: 22,
		why:   "of files outside of its directory the proxy does not tell which there are",
		proxy: strings.NewReplacer("Config file not found", "File requires escalated privileges").Replace,
	},
	{
		in: regexp.MustCompile(`^Originate Queue with AGI and SHELL$`), only: 22,
		why:   "SHELL and EVAL need class system beside an AGI script too, as every release but the newest has it",
		proxy: strings.NewReplacer("Originate failed", "Originate Access Forbidden: app or data blacklisted").Replace,
	},
	{
		in: regexp.MustCompile(`^Originate refused, and its Priority no label$`), only: 22,
		why:   "whether a Priority is a label only the PBX knows: an Originate that is refused anyway is refused for want of rights",
		proxy: strings.NewReplacer("Invalid priority", "Originate Access Forbidden: app or data blacklisted").Replace,
	},
	{
		in:    regexp.MustCompile(`^Originate refused, and its ChannelId too long$`),
		why:   "what the proxy writes itself has no line feed at the end of a text",
		proxy: strings.NewReplacer("149\n", "149").Replace,
	},
	{
		in:    regexp.MustCompile(`^two ActionIDs of a user event$`),
		why:   "a UserEvent has one ActionID, which the proxy shows to whom it belongs",
		proxy: strings.NewReplacer("ActionID: 2\r\n", "").Replace,
	},
	{
		in:    regexp.MustCompile(`^Server of a user event$`),
		why:   "Server in an action says which PBX it is for, and is not passed on",
		proxy: strings.NewReplacer("Server: pbx\r\n", "").Replace,
	},
	{
		in:    regexp.MustCompile(`^Filter: !(\(x\)\\1|x\{1001\})$`),
		why:   "an expression that takes too long to match, for all who see the PBX, does not compile: back-references and long intervals",
		proxy: strings.NewReplacer("Response: Success\r\nActionID: f\r\nMessage: Success", "Response: Error\r\nActionID: f\r\nMessage: Filter did not compile.  Check the syntax of the filter given.").Replace,
	},
	{
		in: regexp.MustCompile(`^Filter plausible \d (without|with an empty|with an empty one before) Filter$`), only: 16,
		why:   "filters are those of the newest Asterisk on all releases: an empty one is an error",
		proxy: strings.NewReplacer("Response: Success\r\nActionID: t-0\r\nMessage: Success", "Response: Error\r\nActionID: t-0\r\nMessage: Filter was formatted incorrectly.  Check the syntax of the filter given.").Replace,
	},
	{
		in: regexp.MustCompile(`^MatchCriteria .*header\(Nosuch\)`), only: 16,
		why:   "filters are those of the newest Asterisk on all releases: they may have MatchCriteria",
		proxy: func(answer string) string { return userEvent.ReplaceAllString(answer, "") },
	},
	{
		in:    regexp.MustCompile(`^WaitEvent for what `),
		why:   "an event that the session may not see, or has filtered out, does not end its WaitEvent: it would tell that there was one",
		later: 2 * time.Second,
	},
}
