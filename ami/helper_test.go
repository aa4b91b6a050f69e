package ami

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces is a source that gives its bytes in pieces of the given sizes, then
// one by one.
type pieces struct {
	data  []byte
	sizes []int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	size := 1
	if len(p.sizes) > 0 {
		size, p.sizes = p.sizes[0], p.sizes[1:]
	}
	n := copy(b, p.data[:min(size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// somePieces cuts data anywhere.
func somePieces(t *rapid.T, data []byte) *pieces {
	sizes := rapid.SliceOfN(rapid.IntRange(1, 3000), 0, 20).Draw(t, "sizes")
	return &pieces{data: data, sizes: sizes}
}

// readActions reads until the source ends.
func readActions(t testing.TB, src io.Reader) []*Action {
	t.Helper()
	r := NewActionReader(src)
	var actions []*Action
	for {
		a, err := r.Read()
		if err == io.EOF {
			return actions
		}
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, a)
	}
}

// readFrames reads until the source ends or fails.
func readFrames(src io.Reader, max int) ([]string, error) {
	r := rawReader(src, max)
	var frames []string
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return frames, err
		}
		frames = append(frames, string(f))
	}
}

func parse(t testing.TB, text string) *Action {
	t.Helper()
	a, err := ParseAction(text)
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return a
}

// readCases reads a file of testdata/actions.txt's form: for each text the
// quoted words of the indented lines below it.
func readCases(t testing.TB, name string) (texts []string, results [][][]string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(data), "\n") {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '\t':
			words, err := unquoteWords(line[1:], " ")
			if err != nil {
				t.Fatalf("%s:%d: %v", name, n+1, err)
			}
			last := len(results) - 1
			results[last] = append(results[last], words)
		default:
			parts, err := unquoteWords(line, "+")
			if err != nil {
				t.Fatalf("%s:%d: %v", name, n+1, err)
			}
			texts = append(texts, strings.Join(parts, ""))
			results = append(results, nil)
		}
	}
	return texts, results
}

func unquoteWords(s, separator string) (words []string, err error) {
	for {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, errors.New("no quoted text at " + s)
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		s = s[len(quoted):]
		if rest, ok := strings.CutPrefix(s, "*"); ok {
			times, _, _ := strings.Cut(rest, separator)
			n, err := strconv.Atoi(times)
			if err != nil {
				return nil, err
			}
			word = strings.Repeat(word, n)
			s = rest[len(times):]
		}
		words = append(words, word)
		if s == "" {
			return words, nil
		}
		s = strings.TrimPrefix(s, separator)
	}
}

// rawReader is a reader that expects raw Command output.
func rawReader(src io.Reader, max int) *Reader {
	r := NewReader(src, max)
	r.Follows = func() bool { return true }
	return r
}
