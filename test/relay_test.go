//go:build unix

package test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A relay stands between the proxy and a PBX and does to their connections what
// networks do. Its methods are safe for use by many goroutines.
type relay struct {
	tb       testing.TB
	addr     string
	upstream string

	sliced atomic.Bool
	delay  atomic.Int64 // Nanoseconds before anything goes on.

	mu       sync.Mutex // Guards the following.
	listener net.Listener
	pairs    map[*pair]struct{}
	gate     chan struct{} // Closed while anything goes through.
}

// A pair is one connection through the relay.
type pair struct {
	client, pbx net.Conn
	silent      atomic.Bool  // What comes is thrown away.
	left        atomic.Int64 // Bytes from the PBX until it is cut, if positive.
}

func startRelay(tb testing.TB, upstream string) *relay {
	tb.Helper()
	r := &relay{tb: tb, addr: "127.0.0.1:0", upstream: upstream, pairs: map[*pair]struct{}{}, gate: make(chan struct{})}
	close(r.gate)
	r.Up()
	tb.Cleanup(r.Down)
	return r
}

// Up takes connections.
func (r *relay) Up() {
	listener, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.addr = listener, listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
}

// Down refuses connections and resets those that there are.
func (r *relay) Down() {
	r.mu.Lock()
	r.listener.Close()
	r.mu.Unlock()
	r.Release()
	r.Reset()
}

// Reset resets the connections that there are.
func (r *relay) Reset() { r.each((*pair).reset) }

// Hold makes the way a black hole: nothing comes through, and nothing is said about it,
// until Release. What was sent meanwhile arrives then, as TCP sends it again.
func (r *relay) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = make(chan struct{})
}

// Release ends Hold.
func (r *relay) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// Abandon leaves the connections that there are half-open: nothing comes through them
// any more. New ones work.
func (r *relay) Abandon() { r.each(func(p *pair) { p.silent.Store(true) }) }

// CutAfter resets each of the connections after so many more bytes from the PBX.
func (r *relay) CutAfter(n int64) { r.each(func(p *pair) { p.left.Store(n) }) }

// Inject writes to the proxy on all connections, as if it came from the PBX.
func (r *relay) Inject(b []byte) { r.each(func(p *pair) { p.client.Write(b) }) }

func (r *relay) each(f func(*pair)) {
	r.mu.Lock()
	var pairs []*pair
	for p := range r.pairs {
		pairs = append(pairs, p)
	}
	r.mu.Unlock()
	for _, p := range pairs {
		f(p)
	}
}

func (r *relay) open() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gate
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	<-r.open()
	pbx, err := net.Dial("tcp", r.upstream)
	if err != nil {
		return
	}
	defer pbx.Close()
	p := &pair{client: client, pbx: pbx}
	r.mu.Lock()
	r.pairs[p] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.pairs, p)
	}()
	up := make(chan struct{})
	go func() {
		defer close(up)
		r.pump(p, client, pbx)
		pbx.Close()
	}()
	r.pump(p, pbx, client)
	client.Close()
	<-up
}

// pump carries bytes in one direction, until either end closes.
func (r *relay) pump(p *pair, from, to net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			for p.silent.Load() { // who is cut off does not hear of the end
				if _, err := p.client.Read(buf); err != nil {
					return
				}
			}
			return
		}
		<-r.open()
		time.Sleep(time.Duration(r.delay.Load()))
		if p.silent.Load() {
			continue
		}
		b := buf[:n]
		if from == p.pbx {
			if left := p.left.Load(); left > 0 {
				if int64(n) >= left {
					to.Write(b[:left])
					p.reset()
					return
				}
				p.left.Store(left - int64(n))
			}
		}
		for len(b) > 0 {
			size := len(b)
			if r.sliced.Load() {
				size = 1
			}
			if _, err := to.Write(b[:size]); err != nil {
				return
			}
			b = b[size:]
		}
	}
}

// reset ends both ways at once, without a goodbye.
func (p *pair) reset() {
	for _, conn := range []net.Conn{p.client, p.pbx} {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}
