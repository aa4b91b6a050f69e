package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// asProgram makes the test binary be the program, for what needs a process.
const asProgram = "AMIPROXY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// runArgs is the program in this process.
func runArgs(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodConfig = `
[general]
port = %d

[pbx:east]
host = 127.0.0.1
port = %d
username = proxy
secret = upstream-secret

[crm]
secret = crm-secret
read = system,call,user
write = call,user
`

const badConfig = `
[general]
port = 99999
prot = 5038

[pbx:east]
host = 127.0.0.1
secret = upstream-secret

[crm]
secret = crm-secret
dney = 0.0.0.0/0

[ops]
secret =
`

func TestVersion(t *testing.T) {
	code, out, _ := runArgs(t.Context(), "version")
	if code != exitDone || !strings.HasPrefix(out, "amiproxy devel\ncommit ") || !strings.Contains(out, runtime.Version()) {
		t.Errorf("%d: %q", code, out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"}, {"serve", "extra"}, {"serve", "--nonsense"}, {"check", "-c"}, {"version", "x"},
		{"demo", "--port", "no"}, {"demo", "--port", "65536"},
	} {
		code, out, text := runArgs(t.Context(), args...)
		if code != exitUsage || out != "" || !strings.Contains(text, "amiproxy help") {
			t.Errorf("%q: %d, %q, %q", args, code, out, text)
		}
	}
	code, out, _ := runArgs(t.Context(), "help")
	for _, command := range []string{"serve", "check", "demo", "version"} {
		if code != exitDone || !strings.Contains(out, "\n  "+command) {
			t.Errorf("help lacks %s: %d, %s", command, code, out)
		}
	}
}

func TestCheck(t *testing.T) {
	good := write(t, "good.conf", fmt.Sprintf(goodConfig, 5038, 5039))
	code, out, text := runArgs(t.Context(), "check", "-c", good)
	if code != exitDone || out != good+": OK: 1 PBX, 1 user\n" || text != "" {
		t.Errorf("%d: %q, %q", code, out, text)
	}
	odd := write(t, "odd.conf", fmt.Sprintf(goodConfig, 5038, 5039)+"[ops]\nsecret =\n")
	code, out, text = runArgs(t.Context(), "check", "-c", odd)
	if code != exitDone || out != odd+": OK: 1 PBX, 2 users\n" || !strings.HasPrefix(text, "warning: "+odd+":") {
		t.Errorf("%d: %q, %q", code, out, text)
	}
}

// Every error is told, and every warning before them, each on a line of its own and
// with its place, and no secret.
func TestCheckTellsEveryError(t *testing.T) {
	bad := write(t, "bad.conf", badConfig)
	code, out, text := runArgs(t.Context(), "check", "--config", bad)
	if code != exitFailed || out != "" || strings.Contains(text, "-secret") {
		t.Errorf("%d: %q, %q", code, out, text)
	}
	for _, want := range []string{":3: [general] port: ", ":4: [general] prot: ", "[pbx:east] username: ", ":12: [crm] dney: "} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(bad) + `.*` + regexp.QuoteMeta(want)).MatchString(text) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if want := "warning: " + bad + ":15: [ops] secret: empty"; !strings.HasPrefix(text, want) || strings.Count(text, "warning") != 1 {
		t.Errorf("want %q at the start of\n%s", want, text)
	}
	missing := filepath.Join(t.TempDir(), "none.conf")
	code, _, text = runArgs(t.Context(), "check", "-c", missing)
	if code != exitFailed || !strings.HasPrefix(text, missing+": ") || strings.Count(text, "\n") != 1 {
		t.Errorf("%d: %q", code, text)
	}
}

func TestServeWithBadConfigStartsNothing(t *testing.T) {
	code, out, text := runArgs(t.Context(), "serve", "-c", write(t, "bad.conf", badConfig))
	if code != exitFailed || out != "" || !strings.Contains(text, "[crm] dney: ") || strings.Contains(text, "listening") {
		t.Errorf("%d: %q, %q", code, out, text)
	}
}

func TestServePortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	code, out, text := runArgs(t.Context(), "serve", "-c", write(t, "a.conf", fmt.Sprintf(goodConfig, port, 5039)))
	if code != exitFailed || out != "" || strings.Count(text, "\n") != 1 || !strings.Contains(text, strconv.Itoa(port)) {
		t.Errorf("%d: %q, %q", code, out, text)
	}
}

// program is a running amiproxy serve.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of stderr
	ended chan error
	port  int
	file  string // configuration
}

// startProgram starts the program in front of a simulated PBX.
func startProgram(t *testing.T) *program {
	t.Helper()
	sim := simpbx.New(simpbx.Options{})
	t.Cleanup(func() { sim.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go sim.Serve(l) //nolint:errcheck // Close ends it
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	file := write(t, "a.conf", fmt.Sprintf(goodConfig, port, l.Addr().(*net.TCPAddr).Port))

	p := &program{t: t, port: port, file: file, lines: make(chan string, 1000), ended: make(chan error, 1)}
	p.cmd = exec.Command(os.Args[0], "serve", "-c", file)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	go func() {
		<-read
		p.ended <- p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	p.await("PBX is up")
	return p
}

// await reads the log up to a line with a text in it.
func (p *program) await(text string) {
	p.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if strings.Contains(line, text) {
				return
			}
			if strings.Contains(line, "-secret") {
				p.t.Errorf("a secret in the log: %s", line)
			}
			if !ok {
				p.t.Fatalf("ended without %q", text)
			}
		case <-timeout:
			p.t.Fatalf("no %q in the log", text)
		}
	}
}

func TestServeStopsOnSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startProgram(t)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
		c := amiclient.Dial(t, addr)
		c.Login("crm", "crm-secret")
		c.Expect("Event: FullyBooted")
		c.ExpectNothing()
		// One that never finishes must not hold up the end.
		half := amiclient.Dial(t, addr)
		half.Write([]byte("Action: Log"))

		start := time.Now()
		p.cmd.Process.Signal(sig)
		p.await("stopping")
		if frames := c.ExpectClosed(); len(frames) > 0 {
			t.Errorf("%v: %q", sig, frames)
		}
		select {
		case err := <-p.ended:
			if err != nil {
				t.Errorf("%v: %v", sig, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%v: still there", sig)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%v: took %v", sig, took)
		}
	}
}

// SIGHUP loads the file anew; one with errors changes nothing and tells all of
// them.
func TestServeReloadsOnHangup(t *testing.T) {
	p := startProgram(t)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, line string) {
		t.Helper()
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.cmd.Process.Signal(syscall.SIGHUP)
		p.await(line)
	}
	c := amiclient.Dial(t, addr)
	c.Login("crm", "crm-secret")
	c.Expect("Event: FullyBooted")

	const ops = "[ops]\nsecret = ops-secret\nread = all\n"
	reload(string(good)+ops+"dney = x\n[crm2]\nsecrte = x\n", "[crm2] secrte")
	d := amiclient.Dial(t, addr)
	d.Send("Action: Login", "Username: ops", "Secret: ops-secret")
	d.ExpectNext("Response: Error")

	reload(string(good)+ops, `"users added": ["ops"]`)
	d = amiclient.Dial(t, addr)
	d.Login("ops", "ops-secret")
	c.ExpectNothing()

	reload(strings.ReplaceAll(string(good), "[crm]", "[ops]"), `"users removed": ["crm"]`)
	c.ExpectClosed()
}

// The demo does what it prints.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--port", "0", "--http-port", "0"}, in, &stderr)
		in.Close()
	}()
	var text strings.Builder
	for s := bufio.NewScanner(out); s.Scan(); {
		text.WriteString(s.Text() + "\n")
		if strings.HasPrefix(s.Text(), "Or point any AMI client") {
			break
		}
	}
	steps := regexp.MustCompile(`/dev/tcp/127\.0\.0\.1/(\d+); printf "([^"]*)"`).FindAllStringSubmatch(text.String(), -1)
	if len(steps) != 4 {
		t.Fatalf("%d steps in\n%s", len(steps), text.String())
	}
	play := func(i int) *amiclient.Client {
		conn, err := net.Dial("tcp", "127.0.0.1:"+steps[i][1])
		if err != nil {
			t.Fatal(err)
		}
		c := amiclient.New(t, conn)
		c.Timeout = time.Minute
		say, err := strconv.Unquote(`"` + steps[i][2] + `"`)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(say))
		c.ReadBanner()
		c.ExpectNext("Response: Success", "Message: Authentication accepted")
		return c
	}
	c := play(0)
	seen := map[string]bool{}
	c.ReadUntil(func(f amiclient.Frame) bool {
		if !amiclient.Has(f, "Event: FullyBooted") && !amiclient.Has(f, "Event: SuccessfulAuth") { // the proxy's own
			seen[amiclient.Header(f, "Server")] = true
		}
		return seen["east"] && seen["west"]
	})
	if len(seen) != 2 {
		t.Errorf("events of %v", seen)
	}
	c = play(1)
	frames := c.ExpectClosed()
	has := func(headers ...string) bool {
		return slices.ContainsFunc(frames, func(f amiclient.Frame) bool { return amiclient.Has(f, headers...) })
	}
	if !has("Response: Success", "EventList: start", "ActionID: 1") ||
		!has("Event: CoreShowChannel", "ActionID: 1", "Server: east") ||
		!has("Event: CoreShowChannel", "ActionID: 1", "Server: west") ||
		!has("Event: CoreShowChannelsComplete", "ActionID: 1", "EventList: Complete") ||
		!has("Response: Success", "ActionID: 2", "Server: east") ||
		!amiclient.Has(frames[len(frames)-1], "Response: Goodbye") {
		t.Errorf("%q", frames)
	}
	c = play(2)
	c.ExpectNext("Response: Error", "ActionID: 2", "Message: Permission denied")
	if f := c.ReadFrame(); !strings.Contains(amiclient.Header(f, "Privilege"), "agent") {
		t.Errorf("%q", f)
	}
	frames = play(3).ExpectClosed()
	if !has("Event: ProxyServer", "ActionID: 1", "Server: east", "State: Up") ||
		!has("Event: ProxyServer", "ActionID: 1", "Server: west", "State: Up") ||
		!has("Event: ProxyStatusComplete", "EventList: Complete", "ListItems: 10") ||
		!has("Event: ProxySession", "ActionID: 2", "Username: operator") ||
		!amiclient.Has(frames[len(frames)-1], "Response: Goodbye") {
		t.Errorf("%q", frames)
	}
	script := regexp.MustCompile(`(?m)^  bash -c '(ask.*)'$`).FindStringSubmatch(text.String())
	if script == nil {
		t.Fatalf("no HTTP in\n%s", text.String())
	}
	t.Run("curl", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("no curl; test/provision installs it")
		}
		got, err := exec.CommandContext(t.Context(), "bash", "-c", script[1]).CombinedOutput()
		for _, want := range []string{
			"Message: Authentication accepted\r\n", "<ajax-response>\n", "<generic event='CoreShowChannel' ", " server='east' ", " server='west' ", "Event: WaitEventComplete\r\n",
		} {
			if err != nil || !strings.Contains(string(got), want) {
				t.Errorf("%v: no %q in %q", err, want, got)
			}
		}
	})
	cancel()
	if code := <-ended; code != exitDone || stderr.Len() > 0 {
		t.Errorf("%d: %s", code, stderr.String())
	}
}
