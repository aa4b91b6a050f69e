package ajam

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// ownFiles are the live page and its library.
//
//go:embed static
var ownFiles embed.FS

const (
	staticPath = "/static/"
	// staticDescription is how the path is listed (http.c: staticuri).
	staticDescription = "HTTP Static Delivery"

	livePage = "live.html"
	// demoPage is where Asterisk has its own; who has its address finds ours.
	demoPage = "ajamdemo.html"
	// livePolicy lets the live page use its own files and this server only: a text that
	// a caller has chosen is nothing that runs there, whatever happens.
	livePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// A static serves the files below /static/: those of a folder, or else the live page.
type static struct {
	files fs.FS
	own   bool
	// loggedIn reports whether a request is of a session that has logged in.
	loggedIn func(*http.Request) bool
}

// newStatic serves the files of the folder dir, or the live page if dir is empty. It
// fails if dir cannot be opened. No name and no symbolic link leads out of dir.
func newStatic(dir string, loggedIn func(*http.Request) bool) (*static, error) {
	if dir == "" {
		files, err := fs.Sub(ownFiles, "static")
		return &static{files: files, own: true, loggedIn: loggedIn}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the folder of static files: %w", err)
	}
	return &static{files: root.FS(), loggedIn: loggedIn}, nil
}

// serveStatic answers a request for what is below /static/, and reports whether it was
// one. It comes before the test of origins: a link on another site may lead there.
func (h *Server) serveStatic(w http.ResponseWriter, r *http.Request) bool {
	p := h.options.Prefix + staticPath
	path := r.URL.Path
	if strings.EqualFold(path, strings.TrimSuffix(p, "/")) {
		path += "/"
	}
	if len(path) < len(p) || !strings.EqualFold(path[:len(p)], p) {
		return false
	}
	if h.static == nil {
		forbid(w)
		return true
	}
	h.static.serve(&patient{w, h.options.SessionInactivity}, r, path[len(p):])
	return true
}

// patient gives the client of a large file time for each part of it.
type patient struct {
	http.ResponseWriter
	limit time.Duration
}

func (p *patient) Write(b []byte) (n int, err error) {
	control := http.NewResponseController(p.ResponseWriter)
	for len(b) > 0 && err == nil {
		control.SetWriteDeadline(time.Now().Add(p.limit)) //nolint:errcheck // a connection has deadlines
		var m int
		m, err = p.ResponseWriter.Write(b[:min(len(b), writeSize)])
		n += m
		b = b[m:]
	}
	return n, err
}

// serve answers a request for a file; name is what follows /static/ in its path. The
// checks are Asterisk's, in its order (http.c: static_callback), but for hidden files
// below the first folder, which it serves: .git and .htpasswd are nobody's.
func (s *static) serve(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeError(w, http.StatusNotImplemented, "Not Implemented", "Attempt to use unimplemented / unsupported method")
		return
	}
	if s.own && (name == "" || name == demoPage) {
		w.Header().Set("Cache-Control", "no-cache")
		folder := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, name), "/")
		http.Redirect(w, r, folder+"/"+livePage, http.StatusFound)
		return
	}
	if name == "" || name[0] <= ' ' || strings.ContainsRune("./|~@#$%^&*()", rune(name[0])) || strings.Contains(name, "/.") {
		forbid(w)
		return
	}
	f, info, err := s.open(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		forbid(w)
		return
	case err != nil:
		writeError(w, http.StatusNotFound, "Not Found", "The requested URL was not found on this server.")
		return
	}
	defer f.Close()
	if strings.Contains("/"+name, "/private/") && !s.loggedIn(r) {
		forbid(w)
		return
	}
	s.send(w, r, name, f, info)
}

// forbid answers what is not served, or not to this client, with Asterisk's words.
func forbid(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	writeError(w, http.StatusForbidden, "Access Denied", "You do not have permission to access the requested URL.")
}

// open opens a file that is no folder.
func (s *static) open(name string) (fs.File, fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, nil, fs.ErrNotExist
	}
	// Not before it is known to be a file: to open a FIFO waits for its writer.
	info, err := fs.Stat(s.files, name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := s.files.Open(name)
	return f, info, err
}

// send sends a file, or what net/http makes of conditions and ranges.
func (s *static) send(w http.ResponseWriter, r *http.Request, name string, f fs.File, info fs.FileInfo) {
	content, ok := f.(io.ReadSeeker)
	if !ok { // Files of a folder and embedded ones can all seek.
		writeError(w, http.StatusInternalServerError, "Server Error", "This file cannot be sent.")
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // Ask each time: If-None-Match costs little.
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "text/plain" // http.c: ast_ftype2mtype
	}
	h.Set("Content-Type", kind)
	modified := info.ModTime()
	if s.own {
		modified = time.Time{} // Embedded files have none.
		h.Set("Content-Security-Policy", livePolicy)
		h.Set("Referrer-Policy", "no-referrer")
		sum := sha256.New()
		io.Copy(sum, content) //nolint:errcheck // from memory to memory
		h.Set("ETag", fmt.Sprintf(`"%x"`, sum.Sum(nil)[:16]))
	} else {
		h.Set("ETag", fmt.Sprintf(`"%x-%x"`, modified.UnixNano(), info.Size()))
	}
	http.ServeContent(w, r, name, modified, content)
}
