package proxy

import (
	"crypto/rand"
	"math/big"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/queue"
)

// refusalDelay is how long a refused login waits (manager.c: authenticate,
// process_message), which also hides how far it got.
const refusalDelay = time.Second

// login is the action Login (manager.c: action_login, authenticate).
func (s *Session) login(a *ami.Action) bool {
	if s.user != nil {
		s.reply(a.ID() != "", ami.AppendResponse(nil, "Success", a.ID(), "Already authenticated"))
		return true
	}
	username := a.Get("Username")
	switch known, admitted, right, free := s.tryLogin(a, username); {
	case !known || !admitted || !right:
		s.log.Warn("login refused", zap.String("username", username),
			zap.Bool("known", known), zap.Bool("admitted", admitted))
		return s.refuseLogin(a, "Authentication failed", reasonLoginFailed)
	case !free:
		return s.refuseLogin(a, textInUse, reasonLoginInUse)
	}
	if s.user.DisplayConnects {
		s.log.Info("logged in")
	}
	return true
}

// tryLogin logs the client in if it is a user that may, all by the same
// configuration. free says that the user may log in once more.
func (s *Session) tryLogin(a *ami.Action, username string) (known, admitted, right, free bool) {
	s.srv.changing.RLock()
	defer s.srv.changing.RUnlock()
	now := s.srv.now()
	user := now.user(username)
	policy := acl.Nobody()
	if user != nil {
		policy = user.Policy
	}
	if strings.EqualFold(a.Get("AuthType"), "MD5") {
		right = policy.CheckKey(s.challenge, a.Get("Key"))
	} else {
		right = policy.CheckSecret(a.Get("Secret"))
	}
	known, admitted = user != nil, policy.Admits(s.remote.Addr())
	if !known || !admitted || !right || !s.srv.logIn(s, user, username) {
		return known, admitted, right, false
	}
	s.user = user
	s.rights.Store(user)
	s.log = s.log.With(zap.String("user", username))
	s.raw.SetReadDeadline(time.Time{})
	s.keepEnd()
	s.welcome(a, now)
	return true, true, true, true
}

// welcome answers a login that succeeded, and opens the session to events.
func (s *Session) welcome(a *ami.Action, now *snapshot) {
	s.answerLimit = now.config.General.AnswerLimit
	s.out.SetBounds(queueOptions(s))
	s.writeTimeout.Store(int64(s.user.WriteTimeout))
	for _, name := range s.user.PBXs {
		p := now.pbx(name)
		s.saw = append(s.saw, view{p, p.NewStream(s)})
	}
	s.views = s.saw
	if s.tagged = len(s.saw) > 1; s.tagged {
		s.blocked = make([]bool, now.indexes)
	}

	mask := s.user.Policy.Read()
	if wish := ami.ParseEventMask(a.Get("Events")); wish >= 0 {
		mask &= ami.Class(wish)
	}
	for _, v := range s.saw {
		v.subscribe(s) // gets nothing before the mask is set
	}
	sl := &slot{
		pbx: noPBX, named: a.ID() != "", done: true,
		answer: ami.AppendResponse(nil, "Success", a.ID(), "Authentication accepted"),
	}
	sl.apply = func() {
		// The mask is first: a PBX that boots right now is seen as booted, or
		// its event is seen, or both.
		s.audience.Store(now.audiences[s.user])
		s.mask.Store(uint32(mask))
		if s.user.FullyBooted && mask&ami.ClassSystem != 0 {
			sl.answer = s.appendBooted(sl.answer)
		}
	}
	s.add(sl)
}

// queueOptions are the bounds of a session that is logged in.
func queueOptions(s *Session) queue.Options {
	o := queue.Options{Events: s.user.QueueLimit, Answers: s.answerLimit}
	if s.user.DropEvents {
		o.Lost = eventsLost
	}
	return o
}

// appendBooted appends a FullyBooted event for every PBX that is booted.
func (s *Session) appendBooted(dst []byte) []byte {
	for _, v := range s.views {
		if f := v.FullyBooted(time.Now()); f != nil {
			rewrite := ami.Rewrite{}
			if s.tagged {
				rewrite.Server = v.Name()
			}
			dst = rewrite.Append(dst, f)
		}
	}
	return dst
}

// refuseLogin lets the client wait, answers with an Error and ends the session.
func (s *Session) refuseLogin(a *ami.Action, message string, why reason) bool {
	if s.pause(refusalDelay) {
		s.refuse(a, message)
		s.endWith(why)
	}
	return false
}

// sendChallenge is the action Challenge (manager.c: action_challenge): a number
// of up to nine digits, the same for the life of the session.
func (s *Session) sendChallenge(a *ami.Action) bool {
	if !strings.EqualFold(a.Get("AuthType"), "MD5") || !s.srv.general().Challenge {
		return s.refuse(a, "Must specify AuthType")
	}
	if s.challenge == "" {
		n, _ := rand.Int(rand.Reader, big.NewInt(1_000_000_000)) // never fails
		s.challenge = n.String()
	}
	answer := ami.AppendResponseStart(nil, "Success", a.ID())
	answer = ami.AppendHeader(answer, "Challenge", s.challenge)
	s.reply(a.ID() != "", ami.AppendEnd(answer))
	return true
}
