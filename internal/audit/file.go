package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is the file that is written to. Its methods are for one goroutine.
type file struct {
	o     Options
	f     *os.File // nil: not open
	begun string   // the day on which it was
}

// stampForm is what the name of a full file ends in: the time at which it was
// full, in UTC. In their order these names are as old as they sort.
const stampForm = "20060102T150405.000000000Z"

// check says why the file cannot be opened, without making it.
func (f *file) check() error {
	if dir, err := os.Stat(filepath.Dir(f.o.Path)); err != nil {
		return fmt.Errorf("audit log: the folder must be there: %w", err)
	} else if !dir.IsDir() {
		return fmt.Errorf("audit log: %s is no folder", filepath.Dir(f.o.Path))
	}
	info, err := os.Stat(f.o.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("audit log: %w", err)
	}
	// To open a pipe would wait for its reader.
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("audit log: %s is no regular file", f.o.Path)
	}
	return nil
}

func (f *file) open() error {
	if err := f.check(); err != nil {
		return err
	}
	opened, err := os.OpenFile(f.o.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	f.f, f.begun = opened, today()
	if info, err := opened.Stat(); err == nil && info.Size() > 0 {
		f.begun = day(info.ModTime())
		f.endLine(info.Size())
	}
	f.prune()
	return nil
}

// endLine ends a last line that was broken off, so that the next one is whole.
func (f *file) endLine(size int64) {
	var last [1]byte
	if _, err := f.f.ReadAt(last[:], size-1); err == nil && last[0] != '\n' {
		f.f.Write([]byte("\n")) //nolint:errcheck // the next line shows what is wrong
	}
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
		f.f = nil
	}
}

// Write writes whole lines or nothing.
func (f *file) Write(lines []byte) (int, error) {
	size, err := f.ready(int64(len(lines)))
	if err != nil {
		f.close()
		return 0, err
	}
	n, err := f.f.Write(lines)
	if err != nil {
		if n > 0 { // the disk is full: no half of a line is to stay
			f.f.Truncate(size) //nolint:errcheck // endLine ends it then
		}
		f.close()
		return 0, fmt.Errorf("audit log: %w", err)
	}
	return n, nil
}

// ready makes sure that the file is the one of that name, which others may have
// moved or taken away, and has room. It returns its size.
func (f *file) ready(more int64) (size int64, err error) {
	if f.f != nil {
		mine, err := f.f.Stat()
		named, namedErr := os.Stat(f.o.Path)
		if err != nil || namedErr != nil || !os.SameFile(mine, named) {
			f.close()
		}
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	info, err := f.f.Stat()
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	full := f.o.Size > 0 && info.Size()+more > f.o.Size
	old := f.o.Age > 0 && f.begun != today()
	if info.Size() == 0 || !full && !old {
		return info.Size(), nil
	}
	return 0, f.rotate(info.Mode().Perm())
}

// rotate begins a new file, which may be read by whom the one before may.
func (f *file) rotate(mode os.FileMode) error {
	f.close()
	full := f.o.Path + "." + time.Now().UTC().Format(stampForm)
	if err := os.Rename(f.o.Path, full); err != nil {
		return fmt.Errorf("audit log: begin a new file: %w", err)
	}
	if err := f.open(); err != nil {
		return err
	}
	return f.f.Chmod(mode)
}

// prune removes full files that are too many or too old. What cannot be removed
// stays.
func (f *file) prune() {
	full, _ := filepath.Glob(globQuote(f.o.Path) + ".*")
	full = slices.DeleteFunc(full, func(name string) bool {
		_, err := time.Parse(stampForm, strings.TrimPrefix(name, f.o.Path+"."))
		return err != nil // somebody else's
	})
	slices.Sort(full)
	if n := len(full) - f.o.Files; f.o.Files > 0 && n > 0 {
		for _, name := range full[:n] {
			os.Remove(name)
		}
		full = full[n:]
	}
	oldest := f.o.Path + "." + time.Now().Add(-f.o.Age).UTC().Format(stampForm)
	for _, name := range full {
		if f.o.Age > 0 && name < oldest {
			os.Remove(name)
		}
	}
}

// globQuote takes the meaning from what is a pattern in a path.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func today() string { return day(time.Now()) }

func day(t time.Time) string { return t.Format(time.DateOnly) }

var _ io.Writer = (*file)(nil)
