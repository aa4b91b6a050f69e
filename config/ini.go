package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/ini.v1"
)

// iniOptions leave ini.v1 nothing to guess. What they cannot turn off, the
// canonical text has no room for.
var iniOptions = ini.LoadOptions{
	IgnoreContinuation:      true,
	IgnoreInlineComment:     true,
	PreserveSurroundedQuote: true,
	KeyValueDelimiters:      "=",
	ChildSectionDelimiter:   "\n", // cannot be in a name
	AllowNonUniqueSections:  true, // all are unique: only spares the search
}

// iniKeys is how many keys go into one section of the canonical text: for
// every key ini.v1 searches all that its section has.
const iniKeys = 100

// canonical writes sections as a text that ini.v1 can read in only one way:
// every section and key has a number before its name, so that none is met
// twice, is called DEFAULT or begins with something special, and every value
// stands between < and >, so that nothing at its ends can be taken for a
// blank, a quote or a continuation.
func canonical(sections []*section) string {
	var b strings.Builder
	n := 0
	for _, s := range sections {
		for part := range parts(s.entries) {
			fmt.Fprintf(&b, "[%d %s]\n", n, s.name)
			n++
			for i, e := range part {
				fmt.Fprintf(&b, "%d %s = <%s>\n", i, e.key, e.value)
			}
		}
	}
	return b.String()
}

// parts cuts the entries of a section to pieces; one for a section without any.
func parts(entries []entry) func(func([]entry) bool) {
	if len(entries) == 0 {
		return slices.Values([][]entry{nil})
	}
	return slices.Chunk(entries, iniKeys)
}

var errINI = errors.New("internal: ini.v1 did not read the canonical text as it was written")

// throughINI hands the sections to ini.v1 and takes names, keys and values
// from what it read, in order. That they are those that went in is checked:
// a difference is an error, never a silent change. No text of ini.v1's own
// errors is passed on: they quote lines.
func throughINI(sections []*section) ([]*section, error) {
	file, err := ini.LoadSources(iniOptions, []byte(canonical(sections)))
	if err != nil {
		return nil, errINI
	}
	read := file.Sections()
	if len(read) == 0 || len(read[0].Keys()) != 0 {
		return nil, errINI
	}
	read = read[1:] // after DEFAULT
	n := 0
	out := make([]*section, len(sections))
	for i, s := range sections {
		o := *s
		o.entries = make([]entry, 0, len(s.entries))
		for part := range parts(s.entries) {
			if n >= len(read) {
				return nil, errINI
			}
			name, ok := unnumber(read[n].Name(), n)
			keys := read[n].Keys()
			n++
			if !ok || name != s.name || len(keys) != len(part) {
				return nil, errINI
			}
			o.name = name
			for j, k := range keys {
				e := part[j]
				key, ok := unnumber(k.Name(), j)
				value := k.Value() // String would expand %(name)s
				if !ok || key != e.key || value != "<"+e.value+">" {
					return nil, errINI
				}
				e.key, e.value = key, value[1:len(value)-1]
				o.entries = append(o.entries, e)
			}
		}
		out[i] = &o
	}
	if n != len(read) {
		return nil, errINI
	}
	return out, nil
}

// unnumber removes the number before a name and checks it.
func unnumber(name string, number int) (string, bool) {
	n, rest, ok := strings.Cut(name, " ")
	return rest, ok && n == strconv.Itoa(number)
}
