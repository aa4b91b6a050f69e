package acl

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	forbiddenApp = "Originate Access Forbidden: app or data blacklisted"
	originate    = ami.ClassOriginate
	agi          = ami.ClassOriginate | ami.ClassAGI
	system       = ami.ClassOriginate | ami.ClassSystem
)

func mayOriginate(write ami.Class, lines ...string) string {
	lines = append([]string{"Action: Originate", "Channel: Local/1@default"}, lines...)
	return New(Options{Write: write}).May(ami.NewAction(lines...), ami.ClassOriginate, debian).Refusal
}

// The rules that a single class decides: originate does not do, system does.
func TestOriginateNeedsSystem(t *testing.T) {
	var cases [][]string
	for _, app := range []string{"agi", "dbdeltree", "exec", "externalivr", "mixmonitor", "originate", "reload", "system"} {
		cases = append(cases,
			[]string{"Application: " + app},
			[]string{"application:" + strings.ToUpper(app)},
			[]string{"Application: " + strings.ToUpper(app[:1]) + app[1:]},
			[]string{"Application: my" + app + "x", "Data: harmless"},
			[]string{"Application:  \t " + app + "  "},
			[]string{"Application: " + app + ",x"},
			[]string{"Application: " + app + "(x)"})
	}
	for _, word := range []string{"CURL", "DB", "EVAL", "FILE", "ODBC", "REALTIME", "SHELL"} {
		cases = append(cases,
			[]string{"Application: NoOp", "Data: " + word},
			[]string{"Application: NoOp", "Data: a${" + word + "(id)}b"},
			[]string{"Application: Dial", "data:x" + word + "x"},
			[]string{"Application: Queue", "Data: " + word})
	}
	for _, app := range []string{"TryExec", "ExecIf", "EAGI", "DeadAGI", "FastAGI", "TrySystem", "StopMixMonitor"} {
		cases = append(cases, []string{"Application: " + app})
	}
	cases = append(cases,
		// The first header of a name is the one that counts, as it is the one sent.
		[]string{"Application: System", "Application: NoOp"},
		[]string{"Application: NoOp", "Data: SHELL", "Data: x"},
		// Exten does not change what Application does.
		[]string{"Application: System", "Exten: 1", "Context: default", "Priority: 1"},
		[]string{"Application: System", "Async: true"})
	for _, lines := range cases {
		for _, write := range []ami.Class{originate, agi, originate | ami.ClassCall | ami.ClassCommand, ami.ClassAll &^ ami.ClassSystem} {
			if got := mayOriginate(write, lines...); got != forbiddenApp {
				t.Errorf("%q with %v: %q", lines, write, got)
			}
		}
		for _, write := range []ami.Class{system, ami.ClassAll} {
			if got := mayOriginate(write, lines...); got != "" {
				t.Errorf("%q with %v: %q", lines, write, got)
			}
		}
	}
}

func TestOriginateAllowed(t *testing.T) {
	for _, lines := range [][]string{
		{"Exten: 100", "Context: default", "Priority: 1"},
		{"Application: NoOp"},
		{"Application: Playback", "Data: demo-congrats"},
		{"Application: NoOp", "Data: shell eval db curl file odbc realtime"},
		{"Application: SayAlpha", "Data: SHEL"},
		// Without an application Asterisk looks at nothing.
		{"Data: SHELL"},
		{"Application: ", "Application: System", "Data: SHELL"},
		{"Exten: 1", "Context: system", "Priority: 1", "Data: SHELL"},
		{"Application : System"},
		{" Application: System"},
		{"Application: NoOp", "Application: System", "Data: x", "Data: SHELL"},
		{"Application: NoOp", "Variable: a=SHELL"},
		{"Application: Queue"},
		{"Application: Queue", "Data: support"},
		{"Application: Queue", "Data: support,CcdHh,url,tt-monkeys,100,,gosub,rule,666"},
		{"Application: Queue", "Data: a,b,c,d,e"},
		{"Application: Queue", "Data: a,b,c,d,e,"},
		{"Application: NoOp", "Data: a,b,c,d,e,f"},
	} {
		if got := mayOriginate(originate, lines...); got != "" {
			t.Errorf("%q: %q", lines, got)
		}
	}
}

func TestOriginateQueueScript(t *testing.T) {
	const forbidden, fine = forbiddenApp, ""
	tests := []struct {
		data           string
		originate, agi string
	}{
		{"a,b,c,d,e,agi.sh", forbidden, fine},
		{"a,b,c,d,e,f,g", forbidden, fine},
		{",,,,,x", forbidden, fine},
		{",,,,,,x", fine, fine},
		{"a,b,c,d,e, ", forbidden, fine},
		{`a,b,c,d,e,""`, fine, fine},
		{`a,b,c,d,e,"x"`, forbidden, fine},
		{`a,b,c,d,e,\`, fine, fine},
		{`a,b,c,d,e,\,`, forbidden, fine},
		{`a,b,c,d,e,(`, forbidden, fine},
		{`a,b,c,d,e,)`, forbidden, fine},
		// Separators that every version sees protected.
		{`"a,b,c,d,e,f"`, fine, fine},
		{`a,"b,c",d,e,f`, fine, fine},
		{`a,(b,c),d,e,f`, fine, fine},
		{`a\,b,c,d,e,f`, fine, fine},
		{`a,b\\,c,d,e,f`, forbidden, fine},
		{`a,b\\,c,d,e`, fine, fine},
		{`a),b,c,d,e,f`, forbidden, fine},
		{`a,"b,",c,d,e,f`, forbidden, fine},
		{`a,"(",c,d,e,f`, fine, fine}, // an open parenthesis counts within quotes too
		// Brackets protect separators since 1.8 only.
		{`a,[b,c],d,e,f`, forbidden, fine},
		{`a],b,c,d,e,f`, forbidden, fine},
		{`a,b,c,[,],f`, forbidden, fine},
		{`a,[b,],c,d,e,f`, forbidden, fine},
		// 1.4 has another separator, and its last argument takes the rest.
		{`a|b|c|d|e|agi.sh`, forbidden, fine},
		{`a|b|c|d|e||x`, forbidden, fine},
		{`a|b|c|d|e|`, fine, fine},
		{`a|"b|c|d|e|f"`, fine, fine},
		// The first rule that fits decides.
		{"a,b,c,d,e,agi CURL", forbidden, fine},
		{"CURL,b,c,d,e,agi", forbidden, fine},
		// But not if a version exists to which it does not fit.
		{"a,[b,c],d,e,CURL", forbidden, forbidden},
		{"a,b,c,[,],CURL", forbidden, forbidden},
		{"a|b|c|d|e|CURL", forbidden, forbidden},
		{"CURL", forbidden, forbidden},
		// The words that every version but the newest looks for first.
		{"a,b,c,d,e,agi SHELL", forbidden, forbidden},
		{"EVAL,b,c,d,e,agi", forbidden, forbidden},
	}
	for _, test := range tests {
		for _, app := range []string{"Queue", " qUEUE ", "myqueue2"} {
			lines := []string{"Application: " + app, "Data: " + test.data}
			if got := mayOriginate(originate, lines...); got != test.originate {
				t.Errorf("%s(%s) with originate: %q", app, test.data, got)
			}
			if got := mayOriginate(agi, lines...); got != test.agi {
				t.Errorf("%s(%s) with agi: %q", app, test.data, got)
			}
			if got := mayOriginate(system, lines...); got != "" {
				t.Errorf("%s(%s) with system: %q", app, test.data, got)
			}
		}
	}
	// An earlier rule fits: agi does not help.
	if got := mayOriginate(agi, "Application: QueueExec", "Data: a,b,c,d,e,agi"); got != forbiddenApp {
		t.Errorf("QueueExec: %q", got)
	}
}

// What Asterisk finds wrong before it looks at the application comes first.
func TestOriginateEarlierErrors(t *testing.T) {
	tests := []struct{ channel, timeout, want string }{
		{"", "x", "Channel not specified"},
		{"Local", "x", "Invalid timeout"},
		{"Local", "1000", "Invalid channel"},
		{"Local", "", "Invalid channel"},
		{strings.Repeat("x", 255) + "/1", "", "Invalid channel"},
		{strings.Repeat("x", 254) + "/1", "", forbiddenApp},
		{"Local/1", "- 1", "Invalid timeout"},
		{"Local/1", "+", "Invalid timeout"},
		{"Local/1", "-1", forbiddenApp},
		{"Local/1", "+30000ms", forbiddenApp},
		{"Local/1", "", forbiddenApp},
	}
	p := New(Options{Write: originate})
	for _, test := range tests {
		lines := []string{"Action: Originate", "Channel: " + test.channel, "Timeout: " + test.timeout}
		if got := p.May(ami.NewAction(append(lines, "Application: System")...), originate, debian).Refusal; got != test.want {
			t.Errorf("%.20q, %q: %q", test.channel, test.timeout, got)
		}
		// An application that may run is left to the PBX, faults and all.
		if got := p.May(ami.NewAction(append(lines, "Application: NoOp")...), originate, debian).Refusal; got != "" {
			t.Errorf("%.20q, %q, NoOp: %q", test.channel, test.timeout, got)
		}
	}
	for _, header := range []string{"ChannelId: ", "OtherChannelId: "} {
		for n, want := range map[int]string{0: forbiddenApp, 149: forbiddenApp, 150: "Uniqueid length exceeds maximum of 149"} {
			if got := mayOriginate(originate, "Application: System", header+strings.Repeat("x", n)); got != want {
				t.Errorf("%s%d bytes: %q", header, n, got)
			}
		}
	}
}

func TestVariables(t *testing.T) {
	tests := []struct{ action, header, refusal string }{
		{"Getvar", "Variable", "GetVar Access Forbidden: Variable"},
		{"Status", "Variables", "Status Access Forbidden: Variables"},
	}
	values := map[string]bool{ // those that need system
		"SHELL(id)": true, "a,EVAL(b)": true, "xSHELLx": true, "FOO,${EVAL}": true,
		"": false, "FOO": false, "shell(id)": false, "SHEL": false, "DB(a/b)": false, "FILE(x)": false,
	}
	reads := ami.ClassCall | ami.ClassReporting
	for _, test := range tests {
		for value, dangerous := range values {
			a := ami.NewAction("Action: "+strings.ToUpper(test.action), test.header+": "+value, test.header+": SHELL")
			want := ""
			if dangerous {
				want = test.refusal
			}
			write := ami.ClassAll &^ ami.ClassSystem
			if got := New(Options{Write: write}).May(a, reads, debian).Refusal; got != want {
				t.Errorf("%s %s: %q", test.action, value, got)
			}
			// Hardening may refuse more, and leaves this refusal as it is.
			if got := New(Options{Write: write, Hardening: true}).May(a, reads, debian).Refusal; dangerous && got != want {
				t.Errorf("%s %s with hardening: %q", test.action, value, got)
			}
			if got := New(Options{Write: reads | ami.ClassSystem}).May(a, reads, debian).Refusal; got != "" {
				t.Errorf("%s %s with system: %q", test.action, value, got)
			}
			// The class comes first.
			if got := New(Options{Write: ami.ClassAgent}).May(a, reads, debian).Refusal; got != "Permission denied" {
				t.Errorf("%s %s with agent: %q", test.action, value, got)
			}
		}
		// The other action's header means nothing.
		a := ami.NewAction("Action: "+test.action, "Variabl: SHELL", "Variablesx: SHELL")
		if got := New(Options{Write: reads}).May(a, reads, debian).Refusal; got != "" {
			t.Errorf("%s: %q", test.action, got)
		}
	}
	if got := New(Options{Write: reads}).May(ami.NewAction("Action: Setvar", "Variable: SHELL(x)"), reads, debian).Refusal; got != "" {
		t.Errorf("Setvar: %q", got) // Asterisk has no such test there
	}
}

// splitArguments is app.c: __ast_app_separate_args, with the quotes and
// backslashes taken out, in the plain words of its documentation.
func splitArguments(data string, separator byte, brackets bool) []string {
	var args []string
	current, depth, square, quoted, any := "", 0, 0, false, false
	for i := 0; i < len(data); i++ {
		c := data[i]
		any = true
		if c == '\\' {
			if i++; i < len(data) {
				current += data[i : i+1]
			}
			continue
		}
		if c == separator && depth == 0 && square == 0 && !quoted {
			args, current = append(args, current), ""
			continue
		}
		switch {
		case c == '"':
			quoted = !quoted
			continue
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '[' && brackets:
			square++
		case c == ']' && brackets && square > 0:
			square--
		}
		current += string(rune(c))
	}
	if any {
		args = append(args, current)
	}
	return args
}

func TestHasSixthModel(t *testing.T) {
	someData := rapid.StringOfN(rapid.SampledFrom([]rune(`,,,,,,,,|a"\()[]`)), 0, 24, -1)
	rapid.Check(t, func(t *rapid.T) {
		data := someData.Draw(t, "data")
		for _, r := range []reading{readNewest, readOlder} {
			args := splitArguments(data, r.separator, r.brackets)
			want := len(args) > 5 && args[5] != ""
			if got := hasSixth(data, r); got != want {
				t.Fatalf("%+v: %v, want %v (%q)", r, got, want, args)
			}
		}
	})
}
