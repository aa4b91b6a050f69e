package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// keepAlive finds clients that vanished without a word.
var keepAlive = net.KeepAliveConfig{
	Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6,
}

type listener struct {
	net.Listener
	tls *tls.Config // nil: plain TCP
}

func (srv *Server) listen(address string, config *tls.Config) error {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen for AMI clients: %w (is another program using the port, Asterisk perhaps?)", err)
	}
	srv.listeners = append(srv.listeners, &listener{l, config})
	srv.log.Info("listening", zap.Stringer("address", l.Addr()), zap.Bool("tls", config != nil))
	return nil
}

// accept serves every client that comes until the listener is closed.
func (srv *Server) accept(l *listener) {
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			srv.serving.Go(func() { srv.serve(conn, l.tls) })
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Usually too many open files: others may close theirs.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		srv.log.Error("accept failed; trying again", zap.Error(err), zap.Duration("pause", pause))
		select {
		case <-srv.context.Done():
			return
		case <-time.After(pause):
		}
	}
}

// certificateCheck is how often the files are looked at, at most.
const certificateCheck = time.Second

// certificate is a certificate and its key from files, read again when they
// change. One that cannot be read leaves the one before in use.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex // guards the following
	current *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

func newCertificate(certFile, keyFile string) (*certificate, error) {
	if keyFile == "" {
		keyFile = certFile // one PEM file with both is usual for Asterisk
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		if err := c.readLocked(); err != nil && c.current == nil {
			return nil, err
		}
	}
	return c.current, nil
}

func (c *certificate) readLocked() error {
	var stamp [2]fileStamp
	for i, name := range [2]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("TLS certificate: %w", err)
		}
		stamp[i] = fileStamp{info.ModTime(), info.Size()}
	}
	if c.current != nil && stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.stamp = &pair, stamp
	return nil
}
