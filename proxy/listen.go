package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
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
		hint := ""
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = " (another program has the port, Asterisk perhaps)"
		}
		return fmt.Errorf("cannot listen for AMI clients: %w%s", err, hint)
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
	log               *zap.Logger

	mu      sync.Mutex // guards the following
	current *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
	said    string // the last trouble that was logged
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// TLSConfig is for a listener with a certificate and its key from PEM files, in one
// file if keyFile is empty. They are read again when they change; if they cannot be,
// which is logged, the ones before stay in use. It fails if they cannot be used now.
func TLSConfig(certFile, keyFile string, log *zap.Logger) (*tls.Config, error) {
	c, err := newCertificate(certFile, keyFile, log)
	if err != nil {
		return nil, err
	}
	return c.config(), nil
}

func newCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	if keyFile == "" {
		keyFile = certFile // one PEM file with both is usual for Asterisk
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.read(); err != nil {
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
	due := time.Since(c.checked) >= certificateCheck
	c.mu.Unlock()
	if due {
		c.refresh()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, nil
}

// refresh reads the files if they changed, and says so.
func (c *certificate) refresh() {
	changed, err := c.read()
	c.mu.Lock()
	said := c.said
	c.said = ""
	if err != nil {
		c.said = err.Error()
	}
	c.mu.Unlock()
	switch {
	case changed:
		c.log.Info("TLS certificate read again", zap.String("file", c.certFile))
	case err != nil && err.Error() != said:
		c.log.Error("TLS certificate not read again; the one before stays in use", zap.Error(err))
	}
}

func (c *certificate) read() (changed bool, err error) {
	c.mu.Lock()
	c.checked = time.Now()
	before := c.stamp
	c.mu.Unlock()
	var stamp [2]fileStamp
	for i, name := range [2]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("TLS certificate: %w", err)
		}
		if !info.Mode().IsRegular() {
			// To open a pipe would wait for its writer, and hold up a client.
			return false, fmt.Errorf("TLS certificate: %s is no regular file", name)
		}
		stamp[i] = fileStamp{info.ModTime(), info.Size()}
	}
	if stamp == before {
		return false, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return false, fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.stamp = &pair, stamp
	return true, nil
}
