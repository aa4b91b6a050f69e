package proxy

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// starvedListener has no connection to give for a while, as when the process
// has too many files open.
type starvedListener struct {
	net.Listener
	failures int
	tries    []time.Time
	conn     net.Conn
}

func (l *starvedListener) Accept() (net.Conn, error) {
	l.tries = append(l.tries, time.Now())
	if len(l.tries) <= l.failures {
		return nil, errors.New("accept: too many open files")
	}
	conn := l.conn
	if l.conn = nil; conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func TestAcceptGoesOnAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipeServer(t, "", standardUsers)
		near, far := net.Pipe()
		l := &starvedListener{failures: 12, conn: far}
		start := time.Now()
		srv.accepting.Go(func() { srv.accept(&listener{l, nil}) })
		c := amiclient.New(t, near)
		c.Timeout = time.Minute
		c.ReadBanner()
		srv.accepting.Wait()
		// 5 ms, doubled up to a second, so that others get the machine.
		if took := time.Since(start); took < 4*time.Second || took > 8*time.Second {
			t.Errorf("took %v", took)
		}
		c.Login("full", "full-secret")
	})
}
