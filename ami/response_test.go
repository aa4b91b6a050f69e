package ami

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendResponse(t *testing.T) {
	tests := []struct{ word, id, message, want string }{
		{"Error", "1", "Permission denied", "Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n"},
		{"Error", "", "x", "Response: Error\r\nMessage: x\r\n\r\n"},
		{"Success", "1", "", "Response: Success\r\nActionID: 1\r\n\r\n"},
		{"Success", "", "", "Response: Success\r\n\r\n"},
		{"Success", " a\rb  ", "", "Response: Success\r\nActionID:  a\rb  \r\n\r\n"},
		{"Error", "a\nb\x00c", "a\r\nb\x00", "Response: Error\r\nActionID: abc\r\nMessage: ab\r\n\r\n"},
		{"E\r\nX: y", "", "", "Response: EX: y\r\n\r\n"},
	}
	for _, test := range tests {
		got := AppendResponse([]byte("x"), test.word, test.id, test.message)
		if string(got) != "x"+test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	got := AppendEnd(AppendHeader([]byte("x"), "Na\nme", " v\r\n\x00 : "))
	if want := "xName:  v : \r\n\r\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever the values hold, the frame has the lines that were asked for.
func TestResponseLines(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab:\r\n\x00 é")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		id, message := text.Draw(t, "id"), text.Draw(t, "message")
		b := AppendResponseStart(nil, text.Draw(t, "word"), id)
		b = AppendHeader(b, "X-"+text.Draw(t, "name"), text.Draw(t, "value"))
		b = AppendHeader(b, "Message", message)
		b = AppendEnd(b)
		lines := 4
		if id != "" {
			lines++
		}
		if n := bytes.Count(b, []byte("\n")); n != lines {
			t.Fatalf("%d lines, want %d: %q", n, lines, b)
		}
		if n := bytes.Count(b, []byte("\r\n\r\n")); n != 1 {
			t.Fatalf("%d empty lines in %q", n, b)
		}
		frames, _ := readFrames(bytes.NewReader(b), 1<<20)
		if len(frames) != 1 || frames[0] != string(b) {
			t.Fatalf("%q is read as %q", b, frames)
		}
	})
}
