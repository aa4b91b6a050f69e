package proxy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// upstreamSecret is what must never be seen in a log.
const upstreamSecret = "upstream-secret"

// setup says what a test needs; the zero value is one PBX, east, and the users
// of standardUsers.
type setup struct {
	pbxs    []string                  // names; one, east, if nil
	sim     map[string]simpbx.Options // by name
	absent  []string                  // those of pbxs that are configured and not there
	general string                    // further lines of [general]
	pbx     string                    // further lines of every [pbx:NAME]
	users   string                    // in the place of standardUsers
	tls     bool                      // a TLS listener, and no other
	// security lets clients see the security events of the proxy. Otherwise they
	// are disabledevents, unless general has some: each login would show in the
	// events of all others.
	security bool
}

const securityEvents = "SuccessfulAuth, InvalidAccountID, InvalidPassword, FailedACL, ChallengeResponseFailed, SessionLimit, RequestNotAllowed, RequestBadFormat"

// standardUsers see all PBXes, but those whose name says which.
const standardUsers = `
[full]
secret = full-secret
read = all
write = all

[eastonly]
secret = eastonly-secret
read = all
write = all
pbx = east
`

// world is a proxy with simulated PBXes behind it.
type world struct {
	tb        testing.TB
	srv       *Server
	sims      map[string]*simpbx.PBX
	listeners map[string]net.Listener
	addrs     map[string]string
	logs      *observer.ObservedLogs
	certFile  string
	keyFile   string
	general   string                 // lines of [general]
	pbxLines  string                 // further ones of each [pbx:NAME]
	file      atomic.Pointer[string] // what a reload loads
}

// newWorld starts a world and waits until the PBXes that are there are up.
func newWorld(tb testing.TB, o setup) *world {
	tb.Helper()
	w := &world{
		tb: tb, sims: map[string]*simpbx.PBX{},
		listeners: map[string]net.Listener{}, addrs: map[string]string{},
	}
	if o.pbxs == nil {
		o.pbxs = []string{"east"}
	}
	if o.users == "" {
		o.users = standardUsers
	}
	var text strings.Builder
	text.WriteString("[general]\n")
	if !o.security {
		text.WriteString("disabledevents = " + securityEvents + "\n")
	}
	if o.tls {
		w.certFile, w.keyFile = tb.TempDir()+"/cert.pem", tb.TempDir()+"/key.pem"
		w.writeCertificate("one")
		fmt.Fprintf(&text, "enabled = no\ntlsenable = yes\ntlscertfile = %s\ntlsprivatekey = %s\n", w.certFile, w.keyFile)
	}
	text.WriteString(o.general + "\n")
	w.general, w.pbxLines = text.String(), o.pbx
	for _, name := range o.pbxs {
		w.listen(name)
	}
	w.write(o.users, o.pbxs...)
	cfg, err := w.load()
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range o.absent {
		w.listeners[name].Close()
	}
	for _, name := range o.pbxs {
		w.simulate(name, o.sim[name])
	}
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	if w.srv, err = New(cfg, zap.New(core)); err != nil {
		tb.Fatal(err)
	}
	w.srv.Load = w.load
	if err := w.srv.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		w.srv.Shutdown(5 * time.Second)
		w.checkNoSecrets()
	})
	for _, b := range w.srv.Backends() {
		absent := false
		for _, name := range o.absent {
			absent = absent || name == b.Name()
		}
		if !absent {
			w.awaitBooted(b.Name())
			// Its FullyBooted must not reach those who log in from now on:
			// events are handed out one by one, so another one is the proof.
			await := w.awaitEvents(b.Name())
			w.sims[b.Name()].Event("Settled", ami.ClassSystem)
			await(1)
		}
	}
	return w
}

// listen opens the port of a PBX.
func (w *world) listen(name string) {
	w.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatal(err)
	}
	w.listeners[name], w.addrs[name] = l, l.Addr().String()
}

// simulate starts a PBX behind its port.
func (w *world) simulate(name string, o simpbx.Options) {
	p := simpbx.New(o)
	w.sims[name] = p
	w.tb.Cleanup(func() { p.Close() })
	go p.Serve(w.listeners[name]) //nolint:errcheck // Close ends it
}

// write writes the configuration with some PBXes, each a name and, if it is to
// have any, further lines.
func (w *world) write(users string, pbxs ...string) {
	var text strings.Builder
	text.WriteString(w.general)
	for _, pbx := range pbxs {
		name, more, _ := strings.Cut(pbx, "\n")
		_, port, _ := net.SplitHostPort(w.addrs[name])
		fmt.Fprintf(&text, "[pbx:%s]\nhost = 127.0.0.1\nport = %s\nusername = proxy\nsecret = %s\n%s\n%s\n",
			name, port, upstreamSecret, w.pbxLines, more)
	}
	file := text.String() + users
	w.file.Store(&file)
}

// load loads the configuration.
func (w *world) load() (*config.Config, error) {
	cfg, err := config.Loader{}.Parse("test.conf", []byte(*w.file.Load()))
	if err == nil {
		cfg.General.BindAddr, cfg.General.TLSBindAddr = anyPort, anyPort
	}
	return cfg, err
}

// anyPort is any port that is free; a configuration cannot ask for it.
var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("never: %s", what)
		}
	}
}

func (w *world) pbx(name string) *pbx {
	for _, p := range w.srv.now().pbxs {
		if p.Name() == name {
			return p
		}
	}
	w.tb.Fatalf("no PBX %s", name)
	return nil
}

// awaitBooted waits until the PBX is up and its FullyBooted was seen.
func (w *world) awaitBooted(name string) {
	w.tb.Helper()
	p := w.pbx(name)
	eventually(w.tb, name+" is up and booted", func() bool { return p.Up() && p.FullyBooted(time.Now()) != nil })
}

func (w *world) awaitDown(name string) {
	w.tb.Helper()
	p := w.pbx(name)
	eventually(w.tb, name+" is down", func() bool { return !p.Up() })
}

// take takes a PBX off the net.
func (w *world) take(name string) {
	w.tb.Helper()
	w.listeners[name].Close()
	w.sims[name].Crash()
	w.awaitDown(name)
}

// putBack puts a PBX on the net again, and waits until it is there.
func (w *world) putBack(name string) {
	w.tb.Helper()
	w.bringUp(name)
	w.awaitBooted(name)
}

// bringUp puts a PBX on the net again, booted or not.
func (w *world) bringUp(name string) {
	w.tb.Helper()
	l, err := net.Listen("tcp", w.addrs[name])
	if err != nil {
		w.tb.Fatal(err)
	}
	w.listeners[name] = l
	go w.sims[name].Serve(l) //nolint:errcheck // Close ends it
	eventually(w.tb, name+" is up", w.pbx(name).Up)
}

func (w *world) addr() string { return w.srv.Addrs()[0].String() }

func (w *world) dial() *amiclient.Client {
	w.tb.Helper()
	return amiclient.Dial(w.tb, w.addr())
}

// login connects as a user whose secret is its name with -secret. It reads up
// to the last FullyBooted that it is sent.
func (w *world) login(user string, extra ...string) *amiclient.Client {
	w.tb.Helper()
	c := w.dial()
	c.Login(user, user+"-secret", extra...)
	c.Roundtrip()
	return c
}

// awaitSessions waits until so many clients are connected.
func (w *world) awaitSessions(n int) {
	w.tb.Helper()
	eventually(w.tb, fmt.Sprintf("%d sessions", n), func() bool { return w.sessions() == n })
}

func (w *world) sessions() int {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	return len(w.srv.sessions)
}

// awaitReason waits until a session has ended for a reason.
func (w *world) awaitReason(why reason) {
	w.tb.Helper()
	eventually(w.tb, "a session ends with: "+string(why), func() bool {
		return w.logs.FilterField(zap.String("reason", string(why))).Len() > 0
	})
}

// checkNoSecrets fails if a log line holds a secret of the tests.
func (w *world) checkNoSecrets() {
	for _, e := range w.logs.All() {
		line := fmt.Sprint(e.Message, e.ContextMap())
		for _, word := range []string{upstreamSecret, "-secret"} {
			if strings.Contains(line, word) {
				w.tb.Errorf("a secret in the log: %s", line)
			}
		}
	}
}

func (w *world) dialTLS(config *tls.Config) (*tls.Conn, error) {
	d := &net.Dialer{Timeout: 20 * time.Second}
	return tls.DialWithDialer(d, "tcp", w.addr(), config)
}

// names are the values of the first line of frames, for short comparisons.
func names(frames []amiclient.Frame) []string {
	var all []string
	for _, f := range frames {
		line, _, _ := strings.Cut(string(f), "\r\n")
		all = append(all, line)
	}
	return all
}
