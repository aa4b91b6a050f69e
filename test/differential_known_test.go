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
