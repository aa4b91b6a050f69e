package acl

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

// A narrowed policy grants what both of the two grant, and is the old one if
// that is all.
func TestNarrow(t *testing.T) {
	class := rapid.Custom(func(t *rapid.T) ami.Class {
		if rapid.Bool().Draw(t, "all") {
			return ami.ClassAll
		}
		return ami.Class(rapid.Uint32().Draw(t, "class")) & (ami.ClassSystem | ami.ClassCall | ami.ClassCommand | ami.ClassAgent)
	})
	frames := make([][]byte, 8)
	for i := range frames {
		frames[i] = fmt.Appendf(nil, "Event: E%d\r\nA: %d\r\n\r\n", i%4, i/4)
	}
	policy := rapid.Custom(func(t *rapid.T) *Policy {
		o := Options{
			Name: "u", Read: class.Draw(t, "read"), Write: class.Draw(t, "write"), Hardening: rapid.Bool().Draw(t, "hardening"),
		}
		for _, text := range rapid.SliceOfN(rapid.SampledFrom([]string{"!E1", "E2", "A: 1", "!A: 0", "E"}), 0, 2).Draw(t, "filters") {
			f, err := NewFilter(text)
			if err != nil {
				t.Fatal(err)
			}
			o.Filters = append(o.Filters, f)
		}
		o.Rules = &Rules{}
		for _, text := range rapid.SliceOfN(rapid.SampledFrom([]string{"*", "Command", "Q*", "X"}), 0, 2).Draw(t, "rules") {
			if err := o.Rules.Add("f:1", AllowAction, text); err != nil {
				t.Fatal(err)
			}
		}
		return New(o)
	})
	authorities := []ami.Class{ami.ClassNone, ami.ClassAll, ami.ClassSystem, ami.ClassCall | ami.ClassAgent}
	actions := []*ami.Action{ami.NewAction("Action: Command"), ami.NewAction("Action: QueueReset"), ami.NewAction("Action: X", "Y: a\x01")}
	rapid.Check(t, func(t *rapid.T) {
		narrow := policy.Draw(t, "login")
		all := []*Policy{narrow}
		for _, now := range rapid.SliceOfN(policy, 1, 4).Draw(t, "later") {
			before := narrow
			narrow = narrow.Narrow(now)
			all = append(all, now)
			if narrow.Narrow(now) != narrow || narrow.Narrow(before) != narrow {
				t.Fatal("lost the same again")
			}
		}
		for _, authority := range authorities {
			for _, a := range actions {
				want, named := true, true
				for _, p := range all {
					want = want && p.May(a, authority, Directories{}).Allowed()
					named = named && p.MayList(a.Name(), ami.ClassNone)
				}
				// Rights that are in different classes are in none together.
				if got := narrow.May(a, authority, Directories{}).Allowed(); got && !want {
					t.Fatalf("may %s with authority %v", a.Name(), authority)
				}
				if got := narrow.MayList(a.Name(), ami.ClassNone); got && !named {
					t.Fatalf("is shown %s", a.Name())
				}
			}
			want := true
			for _, p := range all {
				want = want && p.Sees(ami.ClassAll, authority)
			}
			if got := narrow.Sees(ami.ClassAll, authority); got != want && authority != ami.ClassNone {
				t.Fatalf("sees %v: %v", authority, got)
			}
		}
		for _, f := range frames {
			want := true
			for _, p := range all {
				want = want && p.Filters().Pass(f)
			}
			if got := narrow.Filters().Pass(f); got != want {
				t.Fatalf("%q passes: %v, want %v", f, got, want)
			}
		}
	})
}
