package fence

import (
	"fmt"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

// confined are a user of acme, the calls on his PBX, and common actions that he may send.
func confined(tb testing.TB) (*acl.Policy, *Index, map[string]*ami.Action) {
	x := New(50_000)
	x.SetTenants(twoTenants(tb))
	for i := range 10_000 {
		id := fmt.Sprint("1795338405.", i)
		x.Learn(event("Newchannel", channelLines("PJSIP/a-"+id, "acme-in", id, id)), nil)
	}
	const channel = "Channel: PJSIP/a-1795338405.77"
	actions := map[string]*ami.Action{}
	for _, lines := range [][]string{
		{"Originate", "Channel: Local/100@acme-in", "Context: acme-in", "Exten: 0123456789", "Priority: 1", "Timeout: 30000",
			"Async: true", "ChannelId: crm-4711", "Variable: CALLERID(name)=Acme,CDR(userfield)=4711"},
		{"Redirect", channel, "Context: acme-in", "Exten: 100", "Priority: 1"},
		{"QueueAdd", "Queue: acme-q", "Interface: Local/100@acme-in", "Penalty: 1"},
		{"Getvar", channel, "Variable: CHANNEL(state)"},
		{"Hangup", channel, "Cause: 16"},
		{"CoreShowChannels"},
	} {
		actions[lines[0]] = ami.NewAction(append([]string{"Action: " + lines[0], "ActionID: 1"}, lines[1:]...)...)
	}
	return acl.New(acl.Options{Write: ami.ClassAll, Fence: acl.NewFence([]string{"acme"}, nil)}), x, actions
}

// To confine an allowed action costs no allocation.
func TestConfineAllocatesNothing(t *testing.T) {
	p, x, actions := confined(t)
	for name, a := range actions {
		if v, hide := p.Confine(a, x); !v.Allowed() || len(hide) > 0 {
			t.Errorf("%s: %+v, hidden: %q", name, v, hide)
		}
		if n := testing.AllocsPerRun(100, func() { p.Confine(a, x) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkConfine(b *testing.B) {
	p, x, actions := confined(b)
	for name, a := range actions {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Confine(a, x)
			}
		})
	}
}
