package ajam

import (
	"net"
	"net/netip"
	"sync"
)

// places bounds how many of something there are, in all and from one address: one
// client is not to keep all others out. It is safe for use by many goroutines.
type places struct {
	limit, each int // static

	mu    sync.Mutex // guards the following
	taken int
	by    map[netip.Addr]int
}

func newPlaces(limit int) *places {
	return &places{limit: limit, each: (limit + 1) / 2, by: make(map[netip.Addr]int)}
}

// take takes a place for an address, if there is one.
func (p *places) take(a netip.Addr) bool {
	a = network(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.limit || p.by[a] >= p.each {
		return false
	}
	p.taken++
	p.by[a]++
	return true
}

func (p *places) give(a netip.Addr) {
	a = network(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[a]--; p.by[a] == 0 {
		delete(p.by, a)
	}
}

// network is what counts as one address: with IPv6 a network of 64 bits, all of
// which whoever has one address usually has.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// limited is a listener that closes what is too much at once, as Asterisk does.
type limited struct {
	net.Listener
	places *places
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrPort(conn.RemoteAddr()).Addr()
		if l.places.take(from) {
			return &placed{Conn: conn, give: sync.OnceFunc(func() { l.places.give(from) })}, nil
		}
		conn.Close()
	}
}

// placed is a connection that has a place.
type placed struct {
	net.Conn
	give func()
}

func (c *placed) Close() error {
	defer c.give()
	return c.Conn.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
