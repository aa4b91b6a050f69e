package acl

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

func TestMayNeedsAnyClass(t *testing.T) {
	reload := ami.NewAction("Action: Reload")
	tests := []struct {
		name             string
		write, authority ami.Class
		want             bool
	}{
		{"none asked, none held", ami.ClassNone, ami.ClassNone, true},
		{"one of two", ami.ClassConfig, ami.ClassConfig | ami.ClassSystem, true},
		{"the other of two", ami.ClassSystem, ami.ClassConfig | ami.ClassSystem, true},
		{"another", ami.ClassCall, ami.ClassConfig | ami.ClassSystem, false},
		{"none held", ami.ClassNone, ami.ClassConfig, false},
		{"all held", ami.ClassAll, ami.ClassConfig, true},
		{"unknown class, all held", ami.ClassAll, ami.ClassAll, true},
		{"unknown class, nearly all held", ami.ClassAll &^ ami.ClassDTMF, ami.ClassAll, false},
	}
	for _, hardening := range []bool{false, true} {
		for _, test := range tests[1:] {
			p := New(Options{Write: test.write, Hardening: hardening})
			want := "Permission denied"
			if test.want {
				want = ""
			}
			if got := p.May(reload, test.authority, debian).Refusal; got != want {
				t.Errorf("%s, hardening %v: %q", test.name, hardening, got)
			}
			if got := p.MayList("Reload", test.authority); got != test.want {
				t.Errorf("MayList: %s, hardening %v: %v", test.name, hardening, got)
			}
		}
	}
	if got := New(Options{}).May(reload, ami.ClassNone, debian).Refusal; got != "" {
		t.Errorf("without hardening the PBX alone decides: %q", got)
	}
}

func TestAuthority(t *testing.T) {
	const none = ami.ClassNone
	tests := []struct {
		name, action    string
		pbx, want, soft ami.Class // soft is without hardening
	}{
		{"both agree", "Originate", ami.ClassOriginate, ami.ClassOriginate, ami.ClassOriginate},
		{"in any case", "oRIGINATE", ami.ClassOriginate | ami.ClassCall, ami.ClassOriginate, ami.ClassOriginate | ami.ClassCall},
		{"the newest is stricter", "ConfbridgeStopRecord", ami.ClassCall | ami.ClassSystem, ami.ClassSystem, ami.ClassCall | ami.ClassSystem},
		{"the PBX is stricter", "DBGet", ami.ClassSystem, ami.ClassSystem, ami.ClassSystem},
		{"the PBX asks for nothing", "MixMonitor", none, ami.ClassSystem, none},
		{"the newest asks for nothing", "QueueStatus", ami.ClassAgent, ami.ClassAgent, ami.ClassAgent},
		{"neither, and it only reads", "QueueStatus", none, none, none},
		{"nothing in common", "Originate", ami.ClassCall, ami.ClassAll, ami.ClassCall},
		{"unknown to the newest", "FooBar", ami.ClassCall, ami.ClassCall, ami.ClassCall},
		{"unknown, no class", "FooBar", none, none, none},
		{"legacy", "SIPpeers", ami.ClassSystem, ami.ClassSystem, ami.ClassSystem},
		{"legacy, no class", "Queues", none, none, none},
		{"legacy, the PBX asks for nothing", "Monitor", none, ami.ClassCall, none},
		{"legacy, changes something", "ZapHangup", none, ami.ClassCall, none},
		{"classes unknown to us", "Originate", ami.ClassAll, ami.ClassAll, ami.ClassAll},
		{"changes something, the PBX has a class", "QueueReset", ami.ClassSystem, ami.ClassSystem, ami.ClassSystem},
	}
	for _, test := range tests {
		if got := New(Options{Hardening: true}).Authority(test.action, test.pbx); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		if got := New(Options{}).Authority(test.action, test.pbx); got != test.soft {
			t.Errorf("%s, without hardening: %v, want %v", test.name, got, test.soft)
		}
	}
}

// Every action that asks for no class in the newest Asterisk that has it is either
// on this list, with the class that hardening makes it need, or only reads or acts
// on the session itself. A new one in the table has to be judged.
func TestAuthorityOfActionsWithoutClass(t *testing.T) {
	want := map[ami.Class]string{
		ami.ClassAgent: "QueueChangePriorityCaller QueueReload QueueReset QueueWithdrawCaller",
		ami.ClassCall: "BridgeDestroy BridgeKick DAHDIDialOffhook DAHDIDNDoff DAHDIDNDon " +
			"DAHDIHangup DAHDITransfer ZapDialOffhook ZapDNDoff ZapDNDon ZapHangup ZapTransfer",
		ami.ClassSystem: "BridgeTechnologySuspend BridgeTechnologyUnsuspend DAHDIRestart " +
			"PRIDebugFileUnset PRIDebugSet ZapRestart",
		ami.ClassNone: "BridgeInfo BridgeList BridgeTechnologyList Challenge DAHDIShowChannels " +
			"DAHDIShowStatus DataGet Events ListCommands Login Logoff Ping PRIShowSpans QueueRule " +
			"Queues QueueStatus QueueSummary RptLocalNodes RptStatus WaitEvent ZapShowChannels",
	}
	judged := map[string]ami.Class{}
	for class, names := range want {
		for _, name := range strings.Fields(names) {
			judged[name] = class
		}
	}
	hard := New(Options{Hardening: true})
	for _, info := range ami.Actions() {
		if info.Classes != ami.ClassNone {
			continue
		}
		class, ok := judged[info.Name]
		if !ok {
			t.Errorf("%s needs no class and is not judged", info.Name)
		}
		if harmless := info.Reads || info.Kind == ami.KindSession; harmless != (class == ami.ClassNone) {
			t.Errorf("%s needs %v, but in the table of actions it reads: %v", info.Name, class, info.Reads)
		}
		delete(judged, info.Name)
		if got := hard.Authority(strings.ToUpper(info.Name), ami.ClassNone); got != class {
			t.Errorf("%s: %v, want %v", info.Name, got, class)
		}
		a := ami.NewAction("Action: " + info.Name)
		if got := hard.May(a, ami.ClassNone, debian).Refusal == ""; got != (class == ami.ClassNone) {
			t.Errorf("May %s: %v", info.Name, got)
		}
		if got := New(Options{}).May(a, ami.ClassNone, debian).Refusal; got != "" {
			t.Errorf("May %s without hardening: %q", info.Name, got)
		}
		if got := New(Options{Write: class, Hardening: true}).May(a, ami.ClassNone, debian).Refusal; got != "" {
			t.Errorf("May %s with %v: %q", info.Name, class, got)
		}
	}
	for name := range judged {
		t.Errorf("%s is not in the table", name)
	}
}

// Hardening never grants what the PBX, or the newest Asterisk, would refuse.
func TestHardeningOnlyRestricts(t *testing.T) {
	table := ami.Actions()
	someClass := rapid.Custom(func(t *rapid.T) ami.Class {
		var c ami.Class
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			c |= rapid.SampledFrom([]ami.Class{ami.ClassSystem, ami.ClassCall, ami.ClassAgent,
				ami.ClassReporting, ami.ClassOriginate, ami.ClassAll}).Draw(t, "class")
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		info := rapid.SampledFrom(table).Draw(t, "action")
		write, pbx := someClass.Draw(t, "write"), someClass.Draw(t, "pbx")
		if !New(Options{Write: write, Hardening: true}).MayList(info.Name, pbx) {
			return
		}
		soft := New(Options{Write: write})
		if !soft.MayList(info.Name, pbx) {
			t.Fatalf("%s: the PBX (%v) refuses %v", info.Name, pbx, write)
		}
		if !info.Legacy && !soft.MayList(info.Name, info.Classes) {
			t.Fatalf("%s: the newest Asterisk (%v) refuses %v", info.Name, info.Classes, write)
		}
	})
}

// An action that is not in the table is judged by its class alone, and the
// order of the tests is: class, control characters, second checks.
func TestMayOrder(t *testing.T) {
	hard := New(Options{Write: ami.ClassCall, Hardening: true})
	tests := []struct {
		text      string
		authority ami.Class
		want      string
	}{
		{"Action: FooBar\nVariable: SHELL\n\n", ami.ClassCall, ""},
		{"Action: FooBar\n\n", ami.ClassNone, ""},
		{"Action: FooBar\n\n", ami.ClassSystem, "Permission denied"},
		{"Action: Getvar\nVariable: SHELL\n\n", ami.ClassCall, "GetVar Access Forbidden: Variable"},
		{"Action: Getvar\nVariable: SHELL\nX: \x01\n\n", ami.ClassCall, "Permission denied"},
		{"Action: Getvar\nVariable: SHELL\n\n", ami.ClassSystem, "Permission denied"},
		{"Action:\nAction: gETVAR\nvariable:SHELL\nAction: Ping\n\n", ami.ClassCall, "GetVar Access Forbidden: Variable"},
	}
	for _, test := range tests {
		a, err := ami.ParseAction(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := hard.May(a, test.authority, debian).Refusal; got != test.want {
			t.Errorf("%q, %v: %q", test.text, test.authority, got)
		}
	}
}

func TestControlCharacters(t *testing.T) {
	hard, soft := New(Options{Write: ami.ClassAll, Hardening: true}), New(Options{Write: ami.ClassAll})
	for _, value := range []string{"a\rb", "a\r\r", "\x01", "\x1b[2J", "\x7f"} {
		a, err := ami.ParseAction("Action: QueueStatus\nQueue: " + value + "\n\n")
		if err != nil {
			t.Fatal(err)
		}
		if got := hard.May(a, ami.ClassNone, debian).Refusal; got != "Permission denied" {
			t.Errorf("%q: %q", value, got)
		}
		if got := soft.May(a, ami.ClassNone, debian).Refusal; got != "" {
			t.Errorf("%q without hardening: %q", value, got)
		}
	}
	for _, value := range []string{"a\tb", "é", "\xff"} {
		if got := hard.May(ami.NewAction("Action: QueueStatus", "Queue: "+value), ami.ClassNone, debian).Refusal; got != "" {
			t.Errorf("%q: %q", value, got)
		}
	}
}
