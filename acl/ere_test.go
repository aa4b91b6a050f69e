package acl

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// matchERE reports whether text has a match, as a filter finds it.
func matchERE(t *testing.T, expression, text string) bool {
	t.Helper()
	f, err := NewFilter(expression)
	if err != nil {
		t.Fatalf("%q: %v", expression, err)
	}
	return f.matchesText([]byte(text))
}

// TestExpressionsAreThoseOfGlibc has glibc's verdicts on record.
func TestExpressionsAreThoseOfGlibc(t *testing.T) {
	file, err := os.Open("testdata/filter-expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	verdicts := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		expression, rest := unquotePrefix(t, line)
		re, _, err := compileERE(expression)
		if rest = strings.TrimSpace(rest); rest == "error" || rest == "refused" {
			if verdicts++; err == nil {
				t.Errorf("%q compiles to %s", expression, re)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		for rest != "" {
			want := rest[0] == '+'
			var text string
			text, rest = unquotePrefix(t, rest[1:])
			rest = strings.TrimSpace(rest)
			f := Filter{method: methodRegex, expression: re}
			if verdicts++; f.matchesText([]byte(text)) != want {
				t.Errorf("%q on %q: %v (%s)", expression, text, !want, re)
			}
		}
	}
	if lines.Err() != nil || verdicts < 1500 {
		t.Errorf("%d verdicts, %v", verdicts, lines.Err())
	}
}

func unquotePrefix(t *testing.T, s string) (value, rest string) {
	t.Helper()
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		value, err = strconv.Unquote(quoted)
	}
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return value, s[len(quoted):]
}

// TestExpressionsThatAreRefused: what takes too much, or can not be matched, says why.
func TestExpressionsThatAreRefused(t *testing.T) {
	for expression, want := range map[string]string{
		`(a)b\1`:        "back-reference",
		`a{1001}`:       "more than 1000",
		`(a{100}){100}`: "too big",
		`(a{40}){40}`:   "repeats too often",
		strings.Repeat("(", 1000) + "a" + strings.Repeat(")", 1000): "",
		strings.Repeat("(a|b", 341) + strings.Repeat(")+", 341):     "too deep",
		strings.Repeat("a", 2049):                                   "more than 2048 bytes",
		strings.Repeat(`\w`, 300):                                   "too big",
		strings.Repeat("a|", 1000) + "a":                            "",
		`\<`:                                                        `\< is supported only`,
		`-\>`:                                                       `\> is supported only`,
		`(a` + "\n" + `)*^b`:                                        "^ is not supported here",
		`a$(` + "\n" + `b)*`:                                        "$ is not supported here",
		`[à-ü]`:                                                     "not ASCII",
		`*a`:                                                        "nothing is before *",
		`[[:alfa:]]`:                                                "[:alfa:]",
	} {
		_, _, err := compileERE(expression)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", expression, err)
		}
	}
}

// TestExpressionsRepeat compares repetitions with the same written out.
func TestExpressionsRepeat(t *testing.T) {
	atoms := rapid.SampledFrom([]string{"a", ".", "[ab]", `\w`, "(a|bb)", "(ab?)", "é", "\xe9", "()"})
	texts := rapid.StringOfN(rapid.SampledFrom([]rune("ab\né")), 0, 8, -1)
	rapid.Check(t, func(rt *rapid.T) {
		atom := atoms.Draw(rt, "atom")
		least := rapid.IntRange(0, 3).Draw(rt, "least")
		more := rapid.IntRange(0, 3).Draw(rt, "more")
		text := strings.ReplaceAll(texts.Draw(rt, "text"), "\u00e9", rapid.SampledFrom([]string{"é", "\xe9"}).Draw(rt, "e"))
		short := "^" + atom + "{" + strconv.Itoa(least) + "," + strconv.Itoa(least+more) + "}$"
		long := "^" + strings.Repeat(atom, least) + strings.Repeat("("+atom, more) + strings.Repeat(")?", more) + "$"
		if a, b := matchERE(t, short, text), matchERE(t, long, text); a != b {
			rt.Errorf("%q: %v, %q: %v, on %q", short, a, long, b, text)
		}
	})
}

// TestEscapeBytes: what is no UTF-8 becomes it, so that no two texts become the same.
func TestEscapeBytes(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "aé\r\n": "aé\r\n", "\xe9": "\U000DFFE9", "\xe2\x80x": "\U000DFFE2\U000DFF80x", "\uFFFD": "\uFFFD",
	} {
		got := string(escapeBytes(nil, []byte(text)))
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
