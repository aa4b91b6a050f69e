package ajam

import (
	"net/http/httptest"
	"testing"
)

func TestWriteError(t *testing.T) {
	w := httptest.NewRecorder()
	writeError(w, 404, "Not Found", "<b>")
	const want = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\r\n<html><head>\r\n<title>404 Not Found</title>\r\n</head><body>\r\n" +
		"<h1>Not Found</h1>\r\n<p>&lt;b&gt;</p>\r\n<hr />\r\n<address>amiproxy</address>\r\n</body></html>\r\n"
	h := w.Header()
	if w.Code != 404 || w.Body.String() != want || h.Get("Content-Type") != "text/html" || h.Get("Cache-Control") != "no-cache, no-store" {
		t.Errorf("%d %v %q", w.Code, h, w.Body)
	}
}
