// Package asterisk runs real Asterisk PBXes for tests, on loopback, as children of the
// test binary.
//
// The releases come from Debian roots that test/provision installs; without them the
// test that wants one is skipped, or fails when AMIPROXY_REQUIRE_ASTERISK=1. Every PBX
// has ports, a configuration and folders of its own, so that many may run at once, and
// is gone when its test ends, however that ends. The package is no AMI client (see
// test/amiclient) and imports the standard library only.
//
//	pbx := asterisk.Start(t, asterisk.Options{Major: 22, Users: "[ops]\nsecret = pw\nread = call\n"})
//	c := amiclient.Dial(t, pbx.Addr())
//	c.Login("ops", "pw")
//	...
//	pbx.Kill()
//	pbx.Start() // On the same ports.
//
// A PBX knows the manager users ProxyUser and DirectUser with all rights. Its dialplan
// has, in context default, the extensions
//
//	echo    answers and waits 30 s
//	short   answers and hangs up after 1 s
//	fail    hangs up with cause 17, busy
//	ue      sends the user event Probe
//	q       enters the queue support
//	agent   requests agent 1001
//	conf    enters the conference 1
//	park    parks the call
//	_X.     answers and waits 10 s
//
// and in context agents _X., which answers and waits 10 s. The queues are support, with
// the members Local/100@agents and Local/101@agents, and sales, without members. The
// PJSIP endpoints are alice and bob, the voice mailbox is 100@default, the agent 1001.
// Channel event logging and call detail records go to the manager.
package asterisk

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The manager users of every PBX. Both may read and write all.
const (
	// ProxyUser is the one for the program under test.
	ProxyUser = "proxy"
	// ProxySecret is the secret of ProxyUser.
	ProxySecret = "upstream-secret"
	// DirectUser is the one for the test itself.
	DirectUser = "direct"
	// DirectSecret is the secret of DirectUser.
	DirectSecret = "direct-secret"
)

const (
	bootLimit   = 90 * time.Second       // From the start to FullyBooted; 1 to 3 s on an idle machine.
	stopLimit   = 20 * time.Second       // From SIGTERM to SIGKILL; Asterisk gives channels 15 s to go away.
	cliLimit    = 30 * time.Second       // For one command.
	pollEvery   = 10 * time.Millisecond  // Between attempts to connect while a PBX boots.
	dialLimit   = 500 * time.Millisecond // For one such attempt.
	settleLimit = time.Second            // For what follows FullyBooted, which a configuration may suppress.
	logLines    = 60                     // Lines of each log that a failed test shows.
)

// Options say what a PBX is like. Only Major is required.
type Options struct {
	// Major is the release, 16 or 22.
	Major int
	// Name is what the test calls the PBX in its log; empty means "pbx".
	Name string
	// SystemName is Asterisk's systemname, which prefixes every Uniqueid and adds a
	// SystemName header to events; empty means that it has none.
	SystemName string
	// Users is appended to manager.conf: sections of more users.
	Users string
	// General is appended to the [general] section of manager.conf.
	General string
	// Core is appended to the [options] section of asterisk.conf.
	Core string
	// Extensions is appended to extensions.conf; it starts in context agents.
	Extensions string
	// WebEnabled serves the manager interface over HTTP too, at HTTPAddr, and over
	// HTTPS with TLS.
	WebEnabled bool
	// TLS opens a manager interface over TLS too, at TLSAddr.
	TLS bool
	// Modules are loaded besides those of the package: names without .so, in which
	// * stands for anything.
	Modules []string
	// Files replace configuration files of the package, or add some, by name, for
	// example "queues.conf".
	Files map[string]string
}

// A PBX is an Asterisk that runs, or one that was stopped and may be started again.
// Its methods may be called by any goroutine, but those that can fail the test only by
// the test's own.
type PBX struct {
	// Static after construction.
	tb      testing.TB
	o       Options
	root    string // The Debian root on this machine.
	dir     string // The folder of the PBX, as seen inside the root.
	version string
	ports   *ports
	cert    *certificate // Nil without TLS.

	mu   sync.Mutex
	proc *process // Nil before the first start.
}

// A process is one life of a PBX.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // Closed when it has ended and was waited for.
}

// Root returns the Debian root with Asterisk of that major release, which
// test/provision made. Without it, or when this process may not use it, Root skips the
// test, or fails it when AMIPROXY_REQUIRE_ASTERISK=1.
func Root(tb testing.TB, major int) string {
	tb.Helper()
	missing := tb.Skipf
	if os.Getenv("AMIPROXY_REQUIRE_ASTERISK") == "1" {
		missing = tb.Fatalf
	}
	if major != 16 && major != 22 {
		tb.Fatalf("asterisk: no release %d: Options.Major is 16 or 22", major)
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		missing("asterisk: needs root on Debian; run `make test` as root")
	}
	cache, err := cacheDir()
	if err != nil {
		tb.Fatalf("asterisk: %v", err)
	}
	root := filepath.Join(cache, "asterisk-"+strconv.Itoa(major))
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/asterisk")); err != nil {
		missing("asterisk: Asterisk %d is not installed in %s; run `make test`, or `test/provision` once", major, root)
	}
	return root
}

// cacheDir returns the folder of the roots, as test/provision finds it.
func cacheDir() (string, error) {
	if dir := os.Getenv("AMIPROXY_CACHE"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("AMIPROXY_CACHE=%s is not an absolute path", dir)
		}
		return dir, nil
	}
	dir := os.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "amiproxy"), nil
}

// Start starts a PBX and waits until it has booted fully. It stops when the test ends.
func Start(tb testing.TB, o Options) *PBX {
	tb.Helper()
	p := StartNoWait(tb, o)
	p.WaitReady()
	return p
}

// StartNoWait is Start without the wait, for tests of what happens while a PBX boots.
func StartNoWait(tb testing.TB, o Options) *PBX {
	tb.Helper()
	p := New(tb, o)
	p.StartNoWait()
	return p
}

// New prepares a PBX, with all its addresses, without starting it.
func New(tb testing.TB, o Options) *PBX {
	tb.Helper()
	if o.Name == "" {
		o.Name = "pbx"
	}
	root := Root(tb, o.Major)
	version, err := rootVersion(root)
	if err != nil {
		tb.Fatalf("asterisk: asking %s for its version: %v", root, err)
	}
	ports, err := claimPorts(filepath.Dir(root))
	if err != nil {
		tb.Fatalf("asterisk: finding free ports: %v", err)
	}
	p := &PBX{tb: tb, o: o, root: root, version: version, ports: ports, dir: fmt.Sprintf("/srv/pbx-%d", ports.base)}
	tb.Cleanup(p.cleanup)
	if err := p.configure(); err != nil {
		tb.Fatalf("asterisk: configuring %s: %v", o.Name, err)
	}
	return p
}

// Name returns the name of the PBX.
func (p *PBX) Name() string { return p.o.Name }

// Version returns the exact version, for example "22.5.2~dfsg-1".
func (p *PBX) Version() string { return p.version }

// Addr returns the host and port of the manager interface.
func (p *PBX) Addr() string { return addr(p.ports.ami()) }

// TLSAddr returns the host and port of the manager interface over TLS.
func (p *PBX) TLSAddr() string { return addr(p.ports.amiTLS()) }

// HTTPAddr returns the host and port of the manager interface over HTTP, whose paths
// are /rawman, /mxml and /manager.
func (p *PBX) HTTPAddr() string { return addr(p.ports.http()) }

// HTTPSAddr returns the host and port of the manager interface over HTTPS.
func (p *PBX) HTTPSAddr() string { return addr(p.ports.https()) }

// SIPAddr returns the host and UDP port of the PJSIP transport.
func (p *PBX) SIPAddr() string { return addr(p.ports.sip()) }

// TLSConfig returns the configuration of a client that trusts this PBX only.
func (p *PBX) TLSConfig() *tls.Config {
	pool := x509.NewCertPool()
	if p.cert != nil {
		pool.AddCert(p.cert.leaf)
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// CertFile returns the path of the certificate, in PEM, that clients must trust.
func (p *PBX) CertFile() string { return p.path("etc/cert.pem") }

// Dir returns the folder of the PBX on this machine: etc, lib, log, run and spool.
func (p *PBX) Dir() string { return p.path("") }

// path returns where a file of the PBX is on this machine.
func (p *PBX) path(name string) string { return filepath.Join(p.root, p.dir, name) }

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Start starts a PBX that was stopped again, on the same ports and with its database,
// and waits until it has booted fully.
func (p *PBX) Start() {
	p.tb.Helper()
	p.StartNoWait()
	p.WaitReady()
}

// StartNoWait is Start without the wait; see WaitReady.
func (p *PBX) StartNoWait() {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc.alive() {
		p.tb.Fatalf("asterisk: %s runs already", p.o.Name)
	}
	out, err := os.OpenFile(p.path("log/stdout"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		p.tb.Fatalf("asterisk: %v", err)
	}
	defer out.Close()
	cmd := p.command("-f", "-n")
	cmd.Stdout, cmd.Stderr = out, out
	proc := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel signals the parent's death when this thread dies, so the
		// thread must live as long as the child.
		runtime.LockOSThread()
		defer close(proc.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		p.tb.Fatalf("asterisk: starting %s: %v", p.o.Name, err)
	}
	p.proc = proc
}

// command returns an Asterisk inside the root that reads the configuration of p.
func (p *PBX) command(args ...string) *exec.Cmd {
	cmd := inRoot(context.Background(), p.root, "/usr/sbin/asterisk", append([]string{"-C", p.dir + "/etc/asterisk.conf"}, args...)...)
	return cmd
}

// WaitReady waits until the PBX has booted fully, which it says to who logs in. It
// fails the test when it does not in time, or ends.
func (p *PBX) WaitReady() {
	p.tb.Helper()
	proc := p.process()
	if proc == nil {
		p.tb.Fatalf("asterisk: %s was not started", p.o.Name)
	}
	limit := time.Now().Add(bootLimit)
	for {
		err := p.booted(limit)
		if err == nil {
			return
		}
		if !proc.alive() {
			p.tb.Fatalf("asterisk: %s ended while it booted: %v", p.o.Name, proc.cmd.ProcessState)
		}
		if time.Now().After(limit) {
			p.tb.Fatalf("asterisk: %s has not booted after %v: %v", p.o.Name, bootLimit, err)
		}
		time.Sleep(pollEvery)
	}
}

// booted logs in and returns nil once the PBX has said that it booted fully.
func (p *PBX) booted(limit time.Time) error {
	conn, err := net.DialTimeout("tcp", p.Addr(), dialLimit)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(limit)
	fmt.Fprintf(conn, "Action: Login\r\nUsername: %s\r\nSecret: %s\r\nEvents: system,security\r\n\r\n", DirectUser, DirectSecret)
	lines := bufio.NewScanner(conn)
	booted, announced := false, false
	for !booted || !announced {
		if !lines.Scan() {
			break
		}
		switch strings.TrimSpace(lines.Text()) {
		case "Response: Error":
			return errors.New("the login was refused")
		case "Event: FullyBooted":
			booted = true
			conn.SetDeadline(time.Now().Add(settleLimit))
		case "Event: SuccessfulAuth":
			// This event of our own login comes some time after it. Waited for
			// here, it does not surprise the clients of the test.
			announced = true
		}
	}
	if booted {
		// The other end is to see a goodbye, not a reset, and to have closed this
		// session by the time the test looks at sessions.
		conn.SetDeadline(time.Now().Add(settleLimit))
		fmt.Fprint(conn, "Action: Logoff\r\n\r\n")
		io.Copy(io.Discard, conn)
		return nil
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the connection was closed before FullyBooted")
}

// Pid returns the process id, 0 when the PBX does not run.
func (p *PBX) Pid() int {
	if proc := p.process(); proc.alive() {
		return proc.cmd.Process.Pid
	}
	return 0
}

// Stop stops the PBX with SIGTERM and waits until it is gone. It does nothing when the
// PBX does not run.
func (p *PBX) Stop() {
	p.tb.Helper()
	proc := p.process()
	if !proc.alive() {
		return
	}
	proc.signal(sigTerm)
	select {
	case <-proc.done:
	case <-time.After(stopLimit):
		p.tb.Logf("asterisk: %s did not stop within %v: killing it", p.o.Name, stopLimit)
		p.Kill()
	}
}

// Kill kills the PBX with SIGKILL and waits until it is gone. It does nothing when the
// PBX does not run.
func (p *PBX) Kill() {
	if proc := p.process(); proc.alive() {
		proc.signal(sigKill)
		<-proc.done
	}
}

// Restart is Stop and Start.
func (p *PBX) Restart() {
	p.tb.Helper()
	p.Stop()
	p.Start()
}

// Suspend stops the PBX with SIGSTOP: its connections stay open, and nothing answers.
func (p *PBX) Suspend() {
	if proc := p.process(); proc.alive() {
		proc.signal(sigStop)
	}
}

// Resume continues a PBX after Suspend.
func (p *PBX) Resume() {
	if proc := p.process(); proc.alive() {
		proc.signal(sigCont)
	}
}

// CLI runs a command in the console of the PBX and returns what it printed.
func (p *PBX) CLI(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cliLimit)
	defer cancel()
	out, err := inRoot(ctx, p.root, "/usr/sbin/asterisk", "-C", p.dir+"/etc/asterisk.conf", "-rx", command).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("asterisk: command %q on %s: %w", command, p.o.Name, err)
	}
	return string(out), nil
}

func (p *PBX) process() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

// alive reports whether the process has started and not ended.
func (proc *process) alive() bool {
	if proc == nil {
		return false
	}
	select {
	case <-proc.done:
		return false
	default:
		return true
	}
}

// cleanup stops the PBX, shows its logs if the test failed and removes all of it.
func (p *PBX) cleanup() {
	p.Resume() // A suspended process would not see SIGTERM.
	p.Stop()
	if p.tb.Failed() {
		for _, name := range []string{"log/stdout", "log/messages.log"} {
			p.tb.Logf("asterisk: the end of %s of %s:\n%s", name, p.o.Name, tail(p.path(name)))
		}
	}
	if err := os.RemoveAll(p.path("")); err != nil {
		p.tb.Logf("asterisk: %v", err)
	}
	p.ports.release()
}

// tail returns the last lines of a file.
func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-logLines):], nil)
}

// versions keeps what asterisk -V answered, by root.
var versions sync.Map

func rootVersion(root string) (string, error) {
	if version, ok := versions.Load(root); ok {
		return version.(string), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cliLimit)
	defer cancel()
	out, err := inRoot(ctx, root, "/usr/sbin/asterisk", "-V").Output()
	if err != nil {
		return "", err
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "Asterisk ")
	versions.Store(root, version)
	return version, nil
}
