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

// checkUsers are users of the PBXes and of the proxies, each with the classes of some
// actions that look closer, and no others.
const checkUsers = `
[files]
secret = pw
write = config
[modules]
secret = pw
write = system
[commands]
secret = pw
write = command
[reader]
secret = pw
write = call,reporting
[dialler]
secret = pw
write = originate
[agi]
secret = pw
write = originate,agi
[boss]
secret = pw
write = all
`

// A checked is an action of a user that Asterisk may refuse for what its headers say. In
// them CONFIG and MODULES are the directories of the PBX.
type checked struct {
	user    string
	headers []string
	// outside: it names a file that no release may touch. Whether there is one, the proxy
	// does not tell.
	outside bool
	// linked: it goes through a link in the directory, which only the PBX can follow.
	linked bool
	// stricter: an older Asterisk may read it in another way, so that the proxy refuses
	// what 22 does not.
	stricter bool
}

func (r checked) String() string { return fmt.Sprintf("%s: %q", r.user, r.headers) }

// play sends the action and returns all that comes of it.
func (r checked) play(c *amiclient.Client, d directories) string {
	headers := []string{"ActionID: x"}
	for _, header := range r.headers {
		headers = append(headers, strings.NewReplacer("CONFIG", d.config, "MODULES", d.modules).Replace(header))
	}
	c.Send(headers...)
	var got strings.Builder
	for _, f := range c.Roundtrip() {
		// The proxy ends this text, when it refuses, without a line feed of its own.
		got.WriteString(strings.Replace(string(f), "maximum of 149\n", "maximum of 149\r\n", 1))
	}
	d.tidy()
	return d.name(got.String())
}

// refusals are the texts that the proxy itself answers with, as Asterisk 22 does.
var refusals = []string{
	"Command blacklisted",
	"File requires escalated privileges",
	"Module must be in the configured modules directory.",
	"GetVar Access Forbidden: Variable",
	"Status Access Forbidden: Variables",
	"Originate Access Forbidden: app or data blacklisted",
}

func isRefusal(answer string) bool {
	for _, text := range refusals {
		if answer == "Response: Error\r\nActionID: x\r\nMessage: "+text+"\r\n\r\n" {
			return true
		}
	}
	return false
}

// oldSpelling is in Asterisk 16's own refusal, also of files that are not there.
const oldSpelling = "priveledges"

func isDenial(answer string) bool {
	return answer == "Response: Error\r\nActionID: x\r\nMessage: Permission denied\r\n\r\n"
}

// isMissing reports whether Asterisk says that there is no such file.
func isMissing(answer string) bool {
	return strings.Contains(answer, "Message: Config file not found\r\n") ||
		strings.Contains(answer, "Message: No such file or directory\r\n") ||
		strings.Contains(answer, "Message: Not a directory\r\n") ||
		strings.Contains(answer, "Message: Module not found.\r\n")
}

// directories are those of a PBX.
type directories struct{ root, config, modules string }

func learnDirectories(t *testing.T, c *amiclient.Client, root string) directories {
	d := directories{root: root}
	for _, line := range amiclient.Values(c.Do("Action: Command", "Command: core show settings"), "Output") {
		label, value, _ := strings.Cut(line, ":")
		switch label {
		case "Configuration directory":
			d.config = strings.TrimSpace(value)
		case "Module directory":
			d.modules = strings.TrimSpace(value)
		}
	}
	if d.config == "" || d.modules == "" {
		t.Fatalf("no directories: %+v", d)
	}
	return d
}

// lay puts files inside and outside, and links from the one to the other.
func (d directories) lay(t *testing.T) {
	t.Helper()
	config := d.root + d.config
	for _, dir := range []string{config + "/sub", config + "-old"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{config + "/there.conf", config + "-old/there.conf", filepath.Dir(config) + "/secret.conf"} {
		if err := os.WriteFile(file, []byte("[a]\nb = c\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.conf": "../secret.conf", "outside": ".."} {
		if err := os.Symlink(to, config+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
}

// tidy removes what an action may have made: all files are made of these names.
func (d directories) tidy() {
	for _, dir := range []string{"", "/sub", "-old", "/.."} {
		for _, name := range []string{"new.conf", "none.conf", "THERE.conf", "there.conf  ", "there.conf\x01", "\x80"} {
			os.Remove(filepath.Join(d.root+d.config+dir, name))
		}
	}
}

// name writes CONFIG for the directory.
func (d directories) name(answer string) string {
	return strings.ReplaceAll(answer, d.config, "CONFIG")
}

func checkedRequests() (all []checked) {
	add := func(user string, headers ...string) { all = append(all, checked{user: user, headers: headers}) }
	out := func(user string, headers ...string) {
		all = append(all, checked{user: user, headers: headers, outside: true})
	}
	up := strings.Repeat("../", 16)

	inside := []string{
		"there.conf", "none.conf", "./there.conf", "sub/none.conf", "nodir/none.conf", "nodir/../there.conf",
		"../etc/there.conf", "../etc/none.conf", "CONFIG/there.conf", "CONFIG/none.conf",
		"CONFIG/../etc/there.conf", "CONFIG//sub/..//there.conf", "/../../CONFIG/there.conf",
		".", "CONFIG", "CONFIG/", "sub", "there.conf/", "there.conf/..", "there.conf  ", "there.conf\x01", "THERE.conf", "\x80",
		"", " \t", strings.Repeat("a/", 120), strings.Repeat("x", 300), "there.conf\x00/" + up + "etc/passwd",
		"new.conf", "sub/new.conf", "CONFIG/new.conf",
		// As in Asterisk, a directory of a name that begins so is in.
		"CONFIG-old/there.conf", "../etc-old/there.conf", "../etc-old/none.conf", "../etc-old/new.conf",
	}
	outside := []string{
		"../secret.conf", "CONFIG/../secret.conf", " ../secret.conf\t", "/etc/passwd", "//etc/passwd", up + "etc/passwd",
		"sub/../../secret.conf", "..", "/", "../new.conf", "./../new.conf", "../log/messages.log",
		"../et/there.conf", "/etc/nosuch", "/nosuch/there.conf", "/new.conf", "../nosuch.conf",
		"nodir/../../secret.conf", "there.conf/../../secret.conf", "nodir/../../nosuch.conf",
	}
	linked := []string{"out.conf", "outside/secret.conf", "outside/nosuch.conf", "outside/new.conf", "outside/etc/there.conf", "outside/../there.conf"}
	for _, action := range []string{"GetConfig", "GetConfigJSON", "ListCategories", "CreateConfig"} {
		action = "Action: " + action
		for _, name := range inside {
			add("files", action, "Filename: "+name)
		}
		for _, name := range outside {
			out("files", action, "Filename: "+name)
		}
		for _, name := range linked {
			all = append(all, checked{user: "files", headers: []string{action, "Filename: " + name}, linked: true})
		}
		add("files", action)
		out("files", action, "filename:../secret.conf", "Filename: there.conf")
		add("files", action, "Filename: there.conf", "Filename: ../secret.conf")
		add("files", action, "Filename : ../secret.conf")
		add("files", action, "SrcFilename: ../secret.conf", "DstFilename: ../secret.conf")
		out("boss", action, "Filename: /etc/passwd")
		add("dialler", action, "Filename: /etc/passwd")
	}
	for _, names := range [][2]string{
		{"there.conf", "new.conf"}, {"there.conf", "../etc/new.conf"}, {"CONFIG/there.conf", "CONFIG/sub/new.conf"},
		{"none.conf", "there.conf"}, {"there.conf", "CONFIG-old/there.conf"}, {"", "../new.conf"}, {"../secret.conf", ""}, {"", ""},
	} {
		add("files", "Action: UpdateConfig", "SrcFilename: "+names[0], "DstFilename: "+names[1])
	}
	for _, names := range [][2]string{
		{"there.conf", "../new.conf"}, {"../secret.conf", "new.conf"}, {"../secret.conf", "../new.conf"},
		{"there.conf", "../secret.conf"}, {"there.conf", "/etc/passwd"}, {"/etc/passwd", "there.conf"},
		{"there.conf", "/etc/nosuch"}, {"/etc/nosuch", "there.conf"},
	} {
		out("files", "Action: UpdateConfig", "SrcFilename: "+names[0], "DstFilename: "+names[1])
	}
	add("files", "Action: UpdateConfig", "SrcFilename: ../secret.conf")
	add("files", "Action: UpdateConfig", "DstFilename: ../new.conf")
	add("files", "Action: UpdateConfig", "Filename: ../secret.conf")

	for _, kind := range []string{"load", "Unload", "reload", "refresh", "bogus", ""} {
		kind = "LoadType: " + kind
		for _, module := range []string{
			"nosuch.so", "nosuch", "./nosuch.so", "../modules/nosuch.so", "../modules-old/x.so", "MODULES/nosuch.so",
			"/etc/passwd", "nosuch.so\x00" + up + "etc/passwd",
		} {
			add("modules", "Action: ModuleLoad", kind, "Module: "+module)
		}
		for _, module := range []string{up + "etc/passwd", "../../../..//..//../etc/passwd", " ..", "../nosuch.so", "../modules/../nosuch.so", "nosuch/../../x"} {
			out("modules", "Action: ModuleLoad", kind, "Module: "+module)
		}
		if kind != "LoadType: reload" { // reloads everything
			add("modules", "Action: ModuleLoad", kind, "Module: ")
			add("modules", "Action: ModuleLoad", kind)
		}
	}
	add("modules", "Action: ModuleLoad", "Module: "+up+"etc/passwd")
	add("modules", "Action: ModuleLoad", "LoadType: load", "Module: nosuch.so", "Module: "+up+"etc/passwd")
	add("modules", "Action: ModuleLoad", "LoadType: load", "Module: func_md5.so")
	add("modules", "Action: ModuleLoad", "LoadType: reload", "Module: func_md5.so")
	add("modules", "Action: ModuleLoad", "LoadType: load", "Module: func_md5")
	add("modules", "Action: ModuleLoad", "LoadType: reload", "Module: func_md5")
	add("modules", "Action: ModuleLoad", "LoadType: reload", "Module: dnsmgr")
	add("boss", "Action: ModuleLoad", "LoadType: load", "Module: "+up+"etc/passwd")

	for _, command := range []string{
		"module load nosuch.so", "MODULE Load", "  module   load   nosuch.so", "module \t load nosuch.so", "module\x01 load",
		"module load\t", "module unload nosuch.so", "module unload", "restart gracefully", "Restart  Gracefully now",
		// Not what the list says, though the CLI runs some of these.
		"module", "module loadx", "mod load nosuch.so", "mod lo nosuch.so", "module\tload nosuch.so", `"module" load nosuch.so`,
		`module "load" nosuch.so`, `mod\ule load nosuch.so`, "module show like nosuch", "x module load", "", " \t ", "module  ", "module lo\xc2\xa0ad",
	} {
		add("commands", "Action: Command", "Command: "+command)
	}
	add("commands", "Action: Command")
	add("commands", "Action: Command", "Command: module load", "Command: core show nosuch")
	add("commands", "Action: Command", "Command: core show nosuch", "Command: module load")
	add("commands", "Action: Command", "Command: ", "Command: module load")
	add("boss", "Action: Command", "Command: module load nosuch.so")

	for _, variable := range []string{"SHELL(id)", "EVAL(x)", "xEVALx", "shell(id)", "Eval(x)", "SHEL", "FOO", "", "DB(a/b)", "FILE(/etc/passwd)"} {
		for _, user := range []string{"reader", "boss"} {
			add(user, "Action: Getvar", "Variable: "+variable)
			add(user, "Action: Getvar", "Channel: none", "Variable: "+variable)
			add(user, "Action: Status", "Variables: "+variable)
			add(user, "Action: Status", "Channel: none", "Variables: FOO,"+variable)
		}
	}
	add("reader", "Action: Getvar", "Variable: FOO", "Variable: SHELL(id)")
	add("reader", "Action: Getvar", "Variable: SHELL(id)", "Variable: FOO")

	// No such technology: what is not refused fails at once.
	for _, user := range []string{"dialler", "agi", "boss"} {
		for _, app := range []string{"System", "trysystem", "AGI", "MixMonitor", "Originate", "ExecIf", "ExternalIVR", "DBdeltree", "Reload", "NoOp", "QueueLog", " \tSystem"} {
			add(user, "Action: Originate", "Channel: None/1", "Application: "+app)
			add(user, "Action: Originate", "Channel: None/1", "Exten: 1", "Context: default", "Priority: 1", "Application: "+app)
		}
		for _, data := range []string{"SHELL", "shell", "x${CURL(y)}", "DB", "ODBC", "REALTIME", "FILE", "EVAL", "a,b,c,d,e,f", "a,b,c,d,e,", "a,b,c,d,e,f CURL", `a,"b,c",d,e,f`} {
			for _, app := range []string{"NoOp", "Queue", "myqueue"} {
				add(user, "Action: Originate", "Channel: None/1", "Application: "+app, "Data: "+data)
			}
		}
		for _, data := range []string{"a,b,c,d,e,f SHELL", "a,b,EVAL,d,e,f", "a,[b,c],d,e,f", "a|b|c|d|e|f"} {
			all = append(all, checked{user: user, stricter: true, headers: []string{
				"Action: Originate", "Channel: None/1", "Application: Queue", "Data: " + data}})
		}
		for _, headers := range [][]string{
			{"Channel: None/1", "Application: NoOp", "Application: System"},
			{"Channel: None/1", "Application: System", "Application: NoOp"},
			{"Channel: None/1", "Application: ", "Application: System"},
			{"Channel: None/1", "Application: NoOp", "Data: x", "Data: SHELL"},
			{"Channel: None/1", "Application: NoOp", "Data: SHELL", "Data: x"},
			{"Channel: None/1", "Application: System", "Codecs: nosuch,ulaw", "OtherChannelId: b", "ChannelId: a", "PreDialGoSub: default,s,1"},
			{"Channel: None/1", "Exten: 1", "Context: default", "Priority: 1", "Data: SHELL", "PreDialGoSub: default,System,1"},
			{"Channel: None/1", "Application: NoOp", "Variable: a=${SHELL(id)}"},
			{"Application: System"}, {"Channel: None", "Application: System"},
			{"Channel: None/1", "Application: System", "Timeout: x"},
			{"Channel: None", "Application: System", "Timeout: 1"},
			{"Channel: None/1", "Application: System", "Timeout: 1", "Priority: 1"},
			{"Channel: None/1", "Application: System", "ChannelId: " + strings.Repeat("x", 149)},
			{"Channel: None/1", "Application: System", "ChannelId: " + strings.Repeat("x", 150)},
			{"Application: System", "OtherChannelId: " + strings.Repeat("x", 150)},
		} {
			add(user, append([]string{"Action: Originate"}, headers...)...)
		}
	}
	return all
}

// TestSecondChecks has limited users send actions that Asterisk refuses for what their
// headers say, to PBXes and to proxies before them. What Asterisk 22 refuses, whatever
// the reason, must be refused on the old one too, in the words of 22.
func TestSecondChecks(t *testing.T) {
	pbxs := starts(t,
		asterisk.Options{Major: 22, Name: "new", Users: checkUsers},
		asterisk.Options{Major: 16, Name: "old", Users: checkUsers})
	type side struct {
		directories
		direct, soft, hard map[string]*amiclient.Client // by user
	}
	var sides [2]side
	for i, pbx := range pbxs {
		s := &sides[i]
		s.directories = learnDirectories(t, loginDirect(t, pbx), asterisk.Root(t, []int{22, 16}[i]))
		s.lay(t)
		logins := func(addr string) map[string]*amiclient.Client {
			m := map[string]*amiclient.Client{}
			for _, user := range []string{"files", "modules", "commands", "reader", "dialler", "agi", "boss"} {
				m[user] = loginAt(t, addr, user, "Events: off")
			}
			return m
		}
		s.direct = logins(pbx.Addr())
		for _, hardening := range []string{"no", "yes"} {
			p := startProxy(t, "[general]\nhardening = "+hardening+"\n"+checkUsers, pbx)
			p.waitUp()
			eventually(t, "the directories", func() bool { return p.backend(pbx.Name()).Directories().Config == s.config })
			if hardening == "no" {
				s.soft = logins(p.addr)
			} else {
				s.hard = logins(p.addr)
			}
		}
	}
	newest, oldest := &sides[0], &sides[1]
	var equal, hidden, stricter, refused int
	for _, r := range checkedRequests() {
		want := r.play(newest.direct[r.user], newest.directories)
		got := r.play(newest.soft[r.user], newest.directories)
		switch {
		case got == want:
			equal++
		case r.outside && isRefusal(got) && isMissing(want):
			hidden++
		case r.stricter && isRefusal(got):
			stricter++
		default:
			t.Errorf("22: %s: got %q, direct %q", r, got, want)
		}
		if hard := r.play(newest.hard[r.user], newest.directories); hard != got && !isDenial(hard) {
			t.Errorf("22: %s: with hardening %q, without %q", r, hard, got)
		}

		refusal, direct := got, r.play(oldest.direct[r.user], oldest.directories)
		got = r.play(oldest.soft[r.user], oldest.directories)
		switch {
		case got == direct && (!isRefusal(refusal) || r.linked || !r.outside && strings.Contains(direct, oldSpelling)):
		case got == refusal && isRefusal(refusal):
			refused++
		default:
			t.Errorf("16: %s: got %q, direct %q, 22 through the proxy %q", r, got, direct, refusal)
		}
		if hard := r.play(oldest.hard[r.user], oldest.directories); hard != got && !isDenial(hard) {
			t.Errorf("16: %s: with hardening %q, without %q", r, hard, got)
		}
	}
	report(t, "second checks: Asterisk %s: %d actions equal, %d refused without telling that the file is missing, %d refused for what older releases read in them; Asterisk %s: %d refused as by the newest",
		release(pbxs[0]), equal, hidden, stricter, release(pbxs[1]), refused)
	if equal == 0 || hidden == 0 || stricter == 0 || refused == 0 {
		t.Error("this test lost what it compares")
	}
}
