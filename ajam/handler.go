package ajam

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/proxy"
)

// Limits of Asterisk (http.c: MAX_HTTP_LINE_LENGTH, MAX_HTTP_REQUEST_HEADERS,
// MAX_CONTENT).
const (
	maxLine    = 4096
	maxHeaders = 100
	maxBody    = 40960
	// maxHead bounds all lines together.
	maxHead = 64 << 10
)

// writeSize is how much a client has to take in Options.SessionInactivity.
const writeSize = 16 << 10

// Headers of every answer are set without Header.Set, which makes a slice of each.
var (
	headerServer  = []string{serverName}
	headerNoSniff = []string{"nosniff"}
	headerPragma  = []string{"SuppressEvents"}
	headerNoCache = []string{"no-cache, no-store"}
)

// ServeHTTP serves one request.
func (h *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.giveTime(w)
	h.boundBody(w, r)
	w.Header()["Server"] = headerServer
	w.Header()["X-Content-Type-Options"] = headerNoSniff
	u := h.find(r.URL.EscapedPath()) // as it came: Asterisk decodes no path
	switch {
	case !checkHead(w, r):
	case h.serveStatic(w, r):
	case u == nil:
		writeError(w, http.StatusNotFound, "Not Found", "The requested URL was not found on this server.")
	case h.allowOrigin(w, r):
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
		writeError(w, http.StatusNotImplemented, "Not Implemented", "Attempt to use unimplemented / unsupported method")
	case !h.mayComeFrom(r):
		refusePage(w)
	default:
		if f := h.read(w, r); f != nil && u.digest {
			h.runDigest(w, r, u, f)
		} else if f != nil {
			h.run(w, r, u, f)
		}
	}
}

// giveTime gives the client time to take what is sent next: an action may have taken
// longer than the client may.
func (h *Server) giveTime(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.options.SessionInactivity)) //nolint:errcheck // a connection has deadlines
}

// boundBody bounds how long a client takes to send its body, whoever reads it: net/http
// reads what we have not before it sends the answer. After a body whose end a server before
// us may see elsewhere the connection is closed (RFC 9112, 6.1: Content-Length beside
// Transfer-Encoding, or that in HTTP/1.0; net/http has taken away what tells them apart).
func (h *Server) boundBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.options.SessionInactivity)) //nolint:errcheck // a connection has deadlines
	if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
		w.Header().Set("Connection", "close")
	}
}

// checkHead answers a request with a head beyond the limits.
func checkHead(w http.ResponseWriter, r *http.Request) bool {
	refuse := func(status int, title, text string) bool {
		w.Header().Set("Connection", "close")
		writeError(w, status, title, text)
		return false
	}
	if len(r.Method)+len(r.RequestURI)+len(r.Proto)+2 >= maxLine {
		return refuse(http.StatusBadRequest, "Bad Request", "Request line too long")
	}
	n := 1 // Host is no more among them
	for name, values := range r.Header {
		for _, v := range values {
			n++
			if len(name)+len(": ")+len(v) >= maxLine {
				return refuse(http.StatusBadRequest, "Bad Request", "Header line too long")
			}
		}
	}
	if n > maxHeaders {
		return refuse(http.StatusRequestEntityTooLarge, "Request Entity Too Large", "Too many headers")
	}
	return true
}

// read reads what the request asks for: the query of GET and HEAD, the body of POST.
// It answers one that cannot be.
func (h *Server) read(w http.ResponseWriter, r *http.Request) *form {
	query := r.URL.RawQuery
	if r.Method == http.MethodPost {
		body, ok := h.readBody(w, r)
		if !ok {
			return nil
		}
		query = body
	}
	f, err := parseForm(query)
	if err != nil {
		writeError(w, http.StatusBadRequest, "Bad Request", "Refused: "+err.Error())
		return nil
	}
	return f
}

// readBody reads a body that holds a form; of any other kind it takes nothing, as
// Asterisk does (http.c: ast_http_get_post_vars).
func (h *Server) readBody(w http.ResponseWriter, r *http.Request) (text string, ok bool) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return "", true
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case err == nil:
		http.NewResponseController(w).SetReadDeadline(time.Time{}) //nolint:errcheck // a connection has deadlines; a passed one would look like the client's end
		return string(body), true
	case errors.As(err, &tooLarge):
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large", "Body too large")
	default:
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusBadRequest, "Bad Request", "Error reading request")
	}
	return "", false
}

// run runs the action in the session of the request, a new one if it has none.
func (h *Server) run(w http.ResponseWriter, r *http.Request, u *uri, f *form) {
	a := f.action()
	s := h.sessions.of(r)
	fresh := s == nil
	if !fresh && hidesPage(r, s) {
		refusePage(w)
		return
	}
	for {
		if s == nil {
			var err error
			if s, err = h.sessions.open(r); err != nil {
				h.refuse(w, err)
				return
			}
		}
		settle(r, s)
		answer, err := h.sessions.do(w, r, s, fresh, a)
		switch {
		case errors.Is(err, proxy.ErrSessionOver) && !fresh:
			s, fresh = nil, true // it ended as the request came
			continue
		case err != nil:
			h.refuse(w, err)
			return
		}
		defer answer.Close()
		w.Header()["Pragma"] = headerPragma
		h.answer(w, r, u, f, s, answer)
		return
	}
}

// refusePage answers a request that a page of another site sent, or may have sent.
func refusePage(w http.ResponseWriter) {
	writeError(w, http.StatusForbidden, "Forbidden", "Pages of other sites may not send requests.")
}

// refuse answers a request that no session could take.
func (h *Server) refuse(w http.ResponseWriter, err error) {
	h.giveTime(w)
	switch {
	case errors.Is(err, errTooMany):
		writeError(w, http.StatusServiceUnavailable, "Service Unavailable", "Too many sessions")
	case errors.Is(err, proxy.ErrLockedOut):
		writeError(w, http.StatusForbidden, "Forbidden", "Too many logins have failed")
	default: // it was cut, or all is about to end
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusServiceUnavailable, "Service Unavailable", "The session has ended")
	}
}

// answer sends the answer in the format of the URI.
func (h *Server) answer(w http.ResponseWriter, r *http.Request, u *uri, f *form, s *session, answer *proxy.WebAnswer) {
	settle(r, s)
	body := u.format(nil, answer.Frames, f)
	answer.Count(len(body))
	header := w.Header()
	header["Cache-Control"] = headerNoCache
	header["Content-Type"] = u.contentType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	h.giveTime(w)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	for len(body) > 0 {
		select {
		case <-s.Cut():
			panic(http.ErrAbortHandler)
		default:
		}
		h.giveTime(w)
		n, err := w.Write(body[:min(len(body), writeSize)])
		answer.Sent(n)
		if err != nil {
			return
		}
		body = body[n:]
	}
}
