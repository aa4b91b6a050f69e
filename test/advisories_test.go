//go:build unix

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// advisoryUsers have the classes that an attack needs, and not system unless they are
// named so.
const advisoryUsers = `
[caller]
secret = pw
write = call
[reader]
secret = pw
write = call,reporting
[dialler]
secret = pw
write = call,originate
[agi]
secret = pw
write = agi
[operator]
secret = pw
write = call,originate,agi
[commands]
secret = pw
write = command
[files]
secret = pw
write = config
[modules]
secret = pw
write = system
`

// An attack is a way from few classes to many.
type attack struct {
	name string
	only int // the one release on which it works; 0: on both
	user string
	// actions are sent one after the other, their headers with line feeds between. <canary>
	// is the path of a file that must not be made, <channel> the Uniqueid of a channel,
	// <etc> and <lib> are folders of the PBX.
	actions []string
	// leak is what an answer must not hold. Without it the attack works if <canary> is there.
	leak string
	// dangerously: it works where live_dangerously = yes, which old releases default to.
	dangerously bool
}

// A dial originates a call with more headers.
func dial(headers ...string) string {
	return strings.Join(append([]string{"Action: Originate", "Channel: Local/hold@attack", "Async: true"}, headers...), "\n")
}

func idle(variables ...string) string {
	headers := []string{"Application: Wait", "Data: 1"}
	for _, v := range variables {
		headers = append(headers, "Variable: "+v)
	}
	return dial(headers...)
}

func attacks() (all []attack) {
	add := func(only int, user, name, leak string, actions ...string) {
		all = append(all, attack{name: name, only: only, user: user, leak: leak, actions: actions})
	}
	makes := func(only int, user, name string, actions ...string) { add(only, user, name, "", actions...) }

	// What Asterisk lets pass to this day: names of variables that are functions.
	makes(0, "dialler", "Originate Variable", idle("FILE(<canary>)=x"))
	makes(0, "dialler", "Originate Variable, one of several", idle("A=b,CDR(x)=y,FILE(<canary>)=x"))
	makes(0, "dialler", "Originate Variable, the second header", idle("A=b", "FILE(<canary>)=x"))
	makes(0, "dialler", "Originate Variable, a backslash", idle(`FI\LE(<canary>)=x`))
	makes(0, "dialler", "Originate Variable, quotes", idle(`"FI"LE(<canary>)=x`))
	makes(0, "dialler", "Originate Variable, nested and escaped", idle(`ARRAY(FI\\LE(<canary>))=x`))
	makes(0, "dialler", "Originate Variable, nested", idle("MASTER_CHANNEL(FILE(<canary>))=x"))
	// On 16 these two work as well, and then that PBX hangs.
	makes(22, "dialler", "Originate Variable, a function that reads", idle("PUSH(SHELL(touch <canary>))=x"))
	makes(22, "dialler", "Originate Variable, a name made of variables", idle("PUSH(${A}${B})=x", "B=HELL(touch <canary>)", "A=S"))
	makes(0, "dialler", "MSet, a backslash", dial("Application: MSet", `Data: FI\LE(<canary>)=x`))
	makes(0, "dialler", "MSet, a function that reads", dial("Application: MSet", `Data: PUSH(SHE\LL(touch <canary>))=x`))
	makes(0, "dialler", "MSet, a name made of variables", dial("Application: MSet", "Data: A=S,B=HELL(touch <canary>),PUSH(${A}${B})=1"))
	makes(22, "dialler", "WaitForCondition", dial("Application: WaitForCondition", "Data: @,@[@{@{A}@{B}} = 1]", "Variable: A=S", "Variable: B=HELL(touch <canary>)"))
	queue := func(variable string) string {
		return "Action: Originate\nChannel: Local/queue@attack\nAsync: true\nApplication: Wait\nData: 3\nVariable: " + variable
	}
	makes(22, "dialler", "MONITOR_EXEC of a queue", queue("__MONITOR_EXEC=touch <canary>"))
	makes(22, "dialler", "MONITOR_OPTIONS of a queue", queue(`__MONITOR_OPTIONS=V(0)\,touch <canary>`))
	makes(22, "dialler", "MONITOR_FILENAME of a queue", queue("__MONITOR_FILENAME=x^{SHELL(touch <canary>)}"))

	// CVE-2024-42365, fixed in 18.24.2, 20.9.2 and 21.4.2.
	makes(16, "dialler", "CVE-2024-42365: Set", dial("Application: Set", "Data: FILE(<canary>)=x"))
	makes(16, "dialler", "CVE-2024-42365: Set, not async", "Action: Originate\nChannel: Local/hold@attack\nApplication: Set\nData: FILE(<canary>)=x")
	makes(16, "dialler", "CVE-2024-42365: AGI of a Queue", dial("Application: Queue", "Data: attack,,,,5,<canary>.sh"))
	// A shell with class call alone, up to 20.
	makes(16, "caller", "name of a recording", "Action: Monitor\nChannel: <channel>\nFile: a$(touch <canary>)\nMix: true", "Action: StopMonitor\nChannel: <channel>")
	makes(16, "caller", "MONITOR_EXEC", "Action: Setvar\nChannel: <channel>\nVariable: MONITOR_EXEC\nValue: touch <canary>;",
		"Action: Monitor\nChannel: <channel>\nFile: a\nMix: true", "Action: StopMonitor\nChannel: <channel>")
	makes(16, "dialler", "Application Monitor", dial("Application: Monitor", "Data: wav,b$(touch <canary>),m"))

	// Secrets and files, for who may read a variable.
	add(0, "reader", "Getvar of manager.conf", asterisk.DirectSecret, "Action: Getvar\nVariable: AST_CONFIG(manager.conf,direct,secret)")
	add(0, "reader", "Getvar of manager.conf, nested", asterisk.DirectSecret, "Action: Getvar\nVariable: CUT(AST_CONFIG(manager.conf,direct,secret),x,1)")
	add(0, "reader", "Status of manager.conf", asterisk.DirectSecret, `Action: Status
Channel: <channel>
Variables: AST_CONFIG(manager.conf\,direct\,secret)`)
	add(0, "reader", "Getvar of a URL", "root:x:0:0", "Action: Getvar\nVariable: CURL(file:///etc/passwd)")
	add(22, "reader", "Getvar of a mailbox's password", "Value: 1234", "Action: Getvar\nVariable: VM_INFO(100@default,password)")
	add(0, "reader", "Getvar of a phone's password", "phone-secret", "Action: Getvar\nVariable: AST_SORCERY(res_pjsip,auth,attack,password)")
	add(0, "reader", "environment", "Value: <canary>", "Action: Setvar\nVariable: ENV(LD_PRELOAD_X)\nValue: <canary>", "Action: Getvar\nVariable: ENV(LD_PRELOAD_X)")

	// AGI and the CLI.
	makes(0, "agi", "AGI EXEC", "Action: AGI\nChannel: <channel2>\nCommand: EXEC \"Sys\\tem\" \"touch <canary>\"")
	makes(0, "agi", "AGI SET VARIABLE", "Action: AGI\nChannel: <channel2>\nCommand: SET VARIABLE FILE(<canary>) x")
	makes(0, "operator", "AGI of a Queue", dial("Application: Queue", "Data: attack,,,,5,<canary>.sh"))
	makes(0, "operator", "AGI EXEC of a name that was put together", "Action: Setvar\nChannel: <channel2>\nVariable: AGIEXECFULL\nValue: 1",
		"Action: Setvar\nChannel: <channel2>\nVariable: A\nValue: FILE", "Action: Setvar\nChannel: <channel2>\nVariable: PUSH(A,\\()\nValue: <canary>)=x",
		"Action: AGI\nChannel: <channel2>\nCommand: EXEC MSet ${A}")
	for _, command := range []string{
		`channel originate Local/hold@attack application System "touch <canary>"`,
		"\"chan\\nel\"\toriginate Local/hold@attack application System \"touch <canary>\"",
		`database query "attach database '<canary>' as a; create table a.b(c)"`,
	} {
		makes(0, "commands", "Command "+command, "Action: Command\nCommand: "+command)
	}
	makes(0, "commands", "Command mixmonitor start", "Action: Command\nCommand: mixmonitor start <name> \"a.wav,,touch <canary>\"",
		"Action: Command\nCommand: channel request hangup <name>")
	add(0, "commands", "Command: a phone's password", "phone-secret", "Action: Command\nCommand: pjsip show auth attack")

	// Files of the configuration.
	up := strings.Repeat("../", 16)
	add(0, "files", "GetConfig of manager.conf", asterisk.DirectSecret, "Action: GetConfig\nFilename: manager.conf")
	add(0, "files", "GetConfigJSON of manager.conf", asterisk.DirectSecret, "Action: GetConfigJSON\nFilename: ./manager.conf", "Action: GetConfigJSON\nFilename: <etc>/manager.conf")
	add(0, "files", "GetConfig beside", "outside-secret", "Action: GetConfig\nFilename: ../etc-old/x.conf")
	add(0, "files", "include in a value", "outside-secret",
		"Action: UpdateConfig\nSrcFilename: queues.conf\nDstFilename: queues.conf\nAction-000000: NewCat\nCat-000000: <canary>\nAction-000001: Append\nCat-000001: <canary>\nVar-000001: #include ../etc-old/x.conf;\nValue-000001: x",
		"Action: GetConfig\nFilename: queues.conf")
	makes(0, "files", "UpdateConfig of extensions.conf",
		"Action: UpdateConfig\nSrcFilename: extensions.conf\nDstFilename: extensions.conf\nReload: pbx_config\nAction-000000: NewCat\nCat-000000: at-<number>\nAction-000001: Append\nCat-000001: at-<number>\nVar-000001: exten\nValue-000001: >s,1,System(touch <canary>)")
	add(16, "files", "CVE-2024-53566", "has invalid format", "Action: ListCategories\nFilename: /etc/passwd")
	makes(16, "files", "CreateConfig outside", "Action: CreateConfig\nFilename: "+up+"<canary>")
	add(16, "modules", "module outside", "Response: Success", "Action: ModuleLoad\nLoadType: load\nModule: "+up+"<lib>/app_image.so")

	// AST-2013-007 and AST-2014-018, which live_dangerously = no mends.
	dangerously := len(all)
	add(0, "reader", "AST-2013-007: Getvar", "root:x:0:0", "Action: Getvar\nVariable: FILE(/etc/passwd,0,20)")
	add(0, "reader", "AST-2013-007: Status", "root:x:0:0", "Action: Status\nChannel: <channel>\nVariables: X,FILE(/etc/passwd\\,0\\,20)")
	makes(0, "caller", "AST-2013-007: Setvar", "Action: Setvar\nVariable: FILE(<canary>)\nValue: x")
	makes(0, "caller", "Setvar, escaped", "Action: Setvar\nVariable: ARRAY(FI\\LE(<canary>))\nValue: x")
	makes(0, "reader", "Getvar, a name made of variables", "Action: Setvar\nVariable: A\nValue: S", "Action: Setvar\nVariable: B\nValue: HELL(touch <canary>)",
		"Action: Getvar\nVariable: CUT(${A}${B},x,1)")
	add(0, "reader", "AST-2014-018: Getvar", "Value: <canary>", "Action: Setvar\nVariable: DB(a/<number>)\nValue: <canary>", "Action: Getvar\nVariable: DB(a/<number>)")
	makes(0, "commands", "Command dialplan eval", "Action: Command\nCommand: dialplan eval function \"SHELL(touch <canary>)\"")
	makes(0, "commands", "Command dialplan set", "Action: Command\nCommand: dialplan set chanvar <name> FILE(<canary>) x")
	add(0, "files", "CVE-2022-42706, CVE-2023-49294", "outside-secret", "Action: GetConfig\nFilename: ../outside.conf")
	for i := range all[dangerously:] {
		all[dangerously+i].dangerously = true
	}
	return all
}

// An attacked PBX, or the proxy before it.
type attacked struct {
	t       *testing.T
	pbx     *asterisk.PBX
	root    string
	clients map[string]*amiclient.Client
	boss    *amiclient.Client // of the PBX, with all rights
	addr    string
	marker  string
}

func (a *attacked) client(user string) *amiclient.Client {
	c := a.clients[user]
	if c == nil {
		c = loginAt(a.t, a.addr, user, "Events: off")
		a.clients[user] = c
	}
	return c
}

// inside is the path of a file of the PBX as the PBX knows it.
func (a *attacked) inside(name string) string {
	return strings.TrimPrefix(filepath.Join(a.pbx.Dir(), name), a.root)
}

// canary is where attack number n makes its file.
func (a *attacked) canary(n int) string { return fmt.Sprintf("lib/canary-%s-%d", a.marker, n) }

func (a *attacked) sung(n int) bool {
	_, err := os.Stat(filepath.Join(a.pbx.Dir(), a.canary(n)))
	return err == nil
}

// word is a text with the path of the canary in it.
func (a *attacked) word(n int, text string) string {
	return strings.ReplaceAll(text, "<canary>", a.inside(a.canary(n)))
}

// play sends the actions and returns all answers.
func (a *attacked) play(n int, attack attack) (answers string) {
	id := fmt.Sprintf("%s-%d", a.marker, n)
	words := []string{"<number>", id, "<canary>", a.word(n, "<canary>"), "<etc>", a.inside("etc"), "<lib>", a.inside("lib")}
	if text := strings.Join(attack.actions, "\n"); strings.Contains(text, "<channel") || strings.Contains(text, "<name>") {
		a.boss.Do("Action: Originate", "Channel: Local/agi@attack", "ChannelId: "+id, "OtherChannelId: "+id+"-2", "Application: Wait", "Data: 20", "Async: true")
		name := ""
		eventually(a.t, "a channel", func() bool {
			name = ""
			for _, f := range a.boss.List("Action: CoreShowChannels") {
				if amiclient.Has(f, "Uniqueid: "+id+"-2", "Application: AGI") {
					name = amiclient.Header(f, "Channel")
				}
			}
			return name != ""
		})
		words = append(words, "<channel2>", id+"-2", "<channel>", id, "<name>", name)
	}
	replace := strings.NewReplacer(words...)
	if strings.Contains(attack.actions[0], "<canary>.sh") {
		a.write(a.canary(n)+".sh", "#!/bin/sh\ntouch "+a.inside(a.canary(n))+"\n")
	}
	c := a.client(attack.user)
	for _, action := range attack.actions {
		c.Send(append([]string{"ActionID: x"}, strings.Split(replace.Replace(action), "\n")...)...)
		for _, f := range c.Roundtrip() {
			answers += string(f)
		}
	}
	if strings.Contains(attack.actions[0], "Value-000001: >s,1,System") {
		a.boss.Do("Action: Originate", "Channel: Local/hold@attack", "Context: at-"+id, "Exten: s", "Priority: 1", "Async: true")
	}
	return answers
}

// TestAdvisories plays attacks to PBXes, where they work, and to proxies before them,
// where they are refused.
func TestAdvisories(t *testing.T) {
	options := func(major int) asterisk.Options {
		return asterisk.Options{
			Major: major, Name: fmt.Sprint("v", major), Users: advisoryUsers,
			Modules: []string{"res_monitor", "func_curl", "res_curl"},
			Extensions: "[attack]\nexten => hold,1,Answer()\n same => n,Wait(20)\n" +
				"exten => agi,1,Answer()\n same => n,AGI(agi:async)\n" +
				"exten => queue,1,Answer()\n same => n,Queue(attack,,,,5)\n",
			Files: map[string]string{
				"queues.conf": "[general]\n[attack]\nmonitor-format = wav\nmonitor-type = MixMonitor\nmember => Local/hold@attack\n",
			},
		}
	}
	dangerous := options(22)
	dangerous.Name, dangerous.Core = "dangerous", "live_dangerously = yes"
	for i, pbx := range starts(t, options(16), options(22), dangerous) {
		t.Run(pbx.Name(), func(t *testing.T) { testAdvisories(t, pbx, []int{16, 22, 22}[i]) })
	}
}

func testAdvisories(t *testing.T, pbx *asterisk.PBX, major int) {
	p := startProxy(t, advisoryUsers, pbx)
	p.waitUp()
	boss := loginDirect(t, pbx)
	d := learnDirectories(t, boss, asterisk.Root(t, major))
	eventually(t, "the directories", func() bool { return p.backend(pbx.Name()).Directories().Config == d.config })
	side := func(marker, addr string) *attacked {
		return &attacked{t: t, pbx: pbx, root: d.root, clients: map[string]*amiclient.Client{}, boss: boss, addr: addr, marker: marker}
	}
	direct, through := side("direct", pbx.Addr()), side("through", p.addr)
	direct.lay(d)

	all := attacks()
	mine := all[:0]
	for _, attack := range all {
		if (attack.only == 0 || attack.only == major) && attack.dangerously == (pbx.Name() == "dangerous") {
			mine = append(mine, attack)
		}
	}
	for n, attack := range mine {
		text := through.play(n, attack)
		if !strings.Contains(text, "Message: Permission denied\r\n") && !holdsRefusal(text) || attack.leak != "" && strings.Contains(text, through.word(n, attack.leak)) {
			t.Errorf("%s: the proxy answers %q", attack.name, text)
		}
		text = direct.play(n, attack)
		if strings.Contains(text, "Permission denied") || attack.leak != "" && !strings.Contains(text, direct.word(n, attack.leak)) {
			t.Errorf("%s does not work: %q", attack.name, text)
		}
	}
	for n, attack := range mine {
		if attack.leak == "" {
			eventually(t, attack.name, func() bool { return direct.sung(n) })
			if through.sung(n) {
				t.Errorf("%s works through the proxy", attack.name)
			}
		}
	}
	pbx.Kill() // it would wait for its channels
	report(t, "advisories: %s, Asterisk %s: %d attacks work directly, and none of them through the proxy", pbx.Name(), release(pbx), len(mine))
}

// holdsRefusal reports whether an answer holds one of Asterisk's own refusals.
func holdsRefusal(text string) bool {
	for _, refusal := range refusals {
		if strings.Contains(text, "Message: "+refusal+"\r\n") {
			return true
		}
	}
	return false
}

// write makes an executable file in the folder of the PBX.
func (a *attacked) write(name, content string) {
	a.t.Helper()
	name = filepath.Join(a.pbx.Dir(), name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
		a.t.Fatal(err)
	}
}

// lay puts down what attacks are after.
func (a *attacked) lay(d directories) {
	a.t.Helper()
	image, err := os.ReadFile(filepath.Join(d.root+d.modules, "app_image.so"))
	if err != nil && !os.IsNotExist(err) { // 22 has none
		a.t.Fatal(err)
	}
	phones, err := os.ReadFile(filepath.Join(a.pbx.Dir(), "etc/pjsip.conf"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("etc-old/x.conf", "[a]\nb = outside-secret\n")
	a.write("outside.conf", "[a]\nb = outside-secret\n")
	a.write("lib/app_image.so", string(image))
	a.write("etc/pjsip.conf", string(phones)+"[attack]\ntype = auth\nauth_type = userpass\nusername = attack\npassword = phone-secret\n")
	a.boss.Do("Action: Command", "Command: module reload res_pjsip.so")
	eventually(a.t, "a phone's password", func() bool {
		return amiclient.Header(a.boss.Do("Action: Getvar", "Variable: AST_SORCERY(res_pjsip,auth,attack,username)"), "Value") == "attack"
	})
}
