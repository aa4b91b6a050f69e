//go:build unix

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const (
	driverLimit   = 2 * time.Minute // For one driver; each bounds its own steps.
	driversAtOnce = 4               // Of all; more would wait for each other's processor.
)

// A library is a client of others, with what its users get of the job of
// clients/job.js.
type library struct {
	name   string // As its users call it.
	driver string // The file in clients.
	// lacks says what of the job fails, or shows a part only, on Asterisk and so through
	// the proxy; empty when all works.
	lacks string
	// lacksFollows is lacks with compat = command-follows.
	lacksFollows string
	// serial is for who takes what comes next for its answer: it is alone on its PBX,
	// and all of the job works with fullybooted = no.
	serial bool
}

var libraries = []library{
	{name: "asterisk-manager", driver: "asterisk-manager.js"},
	{name: "asterisk-ami-client", driver: "asterisk-ami-client.js", lacks: "command in part"},
	{name: "nami", driver: "nami.js", lacks: "no command"},
	{name: "ami-io", driver: "ami-io.js", lacks: "no command"},
	{name: "yana", driver: "yana.js"},
	// These two split what comes into names and values: of two Output lines they keep
	// the last, of output without names nothing.
	{name: "asterisk-ami", driver: "asterisk-ami.js", lacks: "command in part", lacksFollows: "no command"},
	{name: "asterisk.io", driver: "asterisk.io.js", lacks: "command in part", lacksFollows: "no command"},
	{name: "panoramisk", driver: "panoramisk.py"},
	{name: "RubyAMI", driver: "ruby_ami.rb", lacks: "command in part"},
	{name: "Telephony::Asterisk::AMI", driver: "telephony-asterisk-ami.pl", lacksFollows: "no command"},
	{name: "Asterisk::Manager", driver: "asterisk-manager.pl", serial: true,
		lacks: "no ping, no list, no command, no originate", lacksFollows: "no ping, no list, no command, no originate"},
}

// clientsExtensions is the dialplan of the drivers: a call goes from Local/<number>, of
// which every run has its own, to job, whose channel alone acts; hold is a call that
// all see in their lists.
const clientsExtensions = `[clients]
exten => _X.,1,Answer()
 same => n,Wait(60)
exten => job,1,Wait(0.2)
 same => n,UserEvent(Probe,Key: value)
 same => n,Hangup()
exten => hold,1,Answer()
 same => n,Wait(600)
`

// clientsRights are those of the drivers' users, of Asterisk and of the proxy.
const clientsRights = `secret = pw
read = system,call,user
write = all
`

// clientsUsers are those of the proxy: one for every way to use it.
const clientsUsers = "[through]\n" + clientsRights +
	"[follows]\n" + clientsRights + "compat = command-follows\n" +
	"[unbooted]\n" + clientsRights + "fullybooted = no\n"

// TestClients lets libraries that know nothing of amiproxy do the same small job on
// Asterisk and through a proxy. What their users see must agree.
func TestClients(t *testing.T) {
	w := &workshop{root: clientsRoot(t), free: make(chan struct{}, driversAtOnce)}
	w.copyDrivers(t)
	like := func(major int, name string) asterisk.Options {
		return asterisk.Options{Major: major, Name: name, Users: "[client]\n" + clientsRights, Extensions: clientsExtensions,
			// A call has no events after its Hangups, which a serial client would meet.
			Files: map[string]string{"cel.conf": "[general]\nenable = no\n", "cdr.conf": "[general]\nenable = no\n"}}
	}
	pbxs := starts(t, like(16, "sixteen"), like(22, "twentytwo"))
	rows := make([][2][]string, len(libraries))
	together(t, len(pbxs), func(tb testing.TB, n int) {
		pbx := pbxs[n]
		p := startProxy(tb, clientsUsers, pbx)
		p.waitUp()
		holdCall(tb, pbx)
		output, err := pbx.CLI("core show channeltypes")
		if err != nil {
			tb.Fatal(err)
		}
		// One after the other: several of them number their actions from 1, and Asterisk
		// shows the ActionID of an OriginateResponse to all.
		direct := make([][]driverStep, len(libraries))
		for i, l := range libraries {
			direct[i] = w.drive(tb, l.driver, pbx.Addr(), "client")
		}
		judge := func(tb testing.TB, i int) {
			rows[i][n] = w.judge(tb, libraries[i], direct[i], p.addr, output)
		}
		together(tb, len(libraries), func(tb testing.TB, i int) {
			if !libraries[i].serial {
				judge(tb, i)
			}
		})
		for i, l := range libraries {
			if l.serial {
				judge(tb, i)
			}
		}
	})
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "client\tAsterisk\tdirect\tamiproxy\tcommand-follows\tfullybooted = no")
	for i, l := range libraries {
		for n, pbx := range pbxs {
			major, _, _ := strings.Cut(pbx.Version(), ".")
			fmt.Fprintf(tw, "%s\t%s\t%s\n", l.name, major, strings.Join(rows[i][n], "\t"))
		}
	}
	tw.Flush()
	report(t, "Client libraries, what of a small job works:\n%s", &table)
}

// holdCall makes the call that stays, and returns when nothing of it changes any more.
func holdCall(tb testing.TB, pbx *asterisk.PBX) {
	tb.Helper()
	c := loginDirect(tb, pbx)
	c.Do("Action: Originate", "Channel: Local/hold@clients", "Application: Wait", "Data: 600")
	eventually(tb, "the channels of Local/hold@clients to wait", func() bool {
		waiting := 0
		for _, f := range c.List("Action: CoreShowChannels") {
			if amiclient.Has(f, "Application: Wait", "ApplicationData: 600") {
				waiting++
			}
		}
		return waiting == 2
	})
}

// clientsRoot returns the Debian root with the libraries, which test/provision made.
// Without it the test is skipped, or fails, as asterisk.Root has it.
func clientsRoot(tb testing.TB) string {
	tb.Helper()
	root := filepath.Join(filepath.Dir(asterisk.Root(tb, 22)), "clients")
	if _, err := os.Stat(filepath.Join(root, "opt/clients/node_modules")); err != nil {
		missing := tb.Skipf
		if os.Getenv("AMIPROXY_REQUIRE_ASTERISK") == "1" {
			missing = tb.Fatalf
		}
		missing("the client libraries are not installed in %s; run `make test`, or `test/provision` once", root)
	}
	return root
}

// A workshop is where the drivers run.
type workshop struct {
	root string        // The Debian root.
	dir  string        // The folder of the drivers, as seen inside the root.
	free chan struct{} // Holds one element for every driver that runs.
	runs atomic.Int64  // Numbers the calls.
}

func (w *workshop) copyDrivers(tb testing.TB) {
	tb.Helper()
	dir, err := os.MkdirTemp(filepath.Join(w.root, "tmp"), "clients-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.CopyFS(dir, os.DirFS("clients")); err != nil {
		tb.Fatal(err)
	}
	w.dir = strings.TrimPrefix(dir, w.root)
}

// A driverStep is a line of a driver's output.
type driverStep struct {
	Step string
	OK   bool
	Saw  json.RawMessage // What the library showed; only with OK.
	Why  string          // Why it failed; only without.
}

// drive runs a driver and returns its steps.
func (w *workshop) drive(tb testing.TB, driver, addr, user string) []driverStep {
	tb.Helper()
	w.free <- struct{}{}
	defer func() { <-w.free }()
	interpreters := map[string][]string{
		".js": {"/usr/bin/node"}, ".pl": {"/usr/bin/perl"}, ".rb": {"/usr/bin/ruby"},
		// Without -P the driver itself would be the module of its name.
		".py": {"/usr/bin/python3", "-P"},
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	channel := fmt.Sprintf("Local/%d@clients", 1000+w.runs.Add(1))
	args := append(slices.Clone(interpreters[filepath.Ext(driver)]), w.dir+"/"+driver, host, port, user, "pw", channel)
	ctx, cancel := context.WithTimeout(tb.Context(), driverLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "NODE_PATH=/opt/clients/node_modules"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: w.root}
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var steps []driverStep
	for line := range bytes.Lines(stdout.Bytes()) {
		var s driverStep
		if err := json.Unmarshal(line, &s); err != nil {
			tb.Fatalf("%s as %s: %v in %q", driver, user, err, line)
		}
		steps = append(steps, s)
	}
	if err != nil || len(steps) == 0 {
		tb.Fatalf("%s as %s: %v\n%s%s", driver, user, err, &stdout, &stderr)
	}
	return steps
}

// judge lets one library do its job through a proxy in every way, and says of each,
// and of what it did directly, what works.
func (w *workshop) judge(tb testing.TB, l library, direct []driverStep, proxy, output string) []string {
	tb.Helper()
	through := w.drive(tb, l.driver, proxy, "through")
	follows := w.drive(tb, l.driver, proxy, "follows")
	if a, b := normaliseSteps(tb, direct), normaliseSteps(tb, through); a != b {
		tb.Errorf("%s shows other things through the proxy than directly, %s", l.name, firstDifference([]byte(a), []byte(b)))
	}
	verdict := func(way string, steps []driverStep, want string) string {
		tb.Helper()
		got := lacks(tb, steps, output)
		if got != want {
			tb.Errorf("%s, %s: what fails is %q, not %q\n%s", l.name, way, got, want, showSteps(steps))
		}
		if got == "" {
			got = "all works"
		}
		return got
	}
	verdicts := []string{
		verdict("direct", direct, l.lacks),
		verdict("amiproxy", through, l.lacks),
		verdict("command-follows", follows, l.lacksFollows),
	}
	if l.serial {
		verdicts = append(verdicts, verdict("fullybooted = no", w.drive(tb, l.driver, proxy, "unbooted"), ""))
	}
	return verdicts
}

// clientSteps are the steps of the job.
var clientSteps = []string{"login", "ping", "list", "command", "originate", "events", "logoff"}

// lacks says which steps failed. A command has to show every line of its output.
func lacks(tb testing.TB, steps []driverStep, output string) string {
	tb.Helper()
	var failed []string
	for _, name := range clientSteps {
		i := slices.IndexFunc(steps, func(s driverStep) bool { return s.Step == name })
		if i < 0 || !steps[i].OK {
			failed = append(failed, "no "+name)
			continue
		}
		if name != "command" {
			continue
		}
		var saw struct{ Output any }
		if err := json.Unmarshal(steps[i].Saw, &saw); err != nil {
			tb.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(output), "\n")
		shown := 0
		for _, line := range lines {
			if strings.Contains(fmt.Sprint(saw.Output), strings.TrimSpace(line)) {
				shown++
			}
		}
		switch shown {
		case 0:
			failed = append(failed, "no command")
		case len(lines):
		default:
			failed = append(failed, "command in part")
		}
	}
	return strings.Join(failed, ", ")
}

// normaliseSteps writes steps down without what is another for every run.
func normaliseSteps(tb testing.TB, steps []driverStep) string {
	tb.Helper()
	var b strings.Builder
	for _, s := range steps {
		saw := s.Saw
		switch {
		case !s.OK:
		case s.Step == "list":
			saw = normaliseList(tb, saw)
		case s.Step == "events":
			saw = normaliseEvents(tb, saw)
		}
		fmt.Fprintf(&b, "%s %v %s %s\n", s.Step, s.OK, saw, s.Why)
	}
	text := b.String()
	for _, v := range unequal {
		text = v.form.ReplaceAllString(text, v.as)
	}
	return text
}

// unequal is what no two runs have in common.
var unequal = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b\d{10}\.\d+\b`), "<time or uniqueid>"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "<duration>"},
	{regexp.MustCompile(`Local/\d+@clients(-[0-9a-f]{8})?`), "<channel>"},
	{regexp.MustCompile(`(?i)("(action|command)?id": ?)("[^"]*"|\d+)`), "$1<id>"},
	{regexp.MustCompile(`((Action|Command)ID: )[^"\\]+`), "$1<id>"},
	{regexp.MustCompile(`(?i)("listitems": ?)"\d+"`), "$1<n>"},
	{regexp.MustCompile(`((?i)ListItems: )\d+`), "$1<n>"},
}

// normaliseList leaves only the channels that all see.
func normaliseList(tb testing.TB, saw json.RawMessage) json.RawMessage {
	tb.Helper()
	var list struct{ Items, End json.RawMessage }
	var items, kept []json.RawMessage
	if err := json.Unmarshal(saw, &list); err != nil {
		tb.Fatalf("%v in %s", err, saw)
	}
	if err := json.Unmarshal(list.Items, &items); err != nil {
		tb.Fatalf("%v in %s", err, saw)
	}
	for _, item := range items {
		if bytes.Contains(item, []byte("hold@clients")) {
			kept = append(kept, item)
		}
	}
	return append(slices.Concat(kept...), list.End...)
}

// normaliseEvents sorts the events of a call by who raises them: those that other
// threads of Asterisk raise come at any time between the others.
func normaliseEvents(tb testing.TB, saw json.RawMessage) json.RawMessage {
	tb.Helper()
	var events [][2]string
	if err := json.Unmarshal(saw, &events); err != nil {
		tb.Fatalf("%v in %s", err, saw)
	}
	groups := map[string][]string{}
	for _, e := range events {
		name, leg := e[0], e[1][len(e[1])-2:]
		if name == "OriginateResponse" {
			leg = name
		}
		groups[leg] = append(groups[leg], name)
	}
	text, err := json.Marshal(groups)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// showSteps writes steps down for a failure.
func showSteps(steps []driverStep) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "  %s %v %.400s %s\n", s.Step, s.OK, s.Saw, s.Why)
	}
	return b.String()
}
