package proxy

import (
	"slices"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/owned"
)

// route says where an action goes: to one PBX, or, a list, to several whose
// answers become one.
type route struct {
	to     *view
	merged []*view
}

// route finds the PBX for an action, by the first of these that there is: the
// one that it names, the only one, the one that owns what it is about; all of
// them for a list; the default. A PBX that is named, or owns the thing, and is
// away is never replaced by another.
func (s *Session) route(a *ami.Action, name string) (r route, refusal string) {
	switch server := a.Get("Server"); {
	case server != "":
		if r.to = s.view(server); r.to == nil {
			return r, "No such server: " + server
		}
	case !s.tagged:
		r.to = &s.views[0]
	case !s.mayAnywhere(name):
		return r, textDenied // and no word of what is where
	default:
		if r.to, refusal = s.owner(a, name); refusal != "" {
			return r, refusal
		}
		if r.to == nil && merges(a, name) {
			for i := range s.views {
				r.merged = append(r.merged, &s.views[i])
			}
			return r, ""
		}
		if r.to == nil {
			r.to = s.view(s.user.DefaultPBX)
		}
		if r.to == nil {
			return r, "Server header required"
		}
	}
	if !r.to.Up() {
		return r, pbxError(r.to.Name(), backend.ErrDown)
	}
	return r, ""
}

// mayAnywhere reports whether the user has the class for an action on any PBX.
func (s *Session) mayAnywhere(name string) bool {
	return slices.ContainsFunc(s.views, func(v view) bool {
		class, ok := v.Authority().Class(name)
		return ok && s.policy().MayList(name, class)
	})
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

// merges reports whether an action that names no PBX goes to all of them: a
// list does. Hangup is one only for a regular expression.
func merges(a *ami.Action, name string) bool {
	if info, ok := ami.LookupAction(name); !ok || info.Kind != ami.KindList {
		return false
	}
	return name != "hangup" && name != "pjsiphangup" || strings.HasPrefix(a.Get("Channel"), "/")
}

// named is a header that names what a PBX owns.
type named struct {
	header string
	kind   owned.Kind
}

var (
	byChannel    = []named{{"Channel", owned.Channel}}
	byBridge     = []named{{"BridgeUniqueid", owned.Bridge}}
	byConference = []named{{"Conference", owned.Conference}}
	byChannels   = []named{{"Channel1", owned.Channel}, {"Channel2", owned.Channel}}
	byCaller     = []named{{"Caller", owned.Channel}}
)

// ownedBy says which headers of an action tell whose it is, by the name of the
// action in lower case. Originate is not among them: its Channel is one to be;
// nor are SIPnotify, whose Channel is a peer, and headers beside the one that
// matters, such as Park's TimeoutChannel, which may be gone.
var ownedBy = map[string][]named{
	"absolutetimeout": byChannel, "agi": byChannel, "aocmessage": byChannel, "atxfer": byChannel,
	"blindtransfer": byChannel, "cancelatxfer": byChannel, "changemonitor": byChannel,
	"controlplayback": byChannel, "coreshowchannelmap": byChannel, "getvar": byChannel, "hangup": byChannel,
	"localoptimizeaway": byChannel, "mixmonitor": byChannel, "mixmonitormute": byChannel, "monitor": byChannel,
	"muteaudio": byChannel, "pausemonitor": byChannel, "pjsiphangup": byChannel, "playdtmf": byChannel, "playmf": byChannel,
	"sendflash": byChannel, "sendtext": byChannel, "setvar": byChannel, "status": byChannel, "stopmixmonitor": byChannel,
	"stopmonitor": byChannel, "unpausemonitor": byChannel, "park": byChannel, "pjsipnotify": byChannel,
	"queuechangeprioritycaller": byCaller, "queuewithdrawcaller": byCaller,
	"queuelog":   {{"Uniqueid", owned.Uniqueid}},
	"redirect":   {{"Channel", owned.Channel}, {"ExtraChannel", owned.Channel}},
	"bridge":     byChannels,
	"bridgeinfo": byBridge, "bridgedestroy": byBridge,
	"bridgekick":     {{"BridgeUniqueid", owned.Bridge}, {"Channel", owned.Channel}},
	"confbridgekick": byConference, "confbridgelist": byConference, "confbridgelock": byConference,
	"confbridgemute": byConference, "confbridgesetsinglevideosrc": byConference, "confbridgestartrecord": byConference,
	"confbridgestoprecord": byConference, "confbridgeunlock": byConference, "confbridgeunmute": byConference,
	"meetmelist": byConference, "meetmemute": {{"Meetme", owned.Conference}}, "meetmeunmute": {{"Meetme", owned.Conference}},
}

// owner finds the PBX that owns what an action is about, nil if none of those
// that the session sees does. It never guesses: a name that is on two PBXes, or
// may be on one that has not listed its names yet, is for the client to decide.
// One that is away keeps its names; one that was never there has none.
func (s *Session) owner(a *ami.Action, name string) (owner *view, refusal string) {
	asked, owners := false, make([]bool, len(s.views))
	for _, n := range ownedBy[name] {
		value := a.Get(n.header)
		if value == "" || strings.HasPrefix(value, "/") { // Hangup's regular expression
			continue
		}
		asked = true
		for i := range s.views {
			owners[i] = owners[i] || s.views[i].Names().Has(n.kind, value) && s.knowsName(s.views[i].pbx, n.kind, value)
		}
	}
	if !asked {
		return nil, ""
	}
	found, unsure := 0, false
	for i := range s.views {
		v := &s.views[i]
		switch {
		case owners[i]:
			found++
			owner = v
		case v.Up() && !v.Names().Complete():
			owners[i], unsure = true, true
		}
	}
	if found > 1 || unsure {
		return nil, s.ambiguous(owners)
	}
	return owner, ""
}

// ambiguous names the PBXes that may be meant, all if it is not known to be
// one of several.
func (s *Session) ambiguous(meant []bool) string {
	var names, all []string
	for i := range s.views {
		all = append(all, s.views[i].Name())
		if meant[i] {
			names = append(names, s.views[i].Name())
		}
	}
	if len(names) < 2 {
		names = all
	}
	return "Ambiguous: say Server: " + strings.Join(names, " or ")
}
