package config

import (
	"slices"
	"testing"

	"gopkg.in/ini.v1"
)

// entriesOf reads a text and returns the entries of one section as key, value,
// key, value, and so on.
func entriesOf(t *testing.T, text, name string) []string {
	t.Helper()
	l := world(nil, nil)
	g := &loading{loader: &l, report: newReport(), file: "test.conf"}
	sections := g.sections("test.conf", []byte(text))
	if err := g.report.err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		if s.name != name {
			continue
		}
		got := []string{}
		for _, e := range s.entries {
			got = append(got, e.key, e.value)
		}
		return got
	}
	return nil
}

// rawINI parses a text with ini.v1 alone, repeated keys allowed.
func rawINI(t *testing.T, text string) *ini.File {
	t.Helper()
	f, err := ini.LoadSources(ini.LoadOptions{AllowShadows: true}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// trap shows for a text what ini.v1 makes of it on its own, and what we do.
func trap(t *testing.T, text, section string, raw func(*ini.Section) []string, wrong, right []string) {
	t.Helper()
	if got := raw(rawINI(t, text).Section(section)); !slices.Equal(got, wrong) {
		t.Errorf("ini.v1 alone: got %q, expected the trap %q", got, wrong)
	}
	if got := entriesOf(t, text, section); !slices.Equal(got, right) {
		t.Errorf("ours: got %q, want %q", got, right)
	}
}

// rawEntries are the keys that ini.v1 lists, each with its values.
func rawEntries(s *ini.Section) []string {
	got := []string{}
	for _, k := range s.Keys() {
		got = append(got, k.Name())
		got = append(got, k.ValueWithShadows()...)
	}
	return got
}

func rawKey(name string) func(*ini.Section) []string {
	return func(s *ini.Section) []string { return []string{s.Key(name).String()} }
}

func TestTrapChildSectionInherits(t *testing.T) {
	trap(t, "[a]\nread = all\n[a.b]\nsecret = x\n", "a.b",
		rawKey("read"), []string{"all"},
		[]string{"secret", "x"})
}

func TestTrapHashInSecret(t *testing.T) {
	trap(t, "[crm]\nsecret = one #two\n", "crm",
		rawKey("secret"), []string{"one"},
		[]string{"secret", "one #two"})
}

func TestTrapArrow(t *testing.T) {
	trap(t, "[crm]\nsecret => one\n", "crm",
		rawKey("secret"), []string{"> one"},
		[]string{"secret", "one"})
}

func TestTrapTrailingBackslash(t *testing.T) {
	trap(t, "[crm]\nsecret = one\\\ndeny = 0.0.0.0/0\n", "crm",
		rawEntries, []string{"secret", "onedeny = 0.0.0.0/0"},
		[]string{"secret", `one\`, "deny", "0.0.0.0/0"})
}

func TestTrapQuotes(t *testing.T) {
	trap(t, "[crm]\nsecret = \"one\"\n", "crm",
		rawKey("secret"), []string{"one"},
		[]string{"secret", `"one"`})
	trap(t, "[crm]\nsecret = 'one'\n", "crm",
		rawKey("secret"), []string{"one"},
		[]string{"secret", "'one'"})
}

func TestTrapBackticks(t *testing.T) {
	trap(t, "[crm]\nsecret = `one`\n", "crm",
		rawKey("secret"), []string{"one"},
		[]string{"secret", "`one`"})
	trap(t, "[crm]\nsecret = `one\nread = two`\n", "crm",
		rawEntries, []string{"secret", "one\nread = two"},
		[]string{"secret", "`one", "read", "two`"})
}

func TestTrapTripleQuotes(t *testing.T) {
	trap(t, "[crm]\nsecret = \"\"\"one\ndeny = x\"\"\"\n", "crm",
		rawEntries, []string{"secret", "one\ndeny = x"},
		[]string{"secret", `"""one`, "deny", `x"""`})
}

func TestTrapEqualLinesDropped(t *testing.T) {
	trap(t, "[crm]\npermit = 10.0.0.1\ndeny = 0.0.0.0/0\npermit = 10.0.0.1\n", "crm",
		rawEntries, []string{"permit", "10.0.0.1", "deny", "0.0.0.0/0"},
		[]string{"permit", "10.0.0.1", "deny", "0.0.0.0/0", "permit", "10.0.0.1"})
}

func TestTrapOrderBetweenKeys(t *testing.T) {
	trap(t, "[crm]\ndeny = 1.0.0.0/8\npermit = 1.1.0.0/16\ndeny = 1.1.1.0/24\n", "crm",
		rawEntries, []string{"deny", "1.0.0.0/8", "1.1.1.0/24", "permit", "1.1.0.0/16"},
		[]string{"deny", "1.0.0.0/8", "permit", "1.1.0.0/16", "deny", "1.1.1.0/24"})
}

func TestTrapInterpolation(t *testing.T) {
	trap(t, "[crm]\nread = all\nsecret = a%(read)s\n", "crm",
		rawKey("secret"), []string{"aall"},
		[]string{"read", "all", "secret", "a%(read)s"})
}

func TestTrapDefaultSection(t *testing.T) {
	// To ini.v1 [DEFAULT] is what stands before the first section, and %(…)s
	// finds its keys from anywhere.
	trap(t, "[DEFAULT]\nsecret = s\n[crm]\nread = %(secret)s\n", "crm",
		rawKey("read"), []string{"s"},
		[]string{"read", "%(secret)s"})
	if got := entriesOf(t, "[DEFAULT]\nsecret = s\n", "DEFAULT"); !slices.Equal(got, []string{"secret", "s"}) {
		t.Errorf("ours: got %q", got)
	}
	if c := mustParse(t, "[DEFAULT]\nsecret = s\n[pbx:e]\nhost=h\nusername=u\nsecret=x\n"); c.Users["default"] == nil {
		t.Error("no user DEFAULT")
	}
}

func TestTrapAutoIncrement(t *testing.T) {
	trap(t, "[crm]\n- = one\n- = two\n", "crm",
		rawEntries, []string{"#1", "one", "#2", "two"},
		[]string{"-", "one", "-", "two"})
	if _, err := parse("[crm]\n- = one\n"); err == nil {
		t.Error("the key - is accepted")
	}
}

func TestTrapColon(t *testing.T) {
	text := "[crm]\neventfilter(header(a:b)) = one\n"
	trap(t, text, "crm",
		rawEntries, []string{"eventfilter(header(a", "b)) = one"},
		[]string{"eventfilter(header(a:b))", "one"})
	if _, err := parse("[crm]\nsecret: one\n"); err == nil {
		t.Error("a colon is accepted for =")
	}
}

func TestTrapQuotedKey(t *testing.T) {
	if got := rawINI(t, "[crm]\n\"secret\" = x\n").Section("crm").Key("secret").String(); got != "x" {
		t.Errorf("ini.v1 alone: got %q", got)
	}
	if _, err := parse("[crm]\n\"secret\" = x\n"); err == nil {
		t.Error("a quoted key is accepted")
	}
}

func TestTrapBOM(t *testing.T) {
	// ini.v1 alone skips a BOM, of UTF-16 as well, which it cannot read.
	f := rawINI(t, "\xff\xfe[crm]\nsecret = x\n")
	if got := f.Section("crm").Key("secret").String(); got != "x" {
		t.Errorf("ini.v1 alone: got %q", got)
	}
	if _, err := parse("\xff\xfe[crm]\nsecret = x\n"); err == nil {
		t.Error("UTF-16 is accepted")
	}
	if got := entriesOf(t, "\xef\xbb\xbf[crm]\nsecret = \xef\xbb\xbfx\n", "crm"); !slices.Equal(got, []string{"secret", "\xef\xbb\xbfx"}) {
		t.Errorf("ours: got %q", got)
	}
}

func TestTrapNoBreakSpace(t *testing.T) {
	trap(t, "[crm]\nsecret = one\u00a0\n", "crm",
		rawKey("secret"), []string{"one"},
		[]string{"secret", "one\u00a0"})
}

func TestTrapSectionName(t *testing.T) {
	// ini.v1 takes the last bracket of the line, in a comment as well.
	f := rawINI(t, "[crm] ; see [1]\nsecret = x\n")
	if got := f.Section("crm] ; see [1").Key("secret").String(); got != "x" {
		t.Errorf("ini.v1 alone: sections %q", f.SectionStrings())
	}
	if got := entriesOf(t, "[crm] ; see [1]\nsecret = x\n", "crm"); !slices.Equal(got, []string{"secret", "x"}) {
		t.Errorf("ours: got %q", got)
	}
}

func TestTrapEscapedSemicolon(t *testing.T) {
	trap(t, "[crm]\nsecret = one\\;two\n", "crm",
		rawKey("secret"), []string{`one\`},
		[]string{"secret", "one;two"})
}

func TestTrapLineNumbers(t *testing.T) {
	text := "; a comment\n\n[crm]\nsecret = x\nread = nonsense\n"
	// ini.v1 has nothing to tell them with.
	_, err := parse(text)
	if list := findings(t, err); len(list) != 1 || list[0].File != "test.conf" || list[0].Line != 5 {
		t.Errorf("got %v", err)
	}
}

func TestINIMismatchIsAnError(t *testing.T) {
	// What the pre-pass never lets through: that the check after ini.v1 sees
	// it all the same.
	for _, s := range []*section{
		{name: "a\n[0 b]"},
		{name: "a", entries: []entry{{key: "b=c", value: "d"}}},
		{name: "a", entries: []entry{{key: "b", value: "c\n1 d = <e>"}}},
		{name: "a", entries: []entry{{key: "b\u00a0", value: "c"}}},
	} {
		if _, err := throughINI([]*section{s}); err == nil {
			t.Errorf("%q went through", s.name)
		}
	}
}
