package audit

import (
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk that is full in the middle of a line keeps no half of it.
func TestDiskIsFull(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	troubles := make(chan error, 10)
	l := start(t, Options{Path: name, Trouble: func(err error) { troubles <- err }})
	put(t, l, name, "one\n")
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	full := before
	full.Cur = 1000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	l.Write([]byte(strings.Repeat("x", 2000) + "\n"))
	if err := <-troubles; err == nil {
		t.Error("no trouble")
	}
	if got := read(t, name); got != "one\n" {
		t.Errorf("%d bytes are in the file", len(got))
	}
	restore()
	put(t, l, name, "two\n")
	if got := read(t, name); got != "one\nlost 1\ntwo\n" {
		t.Errorf("got %q", got)
	}
	select {
	case err := <-troubles:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("not told that it works again")
	}
}
