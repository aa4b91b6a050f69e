package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
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

const (
	// lastWords is how long a client may read nothing of what is left for it
	// once its session has ended.
	lastWords = 2 * time.Second
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
)

var (
	errAuthLimit = errors.New(string(reasonAuthLimit))
	errLockedOut = errors.New(string(reasonLockedOut))
)

// Session is our end of one client.
type Session struct {
	// Static after construction
	srv     *Server
	raw     net.Conn // the socket
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
	conn      net.Conn // what is read and written: a socket on raw, or TLS on that
	log       *zap.Logger
	reader    *ami.ActionReader
	challenge string
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
	filterBytes int64       // about what the filters hold that it has added
	wanted      int         // the reader waits until there are no more slots than that; -1: it does not
	waiting     bool        // the reader waits for an event (WaitEvent)
	heldLost    int         // events lost behind held
	events      uint64      // given to the queue, or lost there
	timer       *time.Timer // lets held events go; nil: none was held yet
}

// view is a PBX as a session sees it.
type view struct {
	*pbx
	stream *backend.Stream
}

// serve is the life of one client's connection.
func (srv *Server) serve(raw net.Conn, config *tls.Config) {
	defer raw.Close()
	s := newSession(srv, raw)
	id, err := srv.enter(s)
	s.log = srv.log.With(zap.Uint64("session", id), zap.Stringer("remote", s.remote))
	if err != nil {
		switch err {
		case errAuthLimit:
			s.log.Warn("client refused", zap.String("reason", err.Error()))
		case errLockedOut: // the log has told already
			s.log.Debug("client refused", zap.String("reason", err.Error()))
		}
		return
	}
	defer srv.forget(s)
	defer srv.uncount(s)
	s.raw.SetDeadline(authDeadline(time.Now(), srv.general().AuthTimeout))
	s.keepEnd()
	if config != nil {
		conn := tls.Server(s.conn, config)
		if err := conn.HandshakeContext(srv.context); err != nil {
			s.abort(reasonHandshake)
			s.logGone(zap.InfoLevel, zap.Error(err))
			return
		}
		s.conn = conn
	}
	s.raw.SetWriteDeadline(time.Time{})
	s.log.Debug("client connected")
	s.reader = ami.NewActionReader(s.conn)
	s.queueAnswer([]byte(srv.banner() + "\r\n"))
	var writer sync.WaitGroup
	writer.Go(func() {
		if s.out.Drain(sessionWriter{s}) != nil {
			s.abort(reasonClientReset)
		}
		s.endReading()
	})
	s.read()
	writer.Wait()
	s.close()
	s.hangUp()
}

func newSession(srv *Server, raw net.Conn) *Session {
	s := &Session{
		srv: srv, raw: raw,
		remote:  remoteAddr(raw),
		since:   time.Now(),
		log:     srv.log,
		out:     queue.New(queue.Options{Answers: strangerLimit, Total: &srv.total}),
		account: account{total: &srv.total},
		gone:    make(chan struct{}),
		room:    make(chan struct{}, 1),
		wanted:  -1,

		answerLimit: strangerLimit,
	}
	s.conn = socket{raw, s}
	return s
}

// authDeadline is when a client that has not logged in is cut: Asterisk
// compares whole seconds, so it is the start of a second (manager.c:
// do_message).
func authDeadline(accepted time.Time, timeout time.Duration) time.Time {
	return accepted.Truncate(time.Second).Add(timeout + time.Second)
}

// read handles actions until the client or the session ends.
func (s *Session) read() {
	for {
		s.awaitRoom(maxSlots - 1)
		a, err := s.reader.Read()
		switch {
		case s.reason.Load() != nil: // it ended from the other side
		case err == nil:
			if s.awaitRate(); !s.handle(a) {
				return
			}
			continue
		case errors.Is(err, io.EOF):
			// What was sent is still answered.
			s.endWith(reasonClientClosed)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			s.abort(reasonClientReset)
		case s.srv.isClosing():
			s.endWith(reasonShutdown)
		default:
			s.abort(reasonAuthTimeout)
		}
		return
	}
}

// endReading makes the reader stop, as if the client had no more to say.
func (s *Session) endReading() { s.raw.SetReadDeadline(time.Unix(1, 0)) }

// keepEnd calls endReading again if the session is to end: a deadline that was
// set for something else may have undone it.
func (s *Session) keepEnd() {
	if s.reason.Load() != nil || s.srv.isClosing() {
		s.endReading()
	}
}

// endWith closes the session once all that is pending was answered.
func (s *Session) endWith(why reason) {
	s.add(&slot{pbx: noPBX, done: true, last: why})
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
		s.raw.Close()
	})
}

// finish lets the writer end the session after what is queued.
func (s *Session) finish(why reason) {
	s.reason.CompareAndSwap(nil, &why)
	s.raw.SetWriteDeadline(time.Now().Add(lastWords))
	s.out.Close()
	s.wake()
}

// hangUp closes the connection so that the client gets the last bytes: a
// socket that is closed with unread input would be reset, and what the client
// has not read yet would be lost with it.
func (s *Session) hangUp() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		s.raw.SetReadDeadline(time.Now().Add(lastWords))
		io.Copy(io.Discard, s.raw)
	}
	s.abort(reasonClientClosed)
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

func remoteAddr(c net.Conn) netip.AddrPort {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
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
