package acl

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern       string
		match, refuse []string
	}{
		{"from-crm", []string{"from-crm"}, []string{"", "from-cr", "from-crm ", "From-crm", "from-crmx", "xfrom-crm", "from-crm,x", "*"}},
		{"PJSIP/1??", []string{"PJSIP/100", "PJSIP/1ab", "PJSIP/1é"}, []string{
			"PJSIP/10", "PJSIP/1000", "PJSIP/1/0", "PJSIP/10@", "PJSIP/1 0", "pjsip/100", "PJSIP/10&PJSIP/9", "PJSIP/1\x0000",
		}},
		{"PJSIP/1?? | Local/*@from-crm", []string{"PJSIP/100", "Local/100@from-crm", "Local/*98@from-crm", "Local/+49.1-2_#@from-crm"}, []string{
			"Local/@from-crm", "Local/100@evil@from-crm", "Local/100@evil/n@from-crm", "Local/100@from-crm/n", "Local/1/n@from-crm",
			"Local/100@from-crm&Local/1@evil", "Local/1,1@from-crm", "Local/1;1@from-crm", "Local/1 @from-crm", "Local/1\t@from-crm",
			"Local/${X}@from-crm", "Local/1..2@from-crm", "Local/1\x7f@from-crm", "local/100@from-crm",
			"Local/" + strings.Repeat("1", 79) + "@from-crm",
		}},
		{"CRM_*", []string{"CRM_", "CRM_A", "CRM_A_1"}, []string{
			"_CRM_A", "__CRM_A", "CRM_A(x)", "CRM_A=1", "CRM_A ", "CRM_\"A\"", "CRM_\\A", "CRM_{", "CRM_A[1]", "CRM_$", "CRM_A:1:2", "crm_a", "CRM_'", "CRM_<", "CRM_>", "CRM_!", "CRM_A|B",
		}},
		{"queue show *", []string{"queue show sales"}, []string{
			"queue show ", "queue show", "queue show a b", "queue  show a", "queue show \"a", "queue show a\\", "queue show a\tb", "queue show a;x", "Queue show a",
		}},
		{"queue show **", []string{"queue show sales"}, []string{"queue show "}},
		{"sales* | *", nil, nil}, // an error
		{"*", []string{"", "anything & all", "a/b@c"}, nil},
		{"?*", []string{"a", "ab"}, []string{"", "a b", "/"}},
		{"none", []string{""}, []string{"none", " "}},
		{"none | 1", []string{"", "1"}, []string{"2"}},
		{`a\|b | \*\?\\`, []string{"a|b", `*?\`}, []string{"a", "b", "xyz", `\*\?\\`}},
		{"*a*b*c", []string{"abc", "aabbcc", "xaxbxc", "abcabc"}, []string{"ab", "abcx", "a/b/c", "acb"}},
		{"/var/spool/*/x.wav", []string{"/var/spool/a/x.wav"}, []string{"/var/spool/../x.wav", "/var/spool/a/b/x.wav", "/var/spool//x.wav"}},
		{strings.Repeat("x", 100), []string{strings.Repeat("x", 100)}, []string{strings.Repeat("x", 99)}},
	}
	for _, test := range tests {
		p, err := NewPattern(test.pattern)
		if (err != nil) != (test.match == nil) {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		for _, v := range test.match {
			if !p.Match(v) {
				t.Errorf("%q does not match %q", test.pattern, v)
			}
		}
		for _, v := range test.refuse {
			if p.Match(v) {
				t.Errorf("%q matches %q", test.pattern, v)
			}
		}
	}
	for _, bad := range []string{"", "|", "a|", "|a", "a||b", "* | none", "a|*", `a\`, `\a`, `\d+`, "a\x01"} {
		if p, err := NewPattern(bad); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

// No wildcard takes a byte that parts a value, and the matcher agrees with the
// plain meaning of a pattern.
func TestPatternMeaning(t *testing.T) {
	const alphabet = "ab.*?/@ |\\é"
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab?*/@.")), 1, 8, -1).Draw(t, "pattern")
		value := rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 1, 8, -1).Draw(t, "value")
		p, err := NewPattern(text)
		if err != nil || p.all {
			return
		}
		want := plainMatch(text, value, true)
		if strings.Contains(value, "..") && strings.ContainsAny(text, "*?") {
			want = false
		}
		if got := p.Match(value); got != want {
			t.Fatalf("%q matches %q: %v", text, value, got)
		}
	})
}

// plainMatch is a pattern's meaning, tried in every way. edge: what stands
// before the pattern parts words.
func plainMatch(pattern, value string, edge bool) bool {
	if pattern == "" {
		return value == ""
	}
	c := pattern[0]
	switch c {
	case '*':
		rest := strings.TrimLeft(pattern, "*")
		least := 0
		if edge && (rest == "" || strings.IndexByte("/@ ", rest[0]) >= 0) {
			least = 1
		}
		for n := 0; n <= len(value); n++ {
			if n > 0 && strings.IndexByte("/@ |\\?", value[n-1]) >= 0 {
				return false
			}
			if n >= least && plainMatch(rest, value[n:], false) {
				return true
			}
		}
		return false
	case '?':
		return value != "" && strings.IndexByte("/@ |\\?", value[0]) < 0 && plainMatch(pattern[1:], value[1:], false)
	}
	return value != "" && value[0] == c && plainMatch(pattern[1:], value[1:], c == '/' || c == '@')
}

func FuzzPattern(f *testing.F) {
	f.Add("PJSIP/1?? | Local/*@from-crm", "Local/1@from-crm")
	f.Add(`\*|none`, "*")
	f.Fuzz(func(t *testing.T, text, value string) {
		p, err := NewPattern(text)
		if err != nil || p.all || !p.Match(value) || value == "" {
			return
		}
		// Whatever parts a value stands in the pattern too.
		for _, c := range []byte(value) {
			if !wildBytes[c] && strings.IndexByte(text, c) < 0 {
				t.Errorf("%q matches %q", text, value)
			}
		}
	})
}
