package acl

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

// rulesOf reads lines as a file has them.
func rulesOf(t testing.TB, lines ...string) *Rules {
	t.Helper()
	r := &Rules{}
	for i, line := range lines {
		key, value, _ := strings.Cut(line, " = ")
		if err := r.Add(fmt.Sprintf("f:%d", i+1), key, value); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	for _, f := range r.Check(nil) {
		if !f.Warning {
			t.Fatalf("%s: %s", lines[f.Line], f.Text)
		}
	}
	return r
}

var crmRules = []string{
	"allowaction = Originate, Redirect, Queue*, Getvar, Setvar, Command, Status, UserEvent, Hangup",
	"denyaction = QueueReset, queuere?oad",
	"allowheader(Originate) = Channel: PJSIP/1?? | Local/*@from-crm",
	"allowheader(Originate) = Context: from-crm",
	"allowheader(Originate) = Exten: *",
	"allowheader(Originate) = Priority: 1",
	"allowheader(Originate) = Application: Playback",
	"allowheader(Originate) = Data: *",
	"allowheader(Originate) = Variable: CRM_*",
	"setheader(Originate) = CallerID: \"CRM\" <100>",
	"allowheader(Redirect) = Context: from-crm",
	"allowheader(Redirect) = Channel: *",
	"allowheader(Redirect) = Exten: *",
	"allowheader(Redirect) = Priority: *",
	"allowheader(QueueAdd, QueuePause) = Queue: sales-*",
	"allowheader(QueueAdd, QueuePause) = Interface: PJSIP/2??",
	"allowheader(Command) = Command: core show channels | queue show *",
	"allowheader(Getvar, Setvar) = Variable: CRM_*",
	"allowheader(Getvar, Setvar) = Channel: *",
	"allowheader(Status) = Variables: CRM_*",
	"allowheader(UserEvent) = UserEvent: CRM*",
	"allowheader(UserEvent) = Note: *",
}

func crmPolicy(t testing.TB) *Policy {
	return New(Options{Name: "crm", Write: ami.ClassAll &^ ami.ClassSystem, Rules: rulesOf(t, crmRules...)})
}

// judgeAll asks about an action as a session does.
func judgeAll(p *Policy, a *ami.Action) Verdict {
	return p.May(p.Set(a), ami.ClassNone, Directories{Config: "/etc/asterisk"})
}

func TestRules(t *testing.T) {
	p := crmPolicy(t)
	originate := []string{"Action: Originate", "Channel: PJSIP/100", "Context: from-crm", "Exten: 100", "Priority: 1"}
	with := func(base []string, lines ...string) []string { return append(slices.Clone(base), lines...) }
	without := func(base []string, header string) []string {
		return slices.DeleteFunc(slices.Clone(base), func(l string) bool { return strings.HasPrefix(l, header+":") })
	}
	play := []string{"Action: Originate", "Channel: PJSIP/100", "Application: Playback", "Data: hello"}
	redirect := []string{"Action: Redirect", "Channel: PJSIP/100-1", "Context: from-crm", "Exten: 1", "Priority: 1"}
	tests := []struct {
		lines []string
		want  string // a part of the reason, "" if allowed
	}{
		{originate, ""},
		{with(originate, "Async: true", "TIMEOUT: 1", "earlymedia: 1", "Codecs: ulaw", "ActionID: 1", "Server: east", "no colon", ":x"), ""},
		{play, ""},
		{with(play, "Application: System"), "f:7: allowheader(Originate) = Application: Playback: it is \"System\""},
		{without(play, "Data"), ""},
		{with(without(play, "Application"), "Application: Record"), `Application: Playback: it is "Record"`},
		{with(without(play, "Application"), "Application: Playback "), "Application: Playback"},
		{with(without(play, "Application"), "Application:"), "Context: from-crm: it is missing"},
		{with(without(play, "Application"), "Application: \t", "Application: System"), "Context: from-crm: it is missing"},
		{with(play, "Context: from-crm", "Exten: 1", "Priority: 1"), ""},
		{with(play, "Context: internal"), `Context: from-crm: it is "internal"`},
		{with(originate, "Data: x"), ""},
		{with(originate, "Application:"), ""},
		{with(originate, "Application:", "Application: System"), ""}, // the second is not sent
		{without(originate, "Channel"), "Channel: PJSIP/1?? | Local/*@from-crm: it is missing"},
		{without(originate, "Context"), "Context: from-crm: it is missing"},
		{without(originate, "Exten"), ""},
		{without(originate, "Priority"), "Priority: 1: it is missing"},
		{with(originate, "Context: internal"), `it is "internal"`},
		{with(without(originate, "Context"), "Context:", "Context: from-crm"), "it is empty"},
		{with(without(originate, "Context"), "cOnTeXt:from-crm"), ""},
		{with(without(originate, "Context"), "Context : from-crm"), `no allowheader(Originate) names "Context "`},
		{with(without(originate, "Context"), " Context: from-crm"), `no allowheader(Originate) names " Context"`},
		{with(originate, "Account: 1"), `no allowheader(Originate) names "Account"`},
		{with(originate, "PreDialGoSub: x"), `names "PreDialGoSub"`},
		{with(originate, "ChannelId: x"), `names "ChannelId"`},
		{with(originate, "CallerID: \"Boss\" <1>"), ""}, // is replaced
		{with(originate, "Variable: CRM_A=1"), ""},
		{with(originate, "Variable: CRM_A=1,CRM_B=2", "variable: CRM_C=3"), ""},
		{with(originate, "Variable: CRM_A=1,x,,=3,CRM_B=FILE(/x)"), ""},
		{with(originate, "Variable:"), ""},
		{with(originate, "Variable: CRM_A=1,X=2"), `Variable: CRM_*: one is "X"`},
		{with(originate, "Variable: CRM_A=1", "Variable: X=2"), `one is "X"`},
		{with(originate, "Variable: CRM_A=\"1,FILE(/x)=2\""), `one is "FILE(/x)"`},
		{with(originate, "Variable: CRM_A=1|X=2"), `one is "X"`},
		{with(originate, "Variable: __CRM_A=1"), `one is "__CRM_A"`},
		{with(originate, "Variable: \"CRM_A=1"), "one is"},
		{with(originate, "Variable: CRM_A(x)=1"), `one is "CRM_A(x)"`},
		{with(originate, "Variable: CRM_A =1"), "one is"},
		{with(originate, "Variable: SHELL(id)=1"), "one is"},
		{redirect, ""},
		{with(redirect, "ExtraContext: internal"), `names "ExtraContext"`},
		{with(redirect, "ExtraChannel: x"), `names "ExtraChannel"`},
		{with(without(redirect, "Context"), "Context: internal"), `it is "internal"`},
		{[]string{"Action: QueueAdd", "Queue: sales-1", "Interface: PJSIP/200", "Penalty: 1", "MemberName: x", "Paused: 1"}, ""},
		{[]string{"Action: QueueAdd", "Queue: sales-1", "Interface: Local/1@x"}, "Interface"},
		{[]string{"Action: QueueAdd", "Queue: support", "Interface: PJSIP/200"}, "Queue: sales-*"},
		{[]string{"Action: QueueAdd", "Queue: sales-1", "Interface: PJSIP/200", "StateInterface: x"}, "StateInterface"},
		{[]string{"Action: QueuePause", "Interface: PJSIP/200", "Paused: true"}, "Queue: sales-*: it is missing"},
		{[]string{"Action: QueueRemove", "Queue: support", "Anything: x"}, ""}, // no allowheader is for it
		{[]string{"Action: QUEUEreset"}, "f:2: denyaction = QueueReset, queuere?oad"},
		{[]string{"Action: QueueReload"}, "f:2: denyaction"},
		{[]string{"Action: Ping"}, ""},
		{[]string{"Action: ListCommands"}, ""},
		{[]string{"Action: Filter"}, ""},
		{[]string{"Action: Park"}, `no allowaction names "Park"`},
		{[]string{"Action: originates"}, `no allowaction names "originates"`},
		{[]string{"Action: Originate "}, `no allowaction names "Originate "`},
		{[]string{"Action: Command", "Command: core show channels"}, ""},
		{[]string{"Action: Command", "Command: queue show sales"}, ""},
		{[]string{"Action: Command", "Command: queue show sales support"}, "Command"},
		{[]string{"Action: Command", "Command: queue show \"sales"}, "Command"},
		{[]string{"Action: Command", "Command: core stop now"}, `it is "core stop now"`},
		{[]string{"Action: Command"}, "it is missing"},
		{[]string{"Action: Command", "Command: core show channels", "Command: core stop now"}, `it is "core stop now"`},
		{[]string{"Action: Setvar", "Variable: CRM_A", "Value: x=y,z", "Channel: c"}, ""},
		{[]string{"Action: Setvar", "Variable: CRM_A,X", "Value: 1"}, `it is "CRM_A,X"`},
		{[]string{"Action: Setvar", "Variable: SHELL(x)", "Value: 1"}, "Variable"},
		{[]string{"Action: Getvar", "Variable: CRM_A", "Value: 1"}, `names "Value"`},
		{[]string{"Action: Status"}, ""},
		{[]string{"Action: Status", "Variables: CRM_A,CRM_B,"}, ""},
		{[]string{"Action: Status", "Variables: CRM_A,DB(x/y)"}, `one is "DB(x/y)"`},
		{[]string{"Action: Status", "AllVariables: true"}, "AllVariables"},
		{[]string{"Action: UserEvent", "UserEvent: CRMx", "Note: a", "Note: b"}, ""},
		{[]string{"Action: UserEvent", "UserEvent: CRMx", "Other: a"}, `names "Other"`},
		{[]string{"Action: UserEvent", "UserEvent: CRMx", "no colon"}, "a line without a header"},
		{[]string{"Action: UserEvent", "UserEvent: CRMx", "UserEvent: Boss"}, `it is "Boss"`},
		{[]string{"Action: Hangup", "Channel: /x/", "Anything: 1"}, ""},
	}
	for _, test := range tests {
		v := judgeAll(p, ami.NewAction(test.lines...))
		switch {
		case test.want == "" && !v.Allowed():
			t.Errorf("%q: %+v", test.lines, v)
		case test.want == "" && v.Reason == "":
			t.Errorf("%q: no reason", test.lines)
		case test.want != "" && (v.Refusal != "Permission denied" || !strings.Contains(v.Reason, test.want)):
			t.Errorf("%q: %+v, want %q", test.lines, v, test.want)
		}
	}
	if v := judgeAll(p, ami.NewAction("Action: Hangup")); v.Reason != "f:1: "+shorten(crmRules[0]) {
		t.Errorf("allowed by %q", v.Reason)
	}
	for name, want := range map[string]bool{"Originate": true, "QueueAdd": true, "QueueReset": false, "Park": false, "Ping": true, "ListCommands": true} {
		if got := p.MayList(name, ami.ClassNone); got != want {
			t.Errorf("MayList %s: %v", name, got)
		}
	}
	for name, want := range map[string]bool{"originate": true, "QueueAdd": false, "Park": false} {
		if got := p.Names(name); got != want {
			t.Errorf("Names %s: %v", name, got)
		}
	}
}

// Classes and second checks come before the rules, which only take away.
func TestRulesOnlyRestrict(t *testing.T) {
	rules := rulesOf(t, "allowaction = *")
	p := New(Options{Write: ami.ClassCall | ami.ClassOriginate, Rules: rules})
	for _, test := range []struct {
		lines     []string
		authority ami.Class
		want      Verdict
	}{
		{[]string{"Action: X"}, ami.ClassAgent, Verdict{"Permission denied", "write: needs agent"}},
		{[]string{"Action: Getvar", "Variable: SHELL(x)"}, ami.ClassCall, Verdict{"GetVar Access Forbidden: Variable", "write: needs system for SHELL or EVAL in Variable"}},
		{[]string{"Action: X"}, ami.ClassCall, Verdict{Reason: "f:1: allowaction = *"}},
	} {
		if got := p.May(ami.NewAction(test.lines...), test.authority, Directories{}); got != test.want {
			t.Errorf("%q: %+v", test.lines, got)
		}
	}
	if New(Options{Rules: &Rules{}}).rules != nil {
		t.Error("rules without a line are rules")
	}
}

// An Originate whose rules name no Context is one of applications only: without
// an Application, Asterisk would run the dialplan of the new channel.
func TestOriginateWithoutContext(t *testing.T) {
	p := New(Options{Write: ami.ClassOriginate, Rules: rulesOf(t, "allowaction = Originate",
		"allowheader(Originate) = Channel: *", "allowheader(Originate) = Application: Playback | none", "allowheader(Originate) = Data: *")})
	for _, lines := range [][]string{
		{"Action: Originate", "Channel: PJSIP/1", "Async: true"},
		{"Action: Originate", "Channel: PJSIP/1", "Application:"},
	} {
		if v := judgeAll(p, ami.NewAction(lines...)); !strings.Contains(v.Reason, "names Context") {
			t.Errorf("%q: %+v", lines, v)
		}
	}
	set := New(Options{Write: ami.ClassAll, Rules: rulesOf(t, "allowaction = Originate",
		"allowheader(Originate) = Channel: *", "setheader(Originate) = Application: Playback", "setheader(Originate) = Data: hello")})
	a := set.Set(ami.NewAction("Action: Originate", "Application: System", "application: Exec", "Channel: PJSIP/1"))
	if got := slices.Collect(a.Lines()); !slices.Equal(got, []string{"Action: Originate", "Channel: PJSIP/1", "Application: Playback", "Data: hello"}) {
		t.Errorf("%q", got)
	}
	if v := set.May(a, ami.ClassOriginate, Directories{}); !v.Allowed() {
		t.Errorf("%+v", v)
	}
}

// All lines must hold that are for an action.
func TestRulesOfGlobs(t *testing.T) {
	p := New(Options{Write: ami.ClassAll, Rules: rulesOf(t, "allowaction = Queue*",
		"allowheader(Queue*) = Queue: sales-*", "allowheader(QueueAdd) = Queue: *-1 | sales-2", "allowheader(QueueAdd) = Interface: none")})
	for queue, want := range map[string]bool{"sales-1": true, "sales-2": true, "sales-3": false, "support-1": false} {
		if v := judgeAll(p, ami.NewAction("Action: QueueAdd", "Queue: "+queue)); v.Allowed() != want {
			t.Errorf("%s: %+v", queue, v)
		}
	}
	if v := judgeAll(p, ami.NewAction("Action: QueueAdd", "Queue: sales-1", "Interface: x")); v.Allowed() {
		t.Errorf("%+v", v)
	}
}

func TestRuleErrors(t *testing.T) {
	for line, want := range map[string]string{
		"allowaction = ":                                  "missing",
		"allowaction = A,,B":                              "missing",
		"allowaction = A B":                               "not the name of an action",
		"allowaction = Ä":                                 "not the name of an action",
		"allowaction(X) = A":                              "no brackets",
		"denyaction = A;B":                                "not the name of an action",
		"allowheader = Channel: x":                        "for which actions",
		"allowheader(Originate = Channel: x":              "no )",
		"allowheader() = Channel: x":                      "missing",
		"allowheader(Originate) = Channel":                "no Header:",
		"allowheader(Originate) = : x":                    "no Header:",
		"allowheader(Originate) = Cha*: x":                "not the name of a header",
		"allowheader(Originate) = Channel:":               "empty pattern",
		"allowheader(Originate) = Channel: a | *":         "?*",
		"allowheader(Originate) = ActionID: x":            "not for rules",
		"allowheader(Originate) = server: x":              "not for rules",
		`allowheader(Originate) = Channel: \d`:            "backslash",
		"setheader(Originate) = Action: Command":          "not for rules",
		"setheader(Origin*) = CallerID: x":                "not the name of one action",
		"setheader(Originate) = CallerID: a\x01":          "control",
		"setheader(Originate) = CallerID: " + long(1020):  "longer",
		"setheader = CallerID: x":                         "for which actions",
		"frobnicate(Originate) = CallerID: x":             "no brackets",
		"allowheader(Originate, ) = Channel: PJSIP/1":     "missing",
		"allowheader(Orig\x01nate) = Channel: PJSIP/1":    "not the name of an action",
		"allowheader(Originate) = Chan nel: PJSIP/1":      "not the name of a header",
		"allowheader(Originate) = Channel: PJSIP/1\x7f":   "control",
		"setheader(Originate) = Variable\x00: CRM_A=1":    "not the name of a header",
		"allowheader(Originate)) = Channel: PJSIP/1":      "not the name of an action",
		"allowheader(Originate) = Channel: PJSIP/1||none": "empty pattern",
	} {
		key, value, _ := strings.Cut(line, " = ")
		r := &Rules{}
		if err := r.Add("f:1", key, value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		} else if len(r.lines)+len(r.allow)+len(r.deny)+len(r.headers)+len(r.sets) > 0 {
			t.Errorf("%s: taken in part", line)
		}
	}
}

// The manual has a row for every header that needs no line, and no others.
func TestManualNamesHarmlessHeaders(t *testing.T) {
	manual, err := os.ReadFile("../docs/manual/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(manual), "| action | headers that need no line |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	got := map[string][]string{}
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) != 4 {
			t.Fatalf("%q is no row", row)
		}
		for action := range strings.SplitSeq(cells[1], ",") {
			got[strings.TrimSpace(action)] = strings.Split(strings.ToLower(strings.NewReplacer("`", "", " ", "").Replace(cells[2])), ",")
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(harmless) {
		t.Errorf("the manual has %v, the rules %v", got, harmless)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestRulesCheck(t *testing.T) {
	for _, test := range []struct {
		lines []string
		line  int
		warn  bool
		want  string
	}{
		{[]string{"denyaction = Command"}, 0, true, "no action at all"},
		{[]string{"allowaction = *", "denyaction = Ping"}, 1, false, "Ping is the session's own"},
		{[]string{"allowaction = Queue*", "allowheader(originate) = Channel: x"}, 1, false, "no allowaction names Originate"},
		{[]string{"allowaction = Queue*", "setheader(Originate) = CallerID: x"}, 1, false, "no allowaction names Originate"},
		{[]string{"allowaction = *", "allowheader(Filter) = Filter: x"}, 1, false, "Filter is the session's own"},
		{[]string{"allowaction = Originate", "allowheader(Queue*) = Queue: x"}, 1, true, "queue* is no action"},
		{[]string{"allowaction = *", "allowheader(Hangup) = Channel: a", "allowheader(Getvar,hangup) = channel: b"}, 2, false, "a second line for channel of Hangup"},
		{[]string{"allowaction = *", "setheader(Hangup) = Cause: 16", "allowheader(Hangup) = cause: *"}, 2, false, "is set, whatever"},
		{[]string{"allowaction = *", "setheader(Hangup) = Cause: 16", "setheader(HANGUP) = cause: 17"}, 2, false, "set twice"},
		{[]string{"allowaction = *", "allowheader(Redirect) = Context: x"}, 1, true, "no line names Channel of Redirect"},
		{[]string{"allowaction = *", "allowheader(Originate) = Channel: x/y"}, 1, true, "no line names Context or Application"},
		{[]string{"allowaction = *", "allowheader(Originate) = Channel: 1?? | 2??", "allowheader(Originate) = Application: x"}, 1, true, "no technology"},
	} {
		r := &Rules{}
		for i, line := range test.lines {
			key, value, _ := strings.Cut(line, " = ")
			if err := r.Add(fmt.Sprint("f:", i+1), key, value); err != nil {
				t.Fatal(line, err)
			}
		}
		if !slices.ContainsFunc(r.Check(nil), func(f Finding) bool {
			return f.Line == test.line && f.Warning == test.warn && strings.Contains(f.Text, test.want)
		}) {
			t.Errorf("%q: %+v", test.lines, r.Check(nil))
		}
	}
	if found := rulesOf(t, crmRules...).Check(nil); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	// One line may name an action twice, and its heirs another.
	if found := rulesOf(t, "allowaction = Hangup", "allowheader(Hangup,Hangup) = Channel: x").Check(nil); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// Whatever is allowed, Asterisk reads as the rules say: the values of a
// re-serialised action, and the variables that it makes of them.
func TestAllowedIsWhatIsSent(t *testing.T) {
	p := crmPolicy(t)
	names := []string{"Action", "Channel", "context", "Context", " Context", "Context ", "Application", "Data", "Exten", "Priority", "Variable", "CallerID", "Account", "Async", ""}
	values := []string{"", " ", "Originate", "PJSIP/100", "Local/1@from-crm", "Local/1@evil/n@from-crm", "from-crm", "internal", "Playback", "System", "1", "CRM_A=1", "CRM_A=1,X=2", "X=\"CRM_A=1", "\tfrom-crm"}
	line := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom(names).Draw(t, "name") + rapid.SampledFrom([]string{":", ": ", " : ", "\x00:"}).Draw(t, "colon") + rapid.SampledFrom(values).Draw(t, "value")
	})
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(line, 0, 5).Draw(t, "lines")
		lines = append(lines, "Action: Originate", "Channel: PJSIP/100", "Context: from-crm", "Priority: 1", "Exten: 1")
		a := p.Set(ami.NewAction(lines...))
		if a.Name() != "Originate" || !p.May(a, ami.ClassOriginate, Directories{}).Allowed() {
			return
		}
		allowed++
		wire, fault := a.AppendForward(nil, "x")
		if fault != ami.FaultNone {
			return
		}
		sent, err := ami.ParseAction(string(wire))
		if err != nil {
			t.Fatal(err)
		}
		channel, application := sent.Get("Channel"), sent.Get("Application")
		if channel != "PJSIP/100" && channel != "Local/1@from-crm" || application != "" && application != "Playback" ||
			application == "" && (sent.Get("Context") != "from-crm" || sent.Get("Priority") != "1") ||
			sent.Get("Account") != "" || sent.Get("CallerID") != "\"CRM\" <100>" {
			t.Fatalf("%q", wire)
		}
		for v := range sent.All("Variable") {
			for item := range strings.SplitSeq(v, ",") {
				if name, _, ok := strings.Cut(item, "="); ok && name != "" && name != "CRM_A" {
					t.Fatalf("%q", wire)
				}
			}
		}
	})
	if allowed == 0 {
		t.Error("nothing was allowed")
	}
}

// Whatever stands in the lines and in an action, nothing panics, and nothing is allowed
// that no allowaction names.
func FuzzRules(f *testing.F) {
	f.Add(strings.Join(crmRules, "\n"), "Action: Originate\nChannel: PJSIP/100\nContext: from-crm\nExten: 1\nPriority: 1\nVariable: CRM_A=1\n\n")
	f.Add("allowaction = *\nallowheader(*) = A: none|\\*\nsetheader(X) = A: b", "Action: X\nA: b\n\n")
	f.Fuzz(func(t *testing.T, lines, text string) {
		r := &Rules{}
		for line := range strings.Lines(lines) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
			_ = r.Add("f:1", key, value)
		}
		for _, found := range r.Check(func(string, iter.Seq[string]) string { return "" }) {
			if found.Line >= len(r.lines) {
				t.Errorf("a finding in line %d of %d", found.Line, len(r.lines))
			}
		}
		a, err := ami.ParseAction(text + "\n\n")
		if err != nil {
			return
		}
		p := New(Options{Write: ami.ClassAll, Rules: r})
		b := p.Set(a)
		if p.Set(b) != b && len(r.sets) < 2 {
			t.Error("what is set is set again")
		}
		info, _ := ami.LookupAction(a.Name())
		if p.May(b, ami.ClassNone, Directories{}).Allowed() && len(r.lines) > 0 && !ownAction(info) &&
			(naming(r.allow, a.Name()) == nil || naming(r.deny, a.Name()) != nil) {
			t.Errorf("%q is allowed", a.Name())
		}
	})
}

// Where a function may be set, its name is no end of the arguments of another.
func TestOpenBracket(t *testing.T) {
	p := New(Options{Write: ami.ClassAll, Rules: rulesOf(t, "allowaction = Originate", "allowheader(Originate) = Channel: *",
		"allowheader(Originate) = Application: *", "allowheader(Originate) = Variable: CRM_* | CALLERID(name)")})
	for variables, want := range map[string]bool{
		"CRM_A=1,CALLERID(name)=Ann (x)":            true,
		"CRM_A=1,CRM_B,2":                           true,
		"GLOBAL(X,CALLERID(name)=1":                 false,
		"GLOBAL(X|CALLERID(name)=1":                 false,
		"CRM_A=1,GLOBAL(X),CALLERID(name)=1":        false,
		`CRM_A=1,GLOBAL("X),CALLERID(name)=1`:       false,
		`CRM_A=1|__GLOBAL(X,CRM_B=2,CRM_C),CRM_D=1`: false,
	} {
		a := ami.NewAction("Action: Originate", "Channel: x", "Application: y", "Variable: "+variables)
		if got := p.May(a, ami.ClassOriginate, Directories{}); got.Allowed() != want {
			t.Errorf("%s: %+v", variables, got)
		}
	}
}
