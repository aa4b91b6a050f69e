package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

const timedUsers = `
[timed]
secret = timed-secret
read = all
write = all
queuelimit = 256M
writetimeout = 500

[patient]
secret = patient-secret
read = all
write = all
queuelimit = 256M
`

// A client that takes nothing is closed, over TLS as well; one that has no writetimeout,
// or nothing to take, is not.
func TestWriteTimeout(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "TCP", true: "TLS"}[secure], func(t *testing.T) {
			t.Parallel() // it waits
			w := newWorld(t, setup{users: timedUsers, tls: secure})
			login := func(user string) *amiclient.Client {
				conn, err := net.Dial("tcp", w.addr())
				if err != nil {
					t.Fatal(err)
				}
				conn.(*net.TCPConn).SetReadBuffer(64 << 10) // a window of less opens slowly
				if secure {
					conn = tls.Client(conn, trusting())
				}
				c := amiclient.New(t, conn)
				c.ReadBanner()
				c.Login(user, user+"-secret")
				c.Roundtrip()
				return c
			}
			stuck, idle, patient := login("timed"), login("timed"), login("patient")
			idle.Do("Action: Events", "EventMask: off")
			w.flood(0, 1000) // more than all buffers in between hold
			w.awaitReason(reasonWriteTimeout)
			w.awaitSessions(2)
			idle.ExpectNothing()
			expectFlood(patient, 0, 10)
			stuck.Close()
		})
	}
}

// Who takes a little in every writetimeout stays, however much waits.
func TestWriteTimeoutIsOfNothing(t *testing.T) {
	for _, secure := range []bool{false, true} {
		certs := &world{tb: t, certFile: t.TempDir() + "/cert.pem", keyFile: t.TempDir() + "/key.pem"}
		certs.writeCertificate("one")
		pair, err := tls.LoadX509KeyPair(certs.certFile, certs.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			srv := pipeServer(t, "", timedUsers)
			core, logs := observer.New(zap.InfoLevel)
			srv.log = zap.New(core)
			near, far := net.Pipe()
			var config *tls.Config
			slow := &slowConn{Conn: near}
			var conn net.Conn = slow
			if secure {
				config = &tls.Config{Certificates: []tls.Certificate{pair}}
				conn = tls.Client(slow, trusting())
			}
			srv.serving.Go(func() { srv.serve(far, config) })
			c := amiclient.New(t, conn)
			c.ReadBanner()
			c.Login("timed", "timed-secret")
			c.Timeout = time.Hour
			slow.wait = 400 * time.Millisecond
			start := time.Now()
			c.Send("Action: Ping", "ActionID: 0123456789")
			c.ExpectNext("ActionID: 0123456789")
			if took := time.Since(start); took < 20*time.Second {
				t.Fatalf("the client was not slow: %v", took)
			}
			c.Send("Action: Ping")
			io.ReadFull(near, make([]byte, 5)) // and no more
			last := time.Now()
			w := &world{tb: t, srv: srv}
			w.awaitSessions(0)
			if took := time.Since(last); took < 500*time.Millisecond || took > 1010*time.Millisecond {
				t.Errorf("closed after %v", took)
			}
			if logs.FilterField(zap.String("reason", string(reasonWriteTimeout))).Len() != 1 {
				t.Errorf("the log: %v", logs.All())
			}
		})
	}
}

// slowConn takes one byte at a time.
type slowConn struct {
	net.Conn
	wait time.Duration // before each
}

func (c *slowConn) Read(b []byte) (int, error) {
	if c.wait == 0 {
		return c.Conn.Read(b)
	}
	time.Sleep(c.wait)
	return c.Conn.Read(b[:1])
}
