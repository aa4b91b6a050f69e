package proxy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const auditUsers = standardUsers + `
[caller]
secret = caller-secret
read = call
write = call,originate

[ruled]
secret = ruled-secret
write = originate
allowaction = Originate
allowheader(Originate) = Channel: PJSIP/1??
allowheader(Originate) = Application: Set
allowheader(Originate) = Data: A

[tenant:own]
context = own
[confined]
secret = confined-secret
write = call
tenant = own

[operator]
secret = operator-secret
proxyadmin = yes
`

// auditWorld is a world with an audit log.
func auditWorld(t *testing.T, general string, pbxs ...string) (w *world, lines func() []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "audit.log")
	w = newWorld(t, setup{pbxs: pbxs, users: auditUsers, general: "audit = " + name + "\n" + general})
	return w, func() []string {
		t.Helper()
		w.srv.Shutdown(5 * time.Second)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"-secret", "hidden", upstreamSecret} {
			if strings.Contains(string(text), secret) {
				t.Errorf("the audit log holds %q: %s", secret, text)
			}
		}
		return auditLines(t, string(text))
	}
}

var auditVaries = []struct{ pattern, text string }{
	{`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)",`, ``},
	{`"address":"127\.0\.0\.1:\d+"`, `"address":"A"`},
	{`"latency":[0-9.e-]+`, `"latency":L`},
	{`"upstreamid":"amiproxy-[0-9a-f]{16}-\d+"`, `"upstreamid":"U"`},
}

// auditLines are the lines of an audit log, each JSON, less what varies.
func auditLines(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
		for _, v := range auditVaries {
			line = regexp.MustCompile(v.pattern).ReplaceAllString(line, v.text)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

func equalLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, g, w)
		}
	}
}

// What clients do is in the audit log, with who did it and what came of it; and no
// value that may be secret.
func TestAudit(t *testing.T) {
	w, lines := auditWorld(t, "")
	c := w.dial()
	c.Send("Action: Originate", "ActionID: 0", "Channel: PJSIP/100") // before the login
	c.Login("Caller", "caller-secret")
	c.Do("Action: Originate", "ActionID: a1", "Channel: PJSIP/100", "Context: from-crm", "Exten: 5", "Priority: 1",
		"Variable: CRM_ID=hidden,SPEED=hidden", "Variable: CALLERID(name)=hidden", "Secret: hidden", "Key: hidden", "Async: true")
	c.Do("Action: Hangup", "ActionID: a2", "Channel: PJSIP/none-1", "Channel: PJSIP/second")
	c.Do("Action: setvar", "Variable: X", "Value: hidden", "ActionID: a3")
	c.Do("Action: Getvar", "Variable: X", "ActionID: a4")        // reads
	c.Do("Action: Getvar", "Variable: SHELL(x)", "ActionID: a5") // may change something
	c.Do("Action: Command", "Command: core show channels", "ActionID: a6")
	c.Do("Action: Nonsense", "Key: hidden", "ActionID: a7")
	c.Do("Action: Logoff")
	w.awaitReason(reasonLogoff)
	c = w.login("operator")
	c.Do("Action: ProxyKick", "Username: nobody", "ActionID: o1")
	c.Do("Action: ProxyStatus")
	c.Do("Action: ProxyReload", "ActionID: o2")
	c.Close()
	w.awaitReason(reasonClientClosed)
	c = w.dial()
	c.Send("Action: Login", "Username: cal\x01ler", "Secret: hidden")
	c.ExpectClosed()
	who := func(session int, user string) string {
		return fmt.Sprintf(`"session":%d,"address":"A","user":"%s",`, session, user)
	}
	refused := func(rule, message string) string {
		return `"verdict":"refused","rule":"` + rule + `","response":"Error","message":"` + message + `",`
	}
	const failed = `"verdict":"allowed","rule":"write","response":"Error","message":"No such channel",`
	equalLines(t, lines(), []string{
		`{"event":"action",` + who(1, "") + `"action":"Originate","headers":{"Channel":"PJSIP/100"},` + refused("not logged in", "Permission denied") + `"id":"0"}`,
		`{"event":"login",` + who(1, "Caller") + `"verdict":"allowed","rule":"accepted"}`,
		`{"event":"action",` + who(1, "Caller") + `"pbx":"east","action":"Originate","headers":{"Channel":"PJSIP/100","Context":"from-crm","Exten":"5","Priority":"1","Async":"true","Variable":"CRM_ID,SPEED,CALLERID(name)"},` +
			`"verdict":"allowed","rule":"write","response":"Success","message":"Originate successfully queued","id":"a1","latency":L,"upstreamid":"U"}`,
		`{"event":"action",` + who(1, "Caller") + `"pbx":"east","action":"Hangup","headers":{"Channel":"PJSIP/none-1"},` + failed + `"id":"a2","latency":L,"upstreamid":"U"}`,
		`{"event":"action",` + who(1, "Caller") + `"pbx":"east","action":"Setvar","headers":{"Variable":"X"},"verdict":"allowed","rule":"write","response":"Success","message":"Variable Set","id":"a3","latency":L,"upstreamid":"U"}`,
		`{"event":"action",` + who(1, "Caller") + `"pbx":"east","action":"Getvar","headers":{"Variable":"SHELL(x)"},` + refused("write: needs system for SHELL or EVAL in Variable", "GetVar Access Forbidden: Variable") + `"id":"a5"}`,
		`{"event":"action",` + who(1, "Caller") + `"pbx":"east","action":"Command","headers":{"Command":"core show channels"},` + refused("write: needs command", "Permission denied") + `"id":"a6"}`,
		`{"event":"action",` + who(1, "Caller") + `"action":"Nonsense","headers":{},"verdict":"refused","response":"Error","message":"Invalid/unknown command: Nonsense. Use Action: ListCommands to show available commands.","id":"a7"}`,
		`{"event":"end",` + who(1, "Caller") + `"reason":"logoff"}`,
		`{"event":"login",` + who(2, "operator") + `"verdict":"allowed","rule":"accepted"}`,
		`{"event":"action",` + who(2, "operator") + `"action":"ProxyKick","headers":{"Username":"nobody"},"verdict":"refused","response":"Error","message":"No such session","id":"o1"}`,
		`{"event":"action",` + who(2, "operator") + `"action":"ProxyReload","headers":{},"verdict":"allowed","response":"Success","message":"Configuration reloaded","id":"o2"}`,
		`{"event":"end",` + who(2, "operator") + `"reason":"client closed"}`,
		`{"event":"login",` + who(3, `cal\u0001ler`) + `"verdict":"refused","rule":"no such user"}`,
	})
}

// The record of an action does not need its client any more, nor its PBX.
func TestAuditWithoutClientOrPBX(t *testing.T) {
	w, lines := auditWorld(t, "", "east", "west")
	answer := w.block("east", "Redirect")
	c := w.login("full")
	c.Send("Action: Redirect", "Server: east", "Channel: X", "Exten: 1")
	w.await("east", "Redirect")
	c.Conn().(interface{ SetLinger(int) error }).SetLinger(0)
	c.Close()
	w.awaitReason(reasonClientReset)
	answer()
	d := w.login("full")
	d.Send("Action: Setvar", "Server: nowhere", "Variable: X", "Value: 1")
	d.ExpectNext("Response: Error")
	w.take("west")
	d.Send("Action: Setvar", "Server: west", "Variable: X", "Value: 1")
	d.Expect("Response: Error")
	// One record for each PBX, where a list is for all.
	d.List("Action: Hangup", "Channel: /^none/", "ActionID: h")
	var found []string
	for _, line := range lines() {
		if strings.Contains(line, `"event":"action"`) {
			found = append(found, line[strings.Index(line, `"user":"full",`)+14:])
		}
	}
	slices.Sort(found)
	want := []string{
		`"action":"Setvar","headers":{"Server":"nowhere","Variable":"X"},"verdict":"refused","response":"Error","message":"No such server: nowhere"}`,
		`"pbx":"west","action":"Hangup","headers":{"Channel":"/^none/"},"verdict":"refused","response":"Error","message":"Server west is not connected","id":"h"}`,
		`"pbx":"west","action":"Setvar","headers":{"Server":"west","Variable":"X"},"verdict":"refused","response":"Error","message":"Server west is not connected"}`,
		`"pbx":"east","action":"Hangup","headers":{"Channel":"/^none/"},"verdict":"allowed","rule":"write","response":"Success","message":"Channels hung up will follow","id":"h","latency":L,"upstreamid":"U"}`,
		`"pbx":"east","action":"Redirect","headers":{"Server":"east","Channel":"X","Exten":"1"},"verdict":"allowed","rule":"write","response":"Success","message":"Redirect","latency":L,"upstreamid":"U"}`,
	}
	slices.Sort(want)
	equalLines(t, found, want)
}

func TestAuditReads(t *testing.T) {
	w, lines := auditWorld(t, "auditreads = yes")
	c := w.login("full")
	c.Do("Action: CoreStatus", "ActionID: 1")
	c.Do("Action: Ping")
	if all := lines(); len(all) != 3 || !strings.Contains(all[1], `"action":"CoreStatus","headers":{},"verdict":"allowed","rule":"write","response":"Success"`) {
		t.Errorf("%q", all)
	}
}

// The rule that decided is named, but not the value that it did not like.
func TestAuditOfARule(t *testing.T) {
	w, lines := auditWorld(t, "")
	c := w.login("ruled")
	c.Do("Action: Originate", "Channel: PJSIP/100", "Application: Set", "Data: PASS=hidden", "ActionID: 1")
	if all := lines(); len(all) != 3 || !strings.Contains(all[1], `"Data":"PASS=…"},"verdict":"refused","rule":"test.conf:`) ||
		!strings.Contains(all[1], `allowheader(Originate) = Data: A","response":"Error","message":"Permission denied","id":"1"}`) {
		t.Errorf("%q", all)
	}
}

// Who reaches for another tenant's call is told that there is none; the audit log
// knows better, and names what he named.
func TestAuditOfAFence(t *testing.T) {
	w, lines := auditWorld(t, "")
	c := w.login("confined")
	if f := c.Do("Action: Redirect", "Channel: PJSIP/other-1", "Context: own", "Exten: 1", "Priority: 1"); header(f, "Message") != "Channel does not exist: PJSIP/other-1" {
		t.Errorf("%q", f)
	}
	if all := lines(); len(all) != 3 || !strings.Contains(all[1], `"verdict":"refused","rule":"tenant: it names what is none of the user's tenants'","response":"Error","message":"Channel does not exist: PJSIP/other-1"`) {
		t.Errorf("%q", all)
	}
}

// Who floods the proxy with refusals does not push all else out of the log.
func TestAuditOfAFlood(t *testing.T) {
	w, lines := auditWorld(t, "")
	c := w.dial()
	began := time.Now()
	for range 5 * refusalRate {
		c.Send("Action: Nonsense")
		c.ReadFrame()
	}
	windows := int(time.Since(began)/refusalWindow) + 1
	all := lines()
	omitted := len(slices.DeleteFunc(slices.Clone(all), func(line string) bool { return !strings.Contains(line, `"event":"omitted"`) }))
	if omitted == 0 || len(all)-omitted > refusalRate*windows {
		t.Errorf("%d lines and %d of omissions in %d windows", len(all)-omitted, omitted, windows)
	}
}

// An audit log that cannot be written holds nobody up; the operator is told, and
// then what was lost is.
func TestAuditTroubleHurtsNobody(t *testing.T) {
	dir := t.TempDir() + "/log"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, setup{users: auditUsers, general: "audit = " + dir + "/audit.log"})
	c := w.login("full")
	read := func() string {
		text, err := os.ReadFile(dir + "/audit.log")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	eventually(t, "the login is in the log", func() bool { return strings.Contains(read(), `"event":"login"`) })
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if f := c.Do("Action: Setvar", "Variable: X", "Value: 1"); !amiclient.Has(f, "Response: Success") {
			t.Fatalf("%q", f)
		}
	}
	const told = "audit log not written: what happens meanwhile is lost; make room, or put right what the error says"
	eventually(t, "all are lost", func() bool { return w.srv.audit.log.Lost() == 20 })
	if n := w.logs.FilterMessage(told).Len(); n != 1 {
		t.Errorf("told %d times", n)
	}
	if err := os.Rename(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	c.Do("Action: Setvar", "Variable: Y", "Value: 1")
	eventually(t, "it is written again", func() bool { return strings.HasSuffix(read(), "}\n") && strings.Contains(read(), `{"Variable":"Y"}`) })
	got := auditLines(t, read())
	if len(got) != 3 || got[1] != `{"event":"lost","count":20}` {
		t.Errorf("%q", got)
	}
	if w.logs.FilterMessage("audit log is written again").Len() != 1 {
		t.Error("the operator was not told that it works again")
	}
}

// A file that cannot be is found out before anything runs.
func TestAuditBadPath(t *testing.T) {
	cfg := parse(t, "[general]\naudit = "+t.TempDir()+"/none/audit.log\n[pbx:east]\nhost = 127.0.0.1\nusername = proxy\nsecret = x\n")
	if _, err := New(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "audit log: the folder must be there: ") {
		t.Errorf("%v", err)
	}
}

// What is shown of values that hold secrets.
func TestAuditHeaders(t *testing.T) {
	for in, want := range map[string]string{
		"A=hidden":                             "A",
		"A=hidden,B=hidden":                    "A,B",
		"A=f(x,hidden=1),B":                    "A,…",
		"A=hidden, hidden,B=hidden":            "A,…,B",
		"A,B":                                  "A,B",
		"__A=hidden=hidden,SHARED(a,b)=hidden": "__A,SHARED(a,b)",
		`A="x,hidden=hidden"`:                  "A,…",
		`"A=x",hidden=hidden`:                  "…",
		`A\,hidden=x`:                          "…",
		"CHANNEL(name)":                        "CHANNEL(name)",
		"A=(hidden":                            "A",
		"":                                     "",
		strings.Repeat("v", 300):               strings.Repeat("v", maxTextShown) + "…",
	} {
		if got := variableNames(in); got != want {
			t.Errorf("variables %q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"core show channels":                         "core show channels",
		"Database  PUT cidname 100 hidden too":       "Database PUT cidname 100 …",
		"dialplan set global PASS hidden":            "dialplan set global PASS …",
		"dialplan set chanvar SIP/1 P hidden":        "dialplan set chanvar SIP/1 P …",
		"originate Local/1 application Set A=hidden": "originate Local/1 application Set A=…",
	} {
		if got := commandWords(in); got != want {
			t.Errorf("command %q: got %q, want %q", in, got, want)
		}
	}
}

// Whatever a client sends, a record is one line of JSON that is not too long, and
// what is assigned to variables is not in it.
func TestAuditHeadersProperty(t *testing.T) {
	w, lines := auditWorld(t, "auditreads = yes")
	w.sims["east"].Handle("Originate", func(r *simpbx.Request) { r.Reply("Success", "") })
	c := w.login("full")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.StringMatching(`[\x20-\x7f\x{80}-\x{2028}]{0,300}`)
		action := []string{"Action: Originate"}
		for range rapid.IntRange(0, 60).Draw(rt, "lines") {
			name := rapid.SampledFrom([]string{"Channel", "Variable", "Data", "Exten", "Var-000001", "Value-000001", "Secret", "Command", "Other"}).Draw(rt, "name")
			v := value.Draw(rt, "value")
			switch name {
			case "Variable":
				v = "NAME=" + strings.NewReplacer(",", "", `"`, "").Replace(v) + "hidden"
			case "Value-000001", "Secret", "Other":
				v = "hidden" + v
			}
			action = append(action, name+": "+v)
		}
		action = append(action, fmt.Sprintf("ActionID: %d", n))
		n++
		c.Send(action...)
		c.ReadUntil(func(f amiclient.Frame) bool { return amiclient.Header(f, "ActionID") == fmt.Sprint(n-1) })
	})
	all := lines()
	if len(all) != n+2 { // its login and its end
		t.Errorf("%d lines of %d actions", len(all), n)
	}
	for _, line := range all {
		if len(line) > 2*(maxHeadersShown+8)*(maxTextShown+40) {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// Every action that is known to read only is one of a kind that does.
func TestReadsAreNamedSo(t *testing.T) {
	for _, info := range ami.Actions() {
		if info.Reads && regexp.MustCompile(`Set|Add|Remove|Delete|Put|Del|Load|Kick|Reset|Send|Stop|Start|Pause|Lock|Mute|Update|Restart|Destroy|Expire`).MatchString(strings.ReplaceAll(info.Name, "CoreSettings", "")) {
			t.Errorf("%s is taken to change nothing", info.Name)
		}
	}
}
