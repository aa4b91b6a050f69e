package proxy

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/queue"
)

// URI is something that is served over HTTP.
type URI struct {
	// Path is where, with the prefix; one that ends with ... is all below it.
	Path string
	// Description says what, in the words of Asterisk's "http show status".
	Description string
}

// Server is amiproxy: listeners, sessions and PBXes. Its methods are safe for
// use by many goroutines once Start has returned.
type Server struct {
	// Version is what ProxyStatus says of the program. It is set before Start,
	// if at all.
	Version string
	// Load reads the configuration for [Server.Reload]. Set it before Start; nil:
	// the configuration stays what it is.
	Load func() (*config.Config, error)
	// URIs are what ProxyStatus says that is served over HTTP. They are set before
	// Start, if at all.
	URIs []URI

	// Static after construction
	log     *zap.Logger
	total   queue.Total
	stop    context.CancelFunc // ends the backends
	context context.Context
	// stopping is closed when Shutdown begins.
	stopping chan struct{}
	fixed    *config.Config // of the start: what of it only a restart changes

	// hashing holds a token for each hashed secret that is being checked, which
	// takes a processor and some memory.
	hashing chan struct{}

	lockouts *lockouts

	certificate *certificate // of the TLS listener, nil if there is none

	// own is the proxy itself as a source of events, for the sessions that may
	// read security events. raising is held while one is handed out, and comes
	// before all other locks.
	own     source
	raising sync.Mutex
	// refusedLogins and refusedRequests are those of clients that are not logged in.
	refusedLogins, refusedRequests ration
	audit                          *auditor // nil: there is no audit log

	// current is what depends on the configuration.
	current atomic.Pointer[snapshot]
	// reloading lets reloads come one at a time.
	reloading sync.Mutex
	// changing is held for a moment to change current and the rights of those who
	// are logged in, and read-held while a client becomes one of them.
	changing sync.RWMutex

	started   time.Time      // static after Start
	listeners []*listener    // static after Start
	backends  sync.WaitGroup // the backends' goroutines
	accepting sync.WaitGroup // the listeners' goroutines
	serving   sync.WaitGroup // the sessions' goroutines

	mu sync.Mutex // guards the following, and the Session fields that say so
	// sessions are all connected clients.
	sessions map[*Session]struct{}
	// loggedIn counts sessions by the user's name in lower case.
	loggedIn map[string]int
	// strangers are the sessions that count for authlimit.
	strangers map[*Session]struct{}
	visitors  int // those who come by HTTP and have not logged in
	closing   bool
	lastID    uint64
}

// maxHashing is how many hashed secrets are checked at once at most: with fewer
// than eight processors half as many as there are, so that clients that log in by
// the hundred leave room for those who are in.
const maxHashing = 4

// New makes a server from a configuration. Nothing is started yet; it fails if
// a file that the configuration names cannot be used.
func New(cfg *config.Config, log *zap.Logger) (*Server, error) {
	srv := &Server{
		fixed:     cfg,
		log:       log,
		total:     queue.Total{Limit: cfg.General.TotalLimit},
		sessions:  make(map[*Session]struct{}),
		loggedIn:  make(map[string]int),
		strangers: make(map[*Session]struct{}),
		stopping:  make(chan struct{}),
		lockouts:  newLockouts(),
		hashing:   make(chan struct{}, min(max(runtime.GOMAXPROCS(0)/2, 1), maxHashing)),
	}
	srv.own = source{srv: srv, index: noPBX}
	srv.context, srv.stop = context.WithCancel(context.Background())
	first, err := srv.plan(cfg)
	if err != nil {
		return nil, err
	}
	srv.current.Store(first.now)
	if g := cfg.General; g.TLSEnable {
		if srv.certificate, err = newCertificate(g.TLSCertFile, g.TLSPrivateKey, log); err != nil {
			return nil, err
		}
	}
	if srv.audit, err = newAuditor(cfg.General.Audit, log); err != nil {
		return nil, err
	}
	return srv, nil
}

// Start opens the listeners and begins to connect to the PBXes. An error names
// the listener, or the audit log, that could not be opened; then nothing runs.
func (srv *Server) Start() error {
	srv.started = time.Now()
	g := srv.fixed.General
	if g.Enabled {
		if err := srv.listen(g.BindAddr.String(), nil); err != nil {
			return err
		}
	}
	if g.TLSEnable {
		if err := srv.listen(g.TLSBindAddr.String(), srv.tlsConfig()); err != nil {
			srv.closeListeners()
			return err
		}
	}
	if err := srv.audit.start(); err != nil {
		srv.closeListeners()
		return err
	}
	for _, p := range srv.now().pbxs {
		p.start()
	}
	for _, l := range srv.listeners {
		srv.accepting.Go(func() { srv.accept(l) })
	}
	return nil
}

// Addrs are the addresses listened on, plain before TLS.
func (srv *Server) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range srv.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Backends are the PBXes in file order.
func (srv *Server) Backends() []*backend.Backend {
	var all []*backend.Backend
	for _, p := range srv.now().pbxs {
		all = append(all, p.Backend)
	}
	return all
}

// Shutdown stops listening at once, lets every session finish what is pending,
// and returns when nobody is left; after the timeout what remains is cut. It
// may be called more than once.
func (srv *Server) Shutdown(timeout time.Duration) {
	srv.closeListeners()
	srv.mu.Lock()
	if !srv.closing {
		close(srv.stopping)
	}
	srv.closing = true
	sessions := make([]*Session, 0, len(srv.sessions))
	for s := range srv.sessions {
		sessions = append(sessions, s)
	}
	srv.mu.Unlock()
	srv.awaitChange() // from here on nothing is started
	for _, s := range sessions {
		s.client.endReading()
	}
	cut := time.AfterFunc(timeout, func() {
		for _, s := range sessions {
			s.abort(reasonShutdown)
		}
	})
	srv.accepting.Wait()
	srv.serving.Wait()
	cut.Stop()
	srv.stop()
	srv.backends.Wait()
	srv.audit.close()
}

// awaitChange waits for the end of a change that is under way.
func (srv *Server) awaitChange() {
	srv.changing.Lock()
	defer srv.changing.Unlock()
}

func (srv *Server) closeListeners() {
	for _, l := range srv.listeners {
		l.Close()
	}
}

// banner is the greeting: to a client the proxy is as old as the oldest PBX,
// since clients choose their dialect by it.
func (srv *Server) banner() string {
	now := srv.now()
	if b := now.config.General.Banner; b != "" {
		return b
	}
	lowest := ""
	for _, p := range now.pbxs {
		if v := p.Version(); v != "" && (lowest == "" || olderVersion(v, lowest)) {
			lowest = v
		}
	}
	if lowest == "" {
		lowest = "11.0.0"
	}
	return "Asterisk Call Manager/" + lowest
}

// olderVersion compares versions such as 2.10.6 by their numbers.
func olderVersion(a, b string) bool {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		if m != n {
			return m < n
		}
	}
	return false
}

var errClosing = errors.New("proxy: server is closing")

// enter counts a new client in, unless too many wait to log in already
// (authlimit), or nobody may from where it is.
//
// If there are too many, one whose address stands worse gives its place up: so
// who guesses secrets, or only sits there, keeps out nobody whom the proxy knows.
func (srv *Server) enter(s *Session) (id uint64, err error) {
	if srv.lockouts.refuses(s.remote.Addr(), srv.general()) {
		return 0, errLockedOut
	}
	id, other, err := srv.tryEnter(s)
	if other != nil {
		other.abort(reasonAuthLimit)
	}
	return id, err
}

// tryEnter counts a new client in. In the place of another one that is to go it does
// so in one step: nobody else gets that place.
func (srv *Server) tryEnter(s *Session) (id uint64, other *Session, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		return 0, nil, errClosing
	}
	if free := srv.general().AuthLimit - len(srv.strangers); free <= 0 {
		if other = srv.yieldingLocked(s); other != nil {
			srv.uncountLocked(other)
		}
		if other == nil || free < 0 { // a reload may have set another limit
			return 0, other, errAuthLimit
		}
	}
	srv.strangers[s] = struct{}{}
	s.counts = asStranger
	return srv.addLocked(s), other, nil
}

// enterWeb counts in a new client that comes by HTTP. As in Asterisk authlimit
// does not count it, so that it keeps nobody else out.
func (srv *Server) enterWeb(s *Session) (id uint64, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		return 0, errClosing
	}
	srv.serving.Add(1) // until it is forgotten
	srv.visitors++
	s.counts = asVisitor
	return srv.addLocked(s), nil
}

func (srv *Server) addLocked(s *Session) (id uint64) {
	srv.sessions[s] = struct{}{}
	srv.lastID++
	s.id = srv.lastID
	return s.id
}

// yieldingLocked is the client that is to give its place to a new one, nil if all have
// the same right to theirs: of the address that stands worst, or of those that
// stand as badly holds most places, the one that came first. It looks at some of
// them only, if there are many.
func (srv *Server) yieldingLocked(s *Session) (worst *Session) {
	const most = 256
	places := make(map[netip.Addr]int)
	var some []*Session
	for other := range srv.strangers { // in any order
		if some = append(some, other); len(some) == most {
			break
		}
	}
	for _, other := range some {
		places[Network(other.remote.Addr())]++
	}
	standing := func(s *Session) (int, int) {
		a := s.remote.Addr()
		return srv.lockouts.standing(a, srv.general()), places[Network(a)]
	}
	places[Network(s.remote.Addr())]++ // the one that it would have
	bad, held := standing(s)
	for _, other := range some {
		b, h := standing(other)
		if c := cmp.Or(cmp.Compare(b, bad), cmp.Compare(h, held)); c > 0 || c == 0 && worst != nil && other.id < worst.id {
			worst, bad, held = other, b, h
		}
	}
	return worst
}

func (srv *Server) isClosing() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.closing
}

// counts is what a session is in the books of the server.
type counts uint8

const (
	asNothing  counts = iota // not yet, or no more
	asStranger               // connected and not logged in
	asVisitor                // the same, by HTTP
	asUser
)

// uncount strikes a session off the books. It comes before the client can
// notice that its session ended, so that it can be back at once.
func (srv *Server) uncount(s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.uncountLocked(s)
}

func (srv *Server) uncountLocked(s *Session) {
	switch s.counts {
	case asStranger:
		delete(srv.strangers, s)
	case asVisitor:
		srv.visitors--
	case asUser:
		if srv.loggedIn[s.countedName]--; srv.loggedIn[s.countedName] == 0 {
			delete(srv.loggedIn, s.countedName)
		}
	}
	s.counts = asNothing
}

func (srv *Server) forget(s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s)
}

// logIn counts a client as a user, unless the user has as many sessions as it may.
func (srv *Server) logIn(s *Session, u *config.User, name string) fate {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	username := name
	name = ami.FoldName(name)
	switch n := srv.loggedIn[name]; {
	case n > 0 && !u.AllowMultipleLogin:
		return fateInUse
	case u.MaxSessions > 0 && n >= u.MaxSessions:
		return fateMaxSessions
	}
	switch s.counts {
	case asStranger:
		delete(srv.strangers, s)
	case asVisitor:
		srv.visitors--
	default:
		return fateAccepted // it was cut meanwhile
	}
	srv.loggedIn[name]++
	s.counts, s.countedName = asUser, name
	s.username = username
	return fateAccepted
}

// inUse reports whether a user who may log in once only is logged in.
func (srv *Server) inUse(username string) bool {
	u := srv.now().user(username)
	if u == nil || u.AllowMultipleLogin {
		return false
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.loggedIn[ami.FoldName(username)] > 0
}
