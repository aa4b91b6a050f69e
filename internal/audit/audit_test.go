package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lost(n int) []byte { return fmt.Appendf(nil, "lost %d\n", n) }

// start starts a log that the end of the test closes.
func start(t *testing.T, o Options) *Log {
	t.Helper()
	o.Lost = lost
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// full are the files that were full, the oldest first.
func full(t *testing.T, name string) []string {
	t.Helper()
	names, err := filepath.Glob(name + ".2*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// put writes a line and waits until it is in the file.
func put(t *testing.T, l *Log, name, line string) {
	t.Helper()
	l.Write([]byte(line))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if text, _ := os.ReadFile(name); strings.HasSuffix(string(text), line) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q is not in %s: %q", line, name, read(t, name))
		}
	}
}

func TestLinesOfMany(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l := start(t, Options{Path: name})
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for j := range 200 {
				l.Write(fmt.Appendf(nil, "%d %d %s\n", i, j, strings.Repeat("x", 100)))
			}
		})
	}
	writers.Wait()
	l.Close()
	l.Close()
	next := [8]int{}
	for line := range strings.Lines(read(t, name)) {
		var i, j int
		if _, err := fmt.Sscanf(line, "%d %d", &i, &j); err != nil || j != next[i] || len(line) < 104 {
			t.Fatalf("line %q, want number %d: %v", line, next[i], err)
		}
		next[i]++
	}
	for i, n := range next {
		if n != 200 {
			t.Errorf("%d lines of %d", n, i)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What a crash left in the middle of a line does not take the next one with it.
func TestBrokenLineIsEnded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	write(t, name, "one\ntw")
	l := start(t, Options{Path: name})
	put(t, l, name, "three\n")
	if got := read(t, name); got != "one\ntw\nthree\n" {
		t.Errorf("got %q", got)
	}
}

func TestRotation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit[1].log")
	write(t, name, "")
	write(t, name+".bak", "not ours")
	l := start(t, Options{Path: name, Size: 100, Files: 2})
	for i := range 12 {
		put(t, l, name, fmt.Sprintf("%d%s\n", i%10, strings.Repeat("x", 38)))
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*"))
	if err != nil || len(names) != 4 {
		t.Errorf("%q, %v", names, err)
	}
	var text string
	for _, n := range names {
		if strings.HasPrefix(n, name+".2") {
			text += read(t, n)
			if info, err := os.Stat(n); err != nil || info.Size() > 100 {
				t.Errorf("%s: %d bytes", n, info.Size())
			}
		}
	}
	if want := strings.Join([]string{"6", "7", "8", "9", "0", "1"}, ""); firsts(text+read(t, name)) != want {
		t.Errorf("kept %q, want %q", firsts(text+read(t, name)), want)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the new file has mode %v, not that of the one before", info.Mode())
	}
}

func firsts(text string) (firsts string) {
	for line := range strings.Lines(text) {
		firsts += line[:1]
	}
	return firsts
}

// With an age a file is begun every day, and old ones go.
func TestAge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	synctest.Test(t, func(t *testing.T) {
		l := start(t, Options{Path: name, Age: 48 * time.Hour})
		for day := range 6 {
			l.Write(fmt.Appendf(nil, "%d\n", day))
			synctest.Wait()
			time.Sleep(24 * time.Hour)
		}
		var text string
		for _, n := range full(t, name) {
			text += read(t, n)
		}
		if text += read(t, name); firsts(text) != "2345" && firsts(text) != "345" {
			t.Errorf("kept %q", text)
		}
	})
}

// Others may move the file, as logrotate does.
func TestFileIsMoved(t *testing.T) {
	for _, create := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "audit.log")
		l := start(t, Options{Path: name})
		put(t, l, name, "one\n")
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
		if create {
			write(t, name, "")
		}
		put(t, l, name, "two\n")
		if one, two := read(t, name+".1"), read(t, name); one != "one\n" || two != "two\n" {
			t.Errorf("%q and %q", one, two)
		}
	}
}

// What cannot be written is lost, counted and told when writing works again; the
// trouble is told once.
func TestFileCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "audit.log")
	troubles := make(chan error, 10)
	l := start(t, Options{Path: name, Trouble: func(err error) { troubles <- err }})
	put(t, l, name, "one\n")
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		l.Write([]byte("two\n"))
		for end := time.Now().Add(20 * time.Second); l.Lost() != uint64(i+1); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d lost, want %d", l.Lost(), i+1)
			}
		}
	}
	if err := <-troubles; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("trouble: %v", err)
	}
	if err := os.Rename(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	put(t, l, name, "three\n")
	if got := read(t, name); got != "one\nlost 3\nthree\n" {
		t.Errorf("got %q", got)
	}
	if err := <-troubles; err != nil || len(troubles) > 0 {
		t.Errorf("%v, and %d more", err, len(troubles))
	}
}

// stuck is a disk that takes its time.
type stuck struct {
	wait chan struct{}
	text strings.Builder
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.wait
	return s.text.Write(p)
}

// Nobody waits for a disk that hangs, nor does what waits for it grow without
// bound.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &stuck{wait: make(chan struct{})}
		l := start(t, Options{Writer: disk})
		began := time.Now()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 3 * queueLimit / len(line) {
			l.Write(line)
		}
		events, _ := l.queue.Size()
		if time.Since(began) != 0 || events > queueLimit {
			t.Errorf("after %v %d bytes wait", time.Since(began), events)
		}
		close(disk.wait)
		synctest.Wait()
		l.Write([]byte("last\n"))
		l.Close()
		if l.Lost() != 2*queueLimit/1024 || !strings.HasSuffix(disk.text.String(), fmt.Sprintf("\nlost %d\nlast\n", l.Lost())) {
			t.Errorf("%d lost; the end is %q", l.Lost(), disk.text.String()[disk.text.Len()-40:])
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &stuck{wait: make(chan struct{})}
		l := start(t, Options{Writer: disk})
		l.Write([]byte("x\n"))
		began := time.Now()
		l.Close()
		if took := time.Since(began); took != closeLimit {
			t.Errorf("it took %v", took)
		}
		close(disk.wait)
	})
}

func TestBadPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "")
	for _, name := range []string{dir, dir + "/none/audit.log", dir + "/file/audit.log", os.DevNull} {
		if _, err := New(Options{Path: name, Lost: lost}); err == nil || !strings.Contains(err.Error(), "audit log: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Options{Path: dir + "/new", Lost: lost}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/new"); err == nil {
		t.Error("New has made the file")
	}
	l, _ := New(Options{Writer: io.Discard, Lost: lost})
	l.Close() // without Start
}
