package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManualNamesEveryKey: the manual has a row for every key, in the chapter
// of its section, and no others.
func TestManualNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../docs/manual/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	chapters := map[string]string{}
	for _, c := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(c, "\n")
		chapters[title] = body
	}
	for _, k := range allKeys() {
		title := strings.Replace(k.kind, "a user section", "Users", 1)
		var rows []string
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*)\\|").FindAllStringSubmatch(chapters[title], -1) {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				if name := baseKey(name[1]); !slices.Contains(rows, name) {
					rows = append(rows, name)
				}
			}
		}
		slices.Sort(rows)
		slices.Sort(k.names)
		if !slices.Equal(rows, k.names) {
			t.Errorf("%s: the manual has %v, the table of keys %v", k.kind, rows, k.names)
		}
	}
}
