package ajam

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/proxy"
)

// realm is Asterisk's, when it has no systemname.
const realm = "asterisk"

// Options say how AMI over HTTP is served. They are what http.conf has, and some
// of manager.conf.
type Options struct {
	// BindAddr is where to listen for HTTP, TLSBindAddr for HTTPS if TLSEnable is set.
	BindAddr    netip.AddrPort
	TLSEnable   bool
	TLSBindAddr netip.AddrPort
	// TLSCertFile and TLSPrivateKey are PEM files; the key is in the first if the
	// second is empty. They are read again when they change.
	TLSCertFile, TLSPrivateKey string

	// Prefix begins every path: empty, or with a slash before and none after.
	Prefix string
	// SessionTimeout is how long a session without requests lives (httptimeout).
	SessionTimeout time.Duration
	// SessionLimit is how many connections there may be; of sessions there may be ten
	// times as many. One address may have half of each.
	SessionLimit int
	// SessionInactivity is how long a client may send or take nothing,
	// SessionKeepAlive how long it may leave its connection unused; 0: each request
	// has one of its own.
	SessionInactivity, SessionKeepAlive time.Duration
	// EnableStatic serves files below /static/: those of the folder Static, or the live
	// page if that is empty.
	EnableStatic bool
	Static       string
	// Origins are the web origins whose pages may send requests and read answers, beside
	// the server's own.
	Origins []string
}

// Server serves AMI over HTTP. Its methods are safe for use by many goroutines once
// Start has returned.
type Server struct {
	// Static after construction
	options  Options
	log      *zap.Logger
	tls      *tls.Config // nil: no TLS
	http     *http.Server
	origins  map[string]bool // in lower case
	sessions *sessions
	digests  *digests
	places   *places // of connections
	static   *static // nil: no files

	listeners []net.Listener // static after Start
	serving   sync.WaitGroup // the listeners' goroutines
}

// New makes a server for the sessions of srv. Nothing is started yet; it fails if
// the certificate or the folder of files cannot be used.
func New(o Options, srv *proxy.Server, log *zap.Logger) (*Server, error) {
	h := &Server{
		options: o, log: log,
		origins:  make(map[string]bool),
		sessions: newSessions(srv, o, log),
		digests:  newDigests(realm),
		places:   newPlaces("connections", o.SessionLimit, log),
	}
	for _, origin := range o.Origins {
		h.origins[strings.ToLower(origin)] = true
	}
	var err error
	if o.EnableStatic {
		if h.static, err = newStatic(o.Static, h.sessions.loggedIn); err != nil {
			return nil, err
		}
	}
	if o.TLSEnable {
		if h.tls, err = proxy.TLSConfig(o.TLSCertFile, o.TLSPrivateKey, log); err != nil {
			return nil, err
		}
		// Else HTTP/2 depends on which listener net/http serves first.
		h.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	h.http = &http.Server{
		Handler:           h,
		TLSConfig:         h.tls,
		ReadHeaderTimeout: o.SessionInactivity,
		IdleTimeout:       o.SessionKeepAlive,
		MaxHeaderBytes:    maxHead,
		ConnContext:       withPlace,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 32},
	}
	h.http.ErrorLog, _ = zap.NewStdLogAt(log, zap.DebugLevel) // of the mistakes of clients; the level is one
	h.http.SetKeepAlivesEnabled(o.SessionKeepAlive > 0)
	return h, nil
}

// Start opens the listeners and serves. An error names the listener that could not
// be opened; then nothing runs.
func (h *Server) Start() error {
	err := h.listen(h.options.BindAddr, false)
	if err == nil && h.tls != nil {
		err = h.listen(h.options.TLSBindAddr, true)
	}
	if err != nil {
		for _, l := range h.listeners {
			l.Close()
		}
		return err
	}
	for i, l := range h.listeners {
		h.serving.Go(func() {
			var err error
			if i == 0 {
				err = h.http.Serve(l)
			} else {
				err = h.http.ServeTLS(l, "", "")
			}
			if !errors.Is(err, http.ErrServerClosed) {
				h.log.Error("serving HTTP ended", zap.Error(err))
			}
		})
	}
	for _, u := range h.URIs() {
		h.log.Info("serving", zap.String("uri", u.Path), zap.String("what", u.Description))
	}
	return nil
}

// URIs are what is served, with descriptions, in the order of Asterisk's documentation.
func (h *Server) URIs() []proxy.URI {
	var all []proxy.URI
	for _, u := range uris {
		all = append(all, proxy.URI{Path: h.options.Prefix + "/" + u.name, Description: u.description})
	}
	if h.static != nil {
		all = append(all, proxy.URI{Path: h.options.Prefix + staticPath + "...", Description: staticDescription})
	}
	return all
}

func (h *Server) listen(addr netip.AddrPort, secure bool) error {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = " (another program has the port, Asterisk perhaps)"
		}
		return fmt.Errorf("cannot listen for AMI over HTTP: %w%s", err, hint)
	}
	h.listeners = append(h.listeners, &limited{l, h.places})
	h.log.Info("listening", zap.Stringer("address", l.Addr()), zap.Bool("tls", secure), zap.Bool("http", true))
	return nil
}

// Addrs are the addresses listened on, plain before TLS.
func (h *Server) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range h.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Shutdown stops listening at once, and returns when all requests under way have
// their answers; after the timeout what remains is cut. Those that wait for
// something end with their sessions: [proxy.Server.Shutdown] is to run beside it.
func (h *Server) Shutdown(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := h.http.Shutdown(ctx); err != nil {
		h.http.Close()
	}
	h.serving.Wait()
}

// uri is one of the paths that are served.
type uri struct {
	name, description string
	contentType       []string
	format            func(dst, frames []byte, f *form) []byte
	digest            bool // the client shows its secret by Digest, with every request
}

// uris are the paths that are served, with Asterisk's descriptions (manager.c:
// rawmanuri and those behind it).
var uris = []uri{
	{"rawman", "Raw HTTP Manager Event Interface", []string{"text/plain"}, appendRaw, false},
	{"manager", "HTML Manager Event Interface", []string{"text/html"}, appendHTML, false},
	{"mxml", "XML Manager Event Interface", []string{"text/xml"}, appendXML, false},
	{"arawman", "Raw HTTP Manager Event Interface w/Digest authentication", []string{"text/plain"}, appendRaw, true},
	{"amanager", "HTML Manager Event Interface w/Digest authentication", []string{"text/html"}, appendDigestHTML, true},
	{"amxml", "XML Manager Event Interface w/Digest authentication", []string{"text/xml"}, appendXML, true},
}

// find returns what is served at a path, nil if that is nothing. As in Asterisk the
// case does not matter, and one slash may follow (http.c: handle_uri).
func (h *Server) find(path string) *uri {
	prefix := h.options.Prefix + "/"
	if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
		return nil
	}
	name := strings.TrimSuffix(path[len(prefix):], "/")
	for i := range uris {
		if strings.EqualFold(uris[i].name, name) {
			return &uris[i]
		}
	}
	return nil
}
