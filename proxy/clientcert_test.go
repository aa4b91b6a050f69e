package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: t.TempDir() + "/ca.pem"}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err == nil {
		err = os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate; change, if not nil, makes it an odd one.
func (a *authority) issue(name string, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func fingerprint(c tls.Certificate) string { return fmt.Sprintf("%X", sha256.Sum256(c.Certificate[0])) }

// tryTLS logs in over TLS, with a certificate or none, and returns the answer.
func (w *world) tryTLS(cert *tls.Certificate, lines ...string) string {
	w.tb.Helper()
	c, err := w.showing(cert)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.Send(append([]string{"Action: Login", "Events: off"}, lines...)...)
	return amiclient.Header(c.ReadFrame(), "Message")
}

// showing connects with a certificate, whomever the proxy asks for.
func (w *world) showing(cert *tls.Certificate) (*amiclient.Client, error) {
	config := trusting()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return &tls.Certificate{}, nil
		}
		return cert, nil
	}
	conn, err := w.dialTLS(config)
	if err != nil {
		return nil, err
	}
	w.tb.Cleanup(func() { conn.Close() })
	// With TLS 1.3 a client that is refused notices when it reads.
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	banner := make([]byte, 100)
	if _, err := conn.Read(banner); err != nil {
		return nil, err
	}
	return amiclient.New(w.tb, conn), nil
}

const (
	letIn  = "Authentication accepted"
	failed = "Authentication failed"
)

func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	crm := ours.issue("crm", nil)
	other := ours.issue("other", nil)
	foreign := theirs.issue("crm", nil)
	expired := ours.issue("crm", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := ours.issue("crm", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	server := ours.issue("crm", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	users := func(crmLines string) string {
		return standardUsers + "[crm]\n" + crmLines + `
[both]
secret = both-secret
certificate = cn:crm
[either]
secret = either-secret
certificate = san:CRM.example.com
login = either
[pinned]
certificate = sha256:` + fingerprint(foreign) + `
certificate = sha256:` + fingerprint(expired) + `
[hashed]
secret = ` + argon2Password + `
certificate = cn:crm
login = either
`
	}
	w := newWorld(t, setup{tls: true, general: "authfailures = 0\ntlsclientca = " + ours.file, users: users("certificate = cn:crm")})
	for _, test := range []struct {
		name string
		cert *tls.Certificate
		want map[string]string // by user, and secret if there is a slash
	}{
		{"its own", &crm, map[string]string{
			"crm": letIn, "crm/anything": letIn, "CRM": letIn, "both": failed, "both/wrong": failed, "both/both-secret": letIn, "either": letIn, "either/wrong": letIn,
			"hashed/wrong": letIn, "pinned": failed, "full": failed, "full/full-secret": letIn, "nobody": failed,
		}},
		{"none", nil, map[string]string{
			"crm": failed, "crm/anything": failed, "both/both-secret": failed, "either": failed, "either/wrong": failed, "either/either-secret": letIn,
			"hashed/wrong": failed, "hashed/password": letIn, "pinned": failed, "full/full-secret": letIn,
		}},
		{"another's", &other, map[string]string{"crm": failed, "both/both-secret": failed, "either": failed, "either/either-secret": letIn, "full/full-secret": letIn}},
		{"of another authority", &foreign, map[string]string{"crm": failed, "both/both-secret": failed, "either": failed, "pinned": letIn, "full/full-secret": letIn}},
		{"expired", &expired, map[string]string{"crm": failed, "both/both-secret": failed, "either": failed, "pinned": failed}},
		{"too early", &early, map[string]string{"crm": failed}},
		{"for servers", &server, map[string]string{"crm": failed, "both/both-secret": failed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for login, want := range test.want {
				t.Run(login, func(t *testing.T) {
					t.Parallel()
					user, secret, given := cutLogin(login)
					lines := []string{"Username: " + user}
					if given {
						lines = append(lines, "Secret: "+secret)
					}
					if got := w.tryTLS(test.cert, lines...); got != want {
						t.Errorf("%q", got)
					}
				})
			}
		})
	}
	if n := w.logs.FilterField(zap.String("why", string(fateNoCert))).Len(); n == 0 {
		t.Error("the log does not tell")
	}
	// The certificate does not answer for the wrong secret of a challenge.
	c, err := w.showing(&crm)
	if err != nil {
		t.Fatal(err)
	}
	c.Send("Action: Login", "AuthType: MD5", "Key: x", "Username: both")
	c.ExpectNext("Message: " + failed)

	// Who is in stays when its certificate is taken away, and does not come again.
	in, err := w.showing(&crm)
	if err != nil {
		t.Fatal(err)
	}
	in.Login("crm", "")
	w.write(users("certificate = cn:other"), "east")
	if err := w.srv.Reload(); err != nil {
		t.Fatal(err)
	}
	in.Roundtrip()
	if got := w.tryTLS(&crm, "Username: crm"); got != failed {
		t.Errorf("with the certificate of before: %s", got)
	}
	if got := w.tryTLS(&other, "Username: crm"); got != letIn {
		t.Errorf("with the new certificate: %s", got)
	}
}

func cutLogin(login string) (user, secret string, given bool) {
	for i := range login {
		if login[i] == '/' {
			return login[:i], login[i+1:], true
		}
	}
	return login, "", false
}

// A reload brings other authorities, and asks for certificates or no more.
func TestClientAuthoritiesReload(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	crm, foreign := ours.issue("crm", nil), theirs.issue("crm", nil)
	const users = standardUsers + "[crm]\ncertificate = cn:crm\n"
	w := newWorld(t, setup{tls: true, users: standardUsers})
	general := w.general
	reload := func(lines, users string) {
		t.Helper()
		w.general = general + lines + "\n"
		w.write(users, "east")
		if err := w.srv.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	asked := func() (asked bool) {
		config := trusting()
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		}
		conn, err := w.dialTLS(config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Read(make([]byte, 1))
		return asked
	}
	if asked() {
		t.Error("a certificate is asked for though none counts")
	}
	reload("tlsclientca = "+ours.file, users)
	waiting, err := w.showing(&crm) // connected, but judged when it logs in
	if err != nil {
		t.Fatal(err)
	}
	if got := w.tryTLS(&crm, "Username: crm"); got != letIn || !asked() {
		t.Error(got)
	}
	reload("tlsclientca = "+theirs.file, users)
	waiting.Send("Action: Login", "Username: crm")
	waiting.ExpectNext("Message: " + failed)
	for cert, want := range map[*tls.Certificate]string{&crm: failed, &foreign: letIn} {
		if got := w.tryTLS(cert, "Username: crm"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	reload("tlsclientrequired = yes\ntlsclientca = "+ours.file, users)
	if got := w.tryTLS(&crm, "Username: crm"); got != letIn {
		t.Error(got)
	}
	for _, cert := range []*tls.Certificate{nil, &foreign} {
		if c, err := w.showing(cert); err == nil {
			t.Errorf("%v is greeted", c)
		}
	}
	w.awaitReason(reasonHandshake)
	if err := os.WriteFile(ours.file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.Reload(); err == nil {
		t.Error("reloaded without an authority")
	}
	if got := w.tryTLS(&crm, "Username: crm"); got != letIn {
		t.Errorf("after a bad reload: %q", got)
	}
	reload("", standardUsers)
	if asked() {
		t.Error("a certificate is asked for though none counts any more")
	}
}

// A plain connection shows no certificate.
func TestCertificateUserOverPlainTCP(t *testing.T) {
	w := newWorld(t, setup{users: standardUsers + "[pinned]\ncertificate = sha256:" + fmt.Sprintf("%064d", 0) + "\n[both]\nsecret = both-secret\ncertificate = sha256:" + fmt.Sprintf("%064d", 0) + "\n"})
	for _, user := range []string{"pinned", "both"} {
		c := w.dial()
		c.Send("Action: Login", "Username: "+user, "Secret: "+user+"-secret")
		c.ExpectNext("Message: " + failed)
	}
}
