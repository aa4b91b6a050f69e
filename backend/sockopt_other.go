//go:build !linux

package backend

import (
	"context"
	"syscall"
)

// setUserTimeout does nothing where TCP_USER_TIMEOUT does not exist: a vanished
// peer is found by keepalive and by the deadline of the action.
func setUserTimeout(context.Context, string, string, syscall.RawConn) error { return nil }
