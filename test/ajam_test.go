//go:build unix

package test

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ajam"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// The differential suite over HTTP: what clients ask is asked of a real Asterisk's web
// server and of ours before it, and what they get must be the same. The parts are
//
//	ajam_test.go           the course of a run, the verdict, the report
//	ajam_play_test.go      one playing: requests out, answers in, what varies
//	ajam_scenarios_test.go the scenarios
//	ajam_digest_test.go    those of Digest, and how a client shows a secret by it
//	ajam_known_test.go     the table of all deliberate differences

// startWeb serves a proxy's sessions over HTTP until the test ends, and returns where.
func startWeb(tb testing.TB, p *proxied, change func(*ajam.Options)) string {
	tb.Helper()
	o := ajam.Options{
		BindAddr: netip.MustParseAddrPort("127.0.0.1:0"), SessionTimeout: 60 * time.Second, SessionLimit: 4000,
		SessionInactivity: 30 * time.Second, SessionKeepAlive: 15 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	web, err := ajam.New(o, p.Server, zap.NewNop())
	if err != nil {
		tb.Fatal(err)
	}
	if err := web.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { web.Shutdown(stopLimit) })
	return web.Addrs()[0].String()
}

// TestWebAnswersAreThoseOfAsterisk plays all scenarios to the PBX's web server and to ours.
func TestWebAnswersAreThoseOfAsterisk(t *testing.T) {
	majors := []int{16, 22}
	var options []asterisk.Options
	for _, major := range majors {
		options = append(options, asterisk.Options{Major: major, Name: "pbx", WebEnabled: true, Users: differentialUsers, General: "authlimit = 1000\n"})
	}
	pbxs := starts(t, options...)
	results := make([]*webResults, len(majors))
	t.Run("releases", func(t *testing.T) {
		for i, major := range majors {
			t.Run(fmt.Sprint(major), func(t *testing.T) {
				t.Parallel()
				p := startProxy(t, "[general]\nhardening = no\nauthlimit = 1000\nauthfailures = 0\n"+differentialUsers, pbxs[i])
				p.waitUp()
				st := &webStage{major: major, pbx: pbxs[i].HTTPAddr(), proxy: startWeb(t, p, nil)}
				results[i] = st.run(t, append(webScenarios(), webDigestScenarios()...))
			})
		}
	})
	for i, major := range majors {
		results[i].summarise(t, release(pbxs[i]), major)
	}
}

// A webStage is a PBX with a web server, and ours with a proxy before it.
type webStage struct {
	major      int
	pbx, proxy string // Addresses.
}

// webResults are what came of a run.
type webResults struct {
	mu            sync.Mutex
	scenarios     int
	equal, played int
	unexplained   []string
	used          map[*webDifference]int
}

// run plays all scenarios by all their URIs: those that see nothing of each other many at a
// time, then the others.
func (st *webStage) run(tb testing.TB, all []webScenario) *webResults {
	tb.Helper()
	all = slices.DeleteFunc(all, func(s webScenario) bool { return s.only != 0 && s.only != st.major })
	r := &webResults{scenarios: len(all), used: make(map[*webDifference]int)}
	var alone, others []func()
	for _, s := range all {
		for _, uri := range s.uris() {
			play := func() { st.try(r, s, uri) }
			if s.alone {
				alone = append(alone, play)
			} else {
				others = append(others, play)
			}
		}
	}
	inTurns(tb, webAtOnce, len(others), func(_ testing.TB, i int) { others[i]() })
	inTurns(tb, 1, len(alone), func(_ testing.TB, i int) { alone[i]() })
	return r
}

const (
	webAtOnce = 8 // Scenarios played at a time; some only wait for a second.
	webRounds = 3 // Playings of a scenario that seems to differ.
)

// try plays a scenario by one URI. It differs when it does so in all rounds.
func (st *webStage) try(r *webResults, s webScenario, uri string) {
	var last string
	for range webRounds {
		direct, through := playWeb(st.pbx, uri, s), playWeb(st.proxy, uri, s)
		if strings.HasSuffix(uri, "xml") {
			if bad := notXML(through); bad != "" {
				last = "our XML is none: " + bad
				continue
			}
		}
		wanted, used := direct, []*webDifference(nil)
		for i := range webDifferences {
			d := &webDifferences[i]
			if d.only != 0 && d.only != st.major || d.in != nil && !d.in.MatchString(s.name+" "+uri) {
				continue
			}
			if changed := d.proxy(wanted); changed != wanted {
				wanted, used = changed, append(used, d)
			}
		}
		if wanted != through {
			last = firstDifference([]byte(wanted), []byte(through))
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.played++
		if !slices.ContainsFunc(used, func(d *webDifference) bool { return d.in != nil }) {
			r.equal++
		}
		for _, d := range used {
			r.used[d]++
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.played++
	r.unexplained = append(r.unexplained, s.name+" by "+uri+": "+last)
}

// summarise reports a run, and fails the test for what the table of differences does not
// explain, and for what it says that is not so.
func (r *webResults) summarise(tb testing.TB, version string, major int) {
	tb.Helper()
	if r.played == 0 {
		tb.Errorf("Asterisk %s: no scenario was played", version)
		return
	}
	slices.Sort(r.unexplained)
	for _, u := range r.unexplained {
		tb.Errorf("%s: %s", version, u)
	}
	report(tb, "differential over HTTP: Asterisk %s: %d scenarios, %d playings, %d equal but for the headers of all answers, %d deliberately different, %d unexplained",
		version, r.scenarios, r.played, r.equal, r.played-r.equal-len(r.unexplained), len(r.unexplained))
	reasons := make(map[string]int)
	for d, n := range r.used {
		reasons[d.why] += n
	}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		report(tb, "  %4d × %s", reasons[why], why)
	}
	for i := range webDifferences {
		if d := &webDifferences[i]; r.used[d] == 0 && (d.only == 0 || d.only == major) {
			tb.Errorf("%s: nothing differs as the table says of %v: remove the entry or mend it (%s)", version, d.in, d.why)
		}
	}
}

// A webDifference is one thing that the proxy answers otherwise than Asterisk.
type webDifference struct {
	in    *regexp.Regexp // Names of scenarios, with a blank and the URI; nil: of all.
	only  int            // The release, 0 for each.
	why   string         // For the report: what differs, and the reason.
	proxy func(asterisks string) string
}
