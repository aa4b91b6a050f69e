package config

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAnyValueReadsBack: any list of keys and values, written in the dialect
// in any of its spellings, is read back as it was, through ini.v1.
func TestAnyValueReadsBack(t *testing.T) {
	values := rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("ab=>;#\\\"'`%(){}[]$-!:,. \t\u00a0é"))),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []string
		eol := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "eol")
		blank := func() string { return rapid.SampledFrom([]string{"", " ", "\t", "  "}).Draw(t, "blank") }
		comment := func() string {
			return rapid.SampledFrom([]string{"", "; c = d", " ;c", ";--x--;", ";-- a" + eol + "b --;"}).Draw(t, "comment")
		}
		name := rapid.SampledFrom([]string{"crm", "a.b", "DEFAULT", "a b", "-", "é"}).Draw(t, "name")
		text.WriteString("[other]" + eol + "[" + name + "]" + comment() + eol)
		for range rapid.IntRange(0, 250).Draw(t, "keys") {
			key := rapid.StringMatching(`[A-Za-z0-9_.-]{1,12}`).Draw(t, "key")
			value := trim(strings.Map(func(r rune) rune {
				if r == 0 || r == '\n' || r == '\r' {
					return -1
				}
				return r
			}, values.Draw(t, "value")))
			if strings.ContainsAny(value, "\x00\r\n") {
				continue
			}
			arrow := rapid.SampledFrom([]string{"=", "=>"}).Draw(t, "arrow")
			gap := blank()
			if arrow == "=" && strings.HasPrefix(value, ">") {
				gap = " "
			}
			text.WriteString(blank() + key + blank() + arrow + gap + escape(value))
			end := comment()
			if strings.HasSuffix(value, `\`) || strings.HasSuffix(value, "-") {
				end = " " + end // else the backslash would escape the comment
			}
			text.WriteString(end + eol)
			want = append(want, key, value)
		}
		l := world(nil, nil)
		g := &loading{loader: &l, report: newReport(), file: "f"}
		sections := g.sections("f", []byte(text.String()))
		if err := g.report.err(); err != nil {
			t.Fatalf("%v\n%q", err, text.String())
		}
		var got []string
		for _, e := range sections[1].entries {
			got = append(got, e.key, e.value)
		}
		if sections[1].name != name || !slices.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q\nfrom %q", got, want, text.String())
		}
	})
}

func escape(value string) string { return strings.ReplaceAll(value, ";", `\;`) }

func TestFoldIsASCII(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		want := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, s)
		if got := fold(s); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestSizesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		if got, ok := parseSize(sizeText(n)); !ok || got != n {
			t.Fatalf("%d is written %s and read %d, %v", n, sizeText(n), got, ok)
		}
	})
}
