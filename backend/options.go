package backend

import (
	"fmt"
	"io"
	"time"
)

// Options say how to reach one PBX. Load them with package config; a zero
// field has the default named with it.
type Options struct {
	// Name is the PBX's name as it stands in the configuration and in the
	// Server header.
	Name string
	Host string
	Port int // 5038

	// Username and Secret are those of the proxy's user in the PBX's
	// manager.conf.
	Username string
	Secret   string

	// Links is the number of connections: one for events, the others for
	// actions. At least 2; 4 if zero.
	Links int

	// TLS asks for TLS to the PBX. The certificate is verified against
	// TLSCAFile (PEM; the system's roots if empty) and TLSServerName (Host if
	// empty). TLSPin, the SHA-256 of the certificate in hex (colons allowed),
	// takes the place of that verification: self-signed certificates are usual
	// on a PBX.
	TLS           bool
	TLSCAFile     string
	TLSPin        string
	TLSServerName string

	// ConnectTimeout limits connecting and logging in; 3 s if zero.
	ConnectTimeout time.Duration
	// ActionTimeout is how long an action may take that names no time of its
	// own; 30 s if zero.
	ActionTimeout time.Duration
	// AnswerLimit is the size in bytes of the longest answer to one action;
	// 64 MiB if zero.
	AnswerLimit int
	// PendingLimit is how many actions of all streams together may be accepted
	// and not yet answered; the next one gets ErrBusy, unless its stream has
	// next to nothing pending. 1000 if zero.
	PendingLimit int
}

// String names the PBX. It never shows the secret, in whatever way the options
// are printed.
func (o Options) String() string { return fmt.Sprintf("PBX %s at %s:%d", o.Name, o.Host, o.Port) }

// Format is fmt.Formatter, so that no verb prints the fields.
func (o Options) Format(w fmt.State, _ rune) { io.WriteString(w, o.String()) }
