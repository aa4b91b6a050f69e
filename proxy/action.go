package proxy

import (
	"errors"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// Texts of Asterisk (manager.c: process_message).
const (
	textMissingAction = "Missing action in request"
	textDenied        = "Permission denied"
	textInUse         = "Login Already In Use"
)

// handle deals with one action, in the order of tests of manager.c:
// process_message. It returns false when the session takes no more.
func (s *Session) handle(a *ami.Action) bool {
	if f := a.Fault(); f != ami.FaultNone {
		return s.refuse(a, f.Message())
	}
	name := ami.FoldName(a.Name())
	if name == "" {
		return s.refuse(a, textMissingAction)
	}
	if s.user == nil {
		return s.handleStranger(a, name)
	}
	if local, ok := localActions[name]; ok {
		return local(s, a)
	}
	return s.forward(a, name)
}

// handleStranger deals with an action of a client that has not logged in.
func (s *Session) handleStranger(a *ami.Action, name string) bool {
	switch name {
	case "login", "challenge":
		if s.srv.inUse(a.Get("Username")) {
			return s.refuseLogin(a, textInUse, reasonLoginInUse)
		}
	case "logoff":
	default:
		return s.refuse(a, textDenied)
	}
	return localActions[name](s, a)
}

// refuse answers with an Error, in its turn; the session goes on.
func (s *Session) refuse(a *ami.Action, message string) bool {
	s.reply(a.ID() != "", ami.AppendResponse(nil, "Error", a.ID(), message))
	return true
}

// forward sends the action to the PBX that it is for.
func (s *Session) forward(a *ami.Action, name string) bool {
	if !s.isAction(name) {
		return s.refuse(a, unknownAction(a.Name()))
	}
	v, refusal := s.route(a)
	if refusal != "" {
		return s.refuse(a, refusal)
	}
	class, ok := v.Authority().Class(name)
	if !ok {
		return s.refuse(a, unknownAction(a.Name()))
	}
	if refusal := s.user.Policy.May(a, class, acl.Directories(v.Directories())); refusal != "" {
		return s.refuse(a, refusal)
	}
	if s.pending() >= s.srv.config.General.PendingLimit {
		return s.refuse(a, "Too many actions in flight")
	}
	progress := new(backend.Progress)
	sl := &slot{pbx: v.index, named: a.ID() != "", counted: 2 * int64(a.Size()), progress: progress}
	s.add(sl)
	request := backend.Request{
		Action: a, Progress: progress, Done: s.answered(sl, v.pbx, a.ID()),
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
	if err := v.stream.Do(request); err != nil {
		message := err.Error()
		if fault := (*backend.FaultError)(nil); !errors.As(err, &fault) {
			message = pbxError(v.Name(), err)
		}
		s.fill(sl, ami.AppendResponse(nil, "Error", a.ID(), message))
	}
	return true
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
	for _, v := range s.views {
		if _, ok := v.Authority().Class(name); ok {
			return true
		}
	}
	return false
}

// route finds the PBX for an action: the one that it names, the only one, or
// the default. A PBX that is named and away is never replaced by another.
func (s *Session) route(a *ami.Action) (v *view, refusal string) {
	switch name := a.Get("Server"); {
	case name != "":
		if v = s.view(name); v == nil {
			return nil, "No such server: " + name
		}
	case len(s.views) == 1:
		v = &s.views[0]
	default:
		if v = s.view(s.user.DefaultPBX); v == nil {
			return nil, "Server header required"
		}
	}
	if !v.Up() {
		return nil, pbxError(v.Name(), backend.ErrDown)
	}
	return v, ""
}

// view finds a PBX that the session sees by its name, compared without case.
func (s *Session) view(name string) *view {
	for i := range s.views {
		if ami.FoldName(s.views[i].Name()) == ami.FoldName(name) {
			return &s.views[i]
		}
	}
	return nil
}

// unknownAction is Asterisk's text, which it builds in 512 bytes.
func unknownAction(name string) string {
	text := "Invalid/unknown command: " + name + ". Use Action: ListCommands to show available commands."
	return text[:min(len(text), 511)]
}
