package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// This file is the actions of the operator.

// adminAction is an action for users with proxyadmin = yes, whatever their
// classes. To all others it is unknown, as in Asterisk. It is about all PBXes
// and all sessions: the operator's own PBXes are those that it works with.
type adminAction struct {
	command backend.Command // as ListCommands shows it
	// do returns false when the session takes no more.
	do func(*Session, *ami.Action) bool
}

// adminActions are the actions of the operator by the name in lower case.
var adminActions map[string]adminAction

func init() {
	adminActions = map[string]adminAction{}
	for _, a := range []struct {
		name, synopsis string
		do             func(*Session, *ami.Action) bool
	}{
		{"ProxyKick", "Close sessions of the proxy.", (*Session).proxyKick},
		{"ProxyReload", "Load the configuration of the proxy anew.", (*Session).proxyReload},
		{"ProxySessions", "List the sessions of the proxy.", (*Session).proxySessions},
		{"ProxyStatus", "Show how the proxy and its PBXes are doing.", (*Session).proxyStatus},
	} {
		line := a.name + ": " + a.synopsis + "  (Priv: <none>)"
		adminActions[ami.FoldName(a.name)] = adminAction{backend.Command{Name: a.name, Line: line}, a.do}
	}
}

// isAdmin reports whether the actions of the operator are open to the session.
func (s *Session) isAdmin() bool { return s.rights.Load().ProxyAdmin }

// adminList is the answer to an action of the operator that lists something,
// in the form of Asterisk's lists (manager.c: astman_send_listack,
// astman_send_list_complete).
type adminList struct {
	id     string
	answer []byte
	items  int
}

func newAdminList(a *ami.Action, message string) *adminList {
	l := &adminList{id: a.ID(), answer: ami.AppendResponseStart(nil, "Success", a.ID())}
	l.headers("EventList", "start", "Message", message)
	return l
}

// headers ends a frame with headers, each a name and a value.
func (l *adminList) headers(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		l.answer = ami.AppendHeader(l.answer, pairs[i], pairs[i+1])
	}
	l.answer = ami.AppendEnd(l.answer)
}

func (l *adminList) event(name string) {
	l.answer = ami.AppendHeader(l.answer, "Event", name)
	if l.id != "" {
		l.answer = ami.AppendHeader(l.answer, "ActionID", l.id)
	}
}

// item appends an item of the list.
func (l *adminList) item(event string, pairs ...string) {
	l.items++
	l.event(event)
	l.headers(pairs...)
}

// end appends the completion, and returns the answer.
func (l *adminList) end(event string) []byte {
	l.event(event)
	l.headers("EventList", "Complete", "ListItems", strconv.Itoa(l.items))
	return l.answer
}

// proxyStatus is the action ProxyStatus: the proxy, every PBX, and what is served over
// HTTP.
func (s *Session) proxyStatus(a *ami.Action) bool {
	srv := s.srv
	now := time.Now()
	users, strangers := srv.population()
	list := newAdminList(a, "Proxy status will follow")
	list.item("ProxyStatus",
		"Version", srv.Version,
		"Started", unixSeconds(srv.started),
		"Uptime", number(int64(now.Sub(srv.started)/time.Second)),
		"Sessions", number(users),
		"Unauthenticated", number(strangers),
		"QueuedBytes", number(srv.total.Used()),
		"TotalLimit", number(srv.total.Limit),
	)
	for _, p := range srv.now().pbxs {
		list.item("ProxyServer", p.status()...)
	}
	for _, u := range srv.URIs {
		list.item("ProxyURI", "URI", u.Path, "Description", u.Description)
	}
	s.reply(a.ID() != "", list.end("ProxyStatusComplete"))
	return true
}

// population is how many clients are logged in, and how many are not.
func (srv *Server) population() (users, strangers int) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, n := range srv.loggedIn {
		users += n
	}
	return users, len(srv.strangers) + srv.visitors
}

// status is what ProxyStatus shows of a PBX.
func (p *pbx) status() []string {
	info := p.Info()
	p.mu.RLock()
	sessions := len(p.sessions)
	p.mu.RUnlock()
	return []string{
		"Server", p.Name(),
		"Address", info.Address,
		"State", stateWord(info.State),
		"Reason", info.Reason,
		"Since", unixSeconds(info.Since),
		"Version", info.Version,
		"Links", number(info.Links),
		"MaxLinks", number(info.MaxLinks),
		"Sessions", number(sessions),
		"Pending", number(info.Pending),
		"Waiting", number(info.Waiting),
		"Actions", number(info.Actions),
		"ActionRate", rate(info.ActionRate),
		"Events", number(info.Events),
		"EventRate", rate(info.EventRate),
		"Logins", number(info.Logins),
		"Losses", number(info.Losses),
		"Dropped", number(info.Dropped),
		"NamesKnown", yesNo(info.NamesKnown),
		"Channels", number(info.Channels),
	}
}

// proxySessions is the action ProxySessions: every session in the order in
// which they came. It shows no secret, nor what a client sent.
func (s *Session) proxySessions(a *ami.Action) bool {
	list := newAdminList(a, "Proxy sessions will follow")
	for _, info := range s.srv.everybody() {
		list.item("ProxySession", info.status()...)
	}
	s.reply(a.ID() != "", list.end("ProxySessionsComplete"))
	return true
}

// sessionInfo is a session with what is guarded by Server.mu of it.
type sessionInfo struct {
	*Session
	id       uint64
	username string // as the client wrote it; empty: not logged in
}

// everybody returns all sessions, in the order in which they came.
func (srv *Server) everybody() []sessionInfo {
	srv.mu.Lock()
	all := make([]sessionInfo, 0, len(srv.sessions))
	for s := range srv.sessions {
		if s.counts != asNothing { // else it has ended
			all = append(all, sessionInfo{s, s.id, s.username})
		}
	}
	srv.mu.Unlock()
	slices.SortFunc(all, func(x, y sessionInfo) int { return cmp.Compare(x.id, y.id) })
	return all
}

// status is what ProxySessions shows of a session.
func (i *sessionInfo) status() []string {
	var pbxs []string
	if user := i.rights.Load(); user != nil {
		pbxs = user.PBXs
	}
	events, answers := i.out.Size()
	i.mu.Lock()
	given := i.events
	i.mu.Unlock()
	return []string{
		"SessionID", number(i.id),
		"Username", i.username,
		"Address", i.remote.String(),
		"Transport", string(i.by),
		"Since", unixSeconds(i.since),
		"PBXes", strings.Join(pbxs, ","),
		"EventMask", maskText(ami.Class(i.mask.Load())),
		"Filters", yesNo(i.audience.Load() != nil),
		"QueuedBytes", number(events + answers + i.account.size()),
		"Pending", number(i.pending()),
		"Actions", number(i.actions.Load()),
		"Events", number(given),
		"SentBytes", number(i.sentBytes.Load()),
	}
}

// Texts of the proxy for ProxyKick.
const (
	textNobody  = "No such session"
	textKickWho = "SessionID, Username or Address required"
)

// proxyKick is the action ProxyKick: it cuts the sessions that fit all that is
// given, as Asterisk's "manager kick session" does (manager.c:
// handle_kickmanconn), with no word to them. A session that kicks itself
// gets its answer first.
func (s *Session) proxyKick(a *ami.Action) bool {
	k := kick{id: a.Get("SessionID"), user: ami.FoldName(a.Get("Username")), address: a.Get("Address")}
	if k == (kick{}) {
		return s.turnAway(a, nil, textKickWho)
	}
	kicked, itself := 0, false
	for _, info := range s.srv.everybody() {
		if !k.fits(&info) {
			continue
		}
		kicked++
		info.kickedBy.Store(&s.username)
		if info.Session == s {
			itself = true
		} else {
			info.abort(reasonKicked)
		}
	}
	if kicked == 0 {
		return s.turnAway(a, nil, textNobody)
	}
	answer := ami.AppendResponseStart(nil, "Success", a.ID())
	answer = ami.AppendEnd(ami.AppendHeader(answer, "Kicked", number(kicked)))
	s.auditOwn(a, answer)
	sl := &slot{pbx: noPBX, named: a.ID() != "", done: true, answer: answer}
	if itself {
		sl.last = reasonKicked
	}
	s.add(sl)
	return !itself
}

// kick says whom a ProxyKick means: who fits all that is not empty.
type kick struct {
	id, user, address string // user in lower case
}

func (k *kick) fits(i *sessionInfo) bool {
	return (k.id == "" || k.id == number(i.id)) &&
		(k.user == "" || k.user == ami.FoldName(i.username)) &&
		(k.address == "" || isAt(i.remote, k.address))
}

// isAt reports whether text is an address, with a port or without. An IPv4
// address is the same in whatever form it is written.
func isAt(remote netip.AddrPort, text string) bool {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Port() == remote.Port() && a.Addr().Unmap() == remote.Addr().Unmap()
	}
	a, err := netip.ParseAddr(text)
	return err == nil && a.Unmap() == remote.Addr().Unmap()
}

// maskText is an event mask as the action Events takes it.
func maskText(mask ami.Class) string {
	switch mask {
	case 0:
		return "off"
	case ami.ClassAll:
		return "on"
	}
	return strings.TrimSuffix(mask.String(), ",all")
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

func number[T int | int64 | uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

func rate(perSecond float64) string { return strconv.FormatFloat(perSecond, 'f', 1, 64) }
