package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
)

// TestFilterKeys: key and value of an event filter come through the pre-pass as
// Asterisk's config.c would hand them to manager.c.
func TestFilterKeys(t *testing.T) {
	for line, want := range map[string][2]string{
		`eventfilter = !Event: Newexten`:                                 {"eventfilter", "!Event: Newexten"},
		`eventfilter => Event: (Hangup|Newchannel)`:                      {"eventfilter", "Event: (Hangup|Newchannel)"},
		`eventfilter = Context: a=b`:                                     {"eventfilter", "Context: a=b"},
		`eventfilter = a;b`:                                              {"eventfilter", "a"},
		`eventfilter = a\;b`:                                             {"eventfilter", "a;b"},
		`eventfilter = "[[:space:]]\.$"`:                                 {"eventfilter", `"[[:space:]]\.$"`},
		`eventfilter(header(X), method(regex)) = a;b`:                    {"eventfilter(header(X), method(regex))", "a"},
		`eventfilter(action(exclude) name(VarSet)header(Variable)) => =`: {"eventfilter(action(exclude) name(VarSet)header(Variable))", "="},
		`eventfilter(name(Hangup) =`:                                     {"eventfilter(name(Hangup)", ""},
		`eventfilter( name(Hangup) ) =`:                                  {"eventfilter( name(Hangup) )", ""},
		`eventfilter(header(Exten:),method(exact))=>>`:                   {"eventfilter(header(Exten:),method(exact))", ">"},
		`eventfilter(header(CASE:)) =`:                                   {"eventfilter(header(CASE:))", ""},
	} {
		if got := entriesOf(t, "[crm]\n"+line+"\n", "crm"); !slices.Equal(got, want[:]) {
			t.Errorf("%s: got %q", line, got)
		}
	}
}

// TestFilters: what the filters of users do, templates and sections that are
// added to included.
func TestFilters(t *testing.T) {
	users := drafts(t, nil, `
[calls](!)
eventfilter = Event: (Hangup|Newchannel)
[crm](calls)
secret = x
eventfilter => !Channel: PJSIP/secret
[wall](calls)
secret = x
[crm](+)
eventfilter(name(Bridge)) =
[all]
secret = x
`)
	frame := func(event, channel string) []byte {
		return []byte("Event: " + event + "\r\nPrivilege: call,all\r\nChannel: " + channel + "\r\n\r\n")
	}
	for name, want := range map[string][5]bool{
		"crm":  {true, false, false, true, false},
		"wall": {true, true, false, false, false},
		"all":  {true, true, true, true, true},
	} {
		filters := acl.New(users[name].options).Filters()
		for i, f := range [][]byte{
			frame("Hangup", "PJSIP/alice-1"), frame("Hangup", "PJSIP/secret-1"),
			frame("Newexten", "PJSIP/alice-1"), frame("Bridge", "PJSIP/alice-1"), frame("Bridge", "PJSIP/secret-1"),
		} {
			if got := filters.Pass(f); got != want[i] {
				t.Errorf("%s: %q passes: %v", name, f, got)
			}
		}
	}
}

// TestBadFilters: a filter that Asterisk would skip is an error, which says so.
func TestBadFilters(t *testing.T) {
	for _, line := range []string{
		"eventfilter =", "eventfilter = !", "eventfilter = a(b", "eventfilter = [", "eventfilter() =", "eventfilter() = a",
		"eventfilter(name(Hangup) = a", "eventfilter(name(Hangup =", "eventfilter(header(A=b),method(none)) =",
		"eventfilter(nome(Hangup)) =", "eventfilter(action(exclude)) =", "eventfilter(name(Hangup)) = text",
		"eventfilter(name(Hangup),method(regex)) = (", "eventfilter(name(Hangup),method(Regex)) = a",
	} {
		_, err := parse("[crm]\nsecret = x\n" + line + "\n")
		list := findings(t, err)
		if len(list) != 1 || list[0].Line != 3 || !strings.HasSuffix(list[0].Reason, "(to leave the filter out, as Asterisk does with bad ones, may let more events through)") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestManySetVars: a user who has more of them than an Originate has lines is
// an error.
func TestManySetVars(t *testing.T) {
	text := "[crm]\nsecret = x\n" + strings.Repeat("setvar = A=1\n", maxSetVars)
	if n := len(mustParse(t, text).Users["crm"].SetVars); n != maxSetVars {
		t.Errorf("%d of them", n)
	}
	if _, err := parse(text + "setvar = A=1\n"); err == nil {
		t.Error("one more is accepted")
	}
}
