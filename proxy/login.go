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
	user := s.srv.user(username)
	policy := acl.Nobody()
	if user != nil {
		policy = user.Policy
	}
	var right bool
	if strings.EqualFold(a.Get("AuthType"), "MD5") {
		right = policy.CheckKey(s.challenge, a.Get("Key"))
	} else {
		right = policy.CheckSecret(a.Get("Secret"))
	}
	if admitted := policy.Admits(s.remote.Addr()); user == nil || !admitted || !right {
		s.log.Warn("login refused", zap.String("username", username),
			zap.Bool("known", user != nil), zap.Bool("admitted", admitted))
		return s.refuseLogin(a, "Authentication failed", reasonLoginFailed)
	}
	if !s.srv.logIn(s, user, username) {
		return s.refuseLogin(a, textInUse, reasonLoginInUse)
	}
	s.user = user
	s.log = s.log.With(zap.String("user", username))
	s.raw.SetReadDeadline(time.Time{})
	s.keepEnd()
	s.welcome(a)
	return true
}

// welcome answers a login that succeeded, and opens the session to events.
func (s *Session) welcome(a *ami.Action) {
	s.out.SetBounds(queueOptions(s))
	s.writeTimeout.Store(int64(s.user.WriteTimeout))
	for _, name := range s.user.PBXs {
		for _, p := range s.srv.pbxs {
			if p.Name() == name {
				s.views = append(s.views, view{p, p.NewStream(s)})
			}
		}
	}
	if s.tagged = len(s.views) > 1; s.tagged {
		s.blocked = make([]bool, len(s.srv.pbxs))
	}

	mask := s.user.Policy.Read()
	if wish := ami.ParseEventMask(a.Get("Events")); wish >= 0 {
		mask &= ami.Class(wish)
	}
	for _, v := range s.views {
		v.subscribe(s) // gets nothing before the mask is set
	}
	sl := &slot{
		pbx: noPBX, named: a.ID() != "", done: true,
		answer: ami.AppendResponse(nil, "Success", a.ID(), "Authentication accepted"),
	}
	sl.apply = func() {
		// The mask is first: a PBX that boots right now is seen as booted, or
		// its event is seen, or both.
		s.audience.Store(s.srv.audiences[s.user])
		s.mask.Store(uint32(mask))
		if s.user.FullyBooted && mask&ami.ClassSystem != 0 {
			sl.answer = s.appendBooted(sl.answer)
		}
	}
	s.add(sl)
	if s.user.DisplayConnects {
		s.log.Info("logged in")
	}
}

// queueOptions are the bounds of a session that is logged in.
func queueOptions(s *Session) queue.Options {
	o := queue.Options{Events: s.user.QueueLimit, Answers: s.srv.config.General.AnswerLimit}
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
	if !strings.EqualFold(a.Get("AuthType"), "MD5") || !s.srv.config.General.Challenge {
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
