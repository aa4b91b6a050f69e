package ajam

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// places bounds how many of something there are, in all and from one address: one
// client is not to keep all others out. It is safe for use by many goroutines.
type places struct {
	// Static
	limit, each int
	what        string // for the log
	log         *zap.Logger

	mu    sync.Mutex // guards the following
	taken int
	by    map[netip.Addr]int
	told  time.Time // when the log last told that there was none
}

func newPlaces(what string, limit int, log *zap.Logger) *places {
	return &places{limit: limit, each: (limit + 1) / 2, what: what, log: log, by: make(map[netip.Addr]int)}
}

// sessionsEach is how many sessions there may be for each connection. They take little,
// and scripts that log in for each request leave theirs behind; in Asterisk nothing
// bounds them.
const sessionsEach = 10

// tellEvery is how often the log tells that there are too many.
const tellEvery = time.Minute

// take takes a place for an address, if there is one.
func (p *places) take(a netip.Addr) bool {
	a = network(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.limit || p.by[a] >= p.each {
		if now := time.Now(); now.Sub(p.told) >= tellEvery {
			p.told = now
			p.log.Warn("too many "+p.what+" over HTTP: some are refused; sessionlimit bounds them, and one address may have half",
				zap.Stringer("address", a), zap.Int("its", p.by[a]), zap.Int("all", p.taken), zap.Int("limit", p.limit))
		}
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
