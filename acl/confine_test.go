package acl

import (
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// grounds is a PBX on which all that has acme in its name is acme's, and the rest
// beta's.
type grounds struct{ acme *Tenant }

func (grounds) whose(name string) []string {
	if strings.Contains(name, "acme") {
		return []string{"acme"}
	}
	return []string{"beta"}
}

func (g grounds) Channel(name string) []string       { return g.whose(name) }
func (g grounds) Bridge(id string) []string          { return g.whose(id) }
func (g grounds) Thing(_ Mark, name string) []string { return g.whose(name) }
func (g grounds) Linked(id string) bool              { return id == "linked" }
func (g grounds) MayDial(dial string, _ []string) bool {
	return g.acme.MayDial(dial)
}

func acmeTenant(t testing.TB) *Tenant {
	tenant := NewTenant("Acme")
	for m, line := range map[Mark]string{ByContext: "acme-*, default", ByChannel: "PJSIP/acme-*"} {
		if err := tenant.Add(m, line); err != nil {
			t.Fatal(err)
		}
	}
	return tenant
}

func acmePolicy(t testing.TB, rules ...string) *Policy {
	o := Options{Name: "u", Write: ami.ClassAll, Fence: NewFence([]string{"ACME"}, nil)}
	if len(rules) > 0 {
		o.Rules = &Rules{}
		for _, line := range rules {
			key, value, _ := strings.Cut(line, " = ")
			if err := o.Rules.Add("f:1", key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return New(o)
}

// The reason says what to do about it: it is all that explain and the audit log tell.
func TestConfineReasons(t *testing.T) {
	for action, want := range map[string]string{
		"CoreStatus":                       "tenant: the action cannot be confined, and no allowaction names it",
		"QueueLog|Queue: acme":             "tenant: the action cannot be confined, and no allowaction names it",
		"QueuePause|Paused: 1":             "tenant: without Queue it is about more than the fence",
		"Atxfer|Channel: acme":             "tenant: without Context it is about more than the fence",
		"Redirect|Context: beta":           "tenant: Context leads out of the fence",
		"Setvar|Channel: acme|Variable: X": "tenant: Variable leads out of the fence, or is of the dialplan and no allowheader says which it may be",
	} {
		v, _ := acmePolicy(t).Confine(ami.NewAction(strings.Split("Action: "+action, "|")...), grounds{acmeTenant(t)})
		if v.Reason != want {
			t.Errorf("%s: %q", action, v.Reason)
		}
	}
}

func TestConfine(t *testing.T) {
	const no = "refused"
	for _, c := range []struct{ action, want string }{
		{"Hangup|Channel: PJSIP/acme-1", ""},
		{"Hangup|Channel: PJSIP/2", "Channel"},
		{"Hangup|Channel: /acme/", no},
		{"Hangup", ""},
		{"Hangup|channel: PJSIP/2|Channel: PJSIP/acme-1", "Channel"},
		{"Bridge|Channel1: acme|Channel2: x", "Channel2"},
		{"Bridge|Channel1: y|Channel2: x", "Channel1,Channel2"},
		{"BridgeKick|BridgeUniqueid: b|Channel: acme", "BridgeUniqueid"},
		{"Redirect|Channel: acme|Context: acme-in", ""},
		{"Redirect|Channel: acme|Context: other", no},
		{"Redirect|Channel: acme|Context: acme-in|ExtraChannel: x|ExtraContext: acme-in", "ExtraChannel"},
		{"Redirect|Channel: acme|Context: acme-in|ExtraContext: other", no},
		{"BlindTransfer|Channel: acme|Exten: 1", no}, // in the context that the channel is in, which may be another's
		{"Atxfer|Channel: acme|Exten: 1", no},
		{"Atxfer|Channel: acme|Context: acme-in|Exten: 1", ""},
		{"PlayDTMF|Channel: acme|Digit: 1", ""},
		{"PlayDTMF|Channel: acme|Digit: 1|Receive: true", no},
		{"Getvar|Channel: acme|Variable: X", no}, // of the channel, or of the whole PBX
		{"Getvar|Channel: acme|Variable: X:0,CHANNEL(state)x", no},
		{"Getvar|Channel: acme|Variable: CDR(dst,u)", ""},
		{"Getvar|Channel: acme|Variable: CALLERID(num)", ""},
		{"Getvar|Channel: acme|Variable: IMPORT(x,Y)", no},
		{"Getvar|Channel: acme|Variable: XCALLERID(num)", no},
		{"Getvar|Channel: acme|Variable: callerid(num)", no},
		{"Getvar|Variable: X", no},
		{"Getvar|Channel: |Channel: acme|Variable: X", no},
		{"Status|Channel: acme|Variables: CDR(dst),CHANNEL(state)", ""},
		{"Status|Channel: acme|Variables: CDR(dst),A", no},
		{"Status|Channel: acme|AllVariables: true", ""},
		{"Status|Variables: A,CDR(dst),SHARED(x,y)", no},
		{"Status|Variables: A,X-CDR(dst)", no},
		{"Setvar|Channel: acme|Variable: CHANNEL(language)|Value: de", ""},
		{"Setvar|Channel: acme|Variable: CHANNEL(after_bridge_goto)|Value: x", no},
		{"Setvar|Channel: acme|Variable: CHANNEL(accountcode)|Value: x", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Exten: 1", ""},
		{"Originate|Channel: Local/1@acme-in/n|Context: acme-in", ""},
		{"Originate|Channel: Local/1|Context: acme-in", ""},
		{"Originate|Channel: local/1@ACME-in|Context: acme-in", no},
		{"Originate|Channel: Local/1@other|Context: acme-in", no},
		{"Originate|Channel: Local/1@acme-in@other|Context: acme-in", no},
		{"Originate|Channel: Local/1/n@acme-in|Context: acme-in", ""}, // default: what is behind the slash are options
		{"Originate|Channel: Local/@acme-in|Context: acme-in", no},
		{"Originate|Channel: PJSIP/acme-1&PJSIP/2|Context: acme-in", no},
		{"Originate|Channel: PJSIP/2/sip:acme-1|Context: acme-in", no},
		{"Originate|Channel: PJSIP/acme-1/sip:2@x|Context: acme-in", no},
		{"Originate|Channel: PJSIP/acme-1|Context: other", no},
		{"Originate|Channel: PJSIP/acme-1|Application: ChanSpy|Data: x", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Account: other", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|PreDialGoSub: x", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: 1795344096.34", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: 17953440", no}, // the beginning of one, to Asterisk 22
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: 1795344096.", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|OtherChannelId: pbx1-1795344096.0", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: linked", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: x|OtherChannelId: linked", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|ChannelId: crm-4711.1|OtherChannelId: 6f1c-11e9", ""},
		{`Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: CALLERID(num)=1|Variable: PJSIP_HEADER(add,X-A)=b,CDR(userfield)=7`, ""},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: CALLERID(num)=1,DIAL_OPTIONS=G(other^1^1)", no}, // the dialplan may go by it
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: A=1|Variable: B=2,SHARED(X,PJSIP/2)=y", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: QUEUE_MEMBER(q,paused,PJSIP/2)=1", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: GLOBAL(X,CALLERID(num)=1", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: __TRANSFER_CONTEXT=other", no},
		{`Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: A=1, "FORWARD\_CONTEXT"=other`, no},
		{`Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: CDR(acc\ountcode)=beta`, no},
		{"Setvar|Channel: acme|Variable: _GOTO_ON_BLINDXFR|Value: other^1^1", no},
		{"Setvar|Channel: acme|Variable: CDR(AccountCode)|Value: beta", no},
		{`Setvar|Channel: acme|Variable: CDR(acc\ountcode)|Value: beta`, no},
		{`Setvar|Channel: acme|Variable: CDR("acc"ountcode)|Value: beta`, no},
		{"Setvar|Channel: acme|Variable: _CONNECTED_LINE_SEND_SUB|Value: other,1,1", no},
		{"Setvar|Channel: acme|Variable: REDIRECTING_CALLEE_SEND_MACRO|Value: other", no},
		{"Setvar|Channel: acme|Variable: PARKINGLOT|Value: other", no},
		{"Setvar|Channel: acme|Variable: X|Value: 1", no},
		{"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: __GOSUB_RESULT=GOTO:other^1^1", no},
		{"Originate|Channel: PJSIP/acme-1|Exten: 1", no},
		{"Monitor|Channel: acme|File: acme", ""},
		{"Monitor|Channel: acme|File: /var/spool/asterisk/voicemail/default/100/unavail", no},
		{"MixMonitor|Channel: acme|File: a.wav|Options: b", ""},
		{"MixMonitor|Channel: acme|File: a.wav,,touch x", no},
		{"MixMonitor|Channel: acme|File: a.wav|Options: ,touch x", no},
		{"MixMonitor|Channel: acme|File: a.wav|Options: m(100@default)", no},
		{"MixMonitor|Channel: acme|File: a.wav|Command: touch x", no},
		{"ConfbridgeStartRecord|Conference: acme|RecordFile: a.wav,,touch x", no},
		{"QueueLog|Queue: acme|Event: X|Uniqueid: 1", no},
		{"ExtensionState|Exten: 1|Context: acme-in", ""},
		{"ExtensionState|Exten: 1", "Context"},
		{"QueueAdd|Queue: acme|Interface: PJSIP/acme-1", ""},
		{"QueueAdd|Queue: other|Interface: PJSIP/acme-1", "Queue"},
		{"QueueAdd|Queue: acme|Interface: PJSIP/2", no},
		{"QueueAdd|Queue: acme|Interface: PJSIP/acme-1|StateInterface: PJSIP/2", no},
		{"QueuePause|Interface: PJSIP/acme-1", no},
		{"QueuePause|Queue: acme|Interface: PJSIP/2", ""},
		{"QueueReset", no},
		{"ConfbridgeKick|Conference: acme|Channel: all", ""},
		{"ConfbridgeKick|Conference: x|Channel: all", "Conference"},
		{"MailboxCount|Mailbox: 1@x", "Mailbox"},
		{"MWIUpdate|Mailbox: 1@x", no},
		{"PJSIPShowEndpoint|Endpoint: acme-1", ""},
		{"CoreShowChannels", ""},
		{"Command|Command: core show channels", no},
		{"DBGet|Family: acme", no}, {"GetConfig|Filename: acme", no}, {"AGI|Channel: acme|Command: EXEC", no},
		{"UserEvent|UserEvent: acme", no}, {"Agents", no}, {"CoreStatus", no}, {"Nonsense", no},
	} {
		lines := strings.Split("Action: "+c.action, "|")
		v, hide := acmePolicy(t).Confine(ami.NewAction(lines...), grounds{acmeTenant(t)})
		got := strings.Join(hide, ",")
		if !v.Allowed() {
			got = no
			if v.Refusal != denied || v.Reason == "" {
				t.Errorf("%s: %+v", c.action, v)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.action, got, c.want)
		}
	}
}

// A rule that names an action lets it out of the fence where nothing else can
// confine it; what names things outside, and functions that read them, stay inside.
func TestConfineNamed(t *testing.T) {
	p := acmePolicy(t, "allowaction = Command, Originate, Redirect, Getvar, AGI, H*, Q*")
	for action, want := range map[string]string{
		"Command|Command: core show channels":                      "",
		"Originate|Channel: PJSIP/2|Application: Playback":         "",
		"Originate|Channel: PJSIP/2|ChannelId: 1795344096.34":      "refused",
		"Originate|Channel: PJSIP/2|Variable: SHARED(X,PJSIP/2)=y": "refused",
		"Redirect|Channel: PJSIP/2|Context: other":                 "Channel",
		"Getvar|Channel: acme|Variable: IMPORT(x,Y)":               "refused",
		"Getvar|Variable: X":                                       "refused",
		"AGI|Channel: x":                                           "Channel",
		"Hangup|Channel: /x/":                                      "refused",
		"QueueRule":                                                "refused",
		"DBGet":                                                    "refused",
	} {
		v, hide := p.Confine(ami.NewAction(strings.Split("Action: "+action, "|")...), grounds{acmeTenant(t)})
		got := strings.Join(hide, ",")
		if !v.Allowed() {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
	// A variable that a rule names may be one of the whole PBX: the rule is why it may be read.
	p = acmePolicy(t, "allowaction = Getvar, Status", "allowheader(Getvar) = Channel: *", "allowheader(Getvar) = Variable: CRM_*", "allowheader(Status) = Variables: *",
		"allowaction = Originate, Setvar", "allowheader(Originate) = Channel: *", "allowheader(Originate) = Context: *",
		"allowheader(Originate) = Variable: A|__B|CALLERID(num)|FORWARD_CONTEXT", "allowheader(Setvar) = Channel: *", "allowheader(Setvar) = Variable: ?*")
	for action, want := range map[string]bool{
		`Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: A=x(y)=z,__B=c,CALLERID(num)=1|Variable: A=2`: true,
		"Originate|Channel: PJSIP/acme-1|Context: acme-in|Variable: A=1,FORWARD_CONTEXT=other":                    false,
		"Setvar|Channel: acme|Variable: X_PARKINGLOT|Value: other":                                                true,
		"Setvar|Channel: acme|Variable: PARKINGLOT|Value: other":                                                  false,
		"Getvar|Channel: acme|Variable: CRM_ID":                                                                   true, "Status|Variables: X": false, "Status|Variables: CDR(dst)": true,
	} {
		if v, _ := p.Confine(ami.NewAction(strings.Split("Action: "+action, "|")...), grounds{acmeTenant(t)}); v.Allowed() != want {
			t.Errorf("%s: %+v", action, v)
		}
	}
	p = acmePolicy(t, "allowaction = Command, Originate, Redirect, Getvar, AGI, H*, Q*")
	for name, want := range map[string]bool{"Command": true, "Hangup": true, "DBGet": false, "AGI": true, "QueueRule": false, "Login": true, "ListCommands": true} {
		if got := p.MayList(name, ami.ClassSystem); got != want {
			t.Errorf("ListCommands shows %s: %v", name, got)
		}
	}
	if acmePolicy(t).MayList("AGI", ami.ClassAGI) {
		t.Error("ListCommands shows AGI")
	}
}

func TestNoFence(t *testing.T) {
	v, hide := New(Options{}).Confine(ami.NewAction("Action: Command"), nil)
	if !v.Allowed() || len(hide) > 0 {
		t.Error(v, hide)
	}
}

// Every action of the table exists, and every bound is of a header.
func TestFencedTable(t *testing.T) {
	for name, bounds := range fenced {
		if info, ok := ami.LookupAction(name); !ok || info.Name != name {
			t.Errorf("there is no action %s", name)
		}
		for _, b := range bounds {
			if (b.header == "") != (b.kind == literally) {
				t.Errorf("%s: %+v", name, b)
			}
		}
	}
}

func eventFrame(lines ...string) ami.Frame {
	return ami.Frame(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func TestFenceLets(t *testing.T) {
	with := func(event, condition string) EventRule {
		r, err := LetEventWith(event, condition)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f := NewFence([]string{"a"}, []EventRule{
		LetEvent("PeerStatus"), with("PeerStatus", "Peer: PJSIP/acme-* | PJSIP/shared"), with("PeerStatus", "ChannelType: PJSIP"), LetEvent("Reload"),
	})
	for _, c := range []struct {
		want  bool
		lines []string
	}{
		{true, []string{"Event: PeerStatus", "Peer: PJSIP/acme-1", "ChannelType: PJSIP"}},
		{true, []string{"Event: PeerStatus", "Peer: PJSIP/shared", "ChannelType: PJSIP"}},
		{false, []string{"Event: PeerStatus", "Peer: PJSIP/acme-1"}},
		{false, []string{"Event: PeerStatus", "Peer: PJSIP/other", "Peer: PJSIP/acme-1", "ChannelType: PJSIP"}},
		{false, []string{"Event: peerstatus", "Peer: PJSIP/acme-1", "ChannelType: PJSIP"}},
		{true, []string{"Event: Reload"}},
		{true, []string{"Event: FullyBooted"}},
		{false, []string{"Event: Load"}},
	} {
		if got := f.Lets(eventFrame(c.lines...)); got != c.want {
			t.Errorf("%q: %v", c.lines, got)
		}
	}
}

func TestFenceAnd(t *testing.T) {
	rule, _ := LetEventWith("A", "X: 1")
	f := NewFence([]string{"a", "b"}, []EventRule{LetEvent("A"), LetEvent("B")})
	same := NewFence([]string{"B", "A"}, []EventRule{LetEvent("A"), LetEvent("B")})
	if f.And(nil) != f || (*Fence)(nil).And(f) != f || f.And(same) != f || f.And(NewFence([]string{"a", "b", "c"}, same.events)) != f {
		t.Error("a fence that confines no more makes another")
	}
	g := f.And(NewFence([]string{"b", "c"}, []EventRule{LetEvent("A"), rule, LetEvent("C")}))
	if got := g.Tenants(); !slices.Equal(got, []string{"b"}) {
		t.Error(got)
	}
	for want, lines := range map[bool][]string{true: {"Event: A", "X: 1"}, false: {"Event: A", "X: 2"}} {
		if g.Lets(eventFrame(lines...)) != want {
			t.Errorf("%q", lines)
		}
	}
	for _, name := range []string{"B", "C"} {
		if g.Lets(eventFrame("Event: " + name)) {
			t.Error(name)
		}
	}
	if again := g.And(f); again != g {
		t.Error("narrowed again by the same")
	}
}

func TestTenantHas(t *testing.T) {
	tenant := NewTenant("a", "East")
	for _, bad := range []string{"", "none", "a,", "a\x01", "*|b"} {
		if tenant.Add(ByQueue, bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := tenant.Add(ByQueue, "a-* , b"); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{"a-x": true, "b": true, "": false, "a": false, "a-x/y": false, "c": false} {
		if tenant.Has(ByQueue, value) != want || tenant.Has(ByContext, value) {
			t.Errorf("%q", value)
		}
	}
}
