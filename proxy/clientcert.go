package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/amiproxy/amiproxy/acl"
)

// tlsConfig is that of the TLS listener. What it asks of a client is up to the
// configuration that the client meets.
func (srv *Server) tlsConfig() *tls.Config {
	plain := srv.certificate.config()
	plain.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := srv.now()
		if !now.wantsCertificates {
			return nil, nil
		}
		// A session that is resumed would bring a certificate of before.
		c := srv.certificate.config()
		c.SessionTicketsDisabled = true
		c.ClientAuth = tls.RequestClientCert // judged at the login
		if g := now.config.General; g.TLSClientRequired {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, g.TLSClientCAs
		}
		return c, nil
	}
	return plain
}

// certified reports whether the client has shown a certificate of the user, in
// date and, if it is told by its name, signed by one of the authorities of now.
func (s *Session) certified(now *snapshot, policy *acl.Policy) bool {
	chain := s.client.certificates()
	if len(chain) == 0 || !policy.TakesCertificates() {
		return false
	}
	cert, at := chain[0], time.Now()
	if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
		return false
	}
	trusted := false
	if roots := now.config.General.TLSClientCAs; roots != nil {
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err := cert.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		trusted = err == nil
	}
	return policy.HasCertificate(cert, trusted)
}
