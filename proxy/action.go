package proxy

import (
	"errors"
	"slices"
	"time"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// Texts of Asterisk (manager.c: process_message).
const (
	textMissingAction = "Missing action in request"
	textDenied        = "Permission denied"
	textInUse         = "Login Already In Use"
	textUnknown       = "Invalid/unknown command: "
	textFailed        = "Authentication failed"
)

// handle deals with one action, in the order of tests of manager.c:
// process_message. It returns false when the session takes no more.
func (s *Session) handle(a *ami.Action) bool {
	s.actions.Add(1)
	if f := a.Fault(); f != ami.FaultNone {
		return s.refuse(a, f.Message())
	}
	name := ami.FoldName(a.Name())
	if name == "" {
		return s.deny(a, nil, acl.Verdict{Refusal: textMissingAction})
	}
	if s.user == nil {
		return s.handleStranger(a, name)
	}
	rights := s.rights.Load()
	s.keepUp()
	if local, ok := localActions[name]; ok {
		return local(s, a)
	}
	if admin, ok := adminActions[name]; ok && s.isAdmin() {
		return admin.do(s, a)
	}
	goesOn := s.forward(a, name)
	if s.rights.Load() != rights { // a reload has looked through what waits already
		s.withdraw()
	}
	return goesOn
}

// handleStranger deals with an action of a client that has not logged in.
func (s *Session) handleStranger(a *ami.Action, name string) bool {
	switch name {
	case "login", "challenge":
		switch {
		case s.lockedOut(a):
			return s.settle(a, time.Now(), fateLockedOut)
		case s.srv.inUse(a.Get("Username")):
			return s.settle(a, time.Now(), fateInUse)
		}
	case "logoff":
	default:
		return s.deny(a, nil, acl.Verdict{Refusal: textDenied, Reason: "not logged in"})
	}
	return localActions[name](s, a)
}

// refuse answers with an Error, in its turn; the session goes on.
func (s *Session) refuse(a *ami.Action, message string) bool {
	s.reply(a.ID() != "", ami.AppendResponse(nil, "Error", a.ID(), message))
	return true
}

// forward sends the action to the PBX, or PBXes, that it is for.
func (s *Session) forward(a *ami.Action, name string) bool {
	if len(s.views) == 0 && len(s.saw) > 0 { // a reload took away all
		return s.turnAway(a, nil, "No such server: "+s.saw[0].Name())
	}
	if !s.isAction(name) {
		return s.deny(a, nil, acl.Verdict{Refusal: unknownAction(a.Name())})
	}
	policy := s.policy() // one for all of it: a reload may put another in its place
	a = policy.Set(a)    // from here on this is what the client asks for
	r, refusal := s.route(a, name)
	switch {
	case refusal != "" && r.to != nil: // it is away, and may have something to answer still
		s.auditRefused(a, r.to.pbx, refusal)
		s.add(&slot{
			pbx: r.to.index, named: a.ID() != "", progress: new(backend.Progress),
			done: true, answer: ami.AppendResponse(nil, "Error", a.ID(), refusal),
		})
		return true
	case refusal == textDenied:
		return s.deny(a, nil, s.deniedAnywhere(policy, a, name))
	case refusal != "":
		return s.turnAway(a, nil, refusal)
	}
	var verdict acl.Verdict
	var to *pbx
	var of []mergeView
	if r.to != nil {
		verdict, to = mayAt(policy, r.to, a, name), r.to.pbx
	} else {
		of, verdict = mayAtAny(policy, r.merged, a, name)
	}
	switch {
	case !verdict.Allowed():
		return s.deny(a, to, verdict)
	case int64(s.pending()) >= s.limits.pending.Load():
		return s.turnAway(a, to, "Too many actions in flight")
	case r.to != nil:
		s.forwardTo(policy, r.to, a, name, verdict)
	default:
		s.forwardToAll(policy, of, a, name, verdict)
	}
	return true
}

// deniedAnywhere is the verdict on an action that the user may send to no PBX: that
// of the first one which has it.
func (s *Session) deniedAnywhere(policy *acl.Policy, a *ami.Action, name string) acl.Verdict {
	for i := range s.views {
		if v := mayAt(policy, &s.views[i], a, name); v.Refusal == textDenied {
			return v
		}
	}
	return acl.Verdict{Refusal: textDenied}
}

// mayAt says whether the action may be sent to a PBX.
func mayAt(policy *acl.Policy, v *view, a *ami.Action, name string) acl.Verdict {
	class, ok := v.Authority().Class(name)
	if !ok {
		return acl.Verdict{Refusal: unknownAction(a.Name()), Reason: "the PBX has no such action"}
	}
	verdict := policy.May(a, class, acl.Directories(v.Directories()))
	if verdict.Allowed() && policy.Fence() != nil {
		if within, _ := policy.Confine(a, v.calls); !within.Allowed() {
			return within
		}
	}
	return verdict
}

func (s *Session) forwardTo(policy *acl.Policy, v *view, a *ami.Action, name string, verdict acl.Verdict) {
	progress := new(backend.Progress)
	sl := &slot{pbx: v.index, named: a.ID() != "", counted: 2 * int64(a.Size()), progress: progress}
	s.add(sl)
	inside, hidden := hide(policy, v.pbx, a)
	request := backend.Request{
		Action: inside, Progress: progress, Done: s.answered(sl, v.pbx, name, a.ID(), hidden),
	}
	switch {
	case name == "originate":
		request.Headers = s.setVars()
	case name == "command" && s.user.CommandFollows:
		request.Done = follows(request.Done)
	}
	if s.tagged {
		request.Server = v.Name()
	}
	request.Done = s.audited(v.pbx, a, verdict, hidden, request.Done)
	if err := s.client.send(v, request); err != nil {
		s.auditRefused(a, v.pbx, s.refusalOf(v.pbx, err))
		s.fill(sl, ami.AppendResponse(nil, "Error", a.ID(), s.refusalOf(v.pbx, err)))
	}
}

// refusalOf is the text for a client whose action was not sent, or not answered.
func (s *Session) refusalOf(p *pbx, err error) string {
	if errors.Is(err, backend.ErrWithdrawn) {
		if !slices.Contains(s.rights.Load().PBXs, p.Name()) {
			return "No such server: " + p.Name()
		}
		return textDenied
	}
	if fault := (*backend.FaultError)(nil); errors.As(err, &fault) {
		return err.Error()
	}
	return pbxError(p.Name(), err)
}

// follows hands an answer on with its output in the form of Asterisk 13.
func follows(done func(backend.Answer)) func(backend.Answer) {
	return func(a backend.Answer) {
		a.Bytes = ami.Follows(a.Bytes)
		done(a)
	}
}

// setVars are the user's own variables for a channel that it originates.
// Asterisk sets the variables of an action from the last to the first, and
// those of the user before all of them (manager.c: action_originate): behind
// the client's own, the lines make the same order.
func (s *Session) setVars() []string {
	var lines []string
	for _, assignment := range s.user.SetVars {
		lines = append(lines, ami.VariableHeader(assignment))
	}
	return lines
}

// isAction reports whether any PBX that the session sees has the action.
func (s *Session) isAction(name string) bool {
	if info, ok := ami.LookupAction(name); ok && info.Kind == ami.KindSession {
		return false // acts on a session, and the link's is not the client's
	}
	if _, ok := adminActions[name]; ok {
		return false // of an amiproxy in the place of a PBX
	}
	for _, v := range s.views {
		if _, ok := v.Authority().Class(name); ok {
			return true
		}
	}
	return false
}

// unknownAction is Asterisk's text, which it builds in 512 bytes.
func unknownAction(name string) string {
	text := textUnknown + name + ". Use Action: ListCommands to show available commands."
	return text[:min(len(text), 511)]
}
