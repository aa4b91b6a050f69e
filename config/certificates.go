package config

import (
	"crypto/x509"

	"github.com/amiproxy/amiproxy/acl"
)

func addCertificate(v *value, u *userDraft) {
	c, err := acl.ParseCertificate(v.text)
	if err != nil {
		v.errorf("%s is %s", v.shown(), err)
		return
	}
	if c.ByName() && u.byName == nil {
		u.byName = v
	}
	u.options.Certificates = append(u.options.Certificates, c)
}

// userCertificates looks at what the certificates of a user need.
func (l *loading) userCertificates(u *userDraft, given values) {
	cert, login := given["certificate"], given["login"]
	secret := given["secret"]
	if secret == nil {
		secret = given["secretfile"]
	}
	if login != nil && (cert == nil || secret == nil) {
		login.errorf("says how secret and certificate go together, but there are not both")
	}
	if cert == nil {
		return
	}
	if secret != nil && u.options.Secret == "" && u.secret.given {
		secret.errorf("empty: leave the line out if the certificate alone is to do")
	}
	if u.byName != nil && l.general.clientCA.from == nil {
		u.byName.errorf("means nothing without tlsclientca in [general]: anybody can make a certificate of that name (sha256: means one alone)")
	}
	if !l.general.TLSEnable {
		cert.warnf("nobody can show a certificate as long as tlsenable = no in [general]")
	}
}

// finishClientCA reads the authorities that sign the certificates of clients.
func (g *generalDraft) finishClientCA(l *loading, given values) {
	if required := given["tlsclientrequired"]; g.TLSClientRequired && given["tlsclientca"] == nil {
		required.errorf("needs tlsclientca: who is to have signed the certificates?")
	}
	if g.clientCA.from == nil {
		return
	}
	if !g.TLSEnable {
		g.clientCA.from.warnf("means nothing without tlsenable = yes")
	}
	pem, ok := g.clientCA.read(l)
	if !ok {
		return
	}
	g.TLSClientCAs = x509.NewCertPool()
	if !g.TLSClientCAs.AppendCertsFromPEM(pem) {
		g.clientCA.from.errorf("%s holds no certificate in PEM", g.clientCA.from.shown())
	}
}
