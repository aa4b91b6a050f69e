package ajam

import (
	"html"
	"net/http"
	"strconv"
)

// serverName is what the server calls itself. It shows no version to those who have not
// logged in.
const serverName = "amiproxy"

// writeError answers a request with Asterisk's error page (http.c: ast_http_error):
// title and text are plain text.
func writeError(w http.ResponseWriter, status int, title, text string) {
	title, text = html.EscapeString(title), html.EscapeString(text)
	page := `<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">` + "\r\n" +
		"<html><head>\r\n<title>" + strconv.Itoa(status) + " " + title + "</title>\r\n" +
		"</head><body>\r\n<h1>" + title + "</h1>\r\n<p>" + text + "</p>\r\n<hr />\r\n" +
		"<address>" + serverName + "</address>\r\n</body></html>\r\n"
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	w.Write([]byte(page)) //nolint:errcheck // the client has gone
}
