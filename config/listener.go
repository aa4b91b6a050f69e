package config

import (
	"crypto/tls"
	"net/netip"
)

// listener is where a kind of client connects: the keys that [general] and
// [http] have in common.
type listener struct {
	addr    netip.Addr
	port    int
	tls     bool
	tlsAddr netip.Addr
	tlsPort int
	cert    path
	key     path
}

// listenerKeys are those keys; http.conf calls the port bindport.
func listenerKeys[T any](port string, field func(*T) *listener) []key[T] {
	return []key[T]{
		{name: "bindaddr", set: address(func(t *T) *netip.Addr { return &field(t).addr })},
		{name: port, set: integer(func(t *T) *int { return &field(t).port }, 1, 65535)},
		{name: "tlsenable", set: boolean(func(t *T) *bool { return &field(t).tls })},
		{name: "tlsbindaddr", set: addressPort(
			func(t *T) *netip.Addr { return &field(t).tlsAddr },
			func(t *T) *int { return &field(t).tlsPort })},
		{name: "tlscertfile", set: file(func(t *T) *path { return &field(t).cert })},
		{name: "tlsprivatekey", set: file(func(t *T) *path { return &field(t).key })},
	}
}

// finish fills in what follows from other keys and checks that the certificate
// can be used; enabled: somebody will listen here.
func (n *listener) finish(l *loading, s *section, given values, tlsPort int, enabled bool) {
	if !n.tlsAddr.IsValid() {
		n.tlsAddr = n.addr
	}
	if n.tlsPort == 0 {
		n.tlsPort = tlsPort
	}
	if s == nil {
		return
	}
	if n.tls {
		n.checkCertificate(l, s, given)
		if enabled && n.tlsAddr == n.addr && n.tlsPort == n.port {
			given["tlsenable"].errorf("TLS and plain text would listen on the same address and port")
		}
	}
	if enabled && !n.tls && n.addr.IsUnspecified() {
		at := given["bindaddr"]
		at.warnf("listens on every address without TLS: secrets and events go over the network in clear text")
	}
}

// listensOn are the addresses at which clients can connect, by AMI and by HTTP.
func (l *loading) listensOn() (all []netip.Addr) {
	g, h := &l.general, &l.http
	for _, on := range []struct {
		yes bool
		at  netip.AddrPort
	}{
		{g.Enabled, g.BindAddr}, {g.TLSEnable, g.TLSBindAddr},
		{h.Enabled, h.BindAddr}, {h.Enabled && h.TLSEnable, h.TLSBindAddr},
	} {
		if on.yes {
			all = append(all, on.at.Addr())
		}
	}
	return all
}

func (n *listener) checkCertificate(l *loading, s *section, given values) {
	if given["tlscertfile"] == nil {
		l.report.errorf(given["tlsenable"].place, s.name, "tlscertfile", "missing: tlsenable = yes needs it")
		return
	}
	if n.cert.from == nil || given["tlsprivatekey"] != nil && n.key.from == nil {
		return // reported
	}
	cert, key := n.cert, n.key
	if key.from == nil {
		key = cert
	}
	certPEM, ok := cert.read(l)
	keyPEM, ok2 := key.read(l)
	if !ok || !ok2 {
		return
	}
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		cert.from.errorf("certificate and key cannot be used: %s", err)
	}
}

// read returns what the file holds, or reports why not.
func (p path) read(l *loading) ([]byte, bool) {
	content, _, err := l.loader.read(p.name)
	if err != nil {
		p.from.errorf("%s: %s", p.from.shown(), plainError(err))
	}
	return content, err == nil
}

func (n *listener) plain() netip.AddrPort { return netip.AddrPortFrom(n.addr, uint16(n.port)) }

func (n *listener) secure() netip.AddrPort { return netip.AddrPortFrom(n.tlsAddr, uint16(n.tlsPort)) }
