//go:build unix

package test

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// filterUser reads the events that the filters judge. It has the same rights on a PBX
// and at the proxy.
const filterUser = "[filters]\nsecret = pw\nread = user,call\nwrite = system\n"

// aFilter is what an action Filter carries.
type aFilter struct{ criteria, expression string }

// legacyFilters mean the same in the locales of Asterisk 16 and 22.
var legacyFilters = []string{
	"Event: UserEvent", "!Event: UserEvent", "event: userevent", "Alpha", "!Alpha", "UserEvent: (Alpha|Beta)", "!UserEvent: (Alpha|Beta)",
	"^Event: UserEvent\r", "^UserEvent: Alpha", "Alpha$", "UserEvent: .eta", "UserEvent: [AB]", "UserEvent: [^AB]", "!UserEvent: [^AB]",
	"Key: value", "Key: value.*Num: 12", "Num: 12.*Key: value", "Key: val+ue", "Key: v.l{1}ue", "Key: (v|b)a", "Key: bad[0-9]", "Key: bad[[:digit:]]",
	"Event: UserEvent.*^Key: ", "UserEvent.*^ey: ", ".*^Key: ", "a^b", "Privilege: user,all", "Privilege: call,all", "Text: a\\.b\\*c\\[d\\]", "Text: a.b.c.d.",
	"Text: a[.]b[*]c[[]d[]]", "Text: [^ ]*\\]", "a]", ")", "}", "x|", "|", "()", "a**", "Z{0}", "Q{,1}", "Foo Bar", "Foo\\sBar", "Foo\\SBar", "\\bBar\\b", "\\bar\\b",
	"\\<Bar\\>", "\\<ar\\>", "\\Bar", "Foo\\W+Bar", "Key: \\w+1", "[[.A.]]lpha", "[[=A=]]lpha", "[[:upper:]]lpha", "[A-B][a-l]+", "\\`Event", "Event\\`", "!", "!!Event", "!^",
	"", "[x", "(x", "x\\", "*x", "^*", "x{2,1}", "x{1", "[[:foo:]]", "[b-a]", "\\1", "a|*b", "x{32768}", "Alpha)", "\\(", "[\\]", "[a-]",
}

// newFilters are for Asterisk 22 alone.
var newFilters = []aFilter{
	{"", "Müller"}, {"", "M.ller"}, {"", "M..ller"}, {"", "M[ü]ller"}, {"", "M[^u]ller"}, {"", "M[[:alpha:]]ller"}, {"", "M\\wller"}, {"", "M\\Wller"},
	{"", "M\xfcller"}, {"", "CallerIDName: .*ller"}, {"", "CallerIDName: [^x]*ller"}, {"", "Wide: ...\r"}, {"", "Wide: .{9}"}, {"", "[à-ü]"}, {"", "[a-ü]"}, {"", "[[.ü.]]"}, {"", "[[=ü=]]"},
	{"", "[[:upper:]]ber"}, {"", "[[:lower:]]ber"},

	{"name(UserEvent)", ""}, {"name(OriginateResponse)", ""}, {"name(userevent)", ""}, {"name(User)", ""}, {"name(UserEvent", ""}, {"name(UserEvent),action(exclude)", ""},
	{"name(UserEvent)", "!"}, {"action(include) name(UserEvent)", "!"}, {"name(UserEvent)", "x"}, {"name()", ""}, {"named(UserEvent)", ""}, {" ,)name(UserEvent)),", ""}, {")", ""}, {",", "x"},
	{"header(Key)", ""}, {"header(Key:)", ""}, {"header(key)", ""}, {"header(Ke)", ""}, {"header(ey)", ""}, {"header(Key)", "!"}, {"header(Key),header(Num)", ""}, {"header(Empty)", ""}, {"header(Event)", ""},
	{"header(Key),method(exact)", "value"}, {"header(Key),method(exact)", "Value"}, {"header(Key),method(exact)", "!value"}, {"header(Key),method(exact)", "second"}, {"header(Key),method(exact)", ""},
	{"header(Key),method(starts_with)", "val"}, {"header(Key),method(ends_with)", "ue"}, {"header(Key),method(ends_with)", "ue\r"}, {"header(Key),method(contains)", "a"}, {"header(Key),method(regex)", "^v.*e$"},
	{"header(Key),method(regex)", "^$"}, {"header(Key),method(regex)", "[x"}, {"header(Key),method(none)", ""}, {"header(Key),method(none)", "x"}, {"header(Spaces),method(exact)", "a  b"}, {"header(Key),method(regex)", "^......$"},
	{"method(contains)", "Alpha"}, {"method(starts_with)", "Event: User"}, {"method(ends_with)", "Alpha"}, {"method(exact)", "Alpha"}, {"method(contains),name(UserEvent),action(exclude)", "Alpha"},
	{"method(regex)", ""}, {"method(regexp)", "x"}, {"method()", "x"}, {"Method(regex)", "x"}, {"method(regex),method(exact)", "value"}, {"method(exact),method(regex)", "value"}, {"method(none)", ""},
	{"action(include)", ""}, {"action(exclude)", "x"}, {"action(Include),name(UserEvent)", ""}, {"action()", ""}, {"bogus(x)", "x"}, {"name(UserEvent) bogus", ""}, {"name(Originate),name(UserEvent)", ""},
	{"header(CallerIDName),method(exact)", "M\xfcller"}, {"header(CallerIDName),method(regex)", "^M.ller$"}, {"header(CallerIDName),method(regex)", "^M\xfcller$"}, {"header(Key),method(regex)", "^M[^x]ller$"},
}

// filterEvents are the events that are judged, all but the last one: that comes when the others did.
func filterEvents(c *amiclient.Client, ascii bool) {
	event := func(name string, headers ...string) {
		c.Do(append([]string{"Action: UserEvent", "UserEvent: " + name}, headers...)...)
	}
	event("Alpha", "Key: value", "Num: 12")
	event("Beta", "Key: bad1", "Other: Foo Bar")
	event("Gamma", "Text: a.b*c[d]", "Spaces:   a  b")
	event("Delta", "Key: value2", "Key: second", "Empty:")
	if !ascii {
		event("Epsilon", "Key: Müller", "Wide: 日本語", "Upper: Über")
		c.Do("Action: Originate", "Channel: Nosuch/x", "CallerID: \"M\xfcller\" <100>", "Application: Wait", "Async: true")
	}
}

// TestFiltersAreThoseOfAsterisk adds filters at a PBX and at the proxy, each in a session
// of its own. What they answer, and which events come, is compared with what package acl says.
func TestFiltersAreThoseOfAsterisk(t *testing.T) {
	pbxs := starts(t, asterisk.Options{Major: 16, Name: "old", Users: filterUser}, asterisk.Options{Major: 22, Name: "new", Users: filterUser})
	for _, release := range []struct {
		pbx     *asterisk.PBX
		old     bool
		filters []aFilter
	}{{pbx: pbxs[0], old: true}, {pbx: pbxs[1], filters: newFilters}} {
		t.Run(release.pbx.Name(), func(t *testing.T) {
			for _, e := range legacyFilters {
				if !release.old || strings.Trim(e, "!") != "" { // Asterisk 16 takes an empty expression.
					release.filters = append(release.filters, aFilter{"", e})
				}
			}
			p := startProxy(t, filterUser+"hardening = no\n", release.pbx) // It would refuse line ends in filters.
			p.waitUp()
			for name, addr := range map[string]string{"direct": release.pbx.Addr(), "proxy": p.addr} {
				t.Run(name, func(t *testing.T) { judgeFilters(t, release.pbx, addr, release.filters, release.old) })
			}
		})
	}
}

func judgeFilters(t *testing.T, pbx *asterisk.PBX, addr string, filters []aFilter, ascii bool) {
	control := loginAt(t, addr, "filters")
	clients := make([]*amiclient.Client, len(filters))
	inTurns(t, 8, len(filters), func(tb testing.TB, i int) {
		c := loginAt(tb, addr, "filters")
		if answer, want := amiclient.Header(addFilter(c, filters[i]), "Message"), filterAnswer(filters[i]); answer != want {
			tb.Errorf("%q is answered %q, want %q", filters[i], answer, want)
		}
		clients[i] = c
	})
	if t.Failed() {
		return
	}
	sender := loginDirect(t, pbx)
	filterEvents(sender, ascii)
	sender.Do("Action: UserEvent", "UserEvent: Last")
	var events []amiclient.Frame
	last, originated := false, ascii
	control.ReadUntil(func(f amiclient.Frame) bool {
		if isJudged(f) {
			events = append(events, f)
		}
		last = last || amiclient.Has(f, "UserEvent: Last")
		originated = originated || amiclient.Has(f, "Event: OriginateResponse")
		return last && originated
	})
	// One more, so that all sessions have the one before.
	sender.Do("Action: UserEvent", "UserEvent: Behind")
	control.Expect("UserEvent: Behind")
	inTurns(t, 8, len(filters), func(tb testing.TB, i int) {
		var want, got []amiclient.Frame
		var set *acl.Filters
		if f, err := compileFilter(filters[i]); err == nil {
			set = set.With(f)
		}
		for _, f := range events {
			if set.Pass([]byte(f)) {
				want = append(want, f)
			}
		}
		for _, f := range append(clients[i].Roundtrip(), clients[i].Roundtrip()...) {
			if isJudged(f) {
				got = append(got, f)
			}
		}
		if !slices.Equal(got, want) {
			tb.Errorf("%q passes %q, want %q", filters[i], got, want)
		}
	})
}

// isJudged reports whether f is one of the events that filterEvents raises, or Last.
func isJudged(f amiclient.Frame) bool {
	return strings.HasPrefix(string(f), "Event: OriginateResponse\r\n") ||
		strings.HasPrefix(string(f), "Event: UserEvent\r\n") && !amiclient.Has(f, "UserEvent: Behind")
}

func addFilter(c *amiclient.Client, f aFilter) amiclient.Frame {
	headers := []string{"Action: Filter", "Operation: Add"}
	if f.criteria != "" {
		headers = append(headers, "MatchCriteria: "+f.criteria)
	}
	return c.Do(append(headers, "Filter: "+f.expression)...)
}

func compileFilter(f aFilter) (acl.Filter, error) {
	if f.criteria == "" {
		return acl.NewFilter(f.expression)
	}
	return acl.NewAdvancedFilter(f.criteria, f.expression)
}

// filterAnswer is the Message that answers a Filter.
func filterAnswer(f aFilter) string {
	switch _, err := compileFilter(f); {
	case errors.Is(err, acl.ErrFilterExpression):
		return "Filter did not compile.  Check the syntax of the filter given."
	case errors.Is(err, acl.ErrFilterFormat):
		return "Filter was formatted incorrectly.  Check the syntax of the filter given."
	}
	return "Success"
}

// TestExpressionsAreThoseOfAsterisk has package acl's record of what compiles judged by
// Asterisk. Asterisk 16 runs in the locale C, which knows more ranges.
func TestExpressionsAreThoseOfAsterisk(t *testing.T) {
	file, err := os.Open("../acl/testdata/filter-expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	compiles := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		quoted, err := strconv.QuotedPrefix(lines.Text())
		if err != nil {
			continue // a comment
		}
		expression, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		if expression != "" && !strings.ContainsAny(expression, "\r\n") && strings.TrimLeft(expression, " \t!") == expression {
			compiles[expression] = !strings.HasSuffix(lines.Text(), " error")
		}
	}
	if len(compiles) < 500 {
		t.Fatalf("only %d expressions", len(compiles))
	}
	pbxs := starts(t, asterisk.Options{Major: 16, Name: "old", Users: filterUser}, asterisk.Options{Major: 22, Name: "new", Users: filterUser})
	for _, pbx := range pbxs {
		c := loginAt(t, pbx.Addr(), "filters", "Events: off")
		for expression, want := range compiles {
			if pbx == pbxs[0] && strings.ContainsFunc(expression, func(r rune) bool { return r > '~' }) {
				continue
			}
			if f := addFilter(c, aFilter{"", expression}); amiclient.Has(f, "Response: Success") != want {
				t.Errorf("%s: %q is answered %q", pbx.Name(), expression, f)
			}
		}
	}
}
