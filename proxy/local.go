package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// localActions are those that the proxy answers itself, by the name in lower
// case. Each returns false when the session takes no more.
var localActions map[string]func(*Session, *ami.Action) bool

func init() {
	localActions = map[string]func(*Session, *ami.Action) bool{
		"login":        (*Session).login,
		"logoff":       (*Session).logoff,
		"challenge":    (*Session).sendChallenge,
		"ping":         (*Session).ping,
		"events":       (*Session).setEvents,
		"listcommands": (*Session).listCommands,
		"filter":       (*Session).addFilter,
		"waitevent":    func(s *Session, a *ami.Action) bool { return s.client.waitEvent(a) },
	}
}

// logoff is the action Logoff: what was asked before is still answered.
func (s *Session) logoff(a *ami.Action) bool {
	s.add(&slot{
		pbx: noPBX, named: a.ID() != "", done: true, last: reasonLogoff,
		answer: ami.AppendResponse(nil, "Goodbye", a.ID(), "Thanks for all the fish."),
	})
	return false
}

func (s *Session) ping(a *ami.Action) bool {
	if !s.tagged && len(s.views) == 1 && s.views[0].Version() == "1.0" { // Asterisk 1.4
		s.reply(a.ID() != "", ami.AppendResponse(nil, "Pong", a.ID(), ""))
		return true
	}
	answer := ami.AppendResponseStart(nil, "Success", a.ID())
	answer = ami.AppendHeader(answer, "Ping", "Pong")
	answer = ami.AppendHeader(answer, "Timestamp", timestamp(time.Now()))
	s.reply(a.ID() != "", ami.AppendEnd(answer))
	return true
}

// setEvents is the action Events (manager.c: action_events). The answer tells
// what was asked for, the mask holds what the user may read of it.
func (s *Session) setEvents(a *ami.Action) bool {
	wish := ami.ParseEventMask(a.Get("EventMask"))
	broken := s.srv.general().BrokenEventsAction
	if wish < 0 && !broken {
		return s.refuse(a, "Invalid event mask")
	}
	sl := &slot{pbx: noPBX, named: a.ID() != "", done: true}
	if wish >= 0 {
		mask := ami.Class(wish) & s.policy().Read()
		sl.apply = func() { s.mask.Store(uint32(mask)) }
	}
	if silent := broken && (wish < 0 || ami.Class(wish) == ami.ClassAll); !silent {
		word := "On"
		if wish == 0 {
			word = "Off"
		}
		sl.answer = ami.AppendResponseStart(nil, "Success", a.ID())
		sl.answer = ami.AppendEnd(ami.AppendHeader(sl.answer, "Events", word))
	}
	s.add(sl)
	return true
}

// listCommands shows the actions that the session may run, of all PBXes that
// it sees, as ListCommands of one PBX does.
func (s *Session) listCommands(a *ami.Action) bool {
	answer := ami.AppendResponseStart(nil, "Success", a.ID())
	for _, c := range s.commands() {
		answer = append(append(answer, c.Line...), "\r\n"...)
	}
	s.reply(a.ID() != "", ami.AppendEnd(answer))
	return true
}

func (s *Session) commands() []backend.Command {
	var all []backend.Command
	seen := make(map[string]bool)
	for _, v := range s.views {
		for _, c := range v.Authority().Commands {
			name := ami.FoldName(c.Name)
			_, local := localActions[name]
			if !seen[name] && (local || s.isAction(name)) && s.policy().MayList(name, c.Class) {
				seen[name] = true
				all = append(all, c)
			}
		}
	}
	if s.isAdmin() {
		for _, admin := range adminActions {
			all = append(all, admin.command)
		}
	}
	if len(s.views) > 1 || s.isAdmin() {
		slices.SortStableFunc(all, func(x, y backend.Command) int {
			return strings.Compare(ami.FoldName(x.Name), ami.FoldName(y.Name))
		})
	}
	return all
}

// eventsLost is our own event ProxyEventsLost, in the place of n events that
// the client was too slow for.
func eventsLost(n int) []byte {
	f := ami.AppendHeader(nil, "Event", "ProxyEventsLost")
	f = ami.AppendHeader(f, "Privilege", "system,all")
	f = ami.AppendHeader(f, "Count", strconv.Itoa(n))
	return ami.AppendEnd(f)
}
