//go:build unix

package test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// The differential suite: what clients write is played to a real Asterisk and to a proxy
// before it, and what they get must be the same. The parts are
//
//	differential_test.go           the course of a run, the verdict, the report
//	differential_play_test.go      one playing: bytes out, bytes in, what varies
//	differential_known_test.go     the table of all deliberate differences
//	differential_scenarios_test.go the users, and how scenarios are written
//	differential_framing_test.go   scenarios made by hand: lines and headers
//	differential_sessions_test.go  logins
//	differential_events_test.go    masks, filters, WaitEvent
//	differential_answers_test.go   rights, and single actions
//	differential_cut_test.go       the same bytes cut anywhere
//	differential_actions_test.go   scenarios made of every action that the PBX lists
//	differential_table_test.go     the arguments of those actions
//	differential_limits_test.go    authtimeout and authlimit

const (
	atOnce     = 24                     // Scenarios played at a time; many only wait for a second.
	atLeisure  = 4                      // The same for those that seem to differ.
	rounds     = 8                      // Playings of a scenario that seems to differ, at most.
	strikes    = 3                      // How often a difference must show to count.
	sameMoment = 700 * time.Millisecond // Ends of connections that are less apart are at the same time.
)

// A stage is a PBX with a proxy before it.
type stage struct {
	major      int
	pbx, proxy string            // Addresses.
	marks      map[string]string // What stands in a scenario for something of this PBX.
	calm       time.Duration     // How much longer pauses take.
}

// A verdict is what came of a scenario.
type verdict struct {
	scenario    scenario
	deliberate  []*difference // None: the answers are equal.
	unexplained string        // Not empty: how they differ.
	doubt       string        // Not empty: how they differed in the first playing, and not again.
}

// TestAnswersAreThoseOfAsterisk plays all scenarios to the PBX and to a proxy before it.
func TestAnswersAreThoseOfAsterisk(t *testing.T) {
	majors := []int{16, 22}
	pbxs := starts(t, differentialPBX(16), differentialPBX(22))
	results := make([][]verdict, len(majors))
	t.Run("releases", func(t *testing.T) {
		for i, major := range majors {
			t.Run(fmt.Sprint(major), func(t *testing.T) {
				t.Parallel()
				p := startProxy(t, "[general]\nhardening = no\nauthlimit = 1000\nauthfailures = 0\n"+differentialUsers, pbxs[i])
				p.waitUp()
				st := &stage{major: major, pbx: pbxs[i].Addr(), proxy: p.addr, marks: standingCalls(t, pbxs[i])}
				results[i] = st.run(t, append(scenarios(), fromActions(t, pbxs[i])...))
			})
		}
	})
	if unused := unusedArguments(append(listedActions(t, pbxs[0]), listedActions(t, pbxs[1])...)); len(unused) > 0 {
		t.Errorf("no PBX has the actions %q: take them from argumentTable", unused)
	}
	for i, major := range majors {
		summarise(t, release(pbxs[i]), major, results[i])
	}
}

// run plays the scenarios of the release: first all that see nothing of each other, many
// at a time, then the others one by one, at last again what seemed to differ.
func (st *stage) run(tb testing.TB, all []scenario) []verdict {
	tb.Helper()
	all = slices.DeleteFunc(all, func(s scenario) bool { return s.only != 0 && s.only != st.major })
	seen := make(map[string]bool)
	for _, s := range all {
		if seen[s.name] {
			tb.Errorf("two scenarios have the name %q", s.name)
		}
		seen[s.name] = true
	}
	var mu sync.Mutex
	var done []verdict
	doubts := make(map[string]string)
	try := func(s scenario) {
		asterisks, proxys := st.play(st.pbx, s), st.play(st.proxy, s)
		v, ok := st.compare(s, asterisks, proxys)
		mu.Lock()
		defer mu.Unlock()
		if ok {
			done = append(done, v)
		} else {
			doubts[s.name] = proxys.difference(asterisks)
		}
	}
	judge := func(s scenario) {
		v := st.judge(s)
		mu.Lock()
		defer mu.Unlock()
		if v.unexplained == "" {
			v.doubt = doubts[s.name]
		}
		done = append(done, v)
	}
	each := func(atOnce int, some []scenario, f func(scenario)) {
		inTurns(tb, atOnce, len(some), func(_ testing.TB, i int) { f(some[i]) })
	}
	alone, others := split(all, func(s scenario) bool { return s.alone })
	each(atOnce, others, try)
	each(1, alone, try)

	doubtful := func(s scenario) bool { return doubts[s.name] != "" }
	alone, _ = split(alone, doubtful)
	others, _ = split(others, doubtful)
	st.calm = 4 * pauseFor
	each(atLeisure, others, judge)
	each(1, alone, judge)
	return done
}

// split divides scenarios into those that are something and those that are not.
func split(all []scenario, is func(scenario) bool) (some, others []scenario) {
	for _, s := range all {
		if is(s) {
			some = append(some, s)
		} else {
			others = append(others, s)
		}
	}
	return some, others
}

// compare compares the proxy's answer with Asterisk's, changed by the table of
// differences; ok is false when they differ and the table does not say how.
func (st *stage) compare(s scenario, asterisks, proxys outcome) (v verdict, ok bool) {
	v.scenario = s
	if asterisks.same(proxys) {
		return v, true
	}
	for i := range differences {
		d := &differences[i]
		if d.only != 0 && d.only != st.major || !d.in.MatchString(s.name) {
			continue
		}
		changed := asterisks
		changed.took += d.later
		if d.proxy != nil {
			changed.text = d.proxy(asterisks.text)
		}
		if changed != asterisks {
			asterisks = changed
			v.deliberate = append(v.deliberate, d)
		}
	}
	return v, asterisks.same(proxys)
}

// judge plays a scenario that seems to differ again: directly, through the proxy, and
// directly. It differs when it does so three times while the two direct
// answers are the same.
func (st *stage) judge(s scenario) verdict {
	var last string
	struck := 0
	for range rounds {
		direct, through := st.play(st.pbx, s), st.play(st.proxy, s)
		v, ok := st.compare(s, direct, through)
		if ok {
			return v
		}
		if again := st.play(st.pbx, s); !again.same(direct) {
			last = "Asterisk itself answers otherwise each time: " + again.difference(direct)
			continue
		}
		last = "the proxy's answer, then Asterisk's, differ " + through.difference(direct)
		if struck++; struck == strikes {
			break
		}
	}
	return verdict{scenario: s, unexplained: last}
}

// release is the version of a PBX without what the packager adds.
func release(p *asterisk.PBX) string {
	version, _, _ := strings.Cut(p.Version(), "~")
	version, _, _ = strings.Cut(version, "+")
	return version
}

// summarise reports a run, and fails the test for what the table of differences does not
// explain, and for what it says that is not so.
func summarise(tb testing.TB, version string, major int, all []verdict) {
	tb.Helper()
	if len(all) == 0 {
		tb.Errorf("Asterisk %s: no scenario was played", version)
		return
	}
	equal, deliberate, unexplained, doubts := 0, 0, 0, 0
	used := make(map[*difference]bool)
	reasons := make(map[string]int)
	for _, v := range all {
		if v.doubt != "" {
			doubts++
			tb.Logf("%s: %s differed in one playing, and not again: %s", version, v.scenario.name, v.doubt)
		}
		switch {
		case v.unexplained != "":
			unexplained++
			tb.Errorf("%s: %s: %s", version, v.scenario.name, v.unexplained)
		case len(v.deliberate) == 0:
			equal++
		default:
			deliberate++
			for _, d := range v.deliberate {
				used[d] = true
				reasons[d.why]++
			}
		}
	}
	report(tb, "differential: Asterisk %s: %d scenarios played, %d equal, %d deliberately different, %d unexplained; %d differed at first, and not again",
		version, len(all), equal, deliberate, unexplained, doubts)
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		report(tb, "  %4d × %s", reasons[why], why)
	}
	for i := range differences {
		if d := &differences[i]; !used[d] && (d.only == 0 || d.only == major) {
			tb.Errorf("%s: nothing differs as the table says of %s: remove the entry or mend it (%s)", version, d.in, d.why)
		}
	}
}

// A difference is one thing that the proxy answers otherwise than Asterisk, to a user with
// hardening = no.
type difference struct {
	in    *regexp.Regexp                // The names of the scenarios.
	only  int                           // The release, 0 for each.
	why   string                        // For the report: what differs, and the reason.
	proxy func(asterisks string) string // Makes the proxy's answer of Asterisk's; nil: it is the same.
	later time.Duration                 // How much later the proxy's answer ends.
}
