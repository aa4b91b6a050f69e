package config

import (
	"errors"
	"strings"
)

// maxComments is how deep block comments may be nested (config.c:
// MAX_NESTED_COMMENTS).
const maxComments = 128

// comments removes comments from line to line, as Asterisk does
// (main/config.c: config_text_file_load).
type comments struct {
	// open are the lines that began the block comments still open.
	open []int
}

// strip returns what is left of a line. The rules are Asterisk's, in its order
// of tests at every semicolon: after a backslash it is itself, and the
// backslash goes; before two dashes and no third it opens a block; after two
// dashes it closes one; else it ends the line, or means nothing in a block.
func (c *comments) strip(line string, number int) (string, error) {
	var kept strings.Builder
	from := 0 // what lies before it is done with
	keep := func(to int) {
		if len(c.open) == 0 {
			kept.WriteString(line[from:to])
		}
	}
	for {
		i := strings.IndexByte(line[from:], ';')
		if i < 0 {
			keep(len(line))
			return kept.String(), nil
		}
		i += from
		rest := line[i+1:]
		switch {
		case i > from && line[i-1] == '\\':
			keep(i - 1)
			if len(c.open) == 0 {
				kept.WriteByte(';')
			}
			from = i + 1
		case strings.HasPrefix(rest, "--") && !strings.HasPrefix(rest, "---"):
			if len(c.open) == maxComments {
				return "", errors.New("block comments are nested too deep")
			}
			keep(i)
			c.open = append(c.open, number)
			from = i + 3
		case i >= from+2 && line[i-2:i] == "--":
			if len(c.open) == 0 {
				// Asterisk counts to minus one and skips the rest of the file.
				return "", errors.New(`--; closes a block comment that no ;-- opened`)
			}
			c.open = c.open[:len(c.open)-1]
			from = i + 1
		case len(c.open) == 0:
			keep(i)
			return kept.String(), nil
		default:
			from = i + 1
		}
	}
}
