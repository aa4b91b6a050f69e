package acl

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
)

// Certificate says which client certificates are a user's.
type Certificate struct {
	sum []byte // of the certificate; nil: by name
	// san: name is one of the subject's alternative names; else its common name.
	san  bool
	name string
}

// ParseCertificate reads sha256:HEX, the fingerprint of a certificate with or
// without colons; cn:NAME, the common name of its subject; or san:NAME, one of its
// alternative names: a host name, an e-mail or IP address, or a URI.
func ParseCertificate(text string) (Certificate, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "sha256":
		sum, err := hex.DecodeString(strings.ReplaceAll(rest, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return Certificate{}, errors.New("no SHA-256 of a certificate: sha256: and 32 bytes in hex")
		}
		return Certificate{sum: sum}, nil
	case kind != "cn" && kind != "san":
		return Certificate{}, errors.New("neither sha256:FINGERPRINT nor cn:NAME nor san:NAME")
	case rest == "" || strings.TrimSpace(rest) != rest:
		return Certificate{}, errors.New("no name behind the colon, or a blank beside it")
	}
	return Certificate{san: kind == "san", name: rest}, nil
}

// ByName reports whether a certificate is told by its name only: then it counts
// for nothing unless an authority that is trusted has signed it.
func (c Certificate) ByName() bool { return c.sum == nil }

// fits reports whether it means a certificate. Names of hosts and e-mail addresses
// are compared without case, others exactly; a wildcard stands for itself.
func (c Certificate) fits(cert *x509.Certificate, trusted bool) bool {
	switch {
	case !c.ByName():
		sum := sha256.Sum256(cert.Raw)
		return bytes.Equal(sum[:], c.sum)
	case !trusted:
		return false
	case !c.san:
		return cert.Subject.CommonName == c.name
	}
	for _, names := range [][]string{cert.DNSNames, cert.EmailAddresses} {
		for _, name := range names {
			if strings.EqualFold(name, c.name) {
				return true
			}
		}
	}
	for _, ip := range cert.IPAddresses {
		if ip.String() == c.name {
			return true
		}
	}
	for _, uri := range cert.URIs {
		if uri.String() == c.name {
			return true
		}
	}
	return false
}

// HasCertificate reports whether a certificate is one of the user's. The client
// must have shown that it has the key, and the certificate must be in date; trusted
// says that an authority that may has signed it.
func (p *Policy) HasCertificate(cert *x509.Certificate, trusted bool) bool {
	for _, c := range p.certificates {
		if c.fits(cert, trusted) {
			return true
		}
	}
	return false
}

// TakesCertificates reports whether the user has certificates.
func (p *Policy) TakesCertificates() bool { return len(p.certificates) > 0 }

// NeedsCertificate reports whether the user cannot log in without one of its
// certificates.
func (p *Policy) NeedsCertificate() bool {
	return len(p.certificates) > 0 && !(p.either && p.hasOwn)
}

// NeedsSecret reports whether the user cannot log in without its secret, given
// that the client has one of its certificates or not.
func (p *Policy) NeedsSecret(certified bool) bool {
	return !certified || !p.either && p.hasOwn
}

// CanLogIn reports whether there is anything by which the user could log in.
func (p *Policy) CanLogIn() bool { return p.HasSecret() || len(p.certificates) > 0 }
