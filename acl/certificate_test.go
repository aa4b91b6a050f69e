package acl

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestCertificates(t *testing.T) {
	uri, err := url.Parse("spiffe://example.com/crm")
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		Raw: []byte("crm"), Subject: pkix.Name{CommonName: "crm"},
		DNSNames: []string{"crm.example.com", "*.example.org"}, EmailAddresses: []string{"crm@example.com"},
		IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}, URIs: []*url.URL{uri},
	}
	const sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	for text, want := range map[string]bool{
		"cn:crm": true, "cn:CRM": false, "cn:crm.example.com": false, "cn:cr": false,
		"san:crm.example.com": true, "san:CRM.example.com": true, "san:crm": false, "san:a.example.org": false,
		"san:*.example.org": true, "san:crm@example.com": true, "san:192.0.2.1": true, "san:2001:db8::1": true,
		"san:spiffe://example.com/crm": true, "san:spiffe://example.com/CRM": false, "sha256:" + sum: false,
	} {
		c, err := ParseCertificate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		p := New(Options{Certificates: []Certificate{c}})
		if got := p.HasCertificate(cert, true); got != want {
			t.Errorf("%s: %v", text, got)
		}
		if p.HasCertificate(cert, false) {
			t.Errorf("%s: counts though nobody signed it", text)
		}
	}
	for _, text := range []string{"", "crm", "cn:", "san:", "cn: crm", "CN:crm", "sha256:", "sha256:" + sum[2:], "sha256:" + sum + "00", "sha1:" + sum, "sha256:x" + sum[1:], ":x"} {
		if c, err := ParseCertificate(text); err == nil {
			t.Errorf("%q is %+v", text, c)
		}
	}
	// sha256sum of "crm", as openssl and others write it.
	for _, text := range []string{crmSum, strings.ToUpper(crmSum), colons(crmSum)} {
		c, err := ParseCertificate("sha256:" + text)
		if err != nil || c.ByName() {
			t.Errorf("%s: %v", text, err)
		}
		if p := New(Options{Certificates: []Certificate{c}}); !p.HasCertificate(cert, false) {
			t.Errorf("%s does not fit", text)
		}
	}
}

const crmSum = "9261ceef0b969e70ac20f1510f07a1e0d8db05f20c75161a2ef43b4eba27a7aa"

func colons(hex string) string {
	var parts []string
	for i := 0; i < len(hex); i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}

// What a client needs is never less than what is configured.
func TestWhatALoginNeeds(t *testing.T) {
	certs := []Certificate{{name: "crm"}}
	for _, test := range []struct {
		name                     string
		o                        Options
		cert, secret, withSecret bool // needs a certificate; a secret without one, and with one
		can                      bool
	}{
		{"nothing", Options{}, false, true, true, false},
		{"secret", Options{Secret: "x"}, false, true, true, true},
		{"certificate", Options{Certificates: certs}, true, true, false, true},
		{"both", Options{Secret: "x", Certificates: certs}, true, true, true, true},
		{"either", Options{Secret: "x", Certificates: certs, Either: true}, false, true, false, true},
		{"either without a secret", Options{Certificates: certs, Either: true}, true, true, false, true},
		{"a secret that cannot be read", Options{Secret: "$6$x", Certificates: certs}, true, true, true, true},
		{"old secrets only", Options{OldSecrets: []string{"x"}, Certificates: certs}, true, true, true, true},
	} {
		p := New(test.o)
		certified := len(test.o.Certificates) > 0
		if p.NeedsCertificate() != test.cert || p.NeedsSecret(false) != test.secret || p.NeedsSecret(certified) != test.withSecret || p.CanLogIn() != test.can {
			t.Errorf("%s: certificate %v, secret %v and %v, can log in %v", test.name, p.NeedsCertificate(), p.NeedsSecret(false), p.NeedsSecret(certified), p.CanLogIn())
		}
	}
}
