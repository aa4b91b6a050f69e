package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const explained = `[pbx:east]
host = 10.0.0.5
username = proxy
secret = upstream-MARKER
[pbx:west]
host = 10.0.0.6
username = proxy
secret = upstream-MARKER
[crm]
secret = crm-MARKER
read = call
write = originate,call,reporting,config
allowaction = Originate, Getvar, GetConfig, Status, Hangup, Setvar, Foo
allowheader(Originate) = Channel: PJSIP/1??
allowheader(Originate) = Context: from-crm
allowheader(Originate) = Exten: *
allowheader(Originate) = Priority: 1
setheader(Originate) = CallerID: "CRM" <100>
allowheader(Setvar) = Variable: CRM_*
allowheader(Setvar) = Value: one
[tenant:acme]
context = acme
channel = PJSIP/acme-*
[fenced]
secret = fenced-MARKER
write = all
tenant = acme
pbx = west
[ops]
secret = ops-MARKER
write = all
pbx = west
proxyadmin = yes
`

// explain runs the command with a text on its standard input.
func explain(t *testing.T, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(name, []byte(input), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	defer func() { os.Stdin = before; file.Close() }()
	code, stdout, stderr = runArgs(t.Context(), append([]string{"explain", "-c", write(t, "explained.conf", explained)}, args...)...)
	if strings.Contains(stdout+stderr, "MARKER") {
		t.Errorf("a secret is shown: %s%s", stdout, stderr)
	}
	return code, stdout, stderr
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		name, input string
		args        []string
		code        int
		want        []string
	}{
		{
			"allowed", "Action: Originate\r\nChannel: PJSIP/100\r\nContext: from-crm\r\nExten: 1\r\nPriority: 1\r\nServer: EAST\r\n\r\n", []string{"-user", "CRM"}, 0,
			[]string{"Originate: allowed", "class  originate", "explained.conf:13: allowaction = Originate, Getvar", "sets   CallerID", "to     east"},
		},
		{
			"refused by a header, without an empty line, on one PBX", "Action: Originate\nChannel: PJSIP/100\nContext: internal\nExten: 1\nPriority: 1", []string{"--user=crm", "-pbx=West"}, 1,
			[]string{"Originate: refused: Permission denied", `explained.conf:15: allowheader(Originate) = Context: from-crm: it is "internal"`},
		},
		{
			"several", "action: Ping\n\n\nAction: Status\n\nAction: Hangup\nChannel: x\n\nAction: Filter\n\n", []string{"-user", "crm"}, 1,
			[]string{"Ping: allowed", "to     amiproxy itself", "to     all of east, west", "Hangup: allowed", "the one of east, west that has what it names; else none", "Filter: refused: Permission denied", "write: needs system"},
		},
		{
			"what the rules do not name", "Action: Command\nCommand: x\n\n", []string{"-user", "crm"}, 1,
			[]string{"Command: refused: Permission denied", "by     write: needs command"},
		},
		{
			"nowhere to go", "Action: Setvar\nVariable: CRM_A\nValue: one\n\n", []string{"-user", "crm"}, 1,
			[]string{"Setvar: refused: Server header required"},
		},
		{
			"a class", "Action: Command\nCommand: x\nServer: west\n\n", []string{"-user", "crm"}, 1,
			[]string{"by     write: needs command"},
		},
		{
			"a second check", "Action: GetConfig\nFilename: /etc/passwd\nServer: west\n\n", []string{"-user", "crm"}, 1,
			[]string{"GetConfig: refused: File requires escalated privileges", "outside"},
		},
		{
			"secrets", "Action: Setvar\nVariable: CRM_A\nValue: b-MARKER\nServer: west\n\n", []string{"-user", "crm"}, 1,
			[]string{"Setvar: refused", "Value"},
		},
		{
			"odd ones", "X: y\n\nAction: Foo\x1b[2J\n\nAction: Foo\n\nAction: ProxyStatus\n\nAction: Status\nServer: north\n\nA: " + strings.Repeat("x", 2000) + "\n\n", []string{"-user", "crm"}, 1,
			[]string{"\"\": refused: Missing action in request", `"Foo\x1b[2J": refused: "Invalid/unknown command`, "no Asterisk that amiproxy knows has it", "proxyadmin", "No such server: north", "line too long"},
		},
		{"an operator", "Action: ProxyStatus\n\nAction: Command\nCommand: core show version\n\n", []string{"-user", "ops"}, 0, []string{"ProxyStatus: allowed", "by     write", "to     west"}},
		{
			"a fence", "Action: Hangup\nChannel: PJSIP/other-1\n\nAction: Command\nCommand: x\n", []string{"-user", "fenced"}, 1,
			[]string{"Hangup: allowed", "fence  Channel: unless", "Command: refused: Permission denied", "tenant: the action cannot be confined"},
		},
		{"no such user", "Action: Ping\n\n", []string{"-user", "boss"}, 1, []string{`there is no user "boss"`}},
		{"no such PBX", "Action: Ping\n\n", []string{"-user", "ops", "-pbx", "east"}, 1, []string{`may use no PBX "east"`}},
		{"no user", "", nil, 2, []string{"Say -user NAME"}},
		{"nothing", "\r\n\n", []string{"-user", "ops"}, 1, []string{"there is no action on the standard input"}},
	} {
		code, stdout, stderr := explain(t, test.input, test.args...)
		if code != test.code {
			t.Errorf("%s: exit code %d, %s", test.name, code, stderr)
		}
		text := stdout + stderr
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", test.name, want, text)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s: an escape", test.name)
		}
	}
}
