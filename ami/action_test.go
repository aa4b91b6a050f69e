package ami

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNewAction(t *testing.T) {
	a := NewAction("Action: Ping", "", "A: b\r\nInjected: x", "C: d\x00e", "\nF: g", "H", "I: j\rK: l")
	want := []string{"Action: Ping", "A: b", "C: d", "H", "I: j"}
	if got := slices.Collect(a.Lines()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if a.Fault() != FaultNone {
		t.Errorf("fault %v", a.Fault())
	}
	if empty := NewAction(); empty.Name() != "" || empty.ID() != "" || len(slices.Collect(empty.Lines())) != 0 {
		t.Error("an action without lines has something")
	}
}

func TestActionGet(t *testing.T) {
	a := parse(t, "Action: Originate\nvariable: a=b\nVariable:c=d\nVARIABLE: \nEmpty:\nEmpty: x\n"+
		" Blank: x\nSpaced : x\nTail: x  \nA:b:c\n:novalue\nnocolon\n\n")
	for name, want := range map[string]string{
		"Variable": "a=b", "variable": "a=b", "ACTION": "Originate", "Empty": "", "Blank": "",
		" Blank": "x", "Spaced": "", "Spaced ": "x", "Tail": "x  ", "a": "b:c", "A:b": "c",
		"nocolon": "", "": "novalue", "Missing": "", "Variabl": "", "Variables": "",
	} {
		if got := a.Get(name); got != want {
			t.Errorf("Get(%q) = %q, want %q", name, got, want)
		}
	}
	if got := slices.Collect(a.All("Variable")); !slices.Equal(got, []string{"a=b", "c=d", ""}) {
		t.Errorf("All(Variable) = %q", got)
	}
	for range a.All("Variable") {
		break // an iterator must bear that
	}
	for range a.Lines() {
		break
	}
}

func TestHasControl(t *testing.T) {
	for text, want := range map[string]bool{
		"A: b\tc\n\n": false, "A: é\xff\n\n": false, "A: b\rc\n\n": true, "A: \x01\n\n": true,
		"A\x1b: b\n\n": true, "A: \x7f\n\n": true, "\n": false, "A: b\x00\x01\n\n": false,
	} {
		if got := parse(t, text).HasControl(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestFaultMessage(t *testing.T) {
	for fault, want := range map[Fault]string{
		FaultNone:         "",
		FaultLineTooLong:  "Failed to parse message: line too long",
		FaultTooManyLines: "Too many lines in message or allocation failure",
	} {
		if got := fault.Message(); got != want {
			t.Errorf("%d: %q", fault, got)
		}
	}
}

func TestAppendForward(t *testing.T) {
	const id = "amiproxy-0-1"
	tests := []struct{ name, in, want string }{
		{"written anew",
			"Action: Ping\nActionID: mine\n\n",
			"Action: Ping\r\nActionID: " + id + "\r\n\r\n"},
		{"no id of the client's",
			"Action: Status\r\nChannel: PJSIP/1\r\n\r\n",
			"Action: Status\r\nActionID: " + id + "\r\nChannel: PJSIP/1\r\n\r\n"},
		{"Action comes first, ids and Server are dropped",
			"Channel: x\nserver: west\nSERVER:east\nACTIONID: a\nActionID: b\naction: Hangup\nAction: Ping\n\n",
			"Action: Hangup\r\nActionID: " + id + "\r\nChannel: x\r\n\r\n"},
		{"the first that is not empty is the action",
			"Action:\nAction: \nAction: Ping\n\n",
			"Action: Ping\r\nActionID: " + id + "\r\n\r\n"},
		{"repeated headers",
			"Action: Getvar\nChannel:\nchannel: b\nFoo: 1\nCHANNEL: c\nFoo: 2\n\n",
			"Action: Getvar\r\nActionID: " + id + "\r\nChannel: \r\nFoo: 1\r\n\r\n"},
		{"every Variable",
			"Action: Originate\nVariable: a=1\nvariable: b=2\nVariable: a=1\n\n",
			"Action: Originate\r\nActionID: " + id + "\r\nVariable: a=1\r\nvariable: b=2\r\nVariable: a=1\r\n\r\n"},
		{"AOCMessage keeps all",
			"Action: aocmessage\nChargedItem: 1\nChargedItem: 2\n\n",
			"Action: aocmessage\r\nActionID: " + id + "\r\nChargedItem: 1\r\nChargedItem: 2\r\n\r\n"},
		{"what no look-up finds is dropped",
			"Action: Ping\nnocolon\n: x\n:y\nA: b\n\n",
			"Action: Ping\r\nActionID: " + id + "\r\nA: b\r\n\r\n"},
		{"names that look like others stay",
			"Action: Ping\nServer : a\n Server: b\nServerx: c\nActionIDx: d\n\n",
			"Action: Ping\r\nActionID: " + id + "\r\nServer : a\r\n Server: b\r\nServerx: c\r\nActionIDx: d\r\n\r\n"},
		{"leading blanks go, trailing ones stay",
			"Action:\t Ping\nA: \t b \t\nC:d\nE:\n\n",
			"Action: Ping\r\nActionID: " + id + "\r\nA: b \t\r\nC: d\r\nE: \r\n\r\n"},
		{"UserEvent verbatim, id in place",
			"Action: UserEvent\nUserEvent: x\nfoo:  bar \nactionid:\t mine \nnocolon\n lead: 1\nfoo: again\nServer: west\nEvent: y\n\n",
			"Action: UserEvent\r\nUserEvent: x\r\nfoo:  bar \r\nactionid:\t " + id + "\r\nnocolon\r\n lead: 1\r\nfoo: again\r\nEvent: y\r\n\r\n"},
		{"UserEvent without an id",
			"Action: userevent\nUserEvent: x\nA: b\n\n",
			"Action: userevent\r\nActionID: " + id + "\r\nUserEvent: x\r\nA: b\r\n\r\n"},
		{"UserEvent, only the first id counts",
			"Action: UserEvent\nActionID: a\nActionID: b\n\n",
			"Action: UserEvent\r\nActionID: " + id + "\r\n\r\n"},
		{"UserEvent, an empty id is none",
			"Action: UserEvent\nActionID:\nActionID: b\n\n",
			"Action: UserEvent\r\nActionID: " + id + "\r\n\r\n"},
		{"UserEvent, the other Action lines",
			"Action:\nAction: UserEvent\nACTION: Ping\nA: b\n\n",
			"Action: UserEvent\r\nActionID: " + id + "\r\nA: b\r\n\r\n"},
	}
	for _, test := range tests {
		got, fault := parse(t, test.in).AppendForward([]byte("before "), id)
		if fault != FaultNone {
			t.Errorf("%s: fault %v", test.name, fault)
		}
		if want := "before " + test.want; string(got) != want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, want)
		}
	}
}

func TestAppendForwardLimits(t *testing.T) {
	id := strings.Repeat("i", 60)
	long := func(n int) string { return "X: " + strings.Repeat("a", n-3) }
	headers := func(n int) (lines []string) {
		for i := range n {
			lines = append(lines, "H"+strings.Repeat("x", i)+": 1")
		}
		return lines
	}
	tests := []struct {
		name  string
		lines []string
		want  Fault
	}{
		{"the longest line", []string{"Action: Ping", long(1023)}, FaultNone},
		{"a line too long", []string{"Action: Ping", long(1024)}, FaultLineTooLong},
		{"a blank too many", []string{"Action: Ping", "X:" + strings.Repeat("a", 1021)}, FaultLineTooLong},
		{"all the lines", append([]string{"Action: Ping"}, headers(126)...), FaultNone},
		{"no room for the id", append([]string{"Action: Ping"}, headers(127)...), FaultTooManyLines},
		{"the client's id makes room", append([]string{"Action: Ping", "ActionID: 1"}, headers(126)...), FaultNone},
		{"useless lines make room", append([]string{"Action: Ping", "junk", "Hx: again"}, headers(126)...), FaultNone},
		{"long and many", append([]string{"Action: Ping", long(1024)}, headers(127)...), FaultTooManyLines},
		{"many, then long", append(append([]string{"Action: Ping"}, headers(127)...), long(1024)), FaultTooManyLines},
		{"an id in place", []string{"Action: UserEvent", "ActionID:" + strings.Repeat(" ", 955) + "1"}, FaultLineTooLong},
		// With the LF that such a line needs, the CR would be the end's.
		{"the longest line ends in CR", nil, FaultLineTooLong},
	}
	for _, test := range tests {
		a := NewAction(test.lines...)
		if test.lines == nil {
			a = parse(t, "Action: Ping\r\nX:"+strings.Repeat("a", 1019)+"\r\r\n\r\n")
		}
		got, fault := a.AppendForward([]byte("before"), id)
		if fault != test.want {
			t.Errorf("%s: fault %v, want %v", test.name, fault, test.want)
		}
		if fault != FaultNone {
			if string(got) != "before" {
				t.Errorf("%s: a fault, and %d bytes were appended", test.name, len(got)-len("before"))
			}
		} else if b := parse(t, string(got[len("before"):])); b.Fault() != FaultNone {
			t.Errorf("%s: read again: %v", test.name, b.Fault())
		}
	}
}

// Lines of ours come last, and count like the others.
func TestAppendForwardMore(t *testing.T) {
	const head = "Action: Originate\r\nActionID: amiproxy-0-1\r\n"
	a := parse(t, "Action: Originate\nVariable: a=1\nVariable: b=2\n\n")
	got, fault := a.AppendForward(nil, "amiproxy-0-1", "Variable: c=3", "Variable: a=4")
	want := head + "Variable: a=1\r\nVariable: b=2\r\nVariable: c=3\r\nVariable: a=4\r\n\r\n"
	if string(got) != want || fault != FaultNone {
		t.Errorf("got %q, %v", got, fault)
	}
	many := make([]string, MaxHeaders-4)
	for i := range many {
		many[i] = "Variable: x=1"
	}
	if _, fault := a.AppendForward(nil, "amiproxy-0-1", many...); fault != FaultNone {
		t.Errorf("as many as fit: %v", fault)
	}
	if got, fault := a.AppendForward([]byte("x"), "amiproxy-0-1", append(many, "y: z")...); fault != FaultTooManyLines || string(got) != "x" {
		t.Errorf("one too many: %q, %v", got, fault)
	}
	if _, fault := a.AppendForward(nil, "amiproxy-0-1", strings.Repeat("x", MaxLine)); fault != FaultLineTooLong {
		t.Errorf("too long: %v", fault)
	}
}

// A Variable header of ours is one variable to Asterisk, whatever it holds.
func TestVariableHeader(t *testing.T) {
	if got := VariableHeader(`A(b)=a,b="c\d[e`); got != `Variable: A\(b\)=a\,b=\"c\\d\[e` {
		t.Errorf("got %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune(`ab=,"\()[]{}$; é`))).Draw(t, "text")
		value, ok := strings.CutPrefix(VariableHeader(text), "Variable: ")
		if got := appArguments(value); !ok || len(got) != 1 || got[0] != text {
			t.Fatalf("%q is read as %q", text, got)
		}
	})
}

// appArguments takes a text apart as the arguments of an application are
// (app.c: __ast_app_separate_args).
func appArguments(s string) []string {
	all := []string{""}
	parens, brackets, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
			continue
		case c == '\\':
			if i++; i == len(s) {
				return all
			}
		case c == '(':
			parens++
		case c == ')':
			parens = max(0, parens-1)
		case c == '[':
			brackets++
		case c == ']':
			brackets = max(0, brackets-1)
		case c == ',' && parens == 0 && brackets == 0 && !quoted:
			all = append(all, "")
			continue
		}
		all[len(all)-1] += s[i : i+1]
	}
	return all
}

var someName = rapid.SampledFrom([]string{
	"Action", "action", "ActionID", "ACTIONID", "Server", "sErver", "Channel", "channel",
	"Variable", "variable", "Data", "UserEvent", "Foo ", " Foo", "Foo", "Action ", "",
})

// someAction is an action with a name, with or without sense and order.
var someAction = rapid.Custom(func(t *rapid.T) *Action {
	action := rapid.SampledFrom([]string{"Ping", "Originate", "UserEvent", "userEVENT", "AOCMessage"}).Draw(t, "action")
	text := "Action: " + action + "\r\n"
	for range rapid.IntRange(0, 10).Draw(t, "lines") {
		line := "no colon"
		if rapid.IntRange(0, 9).Draw(t, "colon") > 0 {
			blank := rapid.SampledFrom([]string{"", " ", " \t "}).Draw(t, "blank")
			value := rapid.StringMatching("[a-c\r\x01 ,:é]{0,6}").Draw(t, "value")
			line = someName.Draw(t, "name") + ":" + blank + value
		}
		if rapid.Bool().Draw(t, "before") {
			text = line + "\r\n" + text
		} else {
			text += line + "\r\n"
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		text += "Long:" + strings.Repeat("x", rapid.IntRange(1000, 1017).Draw(t, "length")) + "\r\n"
	}
	if rapid.IntRange(0, 9).Draw(t, "many") == 0 {
		for i := range rapid.IntRange(100, 126).Draw(t, "count") {
			text += "H" + strings.Repeat("h", i) + ": x\r\n"
		}
	}
	a, err := ParseAction(text + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return a
})

// What the PBX reads is what was checked.
func TestForwardMeansTheSame(t *testing.T) {
	const id = "amiproxy-0123456789abcdef-42"
	rapid.Check(t, func(t *rapid.T) {
		a := someAction.Draw(t, "action")
		sent, fault := a.AppendForward(nil, id)
		if fault != FaultNone {
			if len(sent) != 0 {
				t.Fatal("a fault, and something was sent")
			}
			return
		}
		if n := len(naiveActions(sent)); n != 1 {
			t.Fatalf("%q holds %d actions", sent, n)
		}
		b, err := ParseAction(string(sent))
		if err != nil || b.Fault() != FaultNone {
			t.Fatalf("%q read again: %v, %v", sent, b.Fault(), err)
		}
		if a.Name() != b.Name() || b.ID() != id || b.Get("Server") != "" {
			t.Fatalf("%q: name %q, id %q, server %q", sent, b.Name(), b.ID(), b.Get("Server"))
		}
		for line := range a.Lines() {
			name, _, _ := strings.Cut(line, ":")
			switch FoldName(name) {
			case "action", "actionid", "server", "":
				continue
			}
			if got, want := b.Get(name), a.Get(name); got != want {
				t.Fatalf("%q: %q is %q, was %q", sent, name, got, want)
			}
		}
		if got, want := slices.Collect(b.All("Variable")), slices.Collect(a.All("Variable")); !slices.Equal(got, want) {
			t.Fatalf("%q: Variable %q, was %q", sent, got, want)
		}
		again, fault := b.AppendForward(nil, id)
		if fault != FaultNone || linesAndFault(parseOrDie(t, again)) != linesAndFault(b) {
			t.Fatalf("forwarded again %q, %v", again, fault)
		}
	})
}

func parseOrDie(t *rapid.T, text []byte) *Action {
	a, err := ParseAction(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestLookupAction(t *testing.T) {
	for _, name := range []string{"QueueStatus", "queuestatus", "QUEUESTATUS"} {
		if info, ok := LookupAction(name); !ok || info.Name != "QueueStatus" || info.Kind != KindList {
			t.Errorf("%s: %v, %v", name, info, ok)
		}
	}
	for _, name := range []string{"", "QueueStatus ", "Nope", "ſtatus", strings.Repeat("x", 5000)} {
		if info, ok := LookupAction(name); ok {
			t.Errorf("%.20q: %v", name, info)
		}
	}
	actions := Actions()
	for i, info := range actions {
		if found, ok := LookupAction(info.Name); !ok || *found != info {
			t.Errorf("%s: %v, %v", info.Name, found, ok)
		}
		if i > 0 && FoldName(actions[i-1].Name) >= FoldName(info.Name) {
			t.Errorf("%s is out of order", info.Name)
		}
		if strings.Trim(info.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			t.Errorf("%q is no name of an action", info.Name)
		}
	}
	if n := testing.AllocsPerRun(100, func() { LookupAction("PJSIPShowRegistrationsOutbound") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFoldName(t *testing.T) {
	for name, want := range map[string]string{"": "", "abc": "abc", "AbC-1É": "abc-1É", "aBC": "abc"} {
		if got := FoldName(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func TestWith(t *testing.T) {
	a := parse(t, "Action: Originate\ncallerid: a\rb\nCallerID:\nCallerID : x\nNote: a\rb\n\n")
	b := a.With("CallerID", "\"CRM\" <100>")
	want := []string{"Action: Originate", "CallerID : x", "Note: a\rb", "CallerID: \"CRM\" <100>"}
	if got := slices.Collect(b.Lines()); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if a.Get("callerid") != "a\rb" || b.Get("CALLERID") != "\"CRM\" <100>" || b.Size() != len(strings.Join(want, "")) {
		t.Error("changed what it was made of")
	}
	if b.With("callerid", "\"CRM\" <100>") != b || b.With("CallerID", "x") == b || parse(t, "A: b\nA: b\n\n").With("A", "b").Size() != 4 {
		t.Error("what is as it should be is made anew, or the other way round")
	}
	if long := parse(t, strings.Repeat("A: b\n", MaxHeaders+1)+"\n").With("X", "y"); long.Fault() != FaultTooManyLines {
		t.Error("forgot the fault")
	}
}
