package backend

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// newTLSConfig is nil without TLS.
func newTLSConfig(o Options) (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	c := &tls.Config{ServerName: o.TLSServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = o.Host
	}
	if o.TLSCAFile != "" {
		pem, err := os.ReadFile(o.TLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("tlscafile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tlscafile: no certificate in %s", o.TLSCAFile)
		}
	}
	if o.TLSPin == "" {
		return c, nil
	}
	pin, err := hex.DecodeString(strings.ReplaceAll(o.TLSPin, ":", ""))
	if err != nil || len(pin) != sha256.Size {
		return nil, errors.New("tlspin: not the hex SHA-256 of a certificate (openssl x509 -fingerprint -sha256)")
	}
	// The pin stands for the whole verification: it names one certificate.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		sum := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(sum[:], pin) == 1 {
			return nil
		}
		return fmt.Errorf("the certificate's SHA-256 %x is not the tlspin", sum)
	}
	return c, nil
}
