package backend

import (
	"context"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT (linux/tcp.h), which package syscall does
// not name: how long sent data may stay unacknowledged, in milliseconds.
const tcpUserTimeout = 18

// setUserTimeout makes a connection whose peer has vanished fail while data is
// under way, where keepalive is silent.
func setUserTimeout(_ context.Context, _, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(deadPeer.Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}
