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

const (
	pong   = "Response: Success\r\nActionID: 1\r\nPing: Pong\r\nTimestamp: 1.000000\r\n\r\n"
	hangup = "Event: Hangup\r\nPrivilege: call,all\r\nChannel: PJSIP/1-00000001\r\nCause-txt: Normal Clearing\r\n\r\n"
)

func TestReaderFrames(t *testing.T) {
	tests := []struct {
		name   string
		frames []string
	}{
		{"response and event", []string{pong, hangup, pong}},
		{"bare LF", []string{"Event: X\nA: b\n\n", pong}},
		{"mixed ends", []string{"Event: X\r\nA: b\n\r\n", "Event: X\nA: b\r\n\n", pong}},
		{"stray blanks", []string{"\r\n", pong, "\r\n", "\n", "\r\n", hangup}},
		{"two blanks after QueueRule", []string{
			"Response: Success\r\nRuleList: x\r\nRule: 0,1,2\r\n\r\n", "\r\n", pong}},
		{"raw text without a header", []string{"Host   Local Jitter\nnone 0 0\r\n\r\n", "\r\n", pong}},
		{"lines without a colon", []string{"Response: Success\r\nNo categories found\r\n\r\n", hangup}},
		{"a lone CR is data", []string{"Event: X\r\nA: b\rc\r\n\r\n", "Event: X\r\nA: b\r\r\n\r\n", pong}},
		{"an empty value is no end", []string{"Response: Success\r\nMessage: Command output follows\r\nOutput: \r\nOutput: x\r\n\r\n"}},
		{"a line of CR CR LF is no end", []string{"Event: X\r\n\r\r\nA: b\r\n\r\n"}},
		{"an error text that ends in LF", []string{
			"Response: Error\r\nMessage: No Auths found\n\r\n\r\n", pong}},
		{"with an id", []string{
			"Response: Error\r\nActionID: 7\r\nMessage: Uniqueid length exceeds maximum of 149\n\r\n\r\n", "\r\n", pong}},
		{"a text with an LF inside", []string{"Response: Error\r\nMessage: one\ntwo\r\n\r\n", pong}},
		{"an LF in another header", []string{
			"Event: Agents\r\nCallStarted: 0\nLoggedInTime: 1\r\n\r\n", pong}},
		{"all ends are LF", []string{"Response: Error\nMessage: x\n\n", pong}},
		{"Follows", []string{"Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n" +
			"Name: x\n\nEvent: Fake\r\n\r\nno colon\n--END COMMAND--\n--END COMMAND--\r\n\r\n", pong}},
		{"Follows in any case, without output", []string{"response:FOLLOWS\r\nPrivilege: Command\r\n--END COMMAND--\r\n\r\n", hangup}},
		{"Follows, no line end before the mark", []string{"Response: Follows\r\nPrivilege: Command\r\ntext--END COMMAND--\r\n\r\n", hangup}},
		{"not Follows", []string{"Response: Followsx\r\n\r\n", "Event: X\r\nResponse: Follows\r\n\r\n", "Message: Follows\r\n\r\n", pong}},
		{"several megabytes", []string{"Response: Success\r\n" + strings.Repeat("Output: "+strings.Repeat("x", 100)+"\r\n", 40000) + "\r\n", pong}},
		{"a line of megabytes", []string{"Event: X\r\nA: " + strings.Repeat("x", 3<<20) + "\r\n\r\n", pong}},
		{"Follows of megabytes", []string{"Response: Follows\r\nPrivilege: Command\r\n" + strings.Repeat("x: y\n\n", 1<<19) + "--END COMMAND--\r\n\r\n", pong}},
	}
	for _, test := range tests {
		stream := strings.Join(test.frames, "")
		sources := map[string]io.Reader{
			"whole":          strings.NewReader(stream),
			"data and error": iotest.DataErrReader(strings.NewReader(stream)),
		}
		if len(stream) < 1<<20 {
			sources["one byte"] = iotest.OneByteReader(strings.NewReader(stream))
		}
		for name, src := range sources {
			got, err := readFrames(src, 64<<20)
			if err != io.EOF {
				t.Errorf("%s, %s: %v", test.name, name, err)
			}
			if !slices.Equal(got, test.frames) {
				t.Errorf("%s, %s:\n got %.400q\nwant %.400q", test.name, name, got, test.frames)
			}
		}
	}
}

func TestReaderBanner(t *testing.T) {
	r := NewReader(strings.NewReader("Asterisk Call Manager/11.0.0\r\n"+pong), 1<<20)
	if line, err := r.ReadLine(); err != nil || string(line) != "Asterisk Call Manager/11.0.0" {
		t.Errorf("%q, %v", line, err)
	}
	if f, err := r.ReadFrame(); err != nil || string(f) != pong {
		t.Errorf("%q, %v", f, err)
	}
	if line, err := r.ReadLine(); err != io.EOF {
		t.Errorf("%q, %v", line, err)
	}
}

func TestReaderEnd(t *testing.T) {
	broken := errors.New("broken")
	follows := "Response: Follows\r\nPrivilege: Command\r\nx\n\r\n\r\n--END COMMAND--"
	tests := []struct {
		name, stream string
		err, want    error
	}{
		{"nothing", "", io.EOF, io.EOF},
		{"between frames", pong, io.EOF, io.EOF},
		{"in a line", pong + "Resp", io.EOF, io.ErrUnexpectedEOF},
		{"after a line", pong + "Event: X\r\n", io.EOF, io.ErrUnexpectedEOF},
		{"in the end", pong + "Event: X\r\n\r", io.EOF, io.ErrUnexpectedEOF},
		{"in raw output", pong + follows, io.EOF, io.ErrUnexpectedEOF},
		{"after the LF of a text", pong + "Response: Error\r\nMessage: x\n\r\n", io.EOF, io.ErrUnexpectedEOF},
		{"an error between frames", pong, broken, broken},
		{"an error in a frame", pong + "Event: X\r\n", broken, broken},
		{"an error in raw output", pong + follows, broken, broken},
	}
	for _, test := range tests {
		got, err := readFrames(io.MultiReader(strings.NewReader(test.stream), iotest.ErrReader(test.err)), 1<<20)
		if err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if test.stream != "" && !slices.Equal(got, []string{pong}) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// A read that timed out may be tried again.
func TestReaderAfterTimeout(t *testing.T) {
	for _, stream := range []string{hangup, "Response: Follows\r\nPrivilege: Command\r\nx\n--END COMMAND--\r\n\r\n"} {
		r := rawReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(stream))), 1<<20)
		if _, err := r.ReadFrame(); err != iotest.ErrTimeout {
			t.Fatal(err)
		}
		if f, err := r.ReadFrame(); err != nil || string(f) != stream {
			t.Errorf("%q, %v", f, err)
		}
	}
}

func TestReaderLimit(t *testing.T) {
	event := func(n int) string { // of n bytes
		return "Event: X\r\nA: " + strings.Repeat("x", n-len("Event: X\r\nA: \r\n\r\n")) + "\r\n\r\n"
	}
	lines := func(n int) string {
		return "Event: X\r\n" + strings.Repeat("A: b\r\n", (n-len("Event: X\r\n\r\n"))/6) + "\r\n"
	}
	command := func(n int) string {
		const head, tail = "Response: Follows\r\n", "--END COMMAND--\r\n\r\n"
		return head + strings.Repeat("x\n", (n-len(head)-len(tail))/2) + tail
	}
	for _, max := range []int{100, 1000, 20_000, 100_000} {
		for name, makeFrame := range map[string]func(int) string{"line": event, "lines": lines, "command": command} {
			if _, err := readFrames(strings.NewReader(makeFrame(max)), max); err != io.EOF {
				t.Errorf("%d, %s: %v", max, name, err)
			}
			for _, n := range []int{max + 10, 2 * max, 10 * max} {
				long := makeFrame(n)
				frames, err := readFrames(strings.NewReader(long+pong), max)
				if err != ErrFrameTooLong || len(frames) != 0 {
					t.Errorf("%d of %d, %s: %d frames, %v", len(long), max, name, len(frames), err)
				}
			}
		}
		// What never ends is given up too, without holding much of it.
		r := NewReader(zeros{'x'}, max)
		if _, err := r.ReadFrame(); err != ErrFrameTooLong {
			t.Errorf("%d, endless line: %v", max, err)
		}
		if n := len(r.buf); n > 2*max && n > startSize {
			t.Errorf("%d, endless line: %d bytes held", max, n)
		}
		r = rawReader(io.MultiReader(strings.NewReader("Response: Follows\r\n"), zeros{'\n'}), max)
		if _, err := r.ReadFrame(); err != ErrFrameTooLong {
			t.Errorf("%d, endless output: %v", max, err)
		}
		if n := len(r.buf); n > 2*max && n > startSize {
			t.Errorf("%d, endless output: %d bytes held", max, n)
		}
	}
}

// A frame beyond the limit is thrown away but for its beginning, and those
// around it are not touched, however the bytes come.
func TestReaderSkips(t *testing.T) {
	const max = 5000
	kinds := []func(int) string{
		func(n int) string { return "Event: X\r\nA: " + strings.Repeat("x", n) + "\r\n\r\n" },
		func(n int) string { return "Event: X\r\n" + strings.Repeat("A: b\r\n", n/6) + "\r\n" },
		func(n int) string { return "Response: Error\r\nMessage: " + strings.Repeat("x", n%200) + "\n\r\n\r\n" },
		func(n int) string { return strings.Repeat("x", n) + "\n\n" },
		func(n int) string {
			return "Response: Follows\r\n" + strings.Repeat("\n--END COMMAND--", n/16) + "\r\n\r\n"
		},
	}
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		var frames []string
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			size := rapid.OneOf(rapid.IntRange(20, 200), rapid.IntRange(max-200, max+200), rapid.IntRange(max, 7*max)).Draw(t, "size")
			frames = append(frames, rapid.SampledFrom(kinds).Draw(t, "kind")(size))
			all = append(all, frames[len(frames)-1]...)
		}
		r := rawReader(somePieces(t, all), max)
		for i, want := range frames {
			f, err := r.ReadFrame()
			switch {
			case len(want) <= max && (err != nil || string(f) != want):
				t.Fatalf("frame %d: %.40q, %v, want %.40q", i, f, err, want)
			case len(want) > max && err != ErrFrameTooLong:
				t.Fatalf("frame %d of %d bytes: %v", i, len(want), err)
			case len(want) > max && (len(f) < 1000 || len(f) > headSize || !strings.HasPrefix(want, string(f))):
				t.Fatalf("frame %d: not the beginning: %d bytes, %.40q", i, len(f), f)
			}
		}
		if f, err := r.ReadFrame(); err != io.EOF {
			t.Fatalf("%q, %v", f, err)
		}
	})
}

// A frame that reaches the limit at the end of a line, or within its last one,
// takes nothing of the next along.
func TestReaderSkipsToTheEnd(t *testing.T) {
	const max = startSize // when the buffer is full, so is the frame
	for _, end := range []string{"\r\n", "\n"} {
		for size := max - 6; size <= max+6; size++ { // without the last line
			first := "Response: Success" + end + "A: "
			first += strings.Repeat("x", size-len(first)-len(end)) + end + end
			r := NewReader(strings.NewReader(first+pong), max)
			f, err := r.ReadFrame()
			if tooLong := len(first) > max; (err == ErrFrameTooLong) != tooLong || err != nil && !tooLong || f == nil {
				t.Errorf("%d bytes: %d came, %v", len(first), len(f), err)
			}
			if f, err := r.ReadFrame(); err != nil || string(f) != pong {
				t.Errorf("behind %d bytes: %q, %v", len(first), f, err)
			}
		}
	}
}

// The room that one large frame needed is given back.
func TestReaderShrinks(t *testing.T) {
	large := "Event: X\r\nA: " + strings.Repeat("x", 8*keepSize) + "\r\n\r\n"
	r := NewReader(strings.NewReader(large+pong+hangup), 64<<20)
	for _, want := range []string{large, pong, hangup} {
		f, err := r.ReadFrame()
		if err != nil || string(f) != want {
			t.Fatalf("%.100q, %v", f, err)
		}
		if n := len(r.buf); want != large && n > keepSize {
			t.Errorf("%d bytes held", n)
		}
	}
}

// Appending to a frame must not write into what follows it.
func TestReaderFrameIsClipped(t *testing.T) {
	r := NewReader(strings.NewReader(pong+hangup), 1<<20)
	f, err := r.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	_ = append(f, "overwritten"...)
	if f, err := r.ReadFrame(); err != nil || string(f) != hangup {
		t.Errorf("%q, %v", f, err)
	}
}

// someFrame is one frame of a PBX.
var someFrame = rapid.Custom(func(t *rapid.T) string {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "stray")
	case 1:
		text := rapid.StringMatching("[a-z:\r\n ]{0,40}").Draw(t, "output")
		return "Response: Follows\r\nPrivilege: Command\r\n" + text + "--END COMMAND--\r\n\r\n"
	case 2:
		return "Response: Error\r\nMessage: " + rapid.StringMatching("[a-z ]{1,20}").Draw(t, "text") + "\n\r\n\r\n"
	}
	end := rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "\n"}).Draw(t, "end")
	frame := rapid.SampledFrom([]string{"Event: X", "Response: Success"}).Draw(t, "first") + end
	for range rapid.IntRange(0, 5).Draw(t, "headers") {
		name := rapid.SampledFrom([]string{"A", "ActionID", "Privilege", "EventList", "x y"}).Draw(t, "name")
		value := rapid.StringMatching("[a-z:, \r]{0,10}").Draw(t, "value")
		frame += name + ": " + strings.TrimRight(value, "\r") + end
	}
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
		frame += "Large: " + strings.Repeat("x", rapid.IntRange(16000, 40000).Draw(t, "size")) + end
	}
	return frame + end
})

func TestReaderSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(someFrame, 0, 8).Draw(t, "frames")
		stream := []byte(strings.Join(frames, ""))
		got, err := readFrames(somePieces(t, stream), 1<<20)
		if err != io.EOF || !slices.Equal(got, frames) {
			t.Fatalf("%v\n got %.500q\nwant %.500q", err, got, frames)
		}
	})
}

func TestFrame(t *testing.T) {
	tests := []struct {
		frame           string
		event, response string
		class           Class
		opens, ends     bool
	}{
		{frame: pong, response: "Success", class: ClassAll},
		{frame: hangup, event: "Hangup", class: ClassCall},
		{frame: "EVENT:x\nprivilege:Call\n\n", event: "x", class: ClassCall},
		{frame: "Event: OriginateResponse\r\nPrivilege: call,all\r\nResponse: Failure\r\n\r\n",
			event: "OriginateResponse", class: ClassCall},
		{frame: "Event: X\r\nA: b\r\nPrivilege: call,all\r\n\r\n", event: "X", class: ClassAll},
		{frame: "Event: X\r\nPrivilege: <none>\r\n\r\n", event: "X", class: ClassNone},
		{frame: "Event: X\r\nPrivilege: system,user,all\r\n\r\n", event: "X", class: ClassSystem | ClassUser},
		{frame: "Event: X\r\n\r\n", event: "X", class: ClassAll},
		{frame: "Response: Success\r\nEventList: start\r\n\r\n", response: "Success", class: ClassAll, opens: true},
		{frame: "Response: Success\r\nActionID: 1\r\nEventList: Start\r\nMessage: x\r\n\r\n",
			response: "Success", class: ClassAll, opens: true},
		{frame: "Event: XComplete\r\nEventList: Complete\r\nListItems: 0\r\n\r\n", event: "XComplete", class: ClassAll, ends: true},
		{frame: "Event: XComplete\r\nEventList: cancelled\r\n\r\n", event: "XComplete", class: ClassAll},
		{frame: "Event : X\r\n\r\n", class: ClassAll},
		{frame: "raw\r\n\r\n", class: ClassAll},
		{frame: "\r\n", class: ClassAll},
		{frame: "", class: ClassAll},
	}
	for _, test := range tests {
		f := Frame(test.frame)
		got := fmt.Sprintf("%q %q %v %v %v", f.Event(), f.Response(), f.Class(), f.OpensList(), f.EndsList())
		want := fmt.Sprintf("%q %q %v %v %v", test.event, test.response, test.class, test.opens, test.ends)
		if got != want {
			t.Errorf("%q:\n got %s\nwant %s", test.frame, got, want)
		}
		if f.Stray() != (len(strings.Trim(test.frame, "\r\n")) == 0) {
			t.Errorf("%q: Stray = %v", test.frame, f.Stray())
		}
	}
	if Frame(pong).Event() != nil || Frame(hangup).Response() != nil {
		t.Error("what is not there is not nil")
	}
}

func TestFrameGet(t *testing.T) {
	f := Frame("Event: X\r\na: 1\nA: 2\r\nB:  two \r\nC:\r\nD : 4\r\n E: 5\r\nlast\r\n\r\n")
	for name, want := range map[string]string{"A": "1", "a": "1", "EVENT": "X", "b": "two ", "C": "", " E": "5", "D ": "4"} {
		if got, ok := f.Get(name); !ok || string(got) != want {
			t.Errorf("Get(%q) = %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"D", "E", "last", "", "Z"} {
		if got, ok := f.Get(name); ok {
			t.Errorf("Get(%q) = %q", name, got)
		}
	}
	if v, ok := Frame("Event: X").Get("event"); !ok || !bytes.Equal(v, []byte("X")) {
		t.Errorf("a frame cut short: %q, %v", v, ok)
	}
}

// Raw output is taken for that only where it is expected: elsewhere a value with
// line ends in it must not swallow what comes behind it.
func TestFollowsWhereItIsNotExpected(t *testing.T) {
	const value = "Response: Success\r\nValue: x\r\n\r\n"
	const rest = "Response: Follows\r\nPrivilege: Command\r\n\r\n"
	for _, expected := range []func() bool{nil, func() bool { return false }} {
		r := NewReader(strings.NewReader(value+rest+pong), 1<<20)
		r.Follows = expected
		for _, want := range []string{value, rest, pong} {
			if f, err := r.ReadFrame(); err != nil || string(f) != want {
				t.Fatalf("got %q, %v, want %q", f, err, want)
			}
		}
	}
}

func TestSetLimit(t *testing.T) {
	long := "Event: X\r\nFill: " + strings.Repeat("x", 100) + "\r\n\r\n"
	r := NewReader(strings.NewReader(long+long), 1<<20)
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	r.SetLimit(100)
	if _, err := r.ReadFrame(); err != ErrFrameTooLong {
		t.Fatal(err)
	}
}
