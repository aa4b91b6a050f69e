package acl

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const newchannel = "Event: Newchannel\r\nPrivilege: call,all\r\nChannel: PJSIP/alice-00000001\r\n" +
	"ChannelStateDesc: Ring\r\nEmpty:\r\nBlank:   \r\nTwice: one\r\nTwice:\ttwo \r\nUniqueid: 1.1\r\n\r\n"

// TestFilterMatches has criteria, an expression, and whether a session with this
// filter alone gets the event Newchannel.
func TestFilterMatches(t *testing.T) {
	const legacy = "" // criteria of a filter without any
	tests := []struct {
		criteria, expression string
		want                 bool
	}{
		{legacy, "Event: Newchannel", true},
		{legacy, "Event: Hangup", false},
		{legacy, "event: newchannel", false},
		{legacy, "!Event: Newchannel", false},
		{legacy, "!Event: Hangup", true},
		{legacy, "!!Event", true}, // a ! that is not there
		{legacy, "^Event: Newchannel\r\n", true},
		{legacy, "^Channel: ", false},
		{legacy, "Event: Newchannel.*Channel: (PJSIP|SIP)/alice", true},
		{legacy, "Newchannel$", false},
		{legacy, "Uniqueid: 1\\.1\r\n\r\n$", true},
		{legacy, " Event", false}, // blanks are part of it

		{"name(Newchannel)", "", true},
		{"name(Newchannel)", "!", false},
		{"name(newchannel)", "", false},
		{"name(New)", "", false},
		{"name(NewchannelX)", "", false},
		{"name(Hangup)", "", false},
		{"action(exclude),name(Newchannel)", "", false},
		{"action(exclude),name(Hangup)", "", true},
		{"action(include),name(Newchannel)", "!", true},
		{"name(Hangup),name(Newchannel)", "", true}, // the last
		{"name(Newchannel),method(none)", "", true},
		{"method(none)  ,,name(Newchannel)),", "", true},
		{"name(Newchannel", "", true},
		{"namely(Newchannel)", "", true}, // known by what it begins with
		{"name(Newchannel\t)", "", true},

		{"header(Channel)", "", true},
		{"header(Channel:)", "", true},
		{"header(Channel::)", "", false},
		{"header(channel)", "", false},
		{"header(Chan)", "", false},
		{"header(hannel)", "", false},
		{"header(Event)", "", true},
		{"header(Empty)", "", false},
		{"header(Blank)", "", false},

		{"header(Channel),method(exact)", "PJSIP/alice-00000001", true},
		{"header(Channel),method(exact)", "PJSIP/alice", false},
		{"header(Channel),method(exact)", "!PJSIP/alice-00000001", false},
		{"header(Channel),method(starts_with)", "PJSIP/", true},
		{"header(Channel),method(starts_with)", "JSIP/", false},
		{"header(Channel),method(ends_with)", "00000001", true},
		{"header(Channel),method(ends_with)", "00000001\r", false},
		{"header(Channel),method(contains)", "alice", true},
		{"header(Channel),method(contains)", "bob", false},
		{"header(Channel),method(contains)", "a.ice", false},
		{"header(Channel),method(regex)", "^PJSIP/(alice|bob)-[0-9]+$", true},
		{"header(Channel),method(regex)", "Event", false},
		{"header(Twice),method(exact)", "one", true},
		{"header(Twice),method(exact)", "two ", true},
		{"header(Twice),method(exact)", "two", false},
		{"header(Empty),method(regex)", "^$", false},
		{"header(Nosuch),method(regex)", ".", false},
		{"action(exclude),header(Nosuch),method(regex)", ".", true},

		{"method(contains)", "alice", true},
		{"method(contains)", "Newchannel\r\nPrivilege", true},
		{"method(starts_with)", "Event: New", true},
		{"method(ends_with)", "1.1\r\n\r\n", true},
		{"method(ends_with)", "1.1", false},
		{"method(exact)", newchannel, true},
		{"method(exact)", "Event: Newchannel", false},
		{"method(regex)", "Ring", true},
		{"method(regex),method(exact)", "Ring", false}, // the last
		{"name(Newchannel),method(contains)", "bob", false},
		{"name(Hangup),method(contains)", "alice", false},
		{"name(Newchannel) header(ChannelStateDesc) method(exact) action(exclude)", "Ring", false},
	}
	for _, test := range tests {
		f, err := newAny(test.criteria, test.expression)
		if err != nil {
			t.Errorf("(%s) = %s: %v", test.criteria, test.expression, err)
			continue
		}
		var none *Filters
		if got := none.With(f).Pass([]byte(newchannel)); got != test.want {
			t.Errorf("(%s) = %s: %v", test.criteria, test.expression, got)
		}
	}
}

// newAny compiles a legacy filter when there are no criteria.
func newAny(criteria, expression string) (Filter, error) {
	if criteria == "" {
		return NewFilter(expression)
	}
	return NewAdvancedFilter(criteria, expression)
}

func TestFilterErrors(t *testing.T) {
	tests := []struct {
		criteria, expression string
		want                 error
		text                 string
	}{
		{"", "", ErrFilterFormat, "no expression"},
		{"", "!", ErrFilterFormat, "no expression"},
		{"", "a\x00b", ErrFilterFormat, "NUL"},
		{"", "a(", ErrFilterExpression, "( is not closed"},
		{"", "!a(", ErrFilterExpression, "( is not closed"},
		{"", "(a)\\1", ErrFilterExpression, `\1`},
		{" ", "a", ErrFilterFormat, "no action, name, header or method"},
		{")", "", ErrFilterFormat, "no action, name, header or method"},
		{"name(A)", "a", ErrFilterFormat, "no method"},
		{"header(A)", "a", ErrFilterFormat, "no method"},
		{"name(A),method(none)", "a", ErrFilterFormat, "no method"},
		{"name(A),method(exact)", "", ErrFilterFormat, "no expression"},
		{"name(A),method(exact)", "!", ErrFilterFormat, "no expression"},
		{"method(none)", "", ErrFilterFormat, "no name"},
		{"action(exclude)", "", ErrFilterFormat, "no name"},
		{"action(include)", "a", ErrFilterFormat, "no method"},
		{"action(drop),name(A)", "", ErrFilterFormat, `"drop"`},
		{"action(Include),name(A)", "", ErrFilterFormat, `"Include"`},
		{"name(A),method(Regex)", "a", ErrFilterFormat, `"Regex"`},
		{"nome(A)", "", ErrFilterFormat, `"nome"`},
		{"Name(A)", "", ErrFilterFormat, `"Name"`},
		{"name()", "", ErrFilterFormat, `"name"`},
		{"name", "", ErrFilterFormat, `"name"`},
		{"header", "", ErrFilterFormat, `"header"`},
		{"method,name(A)", "", ErrFilterFormat, `"method"`},
		{"action,name(A)", "", ErrFilterFormat, `"action"`},
		{"name(A) nonsense", "", ErrFilterFormat, `"nonsense"`},
		{"\tname(A)", "", ErrFilterFormat, `"\tname"`},
		{"header(Channel: PJSIP/a)", "", ErrFilterFormat, `"PJSIP/a"`}, // a blank ends it
		{"method(regex)", "[a", ErrFilterExpression, "[ is not closed"},
		{"method(contains)", "a\x00", ErrFilterFormat, "NUL"},
	}
	for _, test := range tests {
		f, err := newAny(test.criteria, test.expression)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("(%s) = %q: %v", test.criteria, test.expression, err)
		}
		if other := map[error]error{ErrFilterFormat: ErrFilterExpression, ErrFilterExpression: ErrFilterFormat}[test.want]; errors.Is(err, other) {
			t.Errorf("(%s) = %q: %v is a %v too", test.criteria, test.expression, err, other)
		}
		if f.expression != nil || f.exclude {
			t.Errorf("(%s) = %q: a filter with the error: %v", test.criteria, test.expression, f)
		}
	}
}

// TestFiltersPass is the algebra of sets: whatever the order in which filters are
// added, one of those that include must match, and none of those that exclude.
func TestFiltersPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set *Filters
		includes, included, excluded := 0, false, false
		for i := range rapid.IntRange(0, 6).Draw(t, "filters") {
			word := rapid.SampledFrom([]string{"Ring", "alice", "Newchannel", "bob", "Hangup", "Down"}).Draw(t, "word")
			exclude := rapid.Bool().Draw(t, "exclude")
			sign := map[bool]string{true: "!"}[exclude]
			var f Filter
			var err error
			if rapid.Bool().Draw(t, "legacy") {
				f, err = NewFilter(sign + word)
			} else {
				f, err = NewAdvancedFilter("method(contains)", sign+word)
			}
			if err != nil {
				t.Fatal(err)
			}
			matches := strings.Contains(newchannel, word)
			included = included || matches && !exclude
			excluded = excluded || matches && exclude
			if !exclude {
				includes++
			}
			before, had := set, set.Pass([]byte(newchannel))
			set = set.With(f)
			if before.Pass([]byte(newchannel)) != had || count(before) != i || count(set) != i+1 {
				t.Fatalf("With changed what it was called on: %d filters, now %d", count(before), count(set))
			}
		}
		want := (includes == 0 || included) && !excluded
		if got := set.Pass([]byte(newchannel)); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// TestFiltersShareNothing: two sets made of one do not see each other's filters.
func TestFiltersShareNothing(t *testing.T) {
	include := func(word string) Filter {
		f, err := NewFilter(word)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	one := (*Filters)(nil).With(include("a"), include("b"), include("c"))
	two, three := one.With(include("Ring")), one.With(include("Hangup"))
	if one.Pass([]byte("Ring")) || !two.Pass([]byte("Ring")) || three.Pass([]byte("Ring")) {
		t.Error("the sets have each other's filters")
	}
	if count((*Filters)(nil).With()) != 0 || !(*Filters)(nil).With().Pass(nil) || !(*Filters)(nil).Pass(nil) {
		t.Error("a set without filters does not pass everything")
	}
}

// TestPolicyFilters: a policy has the filters of its options.
func TestPolicyFilters(t *testing.T) {
	f, err := NewFilter("!Ring")
	if err != nil {
		t.Fatal(err)
	}
	if filters := New(Options{Filters: []Filter{f}}).Filters(); count(filters) != 1 || filters.Pass([]byte(newchannel)) {
		t.Error("the filter is not there")
	}
	if New(Options{}).Filters() != nil || Nobody().Filters() != nil {
		t.Error("there are filters where none are")
	}
}

// filtersOfAll is a set with a filter of each kind, none of which matches; they
// exclude, so that all are asked.
func filtersOfAll(t testing.TB) *Filters {
	var set *Filters
	for method := range filterMethods {
		for _, criteria := range []string{"name(Newchannel),header(Channel)", "header(Uniqueid)", "name(Hangup)"} {
			expression := "!nosuch"
			if method == "none" {
				criteria, expression = "header(Nosuch)", "!"
			}
			f, err := NewAdvancedFilter(criteria+",method("+method+")", expression)
			if err != nil {
				t.Fatal(err)
			}
			set = set.With(f)
		}
	}
	for _, expression := range []string{"!Event: Hangup", "!(Ring|Up).*Channel: (SIP|IAX2)/.*-[0-9]{8}", "!^[^:]*$", `!\<Down\>`} {
		f, err := NewFilter(expression)
		if err != nil {
			t.Fatal(err)
		}
		set = set.With(f)
	}
	return set
}

// underRace reports whether the race detector is on, with which a sync.Pool forgets
// on purpose.
func underRace() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestPassDoesNotAllocate(t *testing.T) {
	set := filtersOfAll(t)
	for _, frame := range [][]byte{[]byte(newchannel), []byte(strings.ReplaceAll(newchannel, "alice", "M\xfcller"))} {
		for range 10 {
			if !set.Pass(frame) {
				t.Fatal("a filter matches")
			}
		}
		// Less than one: a garbage collection empties the pools.
		if n := testing.AllocsPerRun(1000, func() { set.Pass(frame) }); n >= 1 && !underRace() {
			t.Errorf("%v allocations for %q", n, frame)
		}
	}
}

// FuzzFilter: whatever a client sends as a filter and whatever an event holds,
// nothing panics, and an error says which kind it is.
func FuzzFilter(f *testing.F) {
	f.Add("", "!Event: (Newchannel|Hangup)", []byte(newchannel))
	f.Add("action(exclude),name(Newchannel),header(Channel),method(regex)", "^[[:alpha:]]{2,}/.*$", []byte(newchannel))
	f.Add("header(:)", "!", []byte("Event: \n:\n\r"))
	f.Add("method(regex)", "\xe9*[^\xe9[:punct:]]\\<a|()$.^", []byte("\xe9"))
	f.Fuzz(func(t *testing.T, criteria, expression string, frame []byte) {
		filter, err := newAny(criteria, expression)
		if err != nil {
			if errors.Is(err, ErrFilterFormat) == errors.Is(err, ErrFilterExpression) {
				t.Errorf("%v is of no one kind", err)
			}
			return
		}
		one := (*Filters)(nil).With(filter)
		if filter.exclude = !filter.exclude; one.Pass(frame) == (*Filters)(nil).With(filter).Pass(frame) {
			t.Error("include and exclude agree")
		}
	})
}

func BenchmarkFiltersPass(b *testing.B) {
	for _, bench := range []struct{ criteria, expression string }{
		{"name(Hangup)", "!"},
		{"name(Newchannel),header(Uniqueid),method(exact)", "!1.2"},
		{"header(Channel),method(starts_with)", "!SIP/"},
		{"method(contains)", "!nosuch"},
		{"header(Channel),method(regex)", "!^SIP/"},
		{"", "!Event: Hangup"},
		{"", "!Channel: (SIP|IAX2)/"},
		{"", "!Event: Newchannel.*Channel: SIP/"},
		{"", "!(Hangup|Newexten|Down)"},
	} {
		f, err := newAny(bench.criteria, bench.expression)
		if err != nil {
			b.Fatal(err)
		}
		set := (*Filters)(nil).With(f)
		frame := []byte(newchannel)
		b.Run(fmt.Sprintf("(%s)=%s", bench.criteria, bench.expression), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !set.Pass(frame) {
					b.Fatal("it matches")
				}
			}
		})
	}
}

func count(f *Filters) int {
	if f == nil {
		return 0
	}
	return len(f.include) + len(f.exclude)
}

func TestFiltersSize(t *testing.T) {
	plain, err := NewAdvancedFilter("name(A)", "")
	if err != nil {
		t.Fatal(err)
	}
	big, err := NewFilter("a{500}")
	if err != nil {
		t.Fatal(err)
	}
	var none *Filters
	if one := none.With(plain).Size(); none.Size() != 0 || one == 0 || none.With(plain, plain).Size() != 2*one {
		t.Errorf("one filter has size %d", one)
	}
	if size := none.With(big).Size(); size < 500 || size > 2048 {
		t.Errorf("a{500} has size %d", size)
	}
}
