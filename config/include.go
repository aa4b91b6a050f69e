package config

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of #include.
const (
	// maxDepth is how deep files may include files (config.c:
	// MAX_INCLUDE_LEVEL).
	maxDepth = 10
	// maxFiles is how many files one configuration may consist of.
	maxFiles = 1000
)

// directive does what a line with # at its start says. Asterisk ignores those
// it does not know; so do we, with a warning, as lines put out of use by a #
// are common. Only what looks like one of ours is an error.
func (r *reader) directive(at place, line string, cur *section) {
	word, argument := line[1:], ""
	if i := strings.IndexFunc(word, func(c rune) bool { return c <= ' ' }); i >= 0 {
		word, argument = word[:i], trim(word[i:])
	}
	switch word := fold(word); word {
	case "include", "tryinclude":
		if argument == "" {
			r.problem(at, cur, "#%s needs the name of a file", word)
			return
		}
		r.include(at, unquote(argument), word == "tryinclude", cur)
	case "exec":
		r.problem(at, cur, "#exec is not supported: this proxy runs no programs")
	default:
		if guess := closest(word, slices.Values([]string{"include", "tryinclude", "exec"})); guess != "" {
			r.problem(at, cur, "unknown directive (did you mean #%s?)", guess)
			return
		}
		name := ""
		if cur != nil {
			name = cur.name
		}
		r.report.warnf(at, name, "", "a line that begins with # is ignored, as in Asterisk; comments begin with ;")
	}
}

// unquote removes "" or <> around the name of a file.
func unquote(s string) string {
	for _, q := range []string{`""`, "<>"} {
		if len(s) >= 2 && s[0] == q[0] && s[len(s)-1] == q[1] {
			return s[1 : len(s)-1]
		}
	}
	return s
}

// include reads the files of an #include in the order of their names. The
// lines after it go on in the section that the #include stands in.
func (r *reader) include(at place, pattern string, try bool, cur *section) {
	if pattern == "" || !printable(pattern) {
		r.problem(at, cur, "an #include without a file name, or with control characters in it")
		return
	}
	if len(r.stack) > maxDepth {
		r.problem(at, cur, "#include is nested too deep (more than %d)", maxDepth)
		return
	}
	path := beside(at.file, pattern)
	if !strings.ContainsAny(pattern, "*?[{") {
		r.file(at, path, try, cur)
		return
	}
	if strings.Contains(pattern, "{") {
		r.problem(at, cur, "braces in the name of an #include are not supported")
		return
	}
	// Asterisk's glob knows [!a], Go's [^a].
	pattern = strings.ReplaceAll(path, "[!", "[^")
	matches, err := r.loader.Glob(pattern)
	if err != nil {
		r.problem(at, cur, "%q is not a valid pattern", path)
		return
	}
	slices.Sort(matches)
	for _, m := range matches {
		if !hiddenMatch(pattern, m) {
			r.file(at, m, try, cur)
		}
	}
}

// hiddenMatch reports whether a name that begins with a dot was matched by a
// wildcard: glob(3) does not do that, Go does, and editors leave such files.
func hiddenMatch(pattern, path string) bool {
	p, m := strings.Split(filepath.Clean(pattern), "/"), strings.Split(filepath.Clean(path), "/")
	for i := range min(len(p), len(m)) {
		if strings.HasPrefix(m[i], ".") && !strings.HasPrefix(p[i], ".") {
			return true
		}
	}
	return false
}

// file reads one included file.
func (r *reader) file(at place, path string, try bool, cur *section) {
	path = filepath.Clean(path)
	if slices.Contains(r.stack, path) {
		r.problem(at, cur, "#include of %q, which is being read already", path)
		return
	}
	if r.files++; r.files > maxFiles {
		r.problem(at, cur, "#include of more than %d files", maxFiles)
		return
	}
	text, _, err := r.loader.read(path)
	if r.bytes += len(text); r.bytes > maxFile {
		err = errTooLarge
	}
	switch {
	case try && errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		r.problem(at, cur, "#include of %q: %s", path, plainError(err))
		return
	}
	r.stack = append(r.stack, path)
	r.text(path, text, cur)
	r.stack = r.stack[:len(r.stack)-1]
}

// beside makes a path that is relative to a file one that can be opened.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

var (
	errTooLarge   = errors.New("too large")
	errNotRegular = errors.New("not a regular file")
)

// read returns what a regular file holds, and its mode.
func (l *Loader) read(path string) ([]byte, fs.FileMode, error) {
	f, err := l.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errNotRegular
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, err
	}
	if len(text) > maxFile {
		return nil, 0, errTooLarge
	}
	if info.Mode()&0o004 != 0 {
		l.exposed = append(l.exposed, path)
	}
	return text, info.Mode(), nil
}

// plainError is the reason of a file error without the path in it, which may
// hold the value of an environment variable.
func plainError(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, errTooLarge), errors.Is(err, errNotRegular):
		return err.Error()
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return "cannot be read"
}
