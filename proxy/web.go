package proxy

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

var (
	// ErrSessionOver is returned by [WebSession.Do] when the session had ended before
	// it took the action, which nobody has seen then.
	ErrSessionOver = errors.New("proxy: the session has ended")
	// ErrSessionCut is returned by [WebSession.Do] when the session was cut before it
	// had the answer.
	ErrSessionCut = errors.New("proxy: the session was cut")
	// ErrLockedOut is returned by [Server.OpenWeb] for an address from which too many
	// logins failed.
	ErrLockedOut = errLockedOut
)

// strangerTimeout is how long a session lives whose client has not logged in
// (manager.c: generic_http_callback).
const strangerTimeout = 5 * time.Second

// WebOptions are what a session by HTTP begins with.
type WebOptions struct {
	// Remote is the client's address, Local ours.
	Remote, Local netip.AddrPort
	// TLS says that the client came by TLS.
	TLS bool
	// Timeout is how long the session lives after its last request (httptimeout);
	// five seconds at most as long as nobody has logged in.
	Timeout time.Duration
	// Ended, if not nil, is called once, as soon as the session takes no more
	// actions. It may be called with locks of this package held: it must return at
	// once, and call nothing of this package.
	Ended func()
}

// WebSession is a session whose client comes by requests over HTTP: the same as
// one by TCP in its rights, filters, routes and limits. Each action has a request
// of its own and its answer goes there, so requests do not wait for each
// other. Events are kept from the login on, until WaitEvent asks for them; beyond
// queuelimit the oldest are lost, and ProxyEventsLost says how many.
//
// It has no goroutine. Its methods are safe for use by many goroutines.
type WebSession struct {
	s       *Session
	options WebOptions // static after construction
	// closing is closed once the session takes no more actions.
	closing chan struct{}

	// handling is held while an action is handled: it makes of many requests the
	// one reader that a session has. It comes before all other locks.
	handling sync.Mutex

	// Guarded by Session.mu
	kept    []event // that wait for a WaitEvent; Session.heldBytes counts them
	lost    int     // lost before these
	waiting *webWait
	lanes   []*lane

	mu sync.Mutex // guards the following; nothing is locked under it
	// uses are the requests that have not ended.
	uses    int
	over    bool
	isCut   bool
	expires time.Time
	timer   *time.Timer
}

// lane is a way to a PBX for one action after the other. As Asterisk does, those of
// requests that come at the same time go beside each other.
type lane struct {
	view
	busy bool // guarded by Session.mu
}

// WebAnswer is the answer to one action. It is the caller's until Close.
type WebAnswer struct {
	// Frames are the frames of the answer, none for a WaitEvent in whose place a
	// newer one came. They are shared: nobody may modify them.
	Frames []byte

	w     *WebSession
	done  chan struct{} // closed when there is the answer
	waits bool          // the action is WaitEvent; owned by who calls Do

	// Guarded by Session.mu
	pieces [][]byte
	size   int64 // counted in Session.unsentBytes
	closed bool
}

// OpenWeb opens a session for a client that comes by HTTP. It fails with
// ErrLockedOut, or if the server is shutting down.
func (srv *Server) OpenWeb(o WebOptions) (*WebSession, error) {
	if srv.lockouts.refuses(o.Remote.Addr(), srv.general()) {
		return nil, ErrLockedOut
	}
	w := &WebSession{options: o, closing: make(chan struct{})}
	by := byHTTP
	if o.TLS {
		by = byHTTPS
	}
	s := newSession(srv, w, by, o.Remote)
	w.s = s
	// As soon as it is counted in, a shutdown may end it: that waits for all of this.
	w.handling.Lock()
	defer w.handling.Unlock()
	id, err := w.enter()
	if err != nil {
		return nil, err
	}
	s.log = srv.log.With(zap.Uint64("session", id), zap.Stringer("remote", o.Remote), zap.String("transport", "HTTP"))
	s.log.Debug("client connected")
	return w, nil
}

// enter counts the session in, and has its time run. Who finds it by then waits for
// WebSession.mu, and nobody did before, so that it may be held here.
func (w *WebSession) enter() (id uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, err = w.s.srv.enterWeb(w.s); err == nil {
		w.expires = time.Now().Add(w.life())
		w.timer = time.AfterFunc(w.life(), w.expire)
	}
	return id, err
}

// Do runs one action to its answer. It fails with ErrSessionOver or ErrSessionCut,
// and with that of ctx when that ends first, which the action does not notice.
// The caller closes the answer once the client has it, or is gone.
func (w *WebSession) Do(ctx context.Context, a *ami.Action) (*WebAnswer, error) {
	if !w.begin() {
		return nil, ErrSessionOver
	}
	answer := &WebAnswer{w: w, done: make(chan struct{})}
	if err := w.handle(ctx, answer, a); err != nil {
		answer.Close()
		return nil, err
	}
	if answer.waits {
		w.wait(ctx, answer, a)
	}
	select {
	case <-answer.done:
		answer.Frames = answer.frames()
		return answer, nil
	case <-w.s.gone:
	case <-ctx.Done():
	}
	answer.Close()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, ErrSessionCut
}

// LoggedIn reports whether the client has logged in.
func (w *WebSession) LoggedIn() bool { return w.s.rights.Load() != nil }

// Admits reports whether a request from an address may be one of the session: its
// user has to be admitted from there, and a client that has not logged in
// has to be where it came from first.
func (w *WebSession) Admits(from netip.Addr) bool {
	if user := w.s.rights.Load(); user != nil {
		return user.Policy.Admits(from)
	}
	return from.Unmap() == w.s.remote.Addr().Unmap()
}

// Cut is closed once the session was cut, and nobody is to get what it still
// has for its client.
func (w *WebSession) Cut() <-chan struct{} { return w.s.gone }

// handle handles an action as the reader of a connection would, unless the session
// has ended meanwhile, or the client is gone.
func (w *WebSession) handle(ctx context.Context, answer *WebAnswer, a *ami.Action) error {
	w.handling.Lock()
	defer w.handling.Unlock()
	s := w.s
	if err := ctx.Err(); err != nil {
		return err
	}
	s.awaitRate()
	if s.reason.Load() != nil {
		return ErrSessionOver
	}
	s.asking = answer
	s.handle(a)
	s.asking = nil
	return nil
}

// begin counts a request in, unless the session takes no more.
func (w *WebSession) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	w.timer.Stop()
	w.uses++
	return true
}

// end counts a request out. From now on the time runs in which the next has to
// come.
func (w *WebSession) end() {
	w.mu.Lock()
	w.uses--
	w.expires = time.Now().Add(w.life())
	idle := w.uses == 0
	over := w.over
	if idle && !over {
		w.timer.Reset(w.life())
	}
	w.mu.Unlock()
	if idle && over {
		w.s.abort(reasonClientClosed) // the reason why it is over was the first
	}
}

// life is how long the session lives without requests.
func (w *WebSession) life() time.Duration {
	if !w.LoggedIn() {
		return min(w.options.Timeout, strangerTimeout)
	}
	return w.options.Timeout
}

// expire ends the session if no request came in time.
func (w *WebSession) expire() {
	w.mu.Lock()
	due := w.uses == 0 && !time.Now().Before(w.expires)
	w.over = w.over || due
	w.mu.Unlock()
	if due {
		w.s.abort(reasonHTTPTimeout)
	}
}

// stop has the session take no more actions, and reports whether no request is
// under way.
func (w *WebSession) stop() (idle bool) {
	w.s.wake()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
	select {
	case <-w.closing:
	default:
		close(w.closing)
		if w.options.Ended != nil {
			w.options.Ended()
		}
	}
	return w.uses == 0
}

// The methods of transport.

func (w *WebSession) endReading() {
	why := reasonShutdown
	w.s.reason.CompareAndSwap(nil, &why)
	if w.stop() {
		w.s.abort(why)
	}
}

func (w *WebSession) admit() {}

func (w *WebSession) send(v *view, r backend.Request) error {
	way := w.enterLane(v)
	done := r.Done
	r.Done = func(a backend.Answer) {
		done(a)
		w.leaveLane(way)
	}
	err := way.stream.Do(r)
	if err != nil {
		w.leaveLane(way)
	}
	return err
}

func (w *WebSession) enterLane(v *view) *lane {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, l := range w.lanes {
		if l.pbx == v.pbx && !l.busy {
			l.busy = true
			return l
		}
	}
	l := &lane{view: view{v.pbx, v.NewStream(w.s)}, busy: true}
	w.lanes = append(w.lanes, l)
	return l
}

func (w *WebSession) leaveLane(l *lane) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	l.busy = false
}

func (w *WebSession) ways() (all []view) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, l := range w.lanes {
		all = append(all, l.view)
	}
	return all
}

func (w *WebSession) finish() {
	w.s.srv.uncount(w.s) // first: the client can be back as soon as it has its answer
	if w.stop() {
		w.s.abort(*w.s.reason.Load())
	}
}

// cut leaves the rest to a goroutine of its own, since it may be called with any
// lock held.
func (w *WebSession) cut() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isCut {
		w.isCut = true
		go w.close()
	}
}

func (w *WebSession) local() netip.AddrPort { return w.options.Local }

// certificates: the keys about those of clients are for the AMI listener.
func (w *WebSession) certificates() []*x509.Certificate { return nil }

// close gives back what the session holds.
func (w *WebSession) close() {
	defer w.s.srv.serving.Done()
	w.handling.Lock() // nobody is in the middle of an action
	defer w.handling.Unlock()
	w.s.close()
	w.s.mu.Lock()
	w.kept = nil
	w.s.mu.Unlock()
	w.s.srv.forget(w.s)
}

// takeLocked takes the pieces of the answer, which count until Close. It is called with
// Session.mu held.
func (r *WebAnswer) takeLocked(pieces [][]byte) {
	if !r.closed {
		r.pieces = pieces
		size := 0
		for _, p := range pieces {
			size += len(p)
		}
		r.countLocked(int64(size))
	}
	r.w.s.accountLocked()
	close(r.done)
}

func (r *WebAnswer) countLocked(size int64) {
	r.size += size
	r.w.s.unsentBytes += size
	r.w.s.boundLocked()
}

// frames is what came, in one piece.
func (r *WebAnswer) frames() []byte {
	if len(r.pieces) == 1 {
		return r.pieces[0]
	}
	return bytes.Join(r.pieces, nil)
}

// Count counts more bytes that are held for the client with the answer, until
// Close. Too many end the session.
func (r *WebAnswer) Count(bytes int) {
	r.w.s.mu.Lock()
	defer r.w.s.mu.Unlock()
	if !r.closed {
		r.countLocked(int64(bytes))
	}
}

// Sent counts bytes that the client was sent.
func (r *WebAnswer) Sent(bytes int) { r.w.s.sentBytes.Add(uint64(bytes)) }

// Close says that the client has the answer, or will not get it. It is called once.
func (r *WebAnswer) Close() {
	s := r.w.s
	s.mu.Lock()
	r.closed = true
	s.unsentBytes -= r.size
	s.accountLocked()
	s.mu.Unlock()
	r.w.end()
}
