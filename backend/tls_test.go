package backend

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// identity is a certificate with its key, and the PEM file that vouches for it.
type identity struct {
	certificate tls.Certificate
	caFile      string
	pin         string
}

// newIdentity makes a self-signed certificate for a host.
func newIdentity(t *testing.T, host string, expires time.Time) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    time.Now().Add(-48 * time.Hour), NotAfter: expires,
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		caFile:      file,
		pin:         hex.EncodeToString(sum[:]),
	}
}

// colons writes a pin as openssl does.
func colons(pin string) string {
	var parts []string
	for i := 0; i < len(pin); i += 2 {
		parts = append(parts, strings.ToUpper(pin[i:i+2]))
	}
	return strings.Join(parts, ":")
}

func TestTLS(t *testing.T) {
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	local := newIdentity(t, "127.0.0.1", later)
	named := newIdentity(t, "pbx.example", later)
	expired := newIdentity(t, "127.0.0.1", past)
	other := newIdentity(t, "127.0.0.1", later)
	tests := map[string]struct {
		pbx     identity
		options Options
		refused string // empty: it works
	}{
		"verified":         {local, Options{TLSCAFile: local.caFile}, ""},
		"wrong CA":         {local, Options{TLSCAFile: other.caFile}, "x509: "},
		"system CAs":       {local, Options{}, "certificate"},
		"other name":       {named, Options{TLSCAFile: named.caFile}, "127.0.0.1"},
		"server name":      {named, Options{TLSCAFile: named.caFile, TLSServerName: "pbx.example"}, ""},
		"bad server name":  {named, Options{TLSCAFile: named.caFile, TLSServerName: "bad.example"}, "not bad.example"},
		"expired":          {expired, Options{TLSCAFile: expired.caFile}, "expired"},
		"pinned":           {named, Options{TLSPin: named.pin}, ""},
		"pinned, colons":   {named, Options{TLSPin: colons(named.pin)}, ""},
		"pinned, expired":  {expired, Options{TLSPin: expired.pin}, ""},
		"pinned to others": {local, Options{TLSPin: other.pin}, "is not the tlspin"},
		"CA, pin wrong":    {local, Options{TLSCAFile: local.caFile, TLSPin: other.pin}, "is not the tlspin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newTLSWorld(t, test.pbx, test.options)
			w.run()
			if test.refused == "" {
				w.allUp()
				w.want(w.do("Action: Setvar", "Variable: A", "Value: 1"), "Response: Success|Message: Variable Set|")
				return
			}
			w.await("a word in the log", func() bool { return w.logs.FilterMessage("no link").Len() > 0 })
			w.wantLog("TLS to 127.0.0.1:", test.refused)
			if got := w.pbx.Received(); got != nil {
				t.Errorf("the PBX got %v", got)
			}
		})
	}
}

// newTLSWorld is newWorld with a PBX that speaks TLS.
func newTLSWorld(t *testing.T, id identity, o Options) *world {
	t.Helper()
	w := &world{t: t, pbx: simpbx.New(simpbx.Options{})}
	t.Cleanup(func() { w.pbx.Close() })
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{id.certificate}})
	if err != nil {
		t.Fatal(err)
	}
	go w.pbx.Serve(listener)
	o.TLS = true
	o.Host, o.Port = "127.0.0.1", listener.Addr().(*net.TCPAddr).Port
	w.newBackend(o)
	return w
}

// A plain AMI port, or a silent one, does not hold up a TLS link.
func TestTLSToPlainPort(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{TLS: true})
	w.run()
	w.await("a word in the log", func() bool { return w.logs.FilterMessage("no link").Len() > 0 })
	w.wantLog("TLS to", "first record does not look like a TLS handshake")
}

func TestNewRefusesBadTLS(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"tlscafile: open":                      {TLSCAFile: empty + ".not"},
		"tlscafile: no certificate in":         {TLSCAFile: empty},
		"tlspin: not the hex SHA-256":          {TLSPin: "abcd"},
		"tlspin: not the hex SHA-256 of a cer": {TLSPin: strings.Repeat("xy", 32)},
	} {
		o.Name, o.TLS = "east", true
		_, err := New(o, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pbx east: ") {
			t.Errorf("%+v: error %v, want %s", o, err, want)
		}
	}
}
