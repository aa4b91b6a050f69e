package ajam

import (
	"strings"
	"testing"
)

// A page of another port, or of another host of the domain, can hide itself in a GET,
// and the browser sends the cookie with it. Sessions of logins by pages take none of them.
func TestPageThatHides(t *testing.T) {
	w := newWorld(t, standardUsers, nil)
	for _, told := range []string{"Origin: http://pbx", "Referer: http://pbx/static/live.html", "Sec-Fetch-Site: same-origin"} {
		b := w.browser()
		name, value, _ := strings.Cut(told, ": ")
		b.header.Set(name, strings.Replace(value, "pbx", strings.TrimPrefix(b.base, "http://"), 1))
		b.login("full")
		cookie := b.cookie
		if got := b.raw("action", "getvar", "variable", "x"); got == denied {
			t.Errorf("%s: the page got %q", told, got)
		}
		b.header.Del(name)
		for _, method := range []string{"GET", "HEAD", "POST"} {
			if r := b.send(method, "/rawman?action=getvar&variable=x", ""); r.StatusCode != 403 || r.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s, then a %s that says nothing: %s %q", told, method, r.Status, r.body)
			}
		}
		b.header.Set("Sec-Fetch-Site", "none")
		if got := b.raw("action", "getvar", "variable", "x"); got == denied || b.cookie != cookie {
			t.Errorf("%s, then a typed address: %q", told, got)
		}
	}
}
