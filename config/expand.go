package config

import (
	"bytes"
	"strings"
)

// expand replaces ${NAME} in the value by environment variables. Anything else
// with a $ stays. What a variable holds is never shown; its name is.
func (v *value) expand() bool {
	var b strings.Builder
	rest := v.value
	for {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			v.text = b.String()
			return true
		}
		name, after, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			v.errorf("${ without the name of a variable and } (a secret that holds ${ can be given by secretfile)")
			return false
		}
		content, ok := v.l.loader.LookupEnv(name)
		if !ok {
			v.errorf("the environment variable %s is not set", name)
			return false
		}
		if strings.ContainsAny(content, "\r\n\x00") {
			v.errorf("the environment variable %s holds a line end or NUL byte", name)
			return false
		}
		b.WriteString(content)
		rest = after
	}
}

func isVariable(name string) bool {
	for i := range len(name) {
		if !isWord(name[i]) {
			return false
		}
	}
	return name != "" && (name[0] < '0' || name[0] > '9')
}

// secret is what secret and secretfile give.
type secret struct {
	text  string
	given bool

	file path
}

// secretKeys are the two ways to give a secret.
func secretKeys[T any](field func(*T) *secret) []key[T] {
	return []key[T]{
		{name: "secret", set: func(v *value, t *T) {
			s := field(t)
			s.text, s.given = v.text, true
		}},
		{name: "secretfile", set: file(func(t *T) *path { return &field(t).file })},
	}
}

// resolve reads the secretfile if there is one; false if there is no usable
// secret, which is then reported or was never given.
func (s *secret) resolve(l *loading, given values) bool {
	fileLine := given["secretfile"]
	if fileLine == nil {
		return s.given
	}
	if given["secret"] != nil {
		fileLine.errorf("a secret is given at %s as well: one of both", given["secret"].place)
		return false
	}
	if s.file.from == nil {
		return false
	}
	s.text, s.given = s.file.readSecret(l)
	return s.given
}

// readSecret returns the secret that stands in the file, or reports why not.
func (p path) readSecret(l *loading) (string, bool) {
	content, mode, err := l.loader.read(p.name)
	if err != nil {
		p.from.errorf("%s: %s", p.from.shown(), plainError(err))
		return "", false
	}
	line, found := bytes.CutSuffix(content, []byte("\n"))
	if found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch {
	case len(line) == 0:
		p.from.errorf("%s is empty", p.from.shown())
		return "", false
	case bytes.ContainsAny(line, "\r\n\x00"):
		p.from.errorf("%s holds more than one line", p.from.shown())
		return "", false
	}
	if mode&0o007 != 0 {
		p.from.warnf("everybody may read or write %s (mode %04o)", p.from.shown(), mode.Perm())
	}
	return string(line), true
}
