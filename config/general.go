package config

import (
	"net/netip"
	"strings"
	"time"
)

// Sizes.
const (
	kilo = 1 << 10
	mega = 1 << 20
	giga = 1 << 30
)

// generalDraft is [general] while it is being read.
type generalDraft struct {
	General
	listen listener
	given  values

	actionTimeout, connectTimeout  time.Duration
	httpTimeout                    time.Duration
	allowMultiple, displayConnects bool
	hardening                      bool
	maxSessions, actionRate        int
	webEnabled                     bool
	aclFile, clientCA              path
}

// loopback is where we listen unless told otherwise.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func defaultGeneral() generalDraft {
	return generalDraft{
		General: General{
			Enabled:      true,
			AuthTimeout:  30 * time.Second,
			AuthLimit:    50,
			AuthFailures: 10,
			AuthWindow:   time.Minute,
			AuthLockout:  time.Minute,
			Challenge:    true,
			QueueLimit:   4 * mega,
			AnswerLimit:  64 * mega,
			TotalLimit:   giga,
			PendingLimit: 64,
			MergeTimeout: 5 * time.Second,
			Audit:        Audit{Size: 100 * mega, Files: 10},
		},
		listen:          listener{addr: loopback, port: 5038},
		actionTimeout:   30 * time.Second,
		connectTimeout:  3 * time.Second,
		httpTimeout:     60 * time.Second,
		allowMultiple:   true,
		displayConnects: true,
		hardening:       true,
	}
}

// generalKeys are the keys of [general].
var generalKeys = append(listenerKeys("port", func(g *generalDraft) *listener { return &g.listen }), []key[generalDraft]{
	// Those of manager.conf.
	{name: "enabled", set: boolean(func(g *generalDraft) *bool { return &g.Enabled })},
	{name: "webenabled", set: boolean(func(g *generalDraft) *bool { return &g.webEnabled })},
	{name: "httptimeout", set: duration(func(g *generalDraft) *time.Duration { return &g.httpTimeout }, time.Second, time.Second, time.Second, 24*time.Hour)},
	{name: "authtimeout", set: duration(func(g *generalDraft) *time.Duration { return &g.AuthTimeout }, time.Second, time.Second, time.Second, time.Hour)},
	{name: "authlimit", set: integer(func(g *generalDraft) *int { return &g.AuthLimit }, 1, 1_000_000)},
	{name: "allowmultiplelogin", set: boolean(func(g *generalDraft) *bool { return &g.allowMultiple })},
	{name: "displayconnects", set: boolean(func(g *generalDraft) *bool { return &g.displayConnects })},
	{name: "timestampevents", set: boolean(func(g *generalDraft) *bool { return &g.TimestampEvents })},
	{name: "disabledevents", set: setDisabledEvents},
	{name: "brokeneventsaction", set: boolean(func(g *generalDraft) *bool { return &g.BrokenEventsAction })},
	// Our own.
	{name: "tlsclientca", set: file(func(g *generalDraft) *path { return &g.clientCA })},
	{name: "tlsclientrequired", set: boolean(func(g *generalDraft) *bool { return &g.TLSClientRequired })},
	{name: "aclfile", set: file(func(g *generalDraft) *path { return &g.aclFile })},
	{name: "defaultpbx", set: text(func(g *generalDraft) *string { return &g.DefaultPBX }, nil)},
	{name: "banner", set: setBanner},
	{name: "authfailures", set: integer(func(g *generalDraft) *int { return &g.AuthFailures }, 0, 1_000_000)},
	{name: "authwindow", set: duration(func(g *generalDraft) *time.Duration { return &g.AuthWindow }, time.Second, time.Second, time.Second, 24*time.Hour)},
	{name: "authlockout", set: duration(func(g *generalDraft) *time.Duration { return &g.AuthLockout }, time.Second, time.Second, time.Second, 24*time.Hour)},
	{name: "challenge", set: boolean(func(g *generalDraft) *bool { return &g.Challenge })},
	{name: "actiontimeout", set: duration(func(g *generalDraft) *time.Duration { return &g.actionTimeout }, time.Second, 1, 100*time.Millisecond, time.Hour)},
	{name: "connecttimeout", set: duration(func(g *generalDraft) *time.Duration { return &g.connectTimeout }, time.Second, 1, 100*time.Millisecond, 5*time.Minute)},
	{name: "mergetimeout", set: duration(func(g *generalDraft) *time.Duration { return &g.MergeTimeout }, time.Second, 1, 100*time.Millisecond, 5*time.Minute)},
	{name: "queuelimit", set: size(func(g *generalDraft) *int64 { return &g.QueueLimit }, leastQueue, mostQueue)},
	{name: "answerlimit", set: size(func(g *generalDraft) *int64 { return &g.AnswerLimit }, mega, giga)},
	{name: "totallimit", set: size(func(g *generalDraft) *int64 { return &g.TotalLimit }, mega, 1024*giga)},
	{name: "pendinglimit", set: integer(func(g *generalDraft) *int { return &g.PendingLimit }, 1, 65536)},
	{name: "maxsessions", set: integer(func(g *generalDraft) *int { return &g.maxSessions }, 0, 1_000_000)},
	{name: "actionrate", set: integer(func(g *generalDraft) *int { return &g.actionRate }, 0, 1_000_000)},
	{name: "hardening", set: boolean(func(g *generalDraft) *bool { return &g.hardening })},
	{name: "audit", set: setAudit},
	{name: "auditreads", set: boolean(func(g *generalDraft) *bool { return &g.Audit.Reads })},
	{name: "auditsize", set: size(func(g *generalDraft) *int64 { return &g.Audit.Size }, mega, 1024*giga)},
	{name: "auditfiles", set: integer(func(g *generalDraft) *int { return &g.Audit.Files }, 1, 10_000)},
	{name: "auditdays", set: integer(func(g *generalDraft) *int { return &g.Audit.Days }, 0, 36_500)},
}...)

// The range of queuelimit. The least holds the longest event of Asterisk.
const (
	leastQueue = 64 * kilo
	mostQueue  = giga
)

// setBanner takes the greeting; auto, the default, is none of its own.
func setBanner(v *value, g *generalDraft) {
	switch {
	case fold(v.text) == "auto":
		g.Banner = ""
	case v.text == "" || len(v.text) > 200 || !printable(v.text):
		v.errorf("the greeting must be one line of at most 200 bytes, or auto")
	default:
		g.Banner = v.text
		if !strings.HasPrefix(v.text, "Asterisk Call Manager") {
			v.warnf("clients look for a greeting that begins with Asterisk Call Manager")
		}
	}
}

// setAudit takes where the audit log goes.
func setAudit(v *value, g *generalDraft) {
	g.Audit.Path, g.Audit.Stderr = "", false
	switch fold(v.text) {
	case "":
		v.errorf("the name of a file is missing, or none, or stderr")
	case "none":
	case "stderr":
		g.Audit.Stderr = true
	default:
		g.Audit.Path = beside(v.file, v.text)
	}
}

// setDisabledEvents takes names of events. As in Asterisk the last line
// replaces those before it (manager.c: load_disabledevents).
func setDisabledEvents(v *value, g *generalDraft) {
	g.DisabledEvents = nil
	if v.text == "" {
		return
	}
	names, ok := list(v.text)
	if !ok {
		v.errorf("%s has an empty name in it", v.shown())
		return
	}
	for name := range strings.SplitSeq(v.text, ",") {
		// strings.c: ast_in_delimited_string skips the blanks before a name only.
		if name[len(name)-1] <= ' ' {
			v.warnf("%s has a blank before a comma: Asterisk would take it for a part of the name", v.shown())
			break
		}
	}
	g.DisabledEvents = names
}

// loadGeneral reads [general]; s is nil if there is none.
func (l *loading) loadGeneral(s *section) {
	l.general = defaultGeneral()
	g := &l.general
	var given values
	if s != nil {
		given = apply(l, s, true, generalKeys, g)
	}
	g.listen.finish(l, s, given, 5039, g.Enabled)
	g.BindAddr, g.TLSBindAddr = g.listen.plain(), g.listen.secure()
	g.TLSEnable = g.listen.tls
	g.TLSCertFile, g.TLSPrivateKey = g.listen.cert.name, g.listen.key.name
	g.finishClientCA(l, given)

	for name, limit := range map[string]int64{"queuelimit": g.QueueLimit, "answerlimit": g.AnswerLimit} {
		if v := given[name]; v != nil && limit > g.TotalLimit {
			v.errorf("%s is more than totallimit, %s", v.shown(), sizeText(g.TotalLimit))
		}
	}
	g.given = given
	l.generalDefaultPBX = given["defaultpbx"]
}
