package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLines are single lines of a section and what Asterisk's rules make of
// them; "!" stands for an error.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  string // key=value|key=value
	}{
		{"a=b", "a=b"},
		{"a = b", "a=b"},
		{"a=>b", "a=b"},
		{"a => b", "a=b"},
		{"a =>> b", "a=> b"},
		{"a = >b", "a=>b"},
		{"a = => b", "a==> b"},
		{"a = b = c", "a=b = c"},
		{"a =", "a="},
		{"\t a\t=\t b \t", "a=b"},
		{"a = b\r", "a=b"},
		{"a = \x01b\x01", "a=b"},
		{"a = b;c", "a=b"},
		{"a = b ; c = d", "a=b"},
		{`a = b\;c ; d`, "a=b;c"},
		{`a = b\\;c`, `a=b\;c`},
		{`a = \;;c`, "a=;"},
		{`a = b\`, `a=b\`},
		{`\a = b`, "a=b"},
		{`a = "b"`, `a="b"`},
		{"a = b # c", "a=b # c"},
		{"a = caf\xe9", "a=caf\xe9"},
		{"a = ;-- b --; c", "a=c"},
		{"a ;-- x\ny\n--; = b", "!"}, // two lines: what is before, what is after
		{"a = 1 ;-- x\nb = 2\n--; c = 3", "a=1|c=3"},
		{"a = 1 ;-- x ;-- y --; z --;2", "a=1 2"},
		{"a = 1 ;-- x\n;-- y --;\nb = 2\n--;\nc = 3", "a=1|c=3"},
		{"a = 1 ;--- no block\nb = 2", "a=1|b=2"},
		{"a = 1 ;-- x ; y --; 2 ; z", "a=1  2"},
		{"a = 1 ;-- \\;-- x --; 2", "a=1  2"},
		{"a = b--; c", "!"},
		{"a", "!"},
		{"= b", "!"},
		{"a b = c", "!"},
		{"a += b", "!"},
		{"a: b", "!"},
		{`\`, "!"},
		{";-- x", "!"},
		{"a = b\x00c", "!"},
		{"a = b\rc", "!"},
		{"a = " + strings.Repeat("x", maxLine), "!"},
		{strings.Repeat(";--", maxComments+1), "!"},
	} {
		l := world(nil, nil)
		g := &loading{loader: &l, report: newReport(), file: "f"}
		sections := g.sections("f", []byte("[s]\n"+c.lines+"\n"))
		var got []string
		for _, e := range sections[0].entries {
			got = append(got, e.key+"="+e.value)
		}
		text := strings.Join(got, "|")
		if g.report.err() != nil {
			text = "!"
		}
		if text != c.want {
			t.Errorf("%.60q: got %q, want %q", c.lines, text, c.want)
		}
	}
}

func TestSectionAfterInclude(t *testing.T) {
	// A key after an #include belongs to the section around it, even if the
	// included file opened another.
	got := drafts(t, map[string]string{"b.conf": "read = call\n[b]\nread = agent\n"},
		"[a]\nsecret = x\n#include b.conf\nwrite = call\n")
	for name, want := range map[string]string{"a": "call,all call,all", "b": "agent,all <none>"} {
		o := got[name].options
		if o.Read.String()+" "+o.Write.String() != want {
			t.Errorf("%s: read %s, write %s", name, o.Read, o.Write)
		}
	}
}

func TestIncludeBounds(t *testing.T) {
	deep := map[string]string{}
	for i := range 12 {
		deep[fmt.Sprintf("d%d.conf", i)] = fmt.Sprintf("#include d%d.conf\n", i+1)
	}
	wide := map[string]string{}
	for i := range 20 {
		wide[fmt.Sprintf("w%d.conf", i)] = "#include w*.conf\n"
	}
	for name, c := range map[string]struct {
		files map[string]string
		text  string
		want  string
	}{
		"deep":   {deep, "#include d0.conf\n", "nested too deep"},
		"self":   {map[string]string{"a.conf": ""}, "#include test.conf\n", "being read already"},
		"wide":   {wide, "#include w0.conf\n", "being read already"},
		"large":  {map[string]string{"a.conf": strings.Repeat(" ", maxFile+1)}, "#include a.conf\n", "too large"},
		"hidden": {map[string]string{".a.conf": "nonsense", "b.conf": "[b]\n"}, "#include *.conf\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := world(c.files, nil).Parse("test.conf", []byte(c.text))
			if c.want == "" && err == nil {
				return
			}
			if err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.500v", err)
			}
		})
	}
}

func TestNoHang(t *testing.T) {
	bomb := "[t0](!)\na = b\n"
	for i := range 40 {
		bomb += fmt.Sprintf("[t%d](!,t%d,t%d,t%d)\n", i+1, i, i, i)
	}
	for name, text := range map[string]string{
		"sections":    strings.Repeat("[a]\n", 20_000),
		"users":       numbered("[u%d]\nsecret=x\n", 20_000),
		"keys":        "[acl:a]\n" + strings.Repeat("deny=10.0.0.1\n", 20_000),
		"unknown":     "[a]\n" + numbered("k%d=x\n", 20_000),
		"inheritance": bomb + "[u](t40)\n",
		"garbage":     strings.Repeat("x\n", 200_000),
		"comments":    strings.Repeat(";-- --;", 200_000),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := parse(text)
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %s", d)
			}
			if n := len(findings(t, err)); n > maxFindings+1 {
				t.Errorf("%d findings", n)
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestErrorOrder(t *testing.T) {
	_, err := world(map[string]string{"b.conf": "[b]\nx = 1\n"}, nil).
		Parse("test.conf", []byte("[crm]\nx = 1\n#include b.conf\n[general]\nport = x\nx = 1\n"))
	var got []string
	for _, e := range findings(t, err) {
		got = append(got, fmt.Sprintf("%s:%d", e.File, e.Line))
	}
	if want := []string{"test.conf:2", "test.conf:5", "test.conf:6", "b.conf:2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "test.conf:2: [crm] x: ") {
		t.Errorf("got %q", err)
	}
}

func TestTablesAreSound(t *testing.T) {
	for _, k := range allKeys() {
		for i, name := range k.names {
			if name != fold(name) || !plainKey(name) {
				t.Errorf("%s: the key %q can never match", k.kind, name)
			}
			if slices.Contains(k.names[:i], name) {
				t.Errorf("%s: %s is there twice", k.kind, name)
			}
		}
	}
}
