package ajam

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standardUsers see all.
const standardUsers = `
[full]
secret = full-secret
read = all
write = all
`

// world is a proxy with a simulated PBX behind it and HTTP in front of it.
type world struct {
	tb  testing.TB
	sim *simpbx.PBX
	srv *proxy.Server
	web *Server
}

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// newWorld starts a world. change may change the options of HTTP.
func newWorld(tb testing.TB, users string, change func(*Options)) *world {
	tb.Helper()
	w := &world{tb: tb, sim: simpbx.New(simpbx.Options{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	go w.sim.Serve(l) //nolint:errcheck // Close ends it
	tb.Cleanup(func() { w.sim.Close() })
	cfg, err := config.Loader{}.Parse("test.conf", fmt.Appendf(nil,
		"[pbx:east]\nhost = 127.0.0.1\nport = %d\nusername = proxy\nsecret = upstream-secret\n%s", l.Addr().(*net.TCPAddr).Port, users))
	if err != nil {
		tb.Fatal(err)
	}
	cfg.General.BindAddr = anyPort
	if w.srv, err = proxy.New(cfg, zap.NewNop()); err != nil {
		tb.Fatal(err)
	}
	o := Options{
		BindAddr: anyPort, TLSBindAddr: anyPort, SessionTimeout: time.Minute, SessionLimit: 100,
		SessionInactivity: 20 * time.Second, SessionKeepAlive: 20 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	if w.web, err = New(o, w.srv, zaptest.NewLogger(tb)); err != nil {
		tb.Fatal(err)
	}
	w.srv.URIs = w.web.URIs()
	if err := w.srv.Start(); err != nil {
		tb.Fatal(err)
	}
	if err := w.web.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.stop)
	w.eventually("the PBX is up", func() bool {
		b := w.srv.Backends()[0]
		return b.Up() && b.FullyBooted(time.Now()) != nil
	})
	return w
}

func (w *world) stop() {
	ended := make(chan struct{})
	go func() {
		w.web.Shutdown(10 * time.Second)
		close(ended)
	}()
	w.srv.Shutdown(10 * time.Second)
	<-ended
}

func (w *world) eventually(what string, condition func() bool) {
	w.tb.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.tb.Fatalf("never: %s", what)
		}
	}
}

// browser is a client that keeps its cookie, as net/http/cookiejar would, but for
// the rules of cookies.
type browser struct {
	w      *world
	base   string
	header http.Header
	http   *http.Client

	mu     sync.Mutex // guards the following, which a test with one request at a time may use
	cookie string     // as Set-Cookie had it, without attributes
}

func (w *world) browser() *browser {
	return w.browserFrom("127.0.0.1", nil)
}

// browserFrom is a client with an address of its own, by TLS if config is not nil.
func (w *world) browserFrom(addr string, config *tls.Config) *browser {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true}
	w.tb.Cleanup(transport.CloseIdleConnections)
	b := &browser{w: w, base: "http://" + w.web.Addrs()[0].String(), header: http.Header{}, http: &http.Client{Transport: transport}}
	if config != nil {
		b.base = "https://" + w.web.Addrs()[1].String()
	}
	return b
}

// reply is a response that was read.
type reply struct {
	*http.Response
	body string
}

var mansession = regexp.MustCompile(`^(mansession_id="[0-9a-f]{32}"); Version=1; Max-Age=60; HttpOnly; SameSite=Strict(; Secure)?$`)

func (b *browser) do(ctx context.Context, method, path, body string) (reply, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, r)
	if err != nil {
		return reply{}, err
	}
	req.Header = b.header.Clone()
	if method == "POST" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.mu.Lock()
	if b.cookie != "" && req.Header.Get("Cookie") == "" {
		req.Header.Set("Cookie", b.cookie)
	}
	b.mu.Unlock()
	res, err := b.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := mansession.FindStringSubmatch(res.Header.Get("Set-Cookie")); m != nil {
		b.cookie = m[1]
	}
	return reply{res, string(text)}, err
}

// send sends a request that has to get a response.
func (b *browser) send(method, path, body string) reply {
	b.w.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := b.do(ctx, method, path, body)
	if err != nil {
		b.w.tb.Errorf("%s %s: %v", method, path, err)
		return reply{Response: &http.Response{Header: http.Header{}}}
	}
	return r
}

// raw runs an action by /rawman, of names and values.
func (b *browser) raw(pairs ...string) string {
	b.w.tb.Helper()
	r := b.send("GET", "/rawman?"+query(pairs...), "")
	if r.StatusCode != http.StatusOK {
		b.w.tb.Errorf("%v: %s: %s", pairs, r.Status, r.body)
	}
	return r.body
}

func query(pairs ...string) string {
	var q strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		q.WriteString("&" + url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
	}
	return strings.TrimPrefix(q.String(), "&")
}

const accepted = "Response: Success\r\nMessage: Authentication accepted\r\n\r\n"
const denied = "Response: Error\r\nMessage: Permission denied\r\n\r\n"

// login logs in as a user whose secret is its name with -secret.
func (b *browser) login(user string) *browser {
	b.w.tb.Helper()
	if got := b.raw("action", "login", "username", user, "secret", user+"-secret", "events", "call"); got != accepted {
		b.w.tb.Fatalf("login: got %q", got)
	}
	return b
}

// certificate writes a certificate and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = t.TempDir()+"/cert.pem", t.TempDir()+"/key.pem"
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
