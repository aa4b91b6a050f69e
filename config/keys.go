package config

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// key is one key of a kind of section. The tables of keys (generalKeys,
// httpKeys, pbxKeys, aclKeys, userKeys) are all there is to know about what a
// section may hold: to add a key is to add a line.
type key[T any] struct {
	name string
	// many: the key may be given more than once and every line counts. Of
	// others the last line counts, as in Asterisk.
	many bool
	// set judges a value and stores it.
	set func(v *value, t *T)
}

// value is an entry on its way into a field.
type value struct {
	entry
	l       *loading
	section string
	// text is the value with ${NAME} expanded. It is never shown.
	text string
}

func (v *value) errorf(format string, args ...any) {
	v.l.report.errorf(v.place, v.section, v.key, format, args...)
}

func (v *value) warnf(format string, args ...any) {
	v.l.report.warnf(v.place, v.section, v.key, format, args...)
}

// shown is the value for the eyes of people: as the file has it, so that no
// content of a variable is in it, and not too long.
func (v *value) shown() string {
	const most = 60
	if len(v.value) > most {
		return fmt.Sprintf("%q…", v.value[:most])
	}
	return fmt.Sprintf("%q", v.value)
}

// values are the last lines of keys, by name.
type values map[string]*value

// apply judges the entries of a section by a table of keys and sets the fields
// of t. It returns what was given, right or wrong.
func apply[T any](l *loading, s *section, expand bool, keys []key[T], t *T) values {
	given := values{}
	for _, e := range s.entries {
		name := baseKey(e.key)
		i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == name })
		if i < 0 {
			l.unknownKey(s, e, closest(name, names(keys)))
			continue
		}
		k := keys[i]
		v := &value{entry: e, l: l, section: s.name, text: e.value}
		before := given[name]
		given[name] = v
		if !k.many && before != nil && !before.inherited && !e.inherited {
			v.warnf("given again: this line counts, not that at %s", before.place)
		}
		if expand && !v.expand() {
			continue
		}
		k.set(v, t)
	}
	return given
}

// baseKey is the name of a key in the tables: without case, and without the
// criteria of eventfilter(…).
func baseKey(key string) string {
	name, _, _ := strings.Cut(fold(key), "(")
	return name
}

func names[T any](keys []key[T]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, k := range keys {
			if !yield(k.name) {
				return
			}
		}
	}
}

// hints tell of keys that Asterisk knows and we do not.
var hints = map[string]string{
	"debug":        "manager.conf's debug is for the developers of Asterisk",
	"channelvars":  "set channelvars in the manager.conf of the PBX",
	"sslenable":    "write tlsenable",
	"sslbindaddr":  "write tlsbindaddr",
	"tlsbindport":  "write tlsbindaddr with a port",
	"sslbindport":  "write tlsbindaddr with a port",
	"sslcert":      "write tlscertfile",
	"tlscert":      "write tlscertfile",
	"enablestatic": "write enable_static",
	"password":     "write secret",
	"nextsecret":   "write the next one as secret, and the one before it as oldsecret",
}

// unknownKey reports a key that its section does not know. The value is not
// shown: the key may be a misspelled secret.
func (l *loading) unknownKey(s *section, e entry, guess string) {
	name := baseKey(e.key)
	reason := "unknown key"
	switch {
	case guess != "":
		reason += fmt.Sprintf(" (did you mean %s?)", guess)
	case hints[name] != "":
		reason += ": " + hints[name]
	default:
		if kinds := kindsOf(name); len(kinds) > 0 {
			reason += " here: it belongs in " + strings.Join(kinds, " or ")
		}
	}
	l.report.errorf(e.place, s.name, e.key, "%s", reason)
}

// kindsOf names the kinds of sections that know a key.
func kindsOf(key string) []string {
	var kinds []string
	for _, k := range allKeys() {
		if slices.Contains(k.names, baseKey(key)) {
			kinds = append(kinds, k.kind)
		}
	}
	return kinds
}

type kindKeys struct {
	kind  string
	names []string
}

// allKeys is every table of keys, by the kind of section.
func allKeys() []kindKeys {
	return []kindKeys{
		{"[general]", slices.Collect(names(generalKeys))},
		{"[http]", slices.Collect(names(httpKeys))},
		{"[pbx:NAME]", slices.Collect(names(pbxKeys))},
		{"[acl:NAME]", slices.Collect(names(aclKeys))},
		{"[tenant:NAME]", slices.Collect(names(tenantKeys))},
		{"a user section", slices.Collect(names(userKeys))},
	}
}

// closest returns the name that a word was probably meant to be; empty if
// none is near.
func closest(word string, candidates iter.Seq[string]) string {
	best, least := "", 3
	for c := range candidates {
		if d := distance(word, c); d < least && d < (len(c)+1)/2 {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap with their
// neighbour on the way from one word to another.
func distance(a, b string) int {
	if len(a) > maxKeyShown || len(b) > maxKeyShown {
		return maxKeyShown
	}
	var d [maxKeyShown + 1][maxKeyShown + 1]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			best := min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				best = min(best, d[i-2][j-2]+1)
			}
			d[i][j] = best
		}
	}
	return d[len(a)][len(b)]
}
