package ajam

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/proxy"
)

// places bounds how many of something there are, in all and from one address: one
// client is not to keep all others out. Nor are several that have not logged in: when
// there is no place left, the address that has most of them gives up the oldest of
// its own that is not settled. It is safe for use by many goroutines.
type places struct {
	// Static
	limit, each int
	what        string // for the log
	log         *zap.Logger

	mu    sync.Mutex // guards the following
	taken int
	by    map[netip.Addr]*holder
	told  time.Time // when the log last told that there was none
}

// holder is an address and its places.
type holder struct {
	n         int
	unsettled []*place // the oldest first
}

// place is that of one client. The fields but settled are guarded by places.mu.
type place struct {
	of      *places
	from    netip.Addr
	leave   func() // makes the client go
	settled atomic.Bool
	given   bool
}

func newPlaces(what string, limit int, log *zap.Logger) *places {
	return &places{limit: limit, each: (limit + 1) / 2, what: what, log: log, by: make(map[netip.Addr]*holder)}
}

// sessionsEach is how many sessions there may be for each connection. They take little,
// and scripts that log in for each request leave theirs behind; in Asterisk nothing
// bounds them.
const sessionsEach = 10

// tellEvery is how often the log tells that there are too many.
const tellEvery = time.Minute

// take takes a place for an address, nil if there is none. leave is called, with
// nothing locked, if another client gets the place before this one is settled.
func (p *places) take(a netip.Addr, leave func()) *place {
	a = proxy.Network(a)
	p.mu.Lock()
	h := p.by[a]
	if h == nil {
		h = new(holder)
	}
	var out *place
	full := h.n >= p.each
	if !full && p.taken >= p.limit {
		out = p.yieldingLocked(h.n)
		full = out == nil
	}
	if full {
		defer p.mu.Unlock()
		if now := time.Now(); now.Sub(p.told) >= tellEvery {
			p.told = now
			p.log.Warn("too many "+p.what+" over HTTP: some are refused; sessionlimit bounds them, and one address may have half",
				zap.Stringer("address", a), zap.Int("its", h.n), zap.Int("all", p.taken), zap.Int("limit", p.limit))
		}
		return nil
	}
	if out != nil {
		out.giveLocked()
		defer out.leave()
	}
	defer p.mu.Unlock()
	x := &place{of: p, from: a, leave: leave}
	p.taken++
	h.n++
	h.unsettled = append(h.unsettled, x)
	p.by[a] = h
	return x
}

// yieldingLocked is the place that one who has n places gets, nil if nobody has to
// give one up: only who has more than that even afterwards.
func (p *places) yieldingLocked(n int) (x *place) {
	most := n + 1
	for _, h := range p.by {
		if h.n > most && len(h.unsettled) > 0 {
			most, x = h.n, h.unsettled[0]
		}
	}
	return x
}

// settle says that the client has logged in, and keeps the place as long as it stays.
func (x *place) settle() {
	if x.settled.Swap(true) {
		return
	}
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	if !x.given {
		x.of.by[x.from].forget(x)
	}
}

// give gives the place back. It may be called more than once.
func (x *place) give() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	x.giveLocked()
}

func (x *place) giveLocked() {
	if x.given {
		return
	}
	x.given = true
	h := x.of.by[x.from]
	h.forget(x)
	x.of.taken--
	if h.n--; h.n == 0 {
		delete(x.of.by, x.from)
	}
}

func (h *holder) forget(x *place) {
	if i := slices.Index(h.unsettled, x); i >= 0 {
		h.unsettled = slices.Delete(h.unsettled, i, i+1)
	}
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
		place := l.places.take(addrPort(conn.RemoteAddr()).Addr(), func() { conn.Close() })
		if place != nil {
			return &placed{conn, place}, nil
		}
		conn.Close()
	}
}

// placed is a connection that has a place.
type placed struct {
	net.Conn
	place *place
}

func (c *placed) Close() error {
	defer c.place.give()
	return c.Conn.Close()
}

// placeOf is the key of the place in the context of a connection.
type placeOf struct{}

// withPlace is http.Server.ConnContext.
func withPlace(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if c, ok := c.(*placed); ok {
		return context.WithValue(ctx, placeOf{}, c.place)
	}
	return ctx
}

// settle lets the session of a request, and its connection, keep their places if its
// client has logged in.
func settle(r *http.Request, s *session) {
	if !s.LoggedIn() {
		return
	}
	s.place.settle()
	if x, ok := r.Context().Value(placeOf{}).(*place); ok {
		x.settle()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
