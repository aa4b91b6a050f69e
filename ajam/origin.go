package ajam

import (
	"net/http"
	"net/url"
	"strings"
)

// mayComeFrom reports whether the page that sent a request, if one did, may do so: one
// of ours, or of a listed origin. It counts for logins too, and for GET, which runs
// actions like POST. Programs other than browsers send none of these headers.
//
// To a server without TLS browsers do not say Sec-Fetch-Site, and with a GET no Origin,
// so that Referer is all that there is.
func (h *Server) mayComeFrom(r *http.Request) bool {
	origins := r.Header["Origin"]
	switch {
	case len(origins) > 1:
		return false
	case len(origins) == 1 && h.origins[strings.ToLower(origins[0])]:
		return true
	case len(origins) == 1 && !isAt(origins[0], r.Host):
		return false
	}
	sites := r.Header["Sec-Fetch-Site"]
	if page := r.Header.Get("Referer"); page != "" && len(origins)+len(sites) == 0 {
		return h.isOurs(page, r.Host)
	}
	for _, site := range sites {
		if site != "same-origin" && site != "none" { // none: the user typed the address
			return false
		}
	}
	return true
}

// tellsPage reports whether the client has told which page sent a request, if one did.
func tellsPage(r *http.Request) bool {
	return len(r.Header["Origin"])+len(r.Header["Sec-Fetch-Site"]) > 0 || r.Header.Get("Referer") != ""
}

// hidesPage reports whether the client does not tell what it told with the login of its
// session. Without TLS a page that hides itself so may be of another site: with its GET a
// browser sends the cookie also if it is of another port, or of another host of the domain.
func hidesPage(r *http.Request, s *session) bool { return s.byPage.Load() && !tellsPage(r) }

// isOurs reports whether a page is ours, or of a listed origin.
func (h *Server) isOurs(page, host string) bool {
	u, err := url.Parse(page)
	return err == nil && (isAt(page, host) || h.origins[strings.ToLower(u.Scheme+"://"+u.Host)])
}

// isAt reports whether an origin is a host. Its scheme does not count: somebody before
// us may be the end of TLS.
func isAt(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// allowOrigin lets the pages of a listed origin read the answer. It reports whether
// the request only asked for that.
func (h *Server) allowOrigin(w http.ResponseWriter, r *http.Request) (asked bool) {
	if len(h.origins) == 0 {
		return false
	}
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !h.origins[strings.ToLower(origin)] {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	w.WriteHeader(http.StatusNoContent)
	return true
}
