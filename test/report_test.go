package test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var reporting sync.Mutex

// report adds a line to the file that the environment variable AMIPROXY_REPORT names: make
// test prints it at its end, since go test hides what a package that passes has logged.
// Without the variable the line goes to the log of tb. It may be called concurrently.
func report(tb testing.TB, format string, args ...any) {
	tb.Helper()
	line := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	name := os.Getenv("AMIPROXY_REPORT")
	if name == "" {
		tb.Log(line)
		return
	}
	reporting.Lock()
	defer reporting.Unlock()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		tb.Errorf("add to the report: %v", err)
	}
}
