//go:build unix

package proxy

import (
	"os"
	"syscall"
	"testing"
)

// A certificate that becomes a pipe holds up nobody: it is not opened.
func TestTLSCertificateIsAPipe(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{tls: true})
	os.Remove(w.certFile)
	if err := syscall.Mkfifo(w.certFile, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pipe is noticed", func() bool {
		conn, err := w.dialTLS(trusting())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		return w.logs.FilterMessageSnippet("not read again").Len() > 0
	})
}
