package ami

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestActionReader(t *testing.T) {
	texts, results := readCases(t, "testdata/actions.txt")
	for i, text := range texts {
		sources := map[string]io.Reader{
			"whole":          strings.NewReader(text),
			"one byte":       iotest.OneByteReader(strings.NewReader(text)),
			"half":           iotest.HalfReader(strings.NewReader(text)),
			"data and error": iotest.DataErrReader(strings.NewReader(text)),
		}
		for name, src := range sources {
			var got [][]string
			for _, a := range readActions(t, src) {
				words := []string{a.Name(), a.ID()}
				if a.Fault() != FaultNone {
					words = append(words, a.Fault().Message())
				}
				got = append(got, words)
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", results[i]) {
				t.Errorf("%.200q, %s:\n got %q\nwant %q", text, name, got, results[i])
			}
		}
	}
}

// naiveActions reads as Asterisk does, byte by byte and with its buffer
// (manager.c: get_input, do_message). An action is its lines and its fault.
func naiveActions(data []byte) (actions []string) {
	var inbuf []byte
	var lines []string
	tooLong, tooMany := false, false
	for _, c := range data {
		inbuf = append(inbuf, c)
		if c != '\n' {
			if len(inbuf) == 1024 {
				inbuf, tooLong = []byte{c}, true
			}
			continue
		}
		line := inbuf[:len(inbuf)-1]
		inbuf = inbuf[:0]
		line = bytes.TrimSuffix(line, []byte("\r"))
		line, _, _ = bytes.Cut(line, []byte{0})
		switch {
		case len(line) > 0 && len(lines) < 128:
			lines = append(lines, string(line))
		case len(line) > 0:
			tooMany = true
		default:
			fault := FaultNone
			if tooMany {
				fault = FaultTooManyLines
			} else if tooLong {
				fault, tooLong = FaultLineTooLong, false
			}
			actions = append(actions, fmt.Sprintf("%q %d", lines, fault))
			lines, tooMany = nil, false
		}
	}
	return actions
}

func linesAndFault(a *Action) string {
	return fmt.Sprintf("%q %d", slices.Collect(a.Lines()), a.Fault())
}

// someInput is what a client might send, and what it should not.
var someInput = rapid.Custom(func(t *rapid.T) []byte {
	var b bytes.Buffer
	for range rapid.IntRange(0, 12).Draw(t, "tokens") {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1:
			b.WriteString(rapid.SampledFrom([]string{"\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\r\r\n"}).Draw(t, "end"))
		case 2, 3, 4, 5:
			b.WriteString(rapid.SampledFrom([]string{
				"Action: Ping\r\n", "ActionID: 7\n", "Variable: a=b\r\n", "junk", ": ", "Action:", " "}).Draw(t, "text"))
		case 6:
			b.WriteString(strings.Repeat("x", rapid.IntRange(1015, 1030).Draw(t, "about a line")))
		case 7:
			b.WriteString(strings.Repeat("x", rapid.IntRange(2040, 2060).Draw(t, "about two lines")))
		case 8:
			b.WriteString(strings.Repeat("A: b\n", rapid.IntRange(120, 135).Draw(t, "many lines")))
		case 9:
			b.Write(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
		}
	}
	return b.Bytes()
})

func TestActionReaderModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data := someInput.Draw(rt, "data")
		var got []string
		for _, a := range readActions(t, somePieces(rt, data)) {
			got = append(got, linesAndFault(a))
		}
		if want := naiveActions(data); !slices.Equal(got, want) {
			rt.Fatalf("got %q\nwant %q", got, want)
		}
	})
}

// However long a line and however many lines, the reader holds little, and
// once the message is over it holds less.
func TestActionReaderMemory(t *testing.T) {
	endless := io.MultiReader(
		io.LimitReader(zeros{'a'}, 10<<20),
		strings.NewReader("\n"+strings.Repeat(strings.Repeat("b", 1000)+"\n", 10000)+"\n"))
	r := NewActionReader(endless)
	a, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if a.Fault() != FaultTooManyLines {
		t.Errorf("fault %v", a.Fault())
	}
	if len(a.text) > MaxHeaders*MaxLine {
		t.Errorf("an action of %d bytes", len(a.text))
	}
	if n := cap(r.lines); n > 4*MaxLine {
		t.Errorf("the reader keeps %d bytes", n)
	}
}

// zeros is an endless source of one byte.
type zeros struct{ b byte }

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = z.b
	}
	return len(p), nil
}

func TestActionReaderErrors(t *testing.T) {
	broken := errors.New("broken")
	r := NewActionReader(io.MultiReader(strings.NewReader("Action: Ping\n\nAction: Pi"), iotest.ErrReader(broken)))
	if a, err := r.Read(); err != nil || a.Name() != "Ping" {
		t.Errorf("%v, %v", a, err)
	}
	for range 2 {
		if a, err := r.Read(); a != nil || err != broken {
			t.Errorf("%v, %v", a, err)
		}
	}
}

func TestActionReaderBuffered(t *testing.T) {
	r := NewActionReader(strings.NewReader("\n\n"))
	for _, want := range []bool{false, true, false} {
		if got := r.Buffered(); got != want {
			t.Errorf("Buffered = %v, want %v", got, want)
		}
		r.Read()
	}
}

// An action stays as it is when the reader goes on.
func TestActionOutlivesReader(t *testing.T) {
	r := NewActionReader(strings.NewReader("Action: One\nA: 1\n\nAction: Two\nA: 2\n\n"))
	one, _ := r.Read()
	lines := linesAndFault(one)
	r.Read()
	if got := linesAndFault(one); got != lines {
		t.Errorf("%s became %s", lines, got)
	}
}
