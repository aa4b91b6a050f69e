//go:build unix

package test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// everyday is what clients without class system do all day, by user. CALL is a channel.
var everyday = map[string][][]string{
	"dialler": {
		{"Action: Originate", "Channel: Local/echo@default", "Context: default", "Exten: short", "Priority: 1", "Async: true", "CallerID: Ann <100>", "Account: 7", "Timeout: 5000",
			"Variable: CRM_ID=1,__CRM_USER=ann", "Variable: CALLERID(name)=Ann", "Variable: CDR(userfield)=campaign 7,CHANNEL(language)=de", `Variable: NOTE="a,b (DB) of the file",J={"a":{"b":"$5"}}`},
		{"Action: Originate", "Channel: Local/short@default", "Application: Playback", "Data: tt-monkeys&beep", "Async: true", "ChannelId: crm-4711.1"},
		{"Action: Originate", "Channel: Local/short@default", "Application: Dial", "Data: Local/short@default,5,tTg", "Async: true"},
		{"Action: Setvar", "Channel: CALL", "Variable: CALLERID(name)", "Value: Ann (sales)"},
		{"Action: Setvar", "Channel: CALL", "Variable: CDR(userfield)", "Value: a,b"},
		{"Action: Setvar", "Channel: CALL", "Variable: HASH(crm,id)", "Value: 7"},
		{"Action: Setvar", "Variable: CRM_GLOBAL", "Value: ${X}"},
		{"Action: Getvar", "Channel: CALL", "Variable: CALLERID(name)"},
		{"Action: Getvar", "Channel: CALL", "Variable: CHANNEL(language)"},
		{"Action: Getvar", "Variable: DEVICE_STATE(PJSIP/alice)"},
		{"Action: Getvar", "Variable: QUEUE_MEMBER(support,count)"},
		{"Action: Getvar", "Variable: CRM_GLOBAL"},
		{"Action: Status", "Channel: CALL", "Variables: CRM_ID,CALLERID(num)"},
		{"Action: Monitor", "Channel: CALL", "File: /tmp/amiproxy/call-1", "Format: wav", "Mix: 1"},
		{"Action: StopMonitor", "Channel: CALL"},
		{"Action: Redirect", "Channel: CALL", "Context: default", "Exten: echo", "Priority: 1"},
	},
	"agent": {
		{"Action: QueueAdd", "Queue: sales", "Interface: Local/100@agents", "Penalty: 1"},
		{"Action: QueuePause", "Interface: Local/100@agents", "Paused: true"},
		{"Action: QueueRemove", "Queue: sales", "Interface: Local/100@agents"},
	},
	"commands": {
		{"Action: Command", "Command: core show channels concise"},
		{"Action: Command", "Command: queue show"},
		{"Action: Command", "Command: pjsip show endpoints"},
		{"Action: Command", "Command: dialplan show default"},
		{"Action: Command", "Command: database show"},
		{"Action: Command", "Command: dialplan reload"},
		{"Action: Command", "Command: queue add member Local/101@agents to sales"},
		{"Action: Command", "Command: queue remove member Local/101@agents from sales"},
		{"Action: Command", "Command: channel request hangup nosuch"},
	},
	"files": {
		{"Action: GetConfig", "Filename: pjsip.conf"},
		{"Action: GetConfigJSON", "Filename: extensions.conf"},
		{"Action: ListCategories", "Filename: queues.conf"},
		{"Action: CreateConfig", "Filename: followme.conf"},
		{"Action: UpdateConfig", "SrcFilename: queues.conf", "DstFilename: queues.conf", "Reload: app_queue", "Action-000000: Append", "Cat-000000: sales", "Var-000000: member", "Value-000000: >Local/102@agents"},
	},
}

// TestHardeningLetsClientsWork: what clients do every day is answered by a hardened proxy
// as by the PBX.
func TestHardeningLetsClientsWork(t *testing.T) {
	const users = "[dialler]\nsecret = pw\nwrite = call,originate,reporting\n[agent]\nsecret = pw\nwrite = agent\n[commands]\nsecret = pw\nwrite = command\n[files]\nsecret = pw\nwrite = config\n"
	options := func(major int) asterisk.Options {
		return asterisk.Options{Major: major, Name: fmt.Sprint("v", major), Users: users, Modules: []string{"res_monitor"}}
	}
	for _, pbx := range starts(t, options(16), options(22)) {
		p := startProxy(t, users, pbx)
		p.waitUp()
		boss := loginDirect(t, pbx)
		d := learnDirectories(t, boss, "")
		eventually(t, "the directories", func() bool { return p.backend(pbx.Name()).Directories().Config == d.config })
		for user, actions := range everyday {
			want := playEveryday(t, boss, loginAt(t, pbx.Addr(), user, "Events: off"), actions)
			got := playEveryday(t, boss, p.login(t, user, "Events: off"), actions)
			for i := range actions {
				if got[i] != want[i] {
					t.Errorf("%s: %q of %s: through the proxy %q, directly %q", pbx.Name(), actions[i], user, got[i], want[i])
				}
			}
		}
		pbx.Kill() // it would wait for its channels
	}
}

// playEveryday sends actions and returns of each answer what says how it went.
func playEveryday(t *testing.T, boss, c *amiclient.Client, actions [][]string) (answers []string) {
	for _, action := range actions {
		text := strings.Join(append([]string{"ActionID: x"}, action...), "\n")
		if strings.Contains(text, ": CALL\n") {
			call := "everyday-" + amiclient.ActionID()
			boss.Do("Action: Originate", "Channel: Local/echo@default", "ChannelId: "+call, "Application: Wait", "Data: 5", "Variable: CRM_ID=9,CALLERID(num)=9")
			text = strings.ReplaceAll(text, ": CALL\n", ": "+call+"\n")
		}
		c.Send(strings.Split(text, "\n")...)
		f := c.Roundtrip()[0]
		answers = append(answers, amiclient.Header(f, "Response")+": "+amiclient.Header(f, "Message")+amiclient.Header(f, "Value"))
	}
	return answers
}

// TestHardeningHasNoGaps sends attacks that chance has changed: with quotes, brackets and
// names made of variables where Asterisk may, or may not, read past them. Some work
// without hardening; none that hardening lets through does.
func TestHardeningHasNoGaps(t *testing.T) {
	const users = "[dialler]\nsecret = pw\nwrite = originate\n"
	options := func(major int) asterisk.Options {
		return asterisk.Options{Major: major, Name: fmt.Sprint("v", major)}
	}
	for i, pbx := range starts(t, options(16), options(22)) {
		seed := rand.Uint64()
		inside := strings.TrimPrefix(pbx.Dir(), asterisk.Root(t, []int{16, 22}[i]))
		// What works hangs some releases, so that it comes last.
		for _, hardening := range []string{"yes", "no"} {
			p := startProxy(t, "[general]\nhardening = "+hardening+"\n"+users, pbx)
			p.waitUp()
			texts := mutateAttacks(t, p, seed, inside+"/lib/gap-")
			made := func(name string) (names []string) {
				files, _ := filepath.Glob(filepath.Join(pbx.Dir(), "lib", name))
				return files
			}
			if hardening == "no" {
				eventually(t, "an attack to work", func() bool { return len(made("gap-*")) > 0 })
				break
			}
			// A call of the same kind behind them all tells when they are done.
			loginDirect(t, pbx).Do("Action: Originate", "Channel: Local/short@default", "Async: true", "Application: MSet", "Data: FILE("+inside+"/lib/last)=x")
			eventually(t, "the last call", func() bool { return len(made("last")) > 0 })
			for _, file := range made("gap-*") {
				t.Errorf("%s: %q gets through (seed %d)", pbx.Name(), texts[filepath.Base(file)], seed)
			}
		}
		pbx.Kill()
	}
}

// mutateAttacks sends attacks until enough were allowed, and returns them by the names of
// the files that they are to make, which begin with gap-.
func mutateAttacks(t *testing.T, p *proxied, seed uint64, path string) map[string]string {
	chance := rand.New(rand.NewPCG(seed, 0))
	c := p.login(t, "dialler", "Events: off")
	texts := map[string]string{}
	for allowed := 0; allowed < 150; {
		number := fmt.Sprint(len(texts))
		text := mutateAttack(chance)
		texts["gap-"+number] = text
		text = strings.ReplaceAll(text, "<canary>", path+number)
		headers := []string{"Action: Originate", "Channel: Local/short@default", "Async: true"}
		if chance.IntN(2) == 0 {
			headers = append(headers, "Application: NoOp", "Variable: "+text)
		} else {
			headers = append(headers, "Application: MSet", "Data: "+text)
		}
		headers = append(headers, "Variable: A=FI,C=FILE") // Asterisk sets the last header's first.
		if amiclient.Has(c.Do(headers...), "Response: Success") {
			allowed++
		}
	}
	return texts
}

// mutateAttack returns variables that make a file, with some changes.
func mutateAttack(chance *rand.Rand) string {
	one := func(all ...string) string { return all[chance.IntN(len(all))] }
	text := one("FILE(<canary>)=x", "a=b,FILE(<canary>)=x", "ARRAY(FILE(<canary>))=x", "MASTER_CHANNEL(FILE(<canary>))=x",
		"MASTER_CHANNEL(ARRAY(FILE(<canary>)))=x")
	for range chance.IntN(4) {
		switch chance.IntN(6) {
		case 0:
			text = strings.Replace(text, "FI", "${A}", 1)
		case 1:
			text = strings.Replace(text, "FILE", "${C}", 1)
		case 2:
			text = "x=y," + text
		case 3:
			text = strings.Replace(text, "(", one("(HASH(", "[(", "X(", "((", "(C,"), 1)
		default:
			at := chance.IntN(strings.Index(text, "<canary>"))
			text = text[:at] + one(`\`, `"`, `\\`, `""`, "(", ")", "_", " ", "[", "]", "{", "}", ",", "~", "|", "'", "%", "$", "\u00a0", ";", "=") + text[at:]
		}
	}
	return text
}
