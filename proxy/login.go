package proxy

import (
	"crypto/rand"
	"math/big"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/queue"
)

// refusalDelay is how long a refused login waits (manager.c: authenticate,
// process_message), which also hides how far it got.
const refusalDelay = time.Second

// fate is what became of a login. It is a closed list: log value and, later,
// metric label.
type fate string

const (
	fateAccepted    fate = "accepted"
	fateNoUser      fate = "no such user"
	fateNotAdmitted fate = "address not permitted"
	fateNoSecret    fate = "user without a secret"
	fateWrongSecret fate = "wrong secret"
	fateWrongKey    fate = "wrong key to the challenge"
	fateNoChallenge fate = "MD5 without a challenge or a key"
	fateInUse       fate = "already in use"
)

// login is the action Login (manager.c: action_login, authenticate).
func (s *Session) login(a *ami.Action) bool {
	if s.user != nil {
		s.reply(a.ID() != "", ami.AppendResponse(nil, "Success", a.ID(), "Already authenticated"))
		return true
	}
	return s.settle(a, s.tryLogin(a))
}

// settle is where the fate of every login, and of a Challenge that is refused
// for its user, is known. It returns false if the session takes no more.
func (s *Session) settle(a *ami.Action, f fate) bool {
	switch f {
	case fateAccepted:
		if s.user.DisplayConnects {
			s.log.Info("logged in")
		}
		return true
	case fateInUse:
		s.logRefused(zap.InfoLevel, a, f)
		return s.refuseLogin(a, textInUse, reasonLoginInUse)
	}
	s.logRefused(zap.WarnLevel, a, f)
	return s.refuseLogin(a, "Authentication failed", reasonLoginFailed)
}

// logRefused tells of a refused login. What the client wrote comes last, so that
// none of it can pass for the rest of the line.
func (s *Session) logRefused(level zapcore.Level, a *ami.Action, f fate) {
	s.log.Log(level, "login refused", zap.String("why", string(f)), zap.String("username", a.Get("Username")))
}

// tryLogin logs the client in if it is a user that may, all by the same
// configuration.
func (s *Session) tryLogin(a *ami.Action) fate {
	s.srv.changing.RLock()
	defer s.srv.changing.RUnlock()
	now := s.srv.now()
	username := a.Get("Username")
	user := now.user(username)
	if f := s.judge(a, user); f != fateAccepted {
		return f
	}
	if !s.srv.logIn(s, user, username) {
		return fateInUse
	}
	s.user = user
	s.rights.Store(user)
	s.log = s.log.With(zap.String("user", username))
	s.raw.SetReadDeadline(time.Time{})
	s.keepEnd()
	s.welcome(a, now)
	return fateAccepted
}

// judge says whether the client has shown that it is the user, nil if there is
// none of that name, and comes from where it may. All tests are made whatever
// the first of them says, so that the time they take does not tell it.
func (s *Session) judge(a *ami.Action, user *config.User) fate {
	policy := acl.Nobody()
	if user != nil {
		policy = user.Policy
	}
	admitted := policy.Admits(s.remote.Addr())
	proof := s.checkSecret(a, policy)
	switch {
	case user == nil:
		return fateNoUser
	case !admitted:
		return fateNotAdmitted
	case !policy.HasSecret():
		return fateNoSecret
	}
	return proof
}

// checkSecret tests what the client offers as its secret, or as the key to its
// challenge.
func (s *Session) checkSecret(a *ami.Action, policy *acl.Policy) fate {
	key := a.Get("Key")
	switch md5 := strings.EqualFold(a.Get("AuthType"), "MD5"); {
	case md5 && policy.CheckKey(s.challenge, key), !md5 && policy.CheckSecret(a.Get("Secret")):
		return fateAccepted
	case md5 && (s.challenge == "" || key == ""):
		return fateNoChallenge
	case md5:
		return fateWrongKey
	}
	return fateWrongSecret
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
