package proxy

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
)

var errNoFile = errors.New("the configuration is not from a file: it cannot be loaded again")

// Reload loads the configuration anew with Load and goes over to it: users,
// rights and PBXes. If anything is wrong with it, which is logged and returned,
// nothing changes. Reloads come one at a time; Start must have returned.
//
// Those who are logged in go on with the PBXes that they saw at their login, and
// at once lose the rights and PBXes that their user has no longer. What their
// user may do or see beyond that they get with their next login. A user who is
// gone, or may not come from there any more, is cut.
func (srv *Server) Reload() error {
	srv.reloading.Lock()
	defer srv.reloading.Unlock()
	before := srv.now().config
	next, err := srv.loadPlan()
	if err == nil {
		err = srv.change(next)
	}
	if err != nil {
		srv.log.Error("configuration not reloaded, the one before stays in use: put right what is wrong and reload again",
			zap.Strings("errors", strings.Split(err.Error(), "\n")))
		return err
	}
	for _, s := range next.narrowed {
		s.withdraw()
	}
	for _, then := range next.then {
		then()
	}
	var reconnected []string
	for i, p := range next.kept {
		if p.Reconfigure(next.settings[i]) {
			reconnected = append(reconnected, p.Name())
		}
	}
	for _, p := range next.removed {
		p.remove()
	}
	srv.logReload(before, next, reconnected)
	return nil
}

// proxyReload is the action ProxyReload. The first thing that is wrong is the answer.
func (s *Session) proxyReload(a *ami.Action) bool {
	sl := &slot{pbx: noPBX, named: a.ID() != ""}
	s.add(sl) // first, so that it is answered even if this is the end of the session
	answer := ami.AppendResponse(nil, "Success", a.ID(), "Configuration reloaded")
	if err := s.srv.Reload(); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		answer = ami.AppendResponse(nil, "Error", a.ID(), first)
	}
	s.auditOwn(a, answer)
	s.fill(sl, answer)
	return true
}

// loadPlan does what can fail.
func (srv *Server) loadPlan() (*plan, error) {
	if srv.Load == nil {
		return nil, errNoFile
	}
	cfg, err := srv.Load()
	if err != nil {
		return nil, err
	}
	return srv.plan(cfg)
}

// change goes over to the new users and rights, and starts what is new. It fails
// only if the server is closing.
func (srv *Server) change(next *plan) error {
	srv.changing.Lock()
	defer srv.changing.Unlock()
	if srv.isClosing() {
		return errClosing
	}
	srv.current.Store(next.now)
	for name, l := range next.now.limits {
		l.set(next.now.config.Users[name])
	}
	for _, p := range next.kept {
		next.then = append(next.then, p.setTenants(next.now.config.Tenants))
	}
	for _, p := range next.added {
		p.start()
	}
	audiences := make(map[narrowed]*audience)
	for _, s := range srv.users() {
		if s.narrow(next.now, audiences) {
			next.narrowed = append(next.narrowed, s)
		}
	}
	return nil
}

// users are the sessions that are logged in, which those that log in right now
// become under Server.changing.
func (srv *Server) users() (users []*Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for s := range srv.sessions {
		if s.counts == asUser {
			users = append(users, s)
		}
	}
	return users
}

// policy is what the user may do and see.
func (s *Session) policy() *acl.Policy { return s.rights.Load().Policy }

// narrowed is what an audience becomes a narrower one by.
type narrowed struct {
	from *audience
	by   *config.User
}

// narrow takes from the session what its user has lost, and reports whether that
// is something. audiences are those made so far, so that who was in one audience
// stays in one.
func (s *Session) narrow(now *snapshot, audiences map[narrowed]*audience) (less bool) {
	before := s.rights.Load()
	user := now.user(before.Policy.Name())
	switch {
	case user == nil || !user.Policy.CanLogIn():
		s.abort(reasonUserRemoved)
		return false
	case !user.Policy.Admits(s.remote.Addr()):
		s.abort(reasonNotAdmitted)
		return false
	}
	after := before.Narrow(user)
	if after == before {
		return false
	}
	s.rights.Store(after)
	if after.Policy.Filters() != before.Policy.Filters() || after.Policy.Fence() != before.Policy.Fence() {
		s.mu.Lock()
		key := narrowed{s.audience.Load(), user}
		if audiences[key] == nil {
			audiences[key] = key.from.and(user.Policy.Filters(), after.Policy.Fence(), now.indexes)
		}
		s.audience.Store(audiences[key])
		s.mu.Unlock()
	}
	for _, v := range s.saw {
		lost := slices.Contains(before.PBXs, v.Name()) && !slices.Contains(after.PBXs, v.Name())
		if lost && now.pbx(v.Name()) == v.pbx { // else it ends, and tells all who see it
			s.take(v.pbx)
			v.leave(s)
		}
	}
	return true
}

// take says that what a PBX has told, and waits, is not for the session any more.
func (s *Session) take(p *pbx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, p.index)
}

// withdraw keeps back what waits to be sent to a PBX, behind a call that rings
// perhaps, and what the session may not send there any more.
func (s *Session) withdraw() {
	policy := s.policy()
	for _, v := range s.client.ways() {
		lost := !slices.Contains(s.rights.Load().PBXs, v.Name())
		v.stream.Withdraw(func(a *ami.Action) bool {
			// What is to be set now was not when it was accepted.
			return lost || policy.Set(a) != a || !mayAt(policy, &v, a, ami.FoldName(a.Name())).Allowed() ||
				leads(policy, v.pbx, a)
		})
	}
}

// keepUp leaves of the PBXes those that reloads have left. It is for the
// session's reader.
func (s *Session) keepUp() {
	if left := s.rights.Load().PBXs; len(left) < len(s.views) {
		s.views = slices.DeleteFunc(slices.Clone(s.views), func(v view) bool {
			return !slices.Contains(left, v.Name())
		})
	}
}

// logReload tells what is different: whose view, which PBXes, and what only a
// restart will change.
func (srv *Server) logReload(before *config.Config, next *plan, reconnected []string) {
	now := next.now.config
	for _, w := range now.Warnings {
		srv.log.Warn("configuration", zap.String("warning", w))
	}
	keys := restartKeys(srv.fixed, now)
	for _, name := range next.respelled {
		keys = append(keys, "[pbx:"+name+"]")
	}
	if len(keys) > 0 {
		srv.log.Warn("configuration reloaded but for what needs a restart", zap.Strings("keys", keys))
	}
	fields := []zap.Field{zap.Int("PBXes", len(now.PBXs)), zap.Int("users", len(now.Users))}
	add := func(key string, names []string) {
		if len(names) > 0 {
			fields = append(fields, zap.Strings(key, names))
		}
	}
	add("PBXes added", pbxNames(next.added))
	add("PBXes removed", pbxNames(next.removed))
	add("PBXes reconnected", reconnected)
	var added, changed, removed []string
	for _, name := range slices.Sorted(maps.Keys(now.Users)) {
		user := now.Users[name]
		switch old := before.Users[name]; {
		case old == nil:
			added = append(added, user.Policy.Name())
		case old.Narrow(user) != old || user.Narrow(old) != user:
			changed = append(changed, user.Policy.Name())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Users)) {
		if now.Users[name] == nil {
			removed = append(removed, before.Users[name].Policy.Name())
		}
	}
	add("users added", added)
	add("users whose view changed", changed)
	add("users removed", removed)
	srv.log.Info("configuration reloaded", fields...)
}

// restartKeys names the keys whose change a reload cannot bring about.
func restartKeys(fixed, next *config.Config) (keys []string) {
	start, now := &fixed.General, &next.General
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"enabled", start.Enabled != now.Enabled},
		{"bindaddr, port", start.BindAddr != now.BindAddr},
		{"tlsenable", start.TLSEnable != now.TLSEnable},
		{"tlsbindaddr", start.TLSBindAddr != now.TLSBindAddr},
		{"tlscertfile", start.TLSCertFile != now.TLSCertFile},
		{"tlsprivatekey", start.TLSPrivateKey != now.TLSPrivateKey},
		{"totallimit", start.TotalLimit != now.TotalLimit},
		{"webenabled, httptimeout, [http]", !reflect.DeepEqual(fixed.HTTP, next.HTTP)},
		{"audit, auditsize, auditfiles, auditdays", auditPlace(start) != auditPlace(now)},
	} {
		if k.changed {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// auditPlace is where the audit log is, whatever is in it.
func auditPlace(g *config.General) config.Audit {
	place := g.Audit
	place.Reads = false
	return place
}

func pbxNames(pbxs []*pbx) (names []string) {
	for _, p := range pbxs {
		names = append(names, p.Name())
	}
	return names
}
