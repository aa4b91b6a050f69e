package ajam

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var plain = &form{dest: "unknown", objtype: "generic"}

// checkXML parses an answer with a strict parser, and by the rules on namespaces. It
// holds so many frames.
func checkXML(t interface{ Fatalf(string, ...any) }, text []byte, frames int) (objects [][]xml.Attr) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = true
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		switch e := token.(type) {
		case xml.StartElement:
			depth++
			seen := map[xml.Name]bool{}
			for _, a := range e.Attr {
				if seen[a.Name] || a.Name.Space != "" || a.Name.Local == "xmlns" || !utf8.ValidString(a.Value) {
					t.Fatalf("attribute %v: %q in %q", a.Name, a.Value, text)
				}
				seen[a.Name] = true
			}
			switch {
			case depth == 1 && e.Name.Local != "ajax-response" || e.Name.Space != "",
				depth == 2 && (e.Name.Local != "response" || len(e.Attr) != 2),
				depth > 3:
				t.Fatalf("element %v at depth %d in %q", e.Name, depth, text)
			case depth == 3:
				objects = append(objects, e.Attr)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if len(bytes.TrimSpace(e)) > 0 {
				t.Fatalf("text %q in %q", e, text)
			}
		default:
			t.Fatalf("%T in %q", token, text)
		}
	}
	if frames >= 0 && len(objects) != frames {
		t.Fatalf("%d frames, want %d, in %q", len(objects), frames, text)
	}
	return objects
}

func TestXML(t *testing.T) {
	for _, tt := range []struct{ frames, want string }{
		{"", ""},
		{"Response: Success\r\nActionID: <&\"'>\r\nPing: Pong\r\n\r\n", "response='Success' actionid='&lt;&amp;&quot;&apos;&gt;' ping='Pong'"},
		{"Cause-txt: a\r\nChanVariable(SIP/1): b=c:d\r\n\r\n", "cause_txt='a' chanvariable_sip_1_='b=c:d'"},
		{"Output: a\r\nOutput: \r\nOutput: c\r\n\r\n", "output='a' output-2='' output-3='c'"},
		{"Response: Success\r\nNo categories found\r\n\r\n", "response='Success' opaque_data='No categories found'"},
		{"A: b\r\nnocolon\r\nmore: c\r\n\r\n", "a='b' opaque_data='nocolon\nmore: c'"},
		// What Asterisk's is no XML of.
		{"a.b: 1\r\nA-B: 2\r\nDUP: 1\r\nDUP: 2\r\ndup: 3\r\n\r\n", "a_b='1' a_b-2='2' dup='1' dup-2='2' dup-3='3'"},
		{"Opaque-data: a\r\nb\r\n\r\n", "opaque_data='a' opaque_data-2='b'"},
		{"1abc: d\r\n: e\r\nxmlns: f\r\n_xmlns: g\r\nXmlNS: h\r\n\r\n", "_1abc='d' _='e' _xmlns='f' _xmlns-2='g' _xmlns-3='h'"},
		{"A: x\x01\x1f\t\x7f\xe9\xc3\xa9\xef\xbf\xbe\xed\xa0\x80\r\n\r\n", "a='x\ufffd\ufffd\t\x7f\ufffd\u00e9\ufffd\ufffd\ufffd\ufffd'"},
		{"A\xe9: b\r\n\r\n", "a_='b'"},
	} {
		want := "<ajax-response>\n"
		n := 0
		if tt.want != "" {
			n = 1
			want += "<response type='object' id='unknown'><generic " + tt.want + " /></response>\n"
		}
		want += "</ajax-response>\n"
		got := appendXML(nil, []byte(tt.frames), plain)
		if string(got) != want {
			t.Errorf("%q:\n got %q\nwant %q", tt.frames, got, want)
		}
		checkXML(t, got, n)
	}
	got := appendXML([]byte("before"), []byte("A: b\r\n\r\nC: d\r\n\r\n"), &form{dest: "x", objtype: "y"})
	want := "before<ajax-response>\n<response type='object' id='x'><y a='b' /></response>\n<response type='object' id='x'><y c='d' /></response>\n</ajax-response>\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestXMLShowsAll: each header of each frame is there, with its value as far as XML
// can hold it.
func TestXMLShowsAll(t *testing.T) {
	name := rapid.StringMatching(`[A-Za-z0-9_.()/é-]{1,6}`)
	value := rapid.StringMatching(`([!-~é\x{1F600}'"<>&:][ -~é'"<>&:]{0,12}[!-~é'"<>&:])?`)
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		var want [][]string
		for range rapid.IntRange(0, 5).Draw(t, "frames") {
			var values []string
			for range rapid.IntRange(1, 9).Draw(t, "headers") {
				v := value.Draw(t, "value")
				text = append(text, name.Draw(t, "name")+": "+v+"\r\n"...)
				values = append(values, v)
			}
			text = append(text, "\r\n"...)
			want = append(want, values)
		}
		for i, o := range checkXML(t, appendXML(nil, text, plain), len(want)) {
			if len(o) != len(want[i]) {
				t.Fatalf("%d attributes, want %d", len(o), len(want[i]))
			}
			for j, a := range o {
				if a.Value != want[i][j] {
					t.Fatalf("%q, want %q", a.Value, want[i][j])
				}
			}
		}
	})
}

// FuzzXML: whatever a PBX sends, its answer is XML, and of bounded size.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{"A: b\r\n\r\n", "a.b: 1\r\nA-B: '/><script>\x00\xff\r\nx\r\ny: z\r\n\r\n", ": :\n\n\r\r", "xmlns: x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		got := appendXML(nil, frames, plain)
		checkXML(t, got, -1)
		if len(got) > 100+100*len(frames) {
			t.Fatalf("%d bytes of %d", len(got), len(frames))
		}
		appendHTML(nil, frames, plain)
	})
}
