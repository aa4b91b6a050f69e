package proxy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/queue"
)

// reason is why a session ended. It is a closed list: log value and, later,
// metric label.
type reason string

const (
	reasonLogoff       reason = "logoff"
	reasonClientClosed reason = "client closed"
	reasonClientReset  reason = "client reset"
	reasonAuthTimeout  reason = "authtimeout"
	reasonAuthLimit    reason = "authlimit"
	reasonLoginFailed  reason = "login failed"
	reasonLoginInUse   reason = "login already in use"
	reasonLockedOut    reason = "locked out"
	reasonHandshake    reason = "TLS handshake failed"
	reasonSlowClient   reason = "slow client: queuelimit"
	reasonAnswerLimit  reason = "slow client: answerlimit"
	reasonTotalLimit   reason = "slow client: totallimit"
	reasonWriteTimeout reason = "slow client: writetimeout"
	reasonFilters      reason = "slow filters"
	reasonPBXLost      reason = "PBX lost"
	reasonKicked       reason = "kicked"
	reasonUserRemoved  reason = "user removed"
	reasonNotAdmitted  reason = "address no longer admitted"
	reasonShutdown     reason = "shutdown"
	reasonHTTPTimeout  reason = "httptimeout"
)

var (
	errAuthLimit = errors.New(string(reasonAuthLimit))
	errLockedOut = errors.New(string(reasonLockedOut))
)

// Session is our end of one client.
type Session struct {
	// Static after construction
	srv     *Server
	client  transport
	by      protocol
	remote  netip.AddrPort
	since   time.Time // when the client came
	out     *queue.Queue
	account account                // bytes that wait to be queued
	gone    chan struct{}          // closed when the session is cut
	room    chan struct{}          // wakes the reader when slots are free again; holds one token
	cut     sync.Once              // cuts it
	reason  atomic.Pointer[reason] // why it ends; the first one stays
	// kickedBy is the user who ended it, if the reason is reasonKicked.
	kickedBy atomic.Pointer[string]

	// Owned by the reader; static once the session is subscribed to events
	log       *zap.Logger
	challenge string
	digest    *Digest      // what the client offers in the place of its secret; nil: nothing
	limits    *limits      // of the user, once it is logged in
	user      *config.User // as it was at the login; nil: not logged in
	// byOldSecret says that the client knows an old secret of the user only.
	byOldSecret bool
	// struck says that its login has failed and was counted.
	struck   bool
	loggedIn time.Time // when it logged in
	saw      []view    // the PBXes it saw at the login, in file order
	tagged   bool      // frames of a PBX carry Server: it saw more than one
	// answerLimit bounds the answers that wait for the client.
	answerLimit int64
	// views are those of saw that it still sees: always owned by the reader.
	views []view
	// refused are its actions that were refused.
	refused ration
	// asking is the request whose action is being handled, always owned by the
	// reader; nil: answers go into the queue.
	asking *WebAnswer

	// rights are those of user less what reloads took away. Changed under
	// Server.changing, read without.
	rights atomic.Pointer[config.User]
	// mask is the event mask: read classes and what Events asked for. Changed
	// under mu, read without.
	mask atomic.Uint32
	// audience holds its event filters; changed and read as mask is.
	audience atomic.Pointer[audience]
	// writeTimeout is config.User.WriteTimeout once the user is known.
	writeTimeout atomic.Int64
	// actions counts what the reader read, sentBytes what the writer wrote.
	actions, sentBytes atomic.Uint64

	// Guarded by Server.mu
	id          uint64
	counts      counts
	countedName string
	username    string // as the client wrote it, once it is logged in

	mu          sync.Mutex // guards the following
	slots       []*slot    // answers not yet queued, in the order of the actions
	blocked     []bool     // scratch of flushLocked: by PBX
	held        []heldEvent
	heldBytes   int64
	slotBytes   int64       // of answers in slots
	unsentBytes int64       // of answers to requests that are not written yet
	filterBytes int64       // about what the filters hold that it has added
	wanted      int         // the reader waits until there are no more slots than that; -1: it does not
	waiting     bool        // the reader waits for an event (WaitEvent)
	heldLost    int         // events lost behind held
	events      uint64      // given to the queue, or lost there
	taken       []int       // PBXes that reloads took from the user, by pbx.index
	timer       *time.Timer // lets held events go; nil: none was held yet
}

// transport is how a session meets its client: by a connection of its own (wire),
// or by requests over HTTP (WebSession). But for waitEvent its methods never
// wait and may be called from anywhere, with locks held.
type transport interface {
	// endReading takes no more actions, as if the client had no more to say.
	// When all is answered the session ends.
	endReading()
	// admit says that the client is no stranger any more.
	admit()
	// waitEvent is the action WaitEvent, for the reader.
	waitEvent(a *ami.Action) bool
	// send sends an action to a PBX, for the reader; see [backend.Stream.Do]. ways are all
	// streams that it was sent on, each with its PBX.
	send(v *view, r backend.Request) error
	ways() []view
	// keepLocked takes an event that the client will ask for; false if it does
	// not, and events go into the queue. It is called with Session.mu held.
	keepLocked(e *event) bool
	// finish ends it after what is queued.
	finish()
	// cut ends it at once.
	cut()
	// local is our end's address.
	local() netip.AddrPort
	// certificates are those that the client has shown, its own first, with the
	// key to it.
	certificates() []*x509.Certificate
}

// view is a PBX as a session sees it.
type view struct {
	*pbx
	stream *backend.Stream
}

// protocol is what a client comes by: a closed list, shown by ProxySessions.
type protocol string

const (
	byTCP   protocol = "TCP"
	byTLS   protocol = "TLS"
	byHTTP  protocol = "HTTP"
	byHTTPS protocol = "HTTPS"
)

func (p protocol) isTLS() bool { return p == byTLS || p == byHTTPS }

func newSession(srv *Server, client transport, by protocol, remote netip.AddrPort) *Session {
	return &Session{
		srv: srv, client: client, by: by,
		remote:  remote,
		since:   time.Now(),
		log:     srv.log,
		out:     queue.New(queue.Options{Answers: strangerLimit, Total: &srv.total}),
		account: account{total: &srv.total},
		gone:    make(chan struct{}),
		room:    make(chan struct{}, 1),
		wanted:  -1,

		answerLimit: strangerLimit,
	}
}

// endWith closes the session once all that is pending was answered.
func (s *Session) endWith(why reason) {
	s.place(&slot{pbx: noPBX, done: true, last: why})
}

// abort cuts the session at once; what waits for the client is thrown away.
// It never waits and may be called from anywhere, with locks held.
func (s *Session) abort(why reason) {
	s.cut.Do(func() {
		s.reason.CompareAndSwap(nil, &why)
		close(s.gone)
		s.out.Abort()
		s.account.close()
		s.srv.uncount(s)
		s.client.cut()
	})
}

// finish ends the session after what is queued.
func (s *Session) finish(why reason) {
	s.reason.CompareAndSwap(nil, &why)
	s.client.finish()
}

// close gives back what the session holds, once there is nothing more to read
// or to write.
//
// Who was logged in can be back at once. A stranger counts until its socket is
// gone, or authlimit would bound nothing.
func (s *Session) close() {
	if s.user != nil {
		s.srv.uncount(s)
	}
	s.mu.Lock()
	s.slots, s.held, s.heldLost = nil, nil, 0
	s.account.close()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	for _, v := range s.saw {
		v.unsubscribe(s)
	}
	for _, v := range s.client.ways() {
		v.stream.Close()
	}
	s.srv.own.unsubscribe(s)
	s.auditEnd()
	why, level := *s.reason.Load(), zap.InfoLevel
	if s.user != nil && !s.user.DisplayConnects && (why == reasonLogoff || why == reasonClientClosed) {
		level = zap.DebugLevel
	}
	s.logGone(level)
}

// logGone tells the log why the session has ended.
func (s *Session) logGone(level zapcore.Level, more ...zap.Field) {
	why := *s.reason.Load()
	fields := append([]zap.Field{zap.String("reason", string(why))}, more...)
	if by := s.kickedBy.Load(); by != nil && why == reasonKicked {
		fields = append(fields, zap.String("by", *by))
	}
	s.log.Log(level, "client gone", fields...)
}

// pause waits as Asterisk does before it refuses a login; false if the session
// was cut meanwhile.
func (s *Session) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.gone:
		return false
	}
}

func timestamp(t time.Time) string {
	return strconv.FormatInt(t.Unix(), 10) + "." + fmt.Sprintf("%06d", t.Nanosecond()/1000)
}
