package ajam

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// getStatic asks s for what follows /static/, as it stands in a request line.
func getStatic(t *testing.T, s *static, name string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	path := "/static/" + name
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	r.URL = &url.URL{Path: path}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.serve(w, r, strings.TrimPrefix(path, "/static/"))
	return w.Result()
}

func openStatic(t *testing.T, dir string, loggedIn bool) *static {
	t.Helper()
	s, err := newStatic(dir, func(*http.Request) bool { return loggedIn })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStaticOwn asks for the live page, which runs nothing but its own files.
func TestStaticOwn(t *testing.T) {
	s := openStatic(t, "", false)
	for _, name := range []string{"", "ajamdemo.html"} {
		r := getStatic(t, s, name)
		if r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/static/live.html" {
			t.Errorf("%q leads to %d %s", name, r.StatusCode, r.Header.Get("Location"))
		}
	}
	for name, kind := range map[string]string{"live.html": "text/html", "live.css": "text/css", "live.js": "text/javascript", "livetable.js": "text/javascript", "astman.js": "text/javascript"} {
		r := getStatic(t, s, name)
		if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Header.Get("Content-Type"))
		}
		if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s has the policy %q", name, policy)
		}
		tag := r.Header.Get("ETag")
		if r := getStatic(t, s, name, "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %d for If-None-Match: %s", name, r.StatusCode, tag)
		}
		if r := getStatic(t, s, name, "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d for an older ETag", name, r.StatusCode)
		}
	}
	if r := getStatic(t, s, "mantest.html"); r.StatusCode != http.StatusNotFound {
		t.Errorf("mantest.html: %d", r.StatusCode)
	}
}

// TestStaticFolder asks for the files of a folder, and for what is outside.
func TestStaticFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "files")
	for name, text := range map[string]string{
		"secret": "outside", "files/page.html": "a page", "files/deep/a.css": "a style", "files/unknown.thing": "a thing",
		"files/.hidden": "hidden", "files/deep/.git/config": "hidden", "files/private/p.html": "private", "files/deep/private/p.html": "private",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for to, from := range map[string]string{"../secret": "link", "/etc": "etc", "page.html": "inside.html"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	s := openStatic(t, dir, false)
	for name, want := range map[string]int{
		"page.html": 200, "deep/a.css": 200, "unknown.thing": 200, "inside.html": 200,
		"": 403, ".hidden": 403, "../secret": 403, "%2e%2e/secret": 403, "deep/../page.html": 403, "deep/.git/config": 403, "deep/../../secret": 403,
		"/etc/passwd": 403, "|x": 403, "~x": 403, "@x": 403, "#x": 403, "$x": 403, "%25x": 403, "^x": 403, "&x": 403, "*x": 403, "(x": 403, ")x": 403, "%20x": 403, "%00": 403,
		"private/p.html": 403, "deep/private/p.html": 403,
		"deep": 404, "deep/": 404, "deep//a.css": 404, "none": 404, "private/none": 404, "ajamdemo.html": 404, "live.html": 404,
		"page.html%00": 404, "link": 404, "etc/passwd": 404, `deep\..\..\secret`: 404,
	} {
		r := getStatic(t, s, name)
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, want)
		}
		if want == 403 && r.Header.Get("Connection") != "close" {
			t.Errorf("%s leaves the connection open", name)
		}
	}
	if r := getStatic(t, openStatic(t, dir, true), "private/p.html"); r.StatusCode != http.StatusOK {
		t.Errorf("a private file is refused to who has logged in: %d", r.StatusCode)
	}
	if kind := getStatic(t, s, "unknown.thing").Header.Get("Content-Type"); kind != "text/plain" {
		t.Errorf("a file of unknown kind is %s", kind)
	}
	tag := getStatic(t, s, "page.html").Header.Get("ETag")
	if r := getStatic(t, s, "page.html", "If-None-Match", tag); tag == "" || r.StatusCode != http.StatusNotModified {
		t.Errorf("%d for If-None-Match: %s", r.StatusCode, tag)
	}
	if _, err := newStatic(filepath.Join(top, "none"), nil); err == nil || !strings.Contains(err.Error(), "folder of static files") {
		t.Errorf("a folder that is not there: %v", err)
	}
	r := httptest.NewRequest(http.MethodPost, "/static/page.html", nil)
	w := httptest.NewRecorder()
	if s.serve(w, r, "page.html"); w.Code != http.StatusNotImplemented {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestStaticServed asks the server for files, as its first user and as who comes from a
// page of another site.
func TestStaticServed(t *testing.T) {
	w := newWorld(t, standardUsers, func(o *Options) { o.EnableStatic, o.Prefix = true, "/pbx" })
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(w *world, path string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+w.web.Addrs()[0].String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = path
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer
	}
	for path, want := range map[string]int{
		"/pbx/static": 302, "/PBX/Static/": 302, "/pbx/static/ajamdemo.html": 302,
		"/pbx/static/live.html": 200, "/static/live.html": 404, "/pbx/staticlive.html": 404,
		"/pbx/static/../static.go": 403, "/pbx/static/%2e%2e/static.go": 403, "/pbx/static/x/..%2f..%2fstatic.go": 403,
	} {
		r := get(w, path)
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
		if to := r.Header.Get("Location"); want == 302 && !strings.EqualFold(to, "/pbx/static/live.html") {
			t.Errorf("%s leads to %s", path, to)
		}
	}
	without := newWorld(t, standardUsers, nil)
	if r := get(without, "/static/live.html"); r.StatusCode != http.StatusForbidden {
		t.Errorf("without enable_static: %d", r.StatusCode)
	}
}
