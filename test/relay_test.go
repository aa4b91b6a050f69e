//go:build unix

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// A relay stands between the proxy and a PBX and does to their connections what
// networks do. What befalls the bytes is toxiproxy's; the sockets are its own, so that
// it can reset one, leave one half-open, or write to one (docs/decisions/0011). Its
// methods are safe for use by many goroutines.
type relay struct {
	tb       testing.TB
	addr     string
	upstream string
	toxics   *toxiproxy.ToxicCollection
	server   *toxiproxy.ApiServer // It serves nothing: links ask it whether to count.

	mu       sync.Mutex // Guards the following, and what a connection begins with.
	listener net.Listener
	pairs    []*pair
}

func startRelay(tb testing.TB, upstream string) *relay {
	tb.Helper()
	r := &relay{
		tb: tb, addr: "127.0.0.1:0", upstream: upstream,
		toxics: toxiproxy.NewToxicCollection(new(toxiproxy.Proxy)),
		server: &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)},
	}
	r.Up()
	tb.Cleanup(func() {
		r.Down()
		r.toxics.ResetToxics(context.Background())
	})
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
			client, err := listener.Accept()
			if err != nil {
				return
			}
			r.serve(listener, client)
		}
	}()
}

// Down refuses connections and resets those that there are.
func (r *relay) Down() {
	r.mu.Lock()
	r.listener.Close()
	r.listener = nil
	r.mu.Unlock()
	r.Reset()
}

// Reset resets the connections that there are.
func (r *relay) Reset() { r.each((*pair).reset) }

// Hold makes the way a black hole: nothing comes through, and nothing is said about it,
// until Release. What was sent meanwhile arrives then, as TCP sends it again.
func (r *relay) Hold() { r.add("bandwidth", toxics.BandwidthToxic{Rate: 0}) }

// Release ends Hold.
func (r *relay) Release() { r.remove("bandwidth") }

// Delay lets all come so much later.
func (r *relay) Delay(d time.Duration) {
	r.add("latency", toxics.LatencyToxic{Latency: d.Milliseconds()})
}

// NoDelay ends Delay.
func (r *relay) NoDelay() { r.remove("latency") }

// Slice lets all come byte by byte, with time between to read each.
func (r *relay) Slice() { r.add("slicer", toxics.SlicerToxic{AverageSize: 1, Delay: 20}) }

// NoSlice ends Slice.
func (r *relay) NoSlice() { r.remove("slicer") }

// CutAfter resets each of the connections that there are after so many more bytes from
// the PBX. It is for once.
func (r *relay) CutAfter(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	added := r.addTo(stream.Downstream, "cut", toxics.LimitDataToxic{Bytes: n})
	added.Toxic.(*cut).done.Store(true)
}

// Abandon leaves the connections that there are half-open: nothing comes through them
// any more. New ones work.
func (r *relay) Abandon() { r.each(func(p *pair) { p.silent.Store(true) }) }

// Inject writes to the proxy on all connections, as if it came from the PBX.
func (r *relay) Inject(b []byte) { r.each(func(p *pair) { p.client.Write(b) }) }

func (r *relay) each(f func(*pair)) {
	r.mu.Lock()
	pairs := slices.Clone(r.pairs)
	r.mu.Unlock()
	for _, p := range pairs {
		f(p)
	}
}

// add lets a toxic of toxiproxy work on what goes either way.
func (r *relay) add(kind string, toxic any) {
	r.tb.Helper()
	r.addTo(stream.Upstream, kind, toxic)
	r.addTo(stream.Downstream, kind, toxic)
}

func (r *relay) addTo(to stream.Direction, kind string, toxic any) *toxics.ToxicWrapper {
	r.tb.Helper()
	text, err := json.Marshal(map[string]any{"name": kind + to.String(), "type": kind, "stream": to.String(), "attributes": toxic})
	if err != nil {
		r.tb.Fatal(err)
	}
	added, err := r.toxics.AddToxicJson(bytes.NewReader(text))
	if err != nil {
		r.tb.Fatal(err)
	}
	return added
}

func (r *relay) remove(kind string) {
	r.tb.Helper()
	for _, to := range []stream.Direction{stream.Upstream, stream.Downstream} {
		if err := r.toxics.RemoveToxic(context.Background(), kind+to.String()); err != nil {
			r.tb.Fatal(err)
		}
	}
}

// cut is toxiproxy's limit_data, for the connections that there are when it is added.
type cut struct {
	toxics.LimitDataToxic
	done atomic.Bool
}

func init() {
	toxics.Register("cut", new(cut))
	zerolog.SetGlobalLevel(zerolog.Disabled) // What toxiproxy logs goes to stderr.
}

func (c *cut) NewState() any {
	if c.done.Load() {
		return nil
	}
	return c.LimitDataToxic.NewState()
}

func (c *cut) Pipe(stub *toxics.ToxicStub) {
	if stub.State == nil {
		new(toxics.NoopToxic).Pipe(stub)
		return
	}
	c.LimitDataToxic.Pipe(stub)
	if stub.Closed() {
		for range stub.Input { // or what comes still would wait for ever, in a goroutine
		}
	}
}

// A pair is one connection through the relay.
type pair struct {
	client, pbx *net.TCPConn
	silent      atomic.Bool // What comes is thrown away.
	ended       atomic.Bool // One of them has closed.
}

func (r *relay) serve(on net.Listener, client net.Conn) {
	pbx, err := net.Dial("tcp", r.upstream)
	if err != nil {
		client.Close()
		return
	}
	p := &pair{client: client.(*net.TCPConn), pbx: pbx.(*net.TCPConn)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != on {
		p.reset()
		return
	}
	r.pairs = append(r.pairs, p)
	name := client.RemoteAddr().String()
	r.toxics.StartLink(r.server, name+" up", end{p, p.client}, end{p, p.pbx}, stream.Upstream)
	r.toxics.StartLink(r.server, name+" down", end{p, p.pbx}, end{p, p.client}, stream.Downstream)
}

// reset ends both ways at once, without a goodbye.
func (p *pair) reset() {
	for _, conn := range []*net.TCPConn{p.client, p.pbx} {
		conn.SetLinger(0)
		conn.Close()
	}
}

// An end is one of a pair, as toxiproxy has it.
type end struct {
	*pair
	conn *net.TCPConn
}

func (e end) Read(b []byte) (int, error) {
	n, err := e.conn.Read(b)
	for e.silent.Load() && err == nil {
		n, err = e.conn.Read(b)
	}
	if err != nil {
		if e.silent.Load() { // who is cut off does not hear of the end
			io.Copy(io.Discard, e.client)
		}
		e.ended.Store(true)
	}
	return n, err
}

// Write throws away what cannot be written. With an error, toxiproxy would leave
// goroutines that wait for somebody to take what comes next.
func (e end) Write(b []byte) (int, error) {
	e.conn.Write(b)
	return len(b), nil
}

// Close is what toxiproxy does at the end of what there is to write. If neither the
// client nor the PBX has closed, it is a cut.
func (e end) Close() error {
	if !e.ended.Load() {
		e.reset()
	}
	return e.conn.Close()
}
