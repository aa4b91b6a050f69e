package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the .want files of testdata")

// TestGolden loads every testdata/NAME.conf: what NAME.want holds are its
// errors, or, if there are none, its warnings.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".conf"), func(t *testing.T) {
			c, err := world(testFiles(), testEnv).Load(name)
			var got strings.Builder
			switch {
			case err != nil:
				for _, e := range findings(t, err) {
					got.WriteString("error: " + e.Error() + "\n")
				}
				if c != nil {
					t.Error("an error and a configuration")
				}
			default:
				for _, w := range c.Warnings {
					got.WriteString("warning: " + w + "\n")
				}
			}
			if strings.Contains(got.String(), "MARKER-") {
				t.Errorf("a secret is shown:\n%s", &got)
			}
			file := strings.TrimSuffix(path, ".conf") + ".want"
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", &got, want)
			}
		})
	}
}
