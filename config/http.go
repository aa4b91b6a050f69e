package config

import (
	"net/netip"
	"strings"
	"time"
)

// HTTP is the [http] section, for AMI over HTTP.
type HTTP struct {
	Enabled     bool
	BindAddr    netip.AddrPort // bindaddr and bindport
	TLSEnable   bool
	TLSBindAddr netip.AddrPort
	TLSCertFile string
	// TLSPrivateKey is the key's file; the certificate's if empty.
	TLSPrivateKey string

	// Prefix begins every path: empty, or with a slash before and none after.
	Prefix string
	// SessionTimeout is how long a session without requests lives: the
	// httptimeout of [general].
	SessionTimeout time.Duration
	// SessionLimit is how many connections there may be; of sessions there may be ten
	// times as many. One address may have half of each.
	SessionLimit int
	// SessionInactivity is how long a connection may be silent, and
	// SessionKeepAlive how long between two requests; 0: no next request.
	SessionInactivity, SessionKeepAlive time.Duration

	// EnableStatic serves the files of the folder Static; if that is empty, the live
	// page.
	EnableStatic bool
	Static       string
	// Origins are the web origins whose pages may send requests and read answers.
	Origins []string
}

// httpDraft is [http] while it is being read.
type httpDraft struct {
	HTTP
	listen listener
	static path
	given  values
}

// httpKeys are the keys of [http]. http.conf's times are in milliseconds.
var httpKeys = append(listenerKeys("bindport", func(h *httpDraft) *listener { return &h.listen }), []key[httpDraft]{
	// Those of http.conf.
	{name: "enabled", set: boolean(func(h *httpDraft) *bool { return &h.Enabled })},
	{name: "prefix", set: setPrefix},
	{name: "sessionlimit", set: integer(func(h *httpDraft) *int { return &h.SessionLimit }, 1, 1_000_000)},
	{name: "session_inactivity", set: duration(func(h *httpDraft) *time.Duration { return &h.SessionInactivity }, time.Millisecond, 1, time.Millisecond, 24*time.Hour)},
	{name: "session_keep_alive", set: duration(func(h *httpDraft) *time.Duration { return &h.SessionKeepAlive }, time.Millisecond, 1, 0, 24*time.Hour)},
	{name: "enable_static", set: boolean(func(h *httpDraft) *bool { return &h.EnableStatic })},
	// Our own.
	{name: "static", set: file(func(h *httpDraft) *path { return &h.static })},
	{name: "origins", set: setOrigins},
}...)

// setPrefix takes the prefix with or without slashes around it.
func setPrefix(v *value, h *httpDraft) {
	p := strings.Trim(v.text, "/")
	if strings.ContainsAny(p, " ?#%\\") || !printable(p) || strings.Contains("/"+p+"/", "/../") || strings.Contains(p, "//") {
		v.errorf("%s is no path", v.shown())
		return
	}
	h.Prefix = ""
	if p != "" {
		h.Prefix = "/" + p
	}
}

// setOrigins takes web origins, as browsers write them, or none.
func setOrigins(v *value, h *httpDraft) {
	h.Origins = nil
	if v.text == "" || fold(v.text) == "none" {
		return
	}
	items, ok := list(v.text)
	for _, o := range items {
		scheme, host, found := strings.Cut(o, "://")
		if !found || scheme != "http" && scheme != "https" || host == "" || strings.ContainsAny(host, "/*?#@ ") || !printable(host) {
			ok = false
		}
	}
	if !ok {
		v.errorf("%s is no list of origins such as https://crm.example.com", v.shown())
		return
	}
	h.Origins = items
}

// loadHTTP reads [http]; s is nil if there is none.
func (l *loading) loadHTTP(s *section) {
	l.http = httpDraft{
		HTTP: HTTP{
			SessionTimeout:    l.general.httpTimeout,
			SessionLimit:      100,
			SessionInactivity: 30 * time.Second,
			SessionKeepAlive:  15 * time.Second,
		},
		listen: listener{addr: loopback, port: 8088},
	}
	h := &l.http
	if s != nil {
		h.given = apply(l, s, true, httpKeys, h)
	}
	given := h.given
	switch v, ok := given["enabled"]; {
	case !ok:
		h.Enabled = l.general.webEnabled
	case h.Enabled && !l.general.webEnabled:
		v.warnf("has no effect without webenabled = yes in [general]")
		h.Enabled = false
	}
	if v, ok := given["static"]; ok && !h.EnableStatic {
		v.warnf("has no effect without enable_static = yes")
	}
	h.listen.finish(l, s, given, 8089, h.Enabled)
	h.BindAddr, h.TLSBindAddr = h.listen.plain(), h.listen.secure()
	h.TLSEnable = h.listen.tls
	h.TLSCertFile, h.TLSPrivateKey = h.listen.cert.name, h.listen.key.name
	h.Static = h.static.name
}
