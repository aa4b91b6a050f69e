package simpbx

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Options say what a PBX is like. The zero value is a PBX without calls that
// the user proxy, secret upstream-secret, may do everything on.
type Options struct {
	// SystemName, if not empty, is a SystemName header in every event and the
	// first part of every Uniqueid, as in asterisk.conf.
	SystemName string
	// Version is the AMI version in the banner; empty means 11.0.0
	// (Asterisk 22). With major version 2 or less Command answers in the way
	// of Asterisk 13, raw text and an end mark.
	Version string
	// Users may log in; nil means the one user above.
	Users []User

	// Endpoints are the telephones, nil means six with numbers from 100 on.
	Endpoints []Endpoint
	// Queues are the call queues. Nil means none, but with the default
	// endpoints support and sales.
	Queues []Queue
	// Trunk is the name of the endpoint that calls from outside come from and
	// go to; empty means trunk.
	Trunk string

	// Calls is how many calls start in a second, on average; 0 means none.
	Calls float64
	// RTCP is how many RTCPSent and RTCPReceived events a live call makes in
	// a second; 0 means none.
	RTCP float64
	// Ring is how long an endpoint rings, on average, before it is answered;
	// 0 means 1 s.
	Ring time.Duration
	// Talk is how long a call is, on average, once it is answered; 0 means 8 s.
	Talk time.Duration
	// Idle is a number of channels that are up from the start and do nothing.
	Idle int
	// Seed makes all randomness: PBXes with the same seed and the same input
	// do the same.
	Seed uint64

	// WriteTimeout is how long a client may take no byte before it is cut;
	// 0 means 2 s (Asterisk has 100 ms, which a loaded test machine breaks).
	WriteTimeout time.Duration
	// AuthTimeout is how long a connection may take to log in; 0 means 30 s.
	AuthTimeout time.Duration
	// QueueLimit is how many bytes of events may wait for one connection
	// before it is cut; 0 means 64 MiB. While they are being written, as many
	// again may be in memory.
	QueueLimit int
	// Record is how many actions [PBX.Received] remembers; 0 means 4096.
	Record int
}

// User is a manager user. The zero values of Read and Write grant nothing.
type User struct {
	Name, Secret string
	Read, Write  ami.Class
}

// Endpoint is a telephone with the channel name PJSIP/Name, and Number in the
// dialplan.
type Endpoint struct {
	Name, Number string
}

// Queue is a call queue. Members are names of endpoints.
type Queue struct {
	Name    string
	Members []string
}

func (o Options) withDefaults() Options {
	setDefault(&o.Version, "11.0.0")
	setDefault(&o.Trunk, "trunk")
	setDefault(&o.Ring, time.Second)
	setDefault(&o.Talk, 8*time.Second)
	setDefault(&o.WriteTimeout, 2*time.Second)
	setDefault(&o.AuthTimeout, 30*time.Second)
	setDefault(&o.QueueLimit, 64<<20)
	setDefault(&o.Record, 4096)
	if o.Users == nil {
		o.Users = []User{{"proxy", "upstream-secret", ami.ClassAll, ami.ClassAll}}
	}
	if o.Endpoints == nil {
		o.Endpoints = []Endpoint{
			{"alice", "100"}, {"bob", "101"}, {"carol", "102"},
			{"dave", "103"}, {"erin", "104"}, {"frank", "105"},
		}
		if o.Queues == nil {
			o.Queues = []Queue{
				{"support", []string{"alice", "bob", "carol"}},
				{"sales", []string{"dave", "erin"}},
			}
		}
	}
	return o
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// ErrClosed is returned by [PBX.Serve] and [PBX.ServeConn] after
// [PBX.Close].
var ErrClosed = errors.New("simpbx: PBX closed")

// PBX is a simulated PBX. Its methods may be called from any goroutine.
type PBX struct {
	// Static after New.
	opts   Options
	users  map[string]*User // by folded name
	legacy bool             // AMI of Asterisk 13 or older
	done   chan struct{}    // closed by Close
	nudge  chan struct{}    // wakes the clock, holds one token
	wg     sync.WaitGroup   // every goroutine and every ServeConn

	mu sync.Mutex // guards all below

	closed    bool
	hang      chan struct{} // not nil while the PBX hangs; closed at its end
	booted    bool
	started   time.Time
	reloaded  time.Time
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	connSeq   uint64
	actions   map[string]*action // by folded name

	log     []Received // the last of them at the end
	arrived chan struct{}

	rng   *rand.Rand
	clock clock
	model model
}

// New returns a running PBX: its calls begin at once, connections are those
// given to [PBX.Serve] and [PBX.ServeConn]. It has to be closed.
func New(o Options) *PBX {
	o = o.withDefaults()
	p := &PBX{
		opts:      o,
		users:     make(map[string]*User),
		legacy:    isLegacy(o.Version),
		done:      make(chan struct{}),
		nudge:     make(chan struct{}, 1),
		booted:    true,
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		actions:   builtin(),
		arrived:   make(chan struct{}),
		rng:       rand.New(rand.NewPCG(o.Seed, 0x616d69)),
	}
	for i := range o.Users {
		u := &o.Users[i]
		p.users[ami.FoldName(u.Name)] = u
	}
	p.mu.Lock()
	p.startLocked()
	p.mu.Unlock()
	p.wg.Go(p.runClock)
	return p
}

// startLocked begins with an empty PBX, as after a start of the process.
func (p *PBX) startLocked() {
	p.started = time.Now()
	p.reloaded = p.started
	p.clock = clock{seq: p.clock.seq}
	p.initModelLocked()
	p.scheduleCallsLocked()
	p.schedulePeersLocked()
}

func isLegacy(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	return major == "0" || major == "1" || major == "2"
}

// Serve accepts connections until the listener fails or the PBX is closed,
// which closes the listener. It may be called again, for several addresses or
// for the same one later: closing the listener is how a test takes a PBX off
// the net.
func (p *PBX) Serve(l net.Listener) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		l.Close()
		return ErrClosed
	}
	p.listeners[l] = struct{}{}
	p.wg.Add(1)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.listeners, l)
		p.mu.Unlock()
		p.wg.Done()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			select {
			case <-p.done:
				return ErrClosed
			default:
				return err
			}
		}
		p.wg.Go(func() { p.ServeConn(nc) }) // nobody to tell
	}
}

// ServeConn serves one connection, which it closes, and returns when that has
// ended. The error says only that the PBX was closed.
func (p *PBX) ServeConn(nc net.Conn) error {
	c := newConn(p, nc)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		nc.Close()
		return ErrClosed
	}
	p.connSeq++
	c.id = p.connSeq
	p.conns[c] = struct{}{}
	p.wg.Add(1)
	p.mu.Unlock()

	c.run()

	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	p.wg.Done()
	select {
	case <-p.done:
		return ErrClosed
	default:
		return nil
	}
}

// Close ends the PBX: connections are closed without a word, and it returns
// when every goroutine has ended. It must not be called from a handler.
func (p *PBX) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
	listeners := slices.Collect(maps.Keys(p.listeners))
	conns := slices.Collect(maps.Keys(p.conns))
	p.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		c.cut()
	}
	p.wg.Wait()
	return nil
}

// Crash is the end of the process and a start of another at once: every
// connection is reset (RST on TCP), all calls are gone without an event.
// Listeners stay open; whether the PBX is booted stays as it was.
func (p *PBX) Crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
	p.startLocked()
	p.wakeClock()
}

// Hang makes the PBX a black hole (true): it keeps its connections, even takes
// new ones, and neither reads nor writes. With false it goes on where it was,
// with the events that came to pass meanwhile.
func (p *PBX) Hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.hang == nil:
		p.hang = make(chan struct{})
	case !on && p.hang != nil:
		close(p.hang)
		p.hang = nil
	}
}

// Boot says whether the PBX is fully booted, which it is at first. While it is
// not, a login gets no FullyBooted event; when it becomes so, all sessions that
// may read system get one.
func (p *PBX) Boot(done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done && !p.booted {
		p.broadcastLocked(ami.ClassSystem, p.fullyBootedLocked(p.eventLocked("FullyBooted", ami.ClassSystem)))
	}
	p.booted = done
}

// Session is a connection as [PBX.Sessions] shows it.
type Session struct {
	ID     uint64    // counts connections from 1
	User   string    // as typed at login; empty before
	Mask   ami.Class // the events it gets
	Remote string    // the client's address
	Queued int       // bytes of events that wait for it
}

// Sessions are the present connections, oldest first.
func (p *PBX) Sessions() []Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Session, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c.describe())
	}
	slices.SortFunc(all, func(a, b Session) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Kick closes one connection without a word, as the command "manager kick
// session" does. It reports whether there was one.
func (p *PBX) Kick(id uint64) bool {
	var found *conn
	p.mu.Lock()
	for c := range p.conns {
		if c.id == id {
			found = c
		}
	}
	p.mu.Unlock()
	if found != nil {
		found.cut()
	}
	return found != nil
}
