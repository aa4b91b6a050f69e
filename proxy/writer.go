package proxy

import (
	"errors"
	"net"
	"os"
	"time"
)

// writeSize is how much is given to the connection at once: a client that takes
// that much in lastWords is alive.
const writeSize = 64 << 10

// sessionWriter writes to the client. As long as the session lives it has all
// the time in the world: what waits for it is bounded in bytes, and by its
// writetimeout if it has one. After that it must make progress.
type sessionWriter struct{ *wire }

func (w sessionWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if w.reason.Load() != nil {
			w.raw.SetWriteDeadline(time.Now().Add(lastWords))
		}
		n, err := w.conn.Write(p[:min(len(p), writeSize)])
		w.sentBytes.Add(uint64(n))
		if written += n; err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// socket is the socket of a client, below TLS if there is TLS: only there shows
// what the client takes.
type socket struct {
	net.Conn
	s *Session
}

// Write minds the user's writetimeout. As in Asterisk it is the time in which a
// client takes nothing at all (iostream.c: the inactivity timeout): one that
// takes a little goes on.
func (c socket) Write(p []byte) (written int, err error) {
	timeout := time.Duration(c.s.writeTimeout.Load())
	if timeout == 0 {
		return c.Conn.Write(p)
	}
	for {
		c.SetWriteDeadline(time.Now().Add(timeout))
		if c.s.reason.Load() != nil { // finish may have set its deadline before this one
			c.SetWriteDeadline(time.Now().Add(lastWords))
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.s.reason.Load() != nil {
			return written, err
		}
		if n == 0 {
			c.s.abort(reasonWriteTimeout)
			return written, err
		}
	}
}

// CloseWrite ends what is written, if the socket can.
func (c socket) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
