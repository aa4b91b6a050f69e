package config

import (
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/amiproxy/amiproxy/backend"
)

// pbxDraft is a [pbx:NAME] section while it is being read.
type pbxDraft struct {
	backend.Options
	place
	section string
	secret  secret
	caFile  path
}

// pbxKeys are the keys of [pbx:NAME].
var pbxKeys = append(secretKeys(func(p *pbxDraft) *secret { return &p.secret }), []key[pbxDraft]{
	{name: "host", set: setHost},
	{name: "port", set: integer(func(p *pbxDraft) *int { return &p.Port }, 1, 65535)},
	{name: "username", set: text(func(p *pbxDraft) *string { return &p.Username }, checkUsername)},
	{name: "links", set: integer(func(p *pbxDraft) *int { return &p.Links }, 2, 64)},
	{name: "pendinglimit", set: integer(func(p *pbxDraft) *int { return &p.PendingLimit }, 1, 1_000_000)},
	{name: "tls", set: boolean(func(p *pbxDraft) *bool { return &p.TLS })},
	{name: "tlscafile", set: file(func(p *pbxDraft) *path { return &p.caFile })},
	{name: "tlspin", set: text(func(p *pbxDraft) *string { return &p.TLSPin }, checkPin)},
	{name: "tlsservername", set: text(func(p *pbxDraft) *string { return &p.TLSServerName }, checkHostName)},
}...)

// setHost takes an IP address, brackets removed, or a host name.
func setHost(v *value, p *pbxDraft) {
	if a, ok := parseAddr(v.text); ok {
		p.Host = a.String()
	} else if reason := checkHostName(v.text); reason != "" {
		v.errorf("%s %s", v.shown(), reason)
	} else {
		p.Host = v.text
	}
}

// checkHostName says what is wrong with the name of a host.
func checkHostName(name string) string {
	if strings.Contains(name, ":") {
		return "is no host name (the port has a key of its own)"
	}
	for i := range len(name) {
		if c := name[i]; !isWord(c) && c != '-' && c != '.' {
			return "is no host name"
		}
	}
	if name == "" || len(name) > 253 || strings.HasPrefix(name, ".") || strings.Contains(name, "..") {
		return "is no host name"
	}
	return ""
}

func checkUsername(name string) string {
	if name == "" || len(name) > maxUserName || !printable(name) {
		return "cannot be the name of a manager user"
	}
	return ""
}

// checkPin wants a SHA-256 in hex, with or without colons.
func checkPin(pin string) string {
	if b, err := hex.DecodeString(strings.ReplaceAll(pin, ":", "")); err != nil || len(b) != 32 {
		return "is no SHA-256 of a certificate: 32 bytes in hex"
	}
	return ""
}

// pbxName says whether a text can be the name of a PBX.
func pbxName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isWord(c) && c != '-' && c != '.' {
			return false
		}
	}
	return name != "" && len(name) <= 32
}

// loadPBX reads one [pbx:NAME] section.
func (l *loading) loadPBX(s *section) {
	_, name, _ := strings.Cut(s.name, ":")
	p := &pbxDraft{place: s.place, section: s.name}
	p.Options = backend.Options{
		Name: name, Port: 5038, Links: 4, PendingLimit: 1000,
		ConnectTimeout: l.general.connectTimeout,
		ActionTimeout:  l.general.actionTimeout,
		AnswerLimit:    int(l.general.AnswerLimit),
	}
	l.pbxs = append(l.pbxs, p)
	if !pbxName(name) {
		l.report.errorf(s.place, s.name, "", "the name of a PBX is 1 to 32 of A-Z a-z 0-9 _ . -")
	}
	given := apply(l, s, true, pbxKeys, p)
	if !s.broken {
		for _, name := range []string{"host", "username"} {
			if given[name] == nil {
				l.report.errorf(s.place, s.name, name, "missing")
			}
		}
		if given["secret"] == nil && given["secretfile"] == nil {
			l.report.errorf(s.place, s.name, "secret", "missing (or secretfile)")
		}
	}
	if p.secret.resolve(l, given) {
		if p.secret.text == "" {
			given["secret"].errorf("empty")
		}
		p.Secret = p.secret.text
	}
	p.checkTLS(l, given)
}

func (p *pbxDraft) checkTLS(l *loading, given values) {
	p.TLSCAFile = p.caFile.name
	if p.caFile.from != nil {
		if pem, ok := p.caFile.read(l); ok && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			p.caFile.from.errorf("%s holds no certificate in PEM", p.caFile.from.shown())
		}
	}
	if !p.TLS {
		for _, name := range []string{"tlscafile", "tlspin", "tlsservername"} {
			if v := given[name]; v != nil {
				v.warnf("means nothing without tls = yes")
			}
		}
		return
	}
	if given["tlspin"] != nil {
		for _, name := range []string{"tlscafile", "tlsservername"} {
			if v := given[name]; v != nil {
				v.warnf("means nothing with tlspin, which alone decides")
			}
		}
	}
}

// address is where the PBX is, to find two sections that mean one.
func (p *pbxDraft) address() string {
	host := fold(p.Host)
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(p.Port))
}

// pbx finds a PBX by its name without case; -1 if there is none.
func (l *loading) pbx(name string) int {
	return slices.IndexFunc(l.pbxs, func(p *pbxDraft) bool { return fold(p.Name) == fold(name) })
}

// resolveDefaultPBX spells [general]'s defaultpbx as its section is.
func (l *loading) resolveDefaultPBX() {
	g, v := &l.general, l.generalDefaultPBX
	if g.DefaultPBX == "" {
		return
	}
	switch i := l.pbx(g.DefaultPBX); {
	case i >= 0:
		g.DefaultPBX = l.pbxs[i].Name
	case fold(g.DefaultPBX) == "none":
		g.DefaultPBX = ""
	default:
		v.errorf("there is no [pbx:NAME] of the name %s", v.shown())
		g.DefaultPBX = ""
	}
}
