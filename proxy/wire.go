package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// lastWords is how long a client may read nothing of what is left for it once
// its session has ended.
const lastWords = 2 * time.Second

// wire is the transport of a client that has a connection of its own: one
// goroutine reads from it, one writes what is queued.
type wire struct {
	*Session

	// Static after construction
	raw net.Conn // the socket

	// Owned by the reader; static once something is queued
	conn   net.Conn // what is read and written: a socket on raw, or TLS on that
	reader *ami.ActionReader
}

// serve is the life of one client's connection.
func (srv *Server) serve(raw net.Conn, config *tls.Config) {
	defer raw.Close()
	by := byTCP
	if config != nil {
		by = byTLS
	}
	s := newWire(srv, raw, by)
	id, err := srv.enter(s.Session)
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
	defer srv.forget(s.Session)
	defer srv.uncount(s.Session)
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

func newWire(srv *Server, raw net.Conn, by protocol) *wire {
	w := &wire{raw: raw}
	w.Session = newSession(srv, w, by, tcpAddr(raw.RemoteAddr()))
	w.conn = socket{raw, w.Session}
	return w
}

// authDeadline is when a client that has not logged in is cut: Asterisk
// compares whole seconds, so it is the start of a second (manager.c:
// do_message).
func authDeadline(accepted time.Time, timeout time.Duration) time.Time {
	return accepted.Truncate(time.Second).Add(timeout + time.Second)
}

// read handles actions until the client or the session ends.
func (s *wire) read() {
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
func (s *wire) endReading() { s.raw.SetReadDeadline(time.Unix(1, 0)) }

// keepEnd calls endReading again if the session is to end: a deadline that was
// set for something else may have undone it.
func (s *wire) keepEnd() {
	if s.reason.Load() != nil || s.srv.isClosing() {
		s.endReading()
	}
}

// hangUp closes the connection so that the client gets the last bytes: a
// socket that is closed with unread input would be reset, and what the client
// has not read yet would be lost with it.
func (s *wire) hangUp() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		s.raw.SetReadDeadline(time.Now().Add(lastWords))
		io.Copy(io.Discard, s.raw)
	}
	s.abort(reasonClientClosed)
}

// admit lets the client be silent from now on.
func (s *wire) admit() {
	s.raw.SetReadDeadline(time.Time{})
	s.keepEnd()
}

// send keeps the order of the client's actions.
func (s *wire) send(v *view, r backend.Request) error { return v.stream.Do(r) }

func (s *wire) ways() []view { return s.saw }

// keepLocked leaves all events to the queue.
func (s *wire) keepLocked(*event) bool { return false }

// finish lets the writer end the session after what is queued.
func (s *wire) finish() {
	s.raw.SetWriteDeadline(time.Now().Add(lastWords))
	s.out.Close()
	s.wake()
}

func (s *wire) cut() { s.raw.Close() }

func (s *wire) local() netip.AddrPort { return tcpAddr(s.raw.LocalAddr()) }

func (s *wire) certificates() []*x509.Certificate {
	if conn, ok := s.conn.(*tls.Conn); ok {
		return conn.ConnectionState().PeerCertificates
	}
	return nil
}

func tcpAddr(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
