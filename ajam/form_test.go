package ajam

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/amiproxy/amiproxy/ami"
	"pgregory.net/rapid"
)

func TestParseForm(t *testing.T) {
	for _, tt := range []struct {
		query string
		lines []string
	}{
		{"action=Ping", []string{"action: Ping"}},
		{"action=Ping&actionid=a+b%20c%2Bd", []string{"action: Ping", "actionid: a b c+d"}},
		{"action=Ping&actionid", []string{"action: Ping", "actionid: "}},
		{"action=Ping&actionid=a=b", []string{"action: Ping", "actionid: a=b"}},
		{"action=Ping;actionid=x", []string{"action: Ping;actionid=x"}},
		{"actionid=1&actionid=2&action=Ping", []string{"actionid: 1", "actionid: 2", "action: Ping"}},
		{"action%3a=Ping", []string{"action:: Ping"}},
		{"action=Ping%zz&a=%4&b=%", []string{"action: Ping%zz", "a: %4", "b: %"}},
		{"a=1&&=2", []string{"a: 1", ": ", ": 2"}},
		{"a=%e9%C3%a9%09", []string{"a: \xe9\xc3\xa9\t"}},
		{"%2541=%2541", []string{"%41: %41"}},
		{"", []string{": "}},
	} {
		f, err := parseForm(tt.query)
		if err != nil {
			t.Errorf("%q: %v", tt.query, err)
			continue
		}
		if got := slices.Collect(f.action().Lines()); !slices.Equal(got, tt.lines) {
			t.Errorf("%q: lines %q, want %q", tt.query, got, tt.lines)
		}
	}
}

func TestParseFormRefuses(t *testing.T) {
	for _, query := range []string{
		"actionid=x%0d%0aY:%20z", "actionid=x%0a", "actionid=%0D", "action=Ping&a=nul%00x", "a%0a=b", "a=\n", "a\r=b", "a=\x00",
		"ajaxdest=a'b", "AJAXDEST=a%3cb", "ajaxdest=x&ajaxdest=a%20b", "ajaxdest=a%20b&ajaxdest=x", "ajaxdest=%c3%a9", "ajax%64est=%22",
		"ajaxobjtype=a%20b", "ajaxobjtype=1a", "ajaxobjtype=-a", "ajaxobjtype=a:b", "AjaxObjType=a/b", "ajaxdest=%7b", "ajaxdest=%40", "ajaxdest=%5b",
	} {
		if f, err := parseForm(query); err == nil {
			t.Errorf("%q: lines %q, dest %q, type %q; want an error", query, f.lines, f.dest, f.objtype)
		}
	}
}

func TestParseFormXMLNames(t *testing.T) {
	for _, tt := range []struct{ query, dest, objtype string }{
		{"action=Ping", "unknown", "generic"},
		{"ajaxdest=a&AJAXDEST=Two.1:x-_&ajaxobjtype=ob-j.1_", "Two.1:x-_", "ob-j.1_"},
		{"ajaxdest=a&ajaxdest=&ajaxobjtype=_&ajaxobjtype", "unknown", "generic"},
		{"ajaxdest%20=a&xajaxobjtype=b", "unknown", "generic"},
	} {
		f, err := parseForm(tt.query)
		if err != nil {
			t.Errorf("%q: %v", tt.query, err)
		} else if f.dest != tt.dest || f.objtype != tt.objtype {
			t.Errorf("%q: dest %q, type %q, want %q, %q", tt.query, f.dest, f.objtype, tt.dest, tt.objtype)
		}
	}
}

// TestParseFormTakesSoMany: Asterisk has room for 128 headers, and uses the first.
func TestParseFormTakesSoMany(t *testing.T) {
	f, err := parseForm("action=Ping" + strings.Repeat("&a=b", 5000) + "&ajaxdest=x")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.lines) != ami.MaxHeaders || f.dest != "x" {
		t.Errorf("%d lines and dest %q, want %d and x", len(f.lines), f.dest, ami.MaxHeaders)
	}
	long := strings.Repeat("x", 30000)
	f, err = parseForm("action=Ping&actionid=" + long)
	if err != nil || f.action().ID() != long || f.action().Fault() != ami.FaultNone {
		t.Errorf("a long value is not taken as it is: %v", err)
	}
}

// encode writes pairs as a client would, with some bytes encoded that need not be.
func encode(t *rapid.T, pairs [][2]string) string {
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		for j, text := range p {
			if j > 0 {
				b.WriteByte('=')
			}
			for k := range len(text) {
				c := text[k]
				must := strings.IndexByte("%+&= ", c) >= 0
				switch {
				case c == ' ' && rapid.Bool().Draw(t, "plus"):
					b.WriteByte('+')
				case must || rapid.IntRange(0, 3).Draw(t, "encode") == 0:
					const lower, upper = "0123456789abcdef", "0123456789ABCDEF"
					b.WriteByte('%')
					b.WriteByte(lower[c>>4])
					b.WriteByte(upper[c&15])
				default:
					b.WriteByte(c)
				}
			}
		}
	}
	return b.String()
}

// TestParseFormTakesWhatWasMeant: what is encoded is what is decoded.
func TestParseFormTakesWhatWasMeant(t *testing.T) {
	text := rapid.StringOf(rapid.OneOf(rapid.RuneFrom([]rune(" %+&=;:?#/ABCabc019\té\"'<>\\")), rapid.RuneFrom(nil, unicode.Latin))).Filter(func(s string) bool {
		return !strings.ContainsAny(s, "\r\n\x00")
	})
	rapid.Check(t, func(t *rapid.T) {
		var pairs [][2]string
		var want []string
		for range rapid.IntRange(1, 8).Draw(t, "pairs") {
			p := [2]string{"x" + text.Draw(t, "name"), text.Draw(t, "value")}
			pairs = append(pairs, p)
			want = append(want, p[0]+": "+p[1])
		}
		f, err := parseForm(encode(t, pairs))
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(f.action().Lines()); !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// FuzzForm: no request panics, makes more lines of one, or more of an action than it
// brought.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"action=Ping&actionid=a+b%20c", "a=%0d%0aAction:%20x", "ajaxdest=x&ajaxobjtype=y", "%zz=%&&=", "a=%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		form, err := parseForm(query)
		if err != nil {
			return
		}
		a := form.action()
		n := 0
		for line := range a.Lines() {
			if strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("a line of %q is %q", query, line)
			}
			n++
		}
		if n != len(form.lines) || n > ami.MaxHeaders || n > strings.Count(query, "&")+1 || a.Size() > len(query)+2*n {
			t.Fatalf("%q: %d lines of %d bytes", query, n, a.Size())
		}
		checkXML(t, appendXML(nil, []byte("Response: Success\r\nA: b\r\n\r\n"), form), 1)
	})
}
