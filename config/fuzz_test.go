package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: no text makes Load panic or hang, or show a secret that is not in
// the text itself; every error says where.
func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("[pbx:a]\n#include west.secret\nhost=${MARKER_VALUE}\n"))
	f.Add([]byte("[general]\naclfile = west.secret\ntlsenable=yes\ntlscertfile=west.secret\n"))
	l := world(testFiles(), testEnv)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := l.Parse("test.conf", text)
		if (c == nil) != (err != nil) {
			t.Fatal("a configuration or an error, not both")
		}
		shown := ""
		for _, e := range findings(t, err) {
			if e.File == "" || e.Line < 1 || e.Reason == "" {
				t.Fatalf("%+v says not where or why", e)
			}
			shown += e.Error() + "\n"
		}
		if c != nil {
			shown += strings.Join(c.Warnings, "\n")
		}
		if strings.Contains(shown, "MARKER-") && !strings.Contains(string(text), "MARKER-") {
			t.Fatalf("a secret is shown: %s", shown)
		}
		if strings.ContainsAny(shown, "\x00\r") {
			t.Fatalf("control characters are shown: %q", shown)
		}
	})
}
