package proxy

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// This file raises Asterisk's security events for what happens at the proxy: the
// PBX sees none of its clients (manager.c: report_*, security_events.c).

// securityEvent is one kind of event.
type securityEvent struct {
	name, severity, version string
	// accountLast: the account comes last, since it is optional there.
	accountLast bool
}

var (
	successfulAuth    = securityEvent{name: "SuccessfulAuth", severity: "Informational", version: "1"}
	invalidAccountID  = securityEvent{name: "InvalidAccountID", severity: "Error", version: "1"}
	invalidPassword   = securityEvent{name: "InvalidPassword", severity: "Error", version: "2"}
	failedACL         = securityEvent{name: "FailedACL", severity: "Error", version: "1"}
	challengeFailed   = securityEvent{name: "ChallengeResponseFailed", severity: "Error", version: "1"}
	sessionLimit      = securityEvent{name: "SessionLimit", severity: "Error", version: "1"}
	requestNotAllowed = securityEvent{name: "RequestNotAllowed", severity: "Error", version: "1"}
	requestBadFormat  = securityEvent{name: "RequestBadFormat", severity: "Error", version: "1", accountLast: true}
)

// loginEvents are the events by the fate of a login. As in Asterisk there is none
// for an attempt by MD5 without a challenge or a key: it tries no secret.
var loginEvents = map[fate]securityEvent{
	fateAccepted:    successfulAuth,
	fateNoUser:      invalidAccountID,
	fateNotAdmitted: failedACL,
	fateNoSecret:    invalidPassword,
	fateWrongSecret: invalidPassword,
	fateNoCert:      invalidPassword,
	fateWrongKey:    challengeFailed,
	fateInUse:       sessionLimit,
	fateMaxSessions: sessionLimit,
	fateBusy:        sessionLimit,
	fateLockedOut:   failedACL,
}

// withheld is in the place of the responses to a challenge, both of which
// Asterisk shows: together with it they are all it takes to guess a secret
// offline, that of the user or one like it that was mistyped.
const withheld = "<withheld>"

// reportLogin tells of the fate of a login.
func (s *Session) reportLogin(a *ami.Action, f fate) {
	username, refused := a.Get("Username"), &s.srv.refusedLogins
	if f == fateLockedOut { // tries nothing, and may come as often as it likes
		refused = &s.srv.refusedRequests
	}
	switch {
	case f == fateAccepted:
		s.loggedIn = time.Now()
	case !s.tells(refused):
		return
	}
	s.auditLogin(a, f)
	e, ok := loginEvents[f]
	switch {
	case !ok || f == fateNoUser && username == "":
	case f == fateWrongKey:
		s.raise(e, "", "Challenge", s.challenge, "Response", withheld, "ExpectedResponse", withheld)
	case e == sessionLimit:
		s.raise(e, "") // as Asterisk: it has not looked at who it is
	case f == fateAccepted:
		s.raise(e, username, "UsingPassword", "0")
	default:
		s.raise(e, username)
	}
}

// deny refuses an action for want of rights, or one that nobody has: who may
// read of it is told, as Asterisk tells (manager.c: process_message). What the
// tests inside of actions refuse with a text of their own raises no event. p is the
// PBX that it was for, nil if that is not certain.
func (s *Session) deny(a *ami.Action, p *pbx, v acl.Verdict) bool {
	refused := &s.refused
	if s.user == nil {
		refused = &s.srv.refusedRequests
	}
	told := s.tells(refused)
	if told {
		s.auditDenied(a, p, v)
	}
	s.refuse(a, v.Refusal)
	switch {
	case !told:
	case v.Refusal == textDenied:
		s.raise(requestNotAllowed, s.username, "RequestType", requestType(a.Name()))
	case v.Refusal == textMissingAction:
		s.raise(requestBadFormat, s.username, "RequestType", requestType("NONE"))
	case strings.HasPrefix(v.Refusal, textUnknown):
		s.raise(requestBadFormat, s.username, "RequestType", requestType(a.Name()))
	}
	return true
}

// requestType is cut as in Asterisk, which makes it in 64 bytes.
func requestType(action string) string {
	text := "Action: " + action
	return text[:min(len(text), 63)]
}

// raise hands an event to the sessions that may see it. The account is a user name
// as the client wrote it, details are names and values. It is for the session's reader, with no lock held.
func (s *Session) raise(e securityEvent, account string, details ...string) {
	own := &s.srv.own
	if !own.isSeen() {
		return
	}
	frame := s.appendSecurity(nil, e, time.Now(), account, details)
	s.srv.raising.Lock()
	defer s.srv.raising.Unlock()
	own.handOut(&backend.Event{Frame: frame, Class: ami.ClassSecurity}, "", fence.Sight{}, nil)
}

// appendSecurity builds an event in the order of Asterisk's.
func (s *Session) appendSecurity(f []byte, e securityEvent, now time.Time, account string, details []string) ami.Frame {
	f = ami.AppendHeader(f, "Event", e.name)
	f = ami.AppendHeader(f, "Privilege", "security,all")
	f = ami.AppendHeader(f, "EventTV", isoTime(now))
	f = ami.AppendHeader(f, "Severity", e.severity)
	f = ami.AppendHeader(f, "Service", "AMI")
	f = ami.AppendHeader(f, "EventVersion", e.version)
	if !e.accountLast {
		f = ami.AppendHeader(f, "AccountID", account)
	}
	f = ami.AppendHeader(f, "SessionID", strconv.FormatUint(s.id, 10))
	f = ami.AppendHeader(f, "LocalAddress", s.transport(s.client.local()))
	f = ami.AppendHeader(f, "RemoteAddress", s.transport(s.remote))
	for i := 0; i+1 < len(details); i += 2 {
		f = ami.AppendHeader(f, details[i], details[i+1])
	}
	f = ami.AppendHeader(f, "SessionTV", isoTime(s.loggedIn))
	if e.accountLast {
		f = ami.AppendHeader(f, "AccountID", account)
	}
	return ami.AppendEnd(f)
}

// transport is an address as security events write it: IPV4/TCP/ADDRESS/PORT.
func (s *Session) transport(a netip.AddrPort) string {
	family, protocol := "IPV6", "TCP"
	addr := a.Addr().Unmap()
	if addr.Is4() {
		family = "IPV4"
	}
	if s.by.isTLS() {
		protocol = "TLS"
	}
	return family + "/" + protocol + "/" + addr.String() + "/" + strconv.Itoa(int(a.Port()))
}

// isoTime is Asterisk's AST_ISO8601_FORMAT in local time; the zero time is the
// beginning of 1970.
func isoTime(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.Local().Format("2006-01-02T15:04:05.000-0700")
}

const (
	// refusalRate is how many refusals a second count as worth telling: of all
	// clients together that have not logged in (their logins and their other
	// actions apart), and of each that has. Who sends more wants to flood those
	// who read of it.
	refusalRate   = 100
	refusalWindow = time.Second
)

// ration bounds how many refusals are told. It is safe for use by many goroutines.
type ration struct {
	mu      sync.Mutex // guards the following
	since   time.Time  // when the present window began
	told    int        // in it
	omitted uint64     // since the start
}

// allows reports whether one more may be told, and, at the first in a window that
// may not, how many were not so far.
func (r *ration) allows() (ok bool, omitted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.since) >= refusalWindow {
		r.since, r.told = now, 0
	}
	r.told++
	if r.told <= refusalRate {
		return true, 0
	}
	r.omitted++
	if r.told == refusalRate+1 {
		omitted = r.omitted
	}
	return false, omitted
}

// tells reports whether a refusal is to be told. When refusals begin to be left
// out, the logs say so.
func (s *Session) tells(r *ration) bool {
	ok, omitted := r.allows()
	if omitted > 0 {
		s.log.Warn("too many refusals to tell of all: this and further ones in this second raise no security event, and are not in the audit log",
			zap.Uint64("omitted", omitted))
		s.auditOmitted(omitted)
	}
	return ok
}
