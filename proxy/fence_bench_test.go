package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// fencedFanout are n sessions of 50 users: of none that has a fence, of one
// tenant all, or of one each.
func fencedFanout(tb testing.TB, n int, tenants string) (p *pbx, events []*backend.Event, drain func()) {
	const count = 50
	var users strings.Builder
	for i := range count {
		fmt.Fprintf(&users, "[tenant:t%d]\ncontext = t%d-*\n[u%d]\nsecret = x\nread = all\n", i, i, i)
		switch tenants {
		case "one":
			users.WriteString("tenant = t0\n")
		case "each":
			fmt.Fprintf(&users, "tenant = t%d\n", i)
		}
	}
	desk := deskSession(tb, users.String(), "u0", false)
	p = desk.srv.now().pbxs[0]
	if tenants == "none" {
		p.setTenants(nil)
	}
	sessions := make([]*Session, n)
	for i := range sessions {
		sessions[i] = desk.srv.deskSession(tb, fmt.Sprintf("u%d", i%count), false)
		sessions[i].audience.Store(desk.srv.now().audiences[sessions[i].user])
		p.subscribe(sessions[i])
	}
	for i := range 1000 { // calls of all tenants; those of one are the first
		context := fmt.Sprintf("t%d-in", i%count)
		if tenants == "one" {
			context = "t0-in"
		}
		f := ami.Frame(call("Newchannel", fmt.Sprintf("PJSIP/x-%08x", i), context, fmt.Sprint(i)))
		p.calls.Learn(f, nil)
		f = ami.Frame(call("VarSet", fmt.Sprintf("PJSIP/x-%08x", i), context, fmt.Sprint(i), "CallerIDNum: 100", "CallerIDName: Alice",
			"ConnectedLineNum: 101", "ConnectedLineName: Bob", "Language: en", "AccountCode: ", "Priority: 1", "Variable: X", "Value: 1"))
		events = append(events, &backend.Event{Frame: f, Class: f.Class()})
	}
	batches, taken := make([][][]byte, n), make([]uint64, n)
	return p, events, func() {
		for i, s := range sessions {
			if s.events > taken[i] { // else Take waits
				batches[i], taken[i] = s.out.Take(batches[i]), s.events
			}
		}
	}
}

// BenchmarkFanoutFenced is the fan-out to 1,000 sessions of 50 users, without fences
// and with: of one tenant all, so that all get every event, or of one each.
func BenchmarkFanoutFenced(b *testing.B) {
	for _, tenants := range []string{"none", "one", "each"} {
		b.Run("tenants="+tenants, func(b *testing.B) {
			p, events, drain := fencedFanout(b, 1000, tenants)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Event(p.Backend, events[i%len(events)])
				if i++; i%10 == 0 {
					drain()
				}
			}
		})
	}
}
