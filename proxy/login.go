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
	fateNoCert      fate = "no certificate of the user"
	fateWrongKey    fate = "wrong key to the challenge"
	fateNoChallenge fate = "MD5 without a challenge or a key"
	fateInUse       fate = "already in use"
	fateMaxSessions fate = "maxsessions"
	fateBusy        fate = "too many logins at once"
	fateLockedOut   fate = "locked out"
)

// login is the action Login (manager.c: action_login, authenticate).
func (s *Session) login(a *ami.Action) bool {
	if s.user != nil {
		s.reply(a.ID() != "", ami.AppendResponse(nil, "Success", a.ID(), "Already authenticated"))
		return true
	}
	came := time.Now()
	return s.settle(a, came, s.tryLogin(a))
}

// settle is where the fate of every login, and of a Challenge that is refused
// for its user, is known. It returns false if the session takes no more.
func (s *Session) settle(a *ami.Action, came time.Time, f fate) bool {
	s.reportLogin(a, f)
	switch f {
	case fateAccepted:
		switch {
		case s.byOldSecret:
			s.log.Info("logged in by an old secret")
		case s.user.DisplayConnects:
			s.log.Info("logged in")
		}
		return true
	case fateInUse, fateMaxSessions:
		s.logRefused(zap.InfoLevel, a, f)
		return s.refuseLogin(a, came, textInUse, reasonLoginInUse)
	case fateLockedOut: // at once, so that it holds nothing
		s.logRefused(zap.DebugLevel, a, f)
		s.refuse(a, textFailed)
		s.endWith(reasonLockedOut)
		return false
	case fateBusy:
		s.logRefused(zap.WarnLevel, a, f)
		return s.refuseLogin(a, came, textFailed, reasonLoginFailed)
	}
	s.logRefused(zap.WarnLevel, a, f)
	s.strike(a)
	return s.refuseLogin(a, came, textFailed, reasonLoginFailed)
}

// logRefused tells of a refused login. What the client wrote comes last, so that
// none of it can pass for the rest of the line.
func (s *Session) logRefused(level zapcore.Level, a *ami.Action, f fate) {
	s.log.Log(level, "login refused", zap.String("why", string(f)), zap.String("username", a.Get("Username")))
}

// tryLogin logs the client in if it is a user that may, all by the same
// configuration: the check of a hashed secret takes long, so no reload waits for
// it, and if one comes meanwhile the client is judged anew.
func (s *Session) tryLogin(a *ami.Action) fate {
	for {
		now := s.srv.now()
		user := now.user(a.Get("Username"))
		if f := s.judge(a, now, user); f != fateAccepted {
			return f
		}
		if f := s.become(a, now, user); f != "" {
			return f
		}
	}
}

// become makes the session one of the user's, if he may have one more. It returns
// "" if the configuration is another one by now.
func (s *Session) become(a *ami.Action, now *snapshot, user *config.User) fate {
	s.srv.changing.RLock()
	defer s.srv.changing.RUnlock()
	username := a.Get("Username")
	if s.srv.now() != now {
		return ""
	}
	if f := s.srv.logIn(s, user, username); f != fateAccepted {
		return f
	}
	s.user = user
	s.rights.Store(user)
	s.limits = now.limits[ami.FoldName(username)]
	s.log = s.log.With(zap.String("user", username))
	s.client.admit()
	s.srv.lockouts.succeeded(s.remote.Addr(), username)
	s.welcome(a, now)
	return fateAccepted
}

// judge says whether the client has shown that it is the user, nil if there is
// none of that name, and comes from where it may. All tests are made whatever
// the first of them says, so that the time they take does not tell it.
func (s *Session) judge(a *ami.Action, now *snapshot, user *config.User) fate {
	policy := now.decoy
	if user != nil {
		policy = user.Policy
	}
	admitted := policy.Admits(s.remote.Addr())
	certified := s.certified(now, policy)
	if admitted && !policy.NeedsSecret(certified) {
		return fateAccepted
	}
	proof := s.checkProof(a, now, policy)
	switch {
	case proof == fateBusy || proof == fateLockedOut:
		return proof
	case user == nil:
		return fateNoUser
	case !admitted:
		return fateNotAdmitted
	case policy.NeedsCertificate() && !certified:
		return fateNoCert
	case !policy.HasSecret():
		return fateNoSecret
	}
	return proof
}

// checkProof tests what the client offers as its secret, or as the key to its
// challenge.
func (s *Session) checkProof(a *ami.Action, now *snapshot, policy *acl.Policy) fate {
	var match acl.Match
	var wrong fate
	if s.digest != nil {
		match, wrong = policy.CheckDigest(*s.digest), fateWrongSecret
	} else if key := a.Get("Key"); strings.EqualFold(a.Get("AuthType"), "MD5") {
		match, wrong = policy.CheckKey(s.challenge, key), fateWrongKey
		if s.challenge == "" || key == "" {
			wrong = fateNoChallenge
		}
	} else {
		match, wrong = s.checkSecret(a, now, policy)
	}
	s.byOldSecret = match == acl.MatchOld
	if match == acl.NoMatch {
		return wrong
	}
	return fateAccepted
}

// hashWait is how long a login may wait for its turn to check a hash.
const hashWait = 10 * time.Second

// checkSecret compares the secret with those of the policy, and says what is wrong
// if it is none of them. If some user's is hashed, a wrong one takes the time of a
// check whosesoever it should be.
func (s *Session) checkSecret(a *ami.Action, now *snapshot, policy *acl.Policy) (acl.Match, fate) {
	secret := a.Get("Secret")
	if policy.HashWork() == 0 {
		if match := policy.CheckSecret(secret); match != acl.NoMatch || now.decoy.HashWork() == 0 {
			return match, fateWrongSecret
		}
		policy = now.decoy
	}
	timeout := time.NewTimer(hashWait)
	defer timeout.Stop()
	select {
	case s.srv.hashing <- struct{}{}:
		defer func() { <-s.srv.hashing }()
		if s.lockedOut(a) { // by those whose turn was before
			return acl.NoMatch, fateLockedOut
		}
		match := policy.CheckSecret(secret)
		if match == acl.NoMatch {
			s.strike(a) // before the next one's turn
		}
		return match, fateWrongSecret
	case <-timeout.C:
	case <-s.gone:
	}
	return acl.NoMatch, fateBusy
}

// strike counts the session's login as failed, once.
func (s *Session) strike(a *ami.Action) {
	if s.struck {
		return
	}
	s.struck = true
	if fields := s.srv.lockouts.failed(s.remote.Addr(), a.Get("Username"), s.srv.general()); fields != nil {
		s.srv.log.Warn("locked out after too many refused logins", fields...)
	}
}

// lockedOut reports whether the user cannot log in from the client's address now.
func (s *Session) lockedOut(a *ami.Action) bool {
	return s.srv.lockouts.refusesUser(s.remote.Addr(), a.Get("Username"), s.srv.general())
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
	wish := ami.ParseEventMask(a.Get("Events"))
	if wish >= 0 {
		mask &= ami.Class(wish)
	}
	// By HTTP who does not ask for events begins without, as far as this shows.
	booted := s.user.FullyBooted && mask&ami.ClassSystem != 0 && (s.asking == nil || wish >= 0)
	for _, v := range s.saw {
		v.subscribe(s) // gets nothing before the mask is set
	}
	if s.user.Policy.Read()&ami.ClassSecurity != 0 {
		s.srv.own.subscribe(s)
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
		if booted {
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
// The answer comes a whole number of seconds after the action: how long its
// tests took does not show.
func (s *Session) refuseLogin(a *ami.Action, came time.Time, message string, why reason) bool {
	if s.pause(refusalDelay - time.Since(came)%refusalDelay) {
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
