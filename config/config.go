package config

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/backend"
)

// Config is one configuration, complete and valid: an immutable snapshot, safe
// for use by many goroutines.
type Config struct {
	General General
	// HTTP is enabled only with webenabled in [general].
	HTTP HTTP
	// PBXs are in file order, which is the order that clients see.
	PBXs []backend.Options
	// Tenants are in file order.
	Tenants []*acl.Tenant
	// Users by the name in lower case (ami.FoldName): Asterisk compares user
	// names without case.
	Users map[string]*User
	// Warnings name what was accepted and means nothing here, each as
	// "file:line: [section] key: why".
	Warnings []string
	// Risks name what is allowed, and gives more away than most mean to: for the
	// command check, in the form of Warnings.
	Risks []string
}

// General is the [general] section.
type General struct {
	Enabled     bool
	BindAddr    netip.AddrPort // bindaddr and port
	TLSEnable   bool
	TLSBindAddr netip.AddrPort
	TLSCertFile string
	// TLSPrivateKey is the key's file; the certificate's if empty.
	TLSPrivateKey string
	// TLSClientCAs sign the certificates of clients; nil: only those count whose
	// fingerprint a user has.
	TLSClientCAs *x509.CertPool
	// TLSClientRequired refuses TLS to clients without a certificate that one of
	// TLSClientCAs has signed.
	TLSClientRequired bool

	// AuthTimeout is how long a client may take to log in, in whole seconds.
	AuthTimeout time.Duration
	// AuthLimit is how many clients may be connected that have not logged in.
	AuthLimit int
	// AuthFailures is how many logins from one address may fail within AuthWindow
	// before the address is locked out for AuthLockout; 0: it never is.
	AuthFailures            int
	AuthWindow, AuthLockout time.Duration

	// DefaultPBX gets the actions of those who name no PBX; may be empty.
	DefaultPBX string
	// Banner is the text of the greeting without its line end; empty: made
	// from the versions of the PBXes.
	Banner string
	// Challenge allows Login by MD5 challenge; false also if a secret is hashed.
	Challenge bool
	// BrokenEventsAction is manager.conf's brokeneventsaction.
	BrokenEventsAction bool
	// TimestampEvents adds a Timestamp to events that have none.
	TimestampEvents bool
	// DisabledEvents are the names of the events that no session gets, exact
	// and with regard to case (manager.c: __manager_event_sessions_va).
	DisabledEvents []string

	// QueueLimit bounds the events, AnswerLimit the answers that wait for one
	// client, TotalLimit all that waits for all clients. Bytes.
	QueueLimit, AnswerLimit, TotalLimit int64
	// MergeTimeout is how long a list of several PBXes waits for the slowest.
	MergeTimeout time.Duration
	// PendingLimit is the PendingLimit of users who have none of their own.
	PendingLimit int

	Audit Audit
}

// Audit says where the audit log goes and what is in it.
type Audit struct {
	// Path is its file. Empty: standard error if Stderr, else there is none.
	Path   string
	Stderr bool
	// Reads has actions in it that only read, too.
	Reads bool
	// Size is how many bytes a file may have, Files how many full ones are kept,
	// and Days for how many days; 0: as long as there is room.
	Size  int64
	Files int
	Days  int
}

// User is a user section.
type User struct {
	Policy *acl.Policy
	// PBXs are the names of the PBXes that the user may use, spelled as their
	// sections are and in file order.
	PBXs []string
	// DefaultPBX is the user's own, else that of General if it is among PBXs;
	// may be empty.
	DefaultPBX string

	AllowMultipleLogin bool
	DisplayConnects    bool
	// DropEvents loses events that a slow client cannot take, instead of
	// closing it (slowclient = drop).
	DropEvents bool
	// QueueLimit is the user's own or General's.
	QueueLimit int64
	// MaxSessions is how many sessions the user may have at a time; 0: no limit.
	MaxSessions int
	// ActionRate is how many actions a second all sessions of the user together
	// may send; 0: no limit.
	ActionRate int
	// PendingLimit is how many actions of one session may be unanswered.
	PendingLimit int
	// FullyBooted sends that event after a login.
	FullyBooted bool
	// CloseWhenPBXLost closes a session when the only PBX that it sees is lost
	// (pbxlost = close).
	CloseWhenPBXLost bool
	// SharedIDs shows a user's ActionIDs in events to all sessions of the user.
	SharedIDs bool
	// ProxyAdmin allows the actions Proxy…, by which the user sees and closes the
	// sessions of everybody.
	ProxyAdmin bool
	// WriteTimeout is how long a client may take nothing while something waits
	// for it; 0: no limit but QueueLimit.
	WriteTimeout time.Duration
	// CommandFollows gives the output of the action Command in the form of
	// Asterisk 13 and older (compat = command-follows).
	CommandFollows bool
	// SetVars are variables for the channels that the user originates, each
	// "NAME=value" with a name that is not empty, in file order. Asterisk sets
	// the last one first, and the request's own after all of them (manager.c:
	// action_originate).
	SetVars []string
}
