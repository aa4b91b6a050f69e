package backend

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

const (
	defaultPort           = 5038
	defaultLinks          = 4
	defaultConnectTimeout = 3 * time.Second
	defaultActionTimeout  = 30 * time.Second
	defaultAnswerLimit    = 64 << 20
	defaultPendingLimit   = 1000
)

// ErrRemoved is the cause with which the context of Run ends for a PBX that is
// no longer in the configuration.
var ErrRemoved = errors.New("removed from the configuration")

var errReconfigured = errors.New("the configuration changed")

// Settings are options that can work, with what they name read and checked. They
// are immutable.
type Settings struct {
	Options             // complete
	tls     *tls.Config // nil: plain TCP
}

// Prepare checks the options, completes them and reads the CA file.
func Prepare(o Options) (*Settings, error) {
	if o.Port == 0 {
		o.Port = defaultPort
	}
	if o.Links == 0 {
		o.Links = defaultLinks
	}
	if o.Links < 2 {
		return nil, fmt.Errorf("pbx %s: links = %d: at least 2 are needed, one for events and one for actions", o.Name, o.Links)
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.ActionTimeout == 0 {
		o.ActionTimeout = defaultActionTimeout
	}
	if o.AnswerLimit == 0 {
		o.AnswerLimit = defaultAnswerLimit
	}
	if o.PendingLimit == 0 {
		o.PendingLimit = defaultPendingLimit
	}
	tlsConfig, err := newTLSConfig(o)
	if err != nil {
		return nil, fmt.Errorf("pbx %s: %w", o.Name, err)
	}
	return &Settings{o, tlsConfig}, nil
}

// Reconfigure uses other settings for a PBX, whose name must be the same. If
// they say where and how to connect in another way, it is disconnected, the
// actions that it has not answered get their Error, and the links are made anew;
// reconnects then is true. Streams go on, and so does what is known of the PBX.
func (b *Backend) Reconfigure(s *Settings) (reconnects bool) {
	reconnects = !s.connectsAs(b.settings.Load())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settings.Store(s)
	if reconnects && b.reconnect != nil {
		b.reconnect(errReconfigured)
	}
	return reconnects
}

// connectsAs reports whether links can go on with s that were made with old.
func (s *Settings) connectsAs(old *Settings) bool {
	o, q := s.Options, old.Options
	// These count from the next action or connection on.
	o.ConnectTimeout, o.ActionTimeout = q.ConnectTimeout, q.ActionTimeout
	o.AnswerLimit, o.PendingLimit = q.AnswerLimit, q.PendingLimit
	if o != q {
		return false
	}
	// The CA file may hold something else.
	return s.tls == nil || s.tls.RootCAs == nil || s.tls.RootCAs.Equal(old.tls.RootCAs)
}

func (s *Settings) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }
