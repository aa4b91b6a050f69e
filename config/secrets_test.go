package config

import (
	"fmt"
	"strings"
	"testing"
)

// wrecks are ways to spoil a line that holds a secret.
var wrecks = []func(line string) string{
	func(s string) string { return strings.Replace(s, "=", "", 1) },
	func(s string) string { return strings.Replace(s, "=", ":", 1) },
	func(s string) string { return strings.Replace(s, "=", "+=", 1) },
	func(s string) string { return strings.Replace(s, "=", "", 1) + "==" },
	func(s string) string { return "x" + s },
	func(s string) string { return s[1:] },
	func(s string) string { return s[:1] + s[2:] },
	func(s string) string { return "my " + s },
	func(s string) string { return `"` + s + `"` },
	func(s string) string { return "#" + s },
	func(s string) string { return s + "\n" + s },
	func(s string) string { return s + "\nsecretfile = west.secret" },
	func(s string) string { return s + "\nsecretfile = ${MARKER_VALUE}" },
	func(s string) string { return s + "\x00" },
	func(s string) string { return s + "\rx" },
	func(s string) string { return s + "--;" },
	func(s string) string { return s + "${" },
	func(s string) string { return s + "${}" },
	func(s string) string { return s + "${MARKER-x}" },
	func(s string) string { return s + strings.Repeat("x", maxLine) },
	func(s string) string { return ";--" + s },
	func(s string) string { return "[]\n" + s },
	func(s string) string { return strings.Replace(s, "= ", "= $argon2id$", 1) },
	func(s string) string { return "secret = ${TWO_LINES}" },
	func(s string) string { return "#include west.secret" },
	func(s string) string { return "secretfile = twolines.secret" },
	func(s string) string { return "host = ${MARKER_VALUE}:5038\n" + s },
	func(s string) string { return "username = ${MARKER_VALUE}\u0001\n" + s },
	func(s string) string { return strings.Replace(s, "= ", "= $2b$04$", 1) },
	func(s string) string { return "old" + strings.Replace(s, "= ", "= $6$", 1) },
	func(s string) string { return s + "\noldsecretfile = west.secret\noldsecretfile = twolines.secret" },
	func(s string) string { return strings.Repeat("old"+s+"\n", 6) },
	func(s string) string { return "links = ${MARKER_VALUE}\n" + s },
	func(s string) string { return "tls = ${MARKER_VALUE}\n" + s },
	func(s string) string { return "tlspin = ${MARKER_VALUE}\n" + s },
	func(s string) string { return "tlscafile = ${MARKER_VALUE}\n" + s },
	func(s string) string { return "tlscafile = west.secret\n" + s },
	func(s string) string { return "read = ${MARKER_VALUE}\n" + s },
	func(s string) string { return "tlsservername = ${MARKER_VALUE} \x01x\n" + s },
}

// TestSecretsAreNeverShown spoils every line of a configuration in every way.
func TestSecretsAreNeverShown(t *testing.T) {
	// A $ in the marker: what looks like a key may be shown.
	const text = `[general]
banner = Hello
[base](!)
secret = MARKER-$base
[pbx:east]
host = 10.0.0.5
username = proxy
secret = MARKER-$east
[pbx:west](base)
host = 10.0.0.6
username = ${EAST_SECRET}
[crm]
secret = MARKER-$crm
oldsecret = MARKER-$crmold
[wallboard](base)
read = all
`
	lines := strings.Split(text, "\n")
	l := world(testFiles(), testEnv)
	seen := 0
	for i, line := range lines {
		if line == "" {
			continue
		}
		for j, wreck := range wrecks {
			spoilt := append([]string(nil), lines...)
			spoilt[i] = wreck(line)
			c, err := l.Parse("test.conf", []byte(strings.Join(spoilt, "\n")))
			shown := fmt.Sprint(err)
			if c != nil {
				shown += strings.Join(c.Warnings, "\n")
			}
			seen += len(findings(t, err))
			if strings.Contains(shown, "MARKER-$") || strings.Contains(shown, "MARKER-v") ||
				strings.Contains(shown, "MARKER-e") || strings.Contains(shown, "MARKER-a") || strings.Contains(shown, "MARKER-w") {
				t.Errorf("line %d, wreck %d: a secret is shown:\n%s", i+1, j, shown)
			}
		}
	}
	if seen < 300 {
		t.Errorf("only %d errors: the test has lost its teeth", seen)
	}
}
