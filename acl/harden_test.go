package acl

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"pgregory.net/rapid"
)

// A hardened is an action of a user with every class but system.
type hardened struct {
	action string   // the name, and the headers behind it
	lines  []string // more headers
	reason string   // empty: it is allowed; it begins with "!": even with class system refused
}

func (h hardened) test(t *testing.T) {
	t.Helper()
	lines := append([]string{"Action: " + h.action}, h.lines...)
	a := ami.NewAction(lines...)
	info, ok := ami.LookupAction(h.action)
	if !ok {
		t.Fatalf("no action %s", h.action)
	}
	may := func(write ami.Class, hardening bool) Verdict {
		return New(Options{Write: write, Hardening: hardening}).May(a, info.Classes, debian)
	}
	const most = ami.ClassAll &^ ami.ClassSystem
	if v := may(most, false); !v.Allowed() {
		t.Errorf("%q is refused without hardening: %+v", lines, v)
	}
	reason, always := strings.CutPrefix(h.reason, "!")
	want := Verdict{}
	if reason != "" {
		want = refused("hardening: " + reason)
	}
	switch got := may(most, true); {
	case reason == "" && !got.Allowed(), reason != "" && got != want:
		t.Errorf("%q: %+v, want %q", lines, got, reason)
	}
	if got := may(ami.ClassAll, true); got.Allowed() == always {
		t.Errorf("%q with all classes: %+v", lines, got)
	}
}

// Tests under a name that the table of actions spells otherwise would never be
// made.
func TestHardeningsAreOfActions(t *testing.T) {
	for _, tests := range []map[string]hardening{hardenings, hardeningsBelowSystem} {
		for name := range tests {
			if info, ok := ami.LookupAction(name); !ok || info.Name != name {
				t.Errorf("%s: no such action", name)
			}
		}
	}
}

func TestHardeningOfVariables(t *testing.T) {
	for text, what := range map[string]string{
		// What clients do every day.
		"":                                   "",
		"FOO=bar":                            "",
		"__FOO=bar,_X=1":                     "",
		"CDR(accountcode)=7":                 "",
		"CALLERID(name)=Ann,CALLERID(num)=1": "",
		"CHANNEL(language)=de":               "",
		"CHANNEL(hangup_handler_push)=x,s,1": "",
		"PJSIP_HEADER(add,X-Id)=7":           "",
		"SIPADDHEADER01=Call-Info: <sip:x>;answer-after=0": "",
		"HASH(a,b)=c":                        "",
		"TIMEOUT(absolute)=60":               "",
		"NOTE=see the file (s) in DB":        "",
		"FILE=x,DB=y,SHELLED=1,CURLY=2":      "",
		"X=${UNIQUEID}":                      "",
		`Q="a,b",R=\(x\)`:                    "",
		`J={"a":{"b":[1,{"c":"$5"}]}}`:       "",
		"file(/tmp/x)=y":                     "", // no function: Asterisk minds the case
		"MYFILE(x)=y":                        "",
		"MONITOR_EXECUTED=1,XMONITOR_EXEC=1": "",
		"MIXMONITOR_FILENAME=a.wav":          "",
		"GROUP(x)=1,DEVICE_STATE(Custom:a)=BUSY,QUEUE_MEMBER(q,penalty,x)=1": "",
		"LONG" + strings.Repeat("X", 90) + "(a)=b":                           "",

		"FILE(/tmp/x)=y":                     "FILE()",
		"a=b,FILE(/tmp/x)=y":                 "FILE()",
		"a=b|FILE(/tmp/x)=y":                 "FILE()",
		"_FILE(/tmp/x)=y":                    "FILE()",
		`FI\LE(/tmp/x)=y`:                    "FILE()",
		`"FI"LE(/tmp/x)=y`:                   "FILE()",
		`ARRAY(FI\\LE(/tmp/x))=y`:            "FILE()",
		`FILE"("/tmp/x)=y`:                   "FILE()",
		"GLOBAL(MASTER_CHANNEL(FILE(/x)))=y": "FILE()",
		"X=${SHELL(id)}":                     "SHELL()",
		"PUSH(SHELL(id))=x":                  "SHELL()",
		"PUSH(${A}${B})=x":                   "a name made of variables",
		`PUSH("$"{A}B)=x`:                    "a name made of variables",
		"PUSH($[1+1])=x":                     "a name made of variables",
		"X=${${A}}":                          "a name made of variables",
		"X=^{^{A}}":                          "a name made of variables",
		"X(%{%{A}})":                         "a name made of variables",
		"X=${CUT(AST_CONFIG(manager.conf,a,secret),x,1)}": "AST_CONFIG()",
		"AST_SORCERY(res_pjsip,auth,a,password)":          "AST_SORCERY()",
		"VM_INFO(1@default,password)":                     "VM_INFO()",
		"MINIVMACCOUNT(1@x:pincode)":                      "MINIVMACCOUNT()",
		"ENV(LD_PRELOAD)=x":                               "ENV()",
		"EVAL_EXTEN(a,b,1)":                               "EVAL_EXTEN()",
		"CURL(file:///etc/passwd)":                        "CURL()",
		"CURLOPT(x)=1":                                    "CURLOPT()",
		"DB(a/b)=c":                                       "DB()",
		"DB_DELETE(a/b)":                                  "DB_DELETE()",
		"ODBC_USERS(a)=b":                                 "ODBC_USERS()",
		"ODBC" + strings.Repeat("_", 90) + "(a)=b":        "ODBC" + strings.Repeat("_", 28) + "()",
		"REALTIME_STORE(a)=b":                             "REALTIME_STORE()",
		"PP_EACH_USER(%{SECRET})":                         "PP_EACH_USER()",
		"AGIEXECFULL=1":                                   "AGIEXECFULL",
		"STAT(e,/x)":                                      "STAT()",
		"TRYLOCK(x)":                                      "TRYLOCK()",
		"CONFBRIDGE(bridge,record_command)=id":            "CONFBRIDGE()",
		"PERIODIC_HOOK(a,b,1)":                            "PERIODIC_HOOK()",
		"MONITOR_EXEC=id":                                 "MONITOR_EXEC",
		"__MONITOR_EXEC_ARGS=;id":                         "MONITOR_EXEC_ARGS",
		"a=b,_MONITOR_OPTIONS=b":                          "MONITOR_OPTIONS",
		`MONITOR\_FILENAME=a`:                             "MONITOR_FILENAME",
		"HASH(x)=1,TOUCH_MIXMONITOR=x":                    "TOUCH_MIXMONITOR",
		"TOUCH_MONITOR=x":                                 "TOUCH_MONITOR",
		"MEETME_AGI_BACKGROUND=x":                         "MEETME_AGI_BACKGROUND",
		"TOUCH_MONITOR":                                   "TOUCH_MONITOR",
	} {
		if got := escalates(text); got != what {
			t.Errorf("%q: %q, want %q", text, got, what)
			continue
		}
		reason := func(header string) string {
			if what == "" {
				return ""
			}
			return what + " in " + header + " needs system"
		}
		originate := []string{"Channel: Local/1@x", "Exten: 1", "Context: x", "Priority: 1", "Variable: A=B"}
		hardened{"Originate", append(originate[:5:5], "variable:"+text), reason("Variable")}.test(t)
		hardened{"Setvar", []string{"Variable: X", "Value: " + text}, reason("Value")}.test(t)
		hardened{"Setvar", []string{"Variable: " + text, "Value: X"}, reason("Variable")}.test(t)
		if runsCode(text, 0) {
			continue // not even without hardening
		}
		hardened{"Getvar", []string{"Variable: " + text}, reason("Variable")}.test(t)
		hardened{"Status", []string{"Variables: " + text, "Variables: x"}, reason("Variables")}.test(t)
	}
}

// Wherever an escalating function stands, and however it is quoted, it is found.
func TestEscalatesFindsFunctions(t *testing.T) {
	names := []string{"EVAL", "CURL", "DB_KEYS", "ODBC_X", "REALTIME"}
	for name := range escalatingFunctions {
		names = append(names, name)
	}
	filler := rapid.StringOfN(rapid.SampledFrom([]rune(`aZ_,,=(("\|${}[]) /`)), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		before := filler.Draw(t, "before")
		b.WriteString(strings.TrimRight(before, `aZ_"\`)) // else it is another name
		for _, c := range rapid.SampledFrom(names).Draw(t, "name") + "(" {
			b.WriteString(rapid.SampledFrom([]string{"", "", "", `\`, `"`, `""`}).Draw(t, "quotes"))
			b.WriteRune(c)
		}
		b.WriteString(filler.Draw(t, "after"))
		if escalates(b.String()) == "" {
			t.Fatalf("%q passes", b.String())
		}
	})
}

func TestHardeningOfOriginate(t *testing.T) {
	call := []string{"Channel: PJSIP/100", "Async: true"}
	tests := []struct {
		reason string
		lines  []string
	}{
		{"", []string{"Exten: 100", "Context: from-internal", "Priority: 1", "CallerID: Ann <100>", "Account: 7", "Variable: CDR(x)=1"}},
		{"", []string{"Application: Playback", "Data: demo-congrats&tt-monkeys"}},
		{"", []string{"Application: Dial", "Data: PJSIP/200,30,tTU(announce)"}},
		{"", []string{"Application: ChanSpy", "Data: PJSIP/200,qw"}},
		{"", []string{"Application: Set", "Data: CALLERID(name)=x"}},
		{"", []string{"Application: Monitor", "Data: wav,/var/spool/asterisk/monitor/x,m"}},
		{"", []string{"Data: FILE(x)"}}, // is not read
		{"", []string{"ChannelId: 7f0c-a_1.b:c@d+e=f~", "OtherChannelId: 1795309591.586"}},
		{`FILE() in Data needs system`, []string{"Application: MSet", `Data: FI\LE(/tmp/x)=y`}},
		{`a name made of variables in Data needs system`, []string{"Application: MSet", "Data: A=S,B=H,PUSH(${A}${B})=1"}},
		{"ENV() in Data needs system", []string{"Application: Set", "Data: ENV(PATH)=/tmp"}},
		{"MONITOR_EXEC in Data needs system", []string{"Application: Set", "Data: __MONITOR_EXEC=id"}},
		{"", []string{"Application: Queue", "Data: sales,t,,,30"}},
		{"this Application or Data needs system", []string{"Application: Queue", "Data: sales,,,,30,agi://192.0.2.1/x"}},
		{"Application minivm needs system", []string{"Application: MinivmDelete", "Data: /etc/x"}},
		{"Application mysql needs system", []string{"Application: MYSQL", "Data: Connect x h u p d"}},
		{"Application dbdel needs system", []string{"Application: DBdel", "Data: a/b"}},
		{"Application realtime needs system", []string{"Application: RealTimeUpdate", "Data: a"}},
		{"Application readfile needs system", []string{"Application: ReadFile", "Data: X=/etc/passwd,9"}},
		{"Application waitforcondition needs system", []string{"Application: WaitForCondition", `Data: @,@{@{A}}`}},
		{"a recording whose name a shell would read as more needs system", []string{"Application: Monitor", "Data: wav,$(id),m"}},
		{"a recording with .. in its path needs system", []string{"Application: Monitor", "Data: wav,../x,m"}},
		{"a recording with .. in its path needs system", []string{"Application: Record", "Data: a/../../x.wav"}},
		{"", []string{"Application: Record", "Data: /var/spool/asterisk/x.wav,3,60,k"}},
		{"!ChannelId has characters that no Uniqueid has", []string{"ChannelId: a/../b"}},
		{"!OtherChannelId has characters that no Uniqueid has", []string{"OtherChannelId: $(id)"}},
		{"!ChannelId is too long", []string{"ChannelId: " + strings.Repeat("1", 150)}},
		{"!OtherChannelId is too long", []string{"OtherChannelId: " + strings.Repeat("1", 150)}},
		{"!Context is too long", []string{"Context: " + strings.Repeat("c", 80)}},
		{"!Exten is too long", []string{"Exten: " + strings.Repeat("1", 80)}},
		{"!Account is too long", []string{"Account: " + strings.Repeat("1", 80)}},
		{"!CallerID is too long", []string{"CallerID: " + strings.Repeat("1", 256)}},
		{"", []string{"Exten: " + strings.Repeat("1", 79), "Context: " + strings.Repeat("c", 79), "ChannelId: " + strings.Repeat("1", 149)}},
		{"", []string{"Variable: " + strings.Repeat("a=b,", 64), "Variable: " + strings.Repeat("a=b,", 64)}},
		{"!too many variables", []string{"Variable: " + strings.Repeat("a=b,", 64), "Variable: " + strings.Repeat("a=b,", 64), "Variable: a=b"}},
	}
	for _, test := range tests {
		hardened{"Originate", append(call[:2:2], test.lines...), test.reason}.test(t)
	}
	hardened{"Originate", []string{"Channel: Local/" + strings.Repeat("x", 250)}, "!Channel is too long"}.test(t)
}

func TestHardeningOfMonitor(t *testing.T) {
	for _, action := range []string{"Monitor", "ChangeMonitor"} {
		for file, reason := range map[string]string{
			"":                                       "",
			"call-100-20260101":                      "",
			"/var/spool/asterisk/monitor/2026/a":     "",
			"a..b/c...d":                             "",
			"x$(id)":                                 "a recording whose name a shell would read as more",
			"x`id`":                                  "a recording whose name a shell would read as more",
			`x";id;"`:                                "a recording whose name a shell would read as more",
			`x\`:                                     "a recording whose name a shell would read as more",
			"../../etc/x":                            "a recording with .. in its path",
			"/var/spool/asterisk/monitor/../../x/..": "a recording with .. in its path",
		} {
			if reason != "" {
				reason += " needs system"
			}
			hardened{action, []string{"Channel: PJSIP/1-1", "Mix: 1", "File: " + file}, reason}.test(t)
			hardened{action, []string{"Channel: PJSIP/1-1", "Format: " + file}, reason}.test(t)
		}
	}
}

func TestHardeningOfCommand(t *testing.T) {
	for command, reason := range map[string]string{
		"":                                  "",
		"  \t ":                             "",
		"core show channels concise":        "",
		" Core\tSHOW  channels":             "",
		"show channels":                     "",
		"sip show peers":                    "",
		"queue show sales":                  "",
		"pjsip show endpoint 100":           "",
		"pjsip list auths":                  "",
		"dialplan show x@y":                 "",
		"database show":                     "",
		"confbridge list 1":                 "",
		"mixmonitor list PJSIP/1-1":         "",
		"core reload":                       "",
		"reload":                            "",
		"module reload app_queue.so":        "",
		"dialplan reload":                   "",
		"queue add member Local/1@x to q":   "",
		"channel request hangup all":        "",
		"logger rotate":                     "",
		"confbridge kick 1 all":             "",
		"core show settings extra words \"": "",

		"channel originate Local/1@x application System id": "Command channel",
		"channel originate show application System":         "Command channel",
		"dialplan eval function SHELL(id)":                  "Command dialplan",
		"dialplan set chanvar PJSIP/1 FILE(x) y":            "Command dialplan",
		"dialplan set global X y":                           "Command dialplan",
		"dialplan add extension s,1,System,id into x":       "Command dialplan",
		"mixmonitor start PJSIP/1 x.wav,,id":                "Command mixmonitor",
		"agi exec PJSIP/1 EXEC System id":                   "Command agi",
		"core stop now":                                     "Command core",
		"core restart gracefully":                           "Command core",
		"stop now":                                          "Command stop",
		"database put a b c":                                "Command database",
		"database query \"attach database '/x' as y\"":      "Command database",
		"file convert a b":                                  "Command file",
		"pjsip set logger pcap /x":                          "Command pjsip",
		"odbc read ODBC_X a exec":                           "Command odbc",
		"realtime update a b":                               "Command realtime",
		"manager set debug on":                              "Command manager",
		"!id":                                               "Command !id",
		"core":                                              "Command core",
		"pjsip show auth 100":                               "Command pjsip show auth",
		"PJSIP show Auths":                                  "Command pjsip show auth",
		"sip show users":                                    "Command sip show user",
		"iax2 show users":                                   "Command iax2 show users",
		`"core" show channels`:                              "",
		`core \show channels`:                               "Command core",
		`mixmonitor "list`:                                  "Command mixmonitor",
		"\xc2\xa0core show channels":                        "",
		"module\tload x.so":                                 "!",
		`"module" load x.so`:                                "!",
		`module "lo\ad" x.so`:                               "!",
		`re\start" "`:                                       `Command re\start"`,
		"\t restart\tgracefully":                            "!",
	} {
		switch reason {
		case "":
		case "!":
			reason = "!this Command is Asterisk's to refuse, but for its quotes, backslashes or tabs"
		default:
			reason += " needs system"
		}
		if strings.HasPrefix(reason, "Command pjsip show auth") || strings.HasPrefix(reason, "Command sip show user") {
			// Whichever of the two phrases the table has first.
			a := ami.NewAction("Action: Command", "Command: "+command)
			if v := New(Options{Write: ami.ClassCommand, Hardening: true}).May(a, ami.ClassCommand, debian); !strings.HasPrefix(v.Reason, "hardening: Command") {
				t.Errorf("%s: %+v", command, v)
			}
			continue
		}
		hardened{"Command", []string{"Command: " + command}, reason}.test(t)
	}
}

func TestHardeningOfAGI(t *testing.T) {
	const app = "this Application or Data needs system"
	for command, reason := range map[string]string{
		"":                                    "",
		"ANSWER":                              "",
		"STREAM FILE demo-congrats \"\"":      "",
		"EXEC Playback demo-congrats":         "",
		`EXEC Dial "PJSIP/200,30"`:            "",
		"EXEC Queue a,b,c,d,e":                "",
		"EXEC":                                "",
		"SET VARIABLE CALLERID(name) Ann":     "",
		"SET VARIABLE FOO bar":                "",
		"GET VARIABLE CHANNEL(name)":          "",
		"RECORD FILE /var/spool/x wav # 5000": "",
		"SAY DIGITS 1 #":                      "",
		"ASYNCAGI BREAK":                      "",
		"EXEC Queue a,b,c,d,e,script":         app,
		"EXEC MSet ${A}":                      "AGI EXEC with variables in its data needs system",
		"EXEC System id":                      app,
		`exec "Sys\tem" id`:                   app,
		" \tExEc\tTRYSYSTEM id":               app,
		"EXEC AGI x.sh":                       app,
		`E\XEC Set FI\LE(/x)=y`:               app,
		"EXEC DBdel a/b":                      "Application dbdel needs system",
		"EXEC Set ENV(PATH)=x":                "ENV() in Data needs system",
		"SET VARIABLE FILE(/tmp/x) y":         "FILE() in Command needs system",
		`SET VARIABLE "FI"LE(/tmp/x) y`:       "FILE() in Command needs system",
		"GET FULL VARIABLE ${SHELL(id)}":      "SHELL() in Command needs system",
		"GET VARIABLE DB(a/b)":                "DB() in Command needs system",
		"SET VARIABLE MONITOR_EXEC id":        "MONITOR_EXEC in Command needs system",
		"DATABASE PUT a b c":                  "AGI DATABASE needs system",
		"database get a b":                    "AGI DATABASE needs system",
		"RECORD FILE ../../etc/x wav # 5000":  "a recording with .. in its path needs system",
	} {
		hardened{"AGI", []string{"Channel: PJSIP/1-1", "Command: " + command}, reason}.test(t)
	}
}

// FuzzHardening holds that no value panics, and that who has every class is
// refused only what hardening refuses everybody.
func FuzzHardening(f *testing.F) {
	for _, value := range []string{"FILE(x)=y", `"FI\LE`, "${${A}}", "module\tload", "EXEC System", "../x", "queues.conf", "#include x", "$", "(", `\`, "_", "{{"} {
		f.Add(value, value)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		for name := range hardeningsBelowSystem {
			a := ami.NewAction("Action: "+name, "Variable: "+one, "Value: "+two, "Command: "+one, "Application: "+two, "Data: "+one,
				"File: "+one, "Filename: "+one, "SrcFilename: "+two, "DstFilename: "+one, "Var-000000: "+two, "Variables: "+two, "ChannelId: "+one)
			below := harden(name, a, 0, debian)
			if above := harden(name, a, ami.ClassSystem, debian); !above.Allowed() && above != below {
				t.Errorf("%s of %q, %q: %+v with system, %+v without", name, one, two, above, below)
			}
		}
	})
}

// everydayActions are what most clients send.
var everydayActions = []*ami.Action{
	ami.NewAction("Action: Originate", "ActionID: 7f3f0a3e", "Channel: PJSIP/100", "Context: from-internal", "Exten: 200",
		"Priority: 1", "CallerID: Ann <100>", "Timeout: 30000", "Async: true", "Account: 4711",
		"Variable: CRM_ID=4711,CRM_USER=ann", "Variable: CALLERID(name)=Ann", "Variable: __CDR(userfield)=campaign 7"),
	ami.NewAction("Action: Setvar", "ActionID: 1", "Channel: PJSIP/100-00000001", "Variable: CALLERID(name)", "Value: Ann"),
	ami.NewAction("Action: Getvar", "ActionID: 1", "Channel: PJSIP/100-00000001", "Variable: CHANNEL(linkedid)"),
	ami.NewAction("Action: Redirect", "ActionID: 1", "Channel: PJSIP/100-00000001", "Context: from-internal", "Exten: 200", "Priority: 1"),
}

func TestHardeningDoesNotAllocate(t *testing.T) {
	p := New(Options{Write: ami.ClassOriginate | ami.ClassCall, Hardening: true})
	for _, a := range everydayActions {
		info, _ := ami.LookupAction(a.Name())
		if n := testing.AllocsPerRun(100, func() {
			if !p.May(a, info.Classes, debian).Allowed() {
				t.Errorf("%s is refused", a.Name())
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", a.Name(), n)
		}
	}
}

func BenchmarkHardening(b *testing.B) {
	p := New(Options{Write: ami.ClassOriginate | ami.ClassCall, Hardening: true})
	for _, a := range everydayActions {
		info, _ := ami.LookupAction(a.Name())
		b.Run(a.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.May(a, info.Classes, debian)
			}
		})
	}
}
