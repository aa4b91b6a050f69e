//go:build unix

package test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/proxy"
	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// stopLimit is how long the proxy may take to end when its test does.
const stopLimit = 10 * time.Second

// A proxied is a proxy in this process, with real sockets on both sides.
type proxied struct {
	*proxy.Server
	tb   testing.TB
	addr string
	logs *observer.ObservedLogs
	// logMark is how many log entries there were at markLog, which is the test's
	// goroutine's.
	logMark int
	file    string // what the next reload loads
}

// startProxy runs a proxy until the test ends. sections are those of the users, and
// other ones; those of the PBXes, which need not run yet, are made here.
func startProxy(tb testing.TB, sections string, pbxs ...*asterisk.PBX) *proxied {
	tb.Helper()
	var file strings.Builder
	for _, p := range pbxs {
		file.WriteString(pbxSection(p.Name(), p))
	}
	return startProxyFile(tb, file.String()+sections)
}

// pbxSection is the section of a PBX in the configuration, to which more lines may be
// added.
func pbxSection(name string, p *asterisk.PBX) string {
	return fmt.Sprintf("[pbx:%s]\n%s\nusername = %s\nsecret = %s\n",
		name, hostPort(p.Addr()), asterisk.ProxyUser, asterisk.ProxySecret)
}

// startProxyFile runs a proxy with that configuration, but on a free port.
func startProxyFile(tb testing.TB, file string) *proxied {
	tb.Helper()
	p := &proxied{tb: tb, file: file}
	load := func() (*config.Config, error) {
		cfg, err := config.Loader{}.Parse("amiproxy.conf", []byte(p.file))
		if err == nil {
			cfg.General.BindAddr = netip.MustParseAddrPort("127.0.0.1:0")
		}
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		tb.Fatalf("configuration: %v\n%s", err, file)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	srv, err := proxy.New(cfg, zap.New(core))
	if err != nil {
		tb.Fatal(err)
	}
	srv.Load = load
	if err := srv.Start(); err != nil {
		tb.Fatal(err)
	}
	p.Server, p.addr, p.logs = srv, srv.Addrs()[0].String(), logs
	tb.Cleanup(func() {
		srv.Shutdown(stopLimit)
		if tb.Failed() {
			for _, e := range logs.All() {
				if e.Level > zapcore.DebugLevel {
					tb.Logf("proxy: %s %s %s %v", e.Time.Format("15:04:05.000"), e.Level, e.Message, e.ContextMap())
				}
			}
		}
	})
	return p
}

func hostPort(addr string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "host = " + host + "\nport = " + port
}

// backend finds the proxy's side of a PBX.
func (p *proxied) backend(name string) *backend.Backend {
	for _, b := range p.Backends() {
		if b.Name() == name {
			return b
		}
	}
	p.tb.Fatalf("no backend %s", name)
	return nil
}

// waitUp waits until all PBXes are there with all their links, and have told all that
// they tell after a login.
func (p *proxied) waitUp() {
	p.tb.Helper()
	for _, b := range p.Backends() {
		eventually(p.tb, "PBX "+b.Name()+" to be up", func() bool {
			// FullyBooted is known before it is handed on, and counted after: a client
			// that logged in between would be told it twice.
			return b.Up() && b.Stats().Logins.Load() >= 4 && b.FullyBooted(time.Now()) != nil && b.Stats().Events.Load() > 0
		})
	}
}

// login connects a client of the proxy and logs it in.
func (p *proxied) login(tb testing.TB, user string, extra ...string) *amiclient.Client {
	tb.Helper()
	return loginAt(tb, p.addr, user, extra...)
}

// loginAt connects a client and logs it in as a user whose secret is "pw".
func loginAt(tb testing.TB, addr, user string, extra ...string) *amiclient.Client {
	tb.Helper()
	c := amiclient.Dial(tb, addr)
	c.Timeout = patience
	c.Login(user, "pw", extra...)
	return c
}

// loginDirect connects a client to a PBX, with all rights and without events.
func loginDirect(tb testing.TB, p *asterisk.PBX, extra ...string) *amiclient.Client {
	tb.Helper()
	c := amiclient.Dial(tb, p.Addr())
	c.Timeout = patience
	if extra == nil {
		extra = []string{"Events: off"}
	}
	c.Login(asterisk.DirectUser, asterisk.DirectSecret, extra...)
	return c
}

// patience bounds every wait. Only a test that fails waits it out.
const patience = time.Minute

// eventually waits for what no frame tells.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			tb.Fatalf("waited for %s", what)
		}
	}
}

// starts starts PBXes at once and waits until all have booted.
func starts(tb testing.TB, options ...asterisk.Options) []*asterisk.PBX {
	tb.Helper()
	var pbxs []*asterisk.PBX
	for _, o := range options {
		pbxs = append(pbxs, asterisk.StartNoWait(tb, o))
	}
	for _, p := range pbxs {
		p.WaitReady()
	}
	return pbxs
}

// together runs f n times at once and returns when all have ended. Each gets a
// testing.TB of its own whose Fatal ends just that one.
func together(tb testing.TB, n int, f func(tb testing.TB, i int)) {
	tb.Helper()
	inTurns(tb, n, n, f)
}

// inTurns is together for many, of which so few run at once: a PBX has no more than 50
// connections that are not logged in.
func inTurns(tb testing.TB, atOnce, n int, f func(tb testing.TB, i int)) {
	tb.Helper()
	var group sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			f(ownTB{tb}, i)
		})
	}
	group.Wait()
}

// ownTB lets a goroutine that is not the test's use what takes a testing.TB.
type ownTB struct{ testing.TB }

func (tb ownTB) Fatal(args ...any) {
	tb.Helper()
	tb.Error(args...)
	runtime.Goexit()
}

func (tb ownTB) Fatalf(format string, args ...any) {
	tb.Helper()
	tb.Errorf(format, args...)
	runtime.Goexit()
}

// without returns a frame less its headers of that name.
func without(f amiclient.Frame, name string) amiclient.Frame {
	var kept strings.Builder
	for line := range strings.Lines(string(f)) {
		if key, _, _ := strings.Cut(line, ":"); !strings.EqualFold(key, name) {
			kept.WriteString(line)
		}
	}
	return amiclient.Frame(kept.String())
}

// names counts frames by their first lines, for failures.
func names(frames []amiclient.Frame) string {
	count := map[string]int{}
	for _, f := range frames {
		line, _, _ := strings.Cut(string(f), "\r\n")
		count[line]++
	}
	var all []string
	for name, n := range count {
		all = append(all, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// firstDifference shows where two texts part.
func firstDifference(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := bytes.LastIndexByte(a[:i], '\n') + 1
	show := func(b []byte) []byte { return b[from:min(len(b), i+200)] }
	return fmt.Sprintf("at byte %d:\n%q\n%q", i, show(a), show(b))
}
