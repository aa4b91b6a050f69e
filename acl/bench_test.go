package acl

import (
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// commonActions are allowed to a user with the rules of a CRM.
var commonActions = map[string]*ami.Action{
	"Originate": ami.NewAction("Action: Originate", "ActionID: 1", "Channel: Local/100@from-crm", "Context: from-crm",
		"Exten: 0123456789", "Priority: 1", "Timeout: 30000", "Async: true", "Variable: CRM_CALL=1234,CRM_AGENT=100"),
	"Redirect": ami.NewAction("Action: Redirect", "ActionID: 1", "Channel: PJSIP/100-00000001", "Context: from-crm", "Exten: 100", "Priority: 1"),
	"QueueAdd": ami.NewAction("Action: QueueAdd", "ActionID: 1", "Queue: sales-1", "Interface: PJSIP/200", "Penalty: 1"),
	"Getvar":   ami.NewAction("Action: Getvar", "ActionID: 1", "Channel: PJSIP/100-00000001", "Variable: CRM_CALL"),
	"Command":  ami.NewAction("Action: Command", "ActionID: 1", "Command: queue show sales-1"),
	"Ping":     ami.NewAction("Action: Ping", "ActionID: 1"),
}

// An allowed action costs no allocation, but for headers that are set. The user
// is one whom hardening looks at.
func TestMayWithRulesAllocatesNothing(t *testing.T) {
	p := New(Options{Write: ami.ClassAll &^ ami.ClassSystem, Hardening: true, Rules: rulesOf(t, crmRules...)})
	for name, a := range commonActions {
		info, _ := ami.LookupAction(name)
		if v := p.May(a, info.Classes, debian); !v.Allowed() {
			t.Errorf("%s: %+v", name, v)
		}
		if n := testing.AllocsPerRun(100, func() { p.May(a, info.Classes, debian) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMayWithRules(b *testing.B) {
	p := New(Options{Write: ami.ClassAll &^ ami.ClassSystem, Hardening: true, Rules: rulesOf(b, crmRules...)})
	for name, a := range commonActions {
		info, _ := ami.LookupAction(name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.May(a, info.Classes, debian)
			}
		})
	}
}
