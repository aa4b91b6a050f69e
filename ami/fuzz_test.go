package ami

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const fuzzMax = 64 << 10 // the limit of frames in fuzz tests

// Long lines make the fuzzer minimise for minutes: use -fuzzminimizetime 10x.
func FuzzActionReader(f *testing.F) {
	texts, _ := readCases(f, "testdata/actions.txt")
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewActionReader(bytes.NewReader(data))
		var got []string
		for {
			a, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(a.ends) > MaxHeaders || len(a.text) > MaxHeaders*MaxLine {
				t.Fatalf("%d lines of %d bytes", len(a.ends), len(a.text))
			}
			if cap(r.lines) > 4*MaxLine {
				t.Fatalf("the reader keeps %d bytes", cap(r.lines))
			}
			checkForward(t, a)
			got = append(got, linesAndFault(a))
		}
		if want := naiveActions(data); !slices.Equal(got, want) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
		var split []string
		for _, a := range readActions(t, iotest.OneByteReader(bytes.NewReader(data))) {
			split = append(split, linesAndFault(a))
		}
		if !slices.Equal(got, split) {
			t.Fatalf("whole %q\nsplit %q", got, split)
		}
	})
}

// checkForward tests that what a PBX reads of a is what was checked.
func checkForward(t *testing.T, a *Action) {
	const id = "amiproxy-0-1"
	if a.Fault() != FaultNone || a.Name() == "" {
		return // is not forwarded
	}
	sent, fault := a.AppendForward(nil, id)
	if fault != FaultNone {
		return
	}
	if n := len(naiveActions(sent)); n != 1 {
		t.Fatalf("%d actions in %q", n, sent)
	}
	b := parse(t, string(sent))
	if b.Fault() != FaultNone || b.Name() != a.Name() || b.ID() != id || b.Get("Server") != "" {
		t.Fatalf("forwarded as %q", sent)
	}
	for line := range a.Lines() {
		name, _, ok := strings.Cut(line, ":")
		switch key := FoldName(name); {
		case !ok, key == "", key == "action", key == "actionid", key == "server":
		case a.Get(name) != b.Get(name):
			t.Fatalf("%q forwarded as %q", name, sent)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range frameSeeds {
		f.Add([]byte(seed + pong))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, wholeErr := readFrames(bytes.NewReader(data), fuzzMax)
		split, splitErr := readFrames(iotest.OneByteReader(bytes.NewReader(data)), fuzzMax)
		if !slices.Equal(whole, split) || wholeErr != splitErr {
			t.Fatalf("whole %q, %v\nsplit %q, %v", whole, wholeErr, split, splitErr)
		}
		all := strings.Join(whole, "")
		if !strings.HasPrefix(string(data), all) || wholeErr == io.EOF && len(all) != len(data) {
			t.Fatalf("%v: frames %q", wholeErr, whole)
		}
		for _, s := range whole {
			frame := Frame(s)
			if len(frame) > fuzzMax {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			frame.Event()
			frame.Response()
			frame.OpensList()
			frame.EndsList()
			if class := frame.Class(); class > ClassAll {
				t.Fatalf("class %#x", uint32(class))
			}
		}
	})
}

func FuzzRewrite(f *testing.F) {
	for _, seed := range frameSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range []Rewrite{{}, {NewID: "x"}} {
			if got := r.Append(nil, Frame(data)); !bytes.Equal(got, data) {
				t.Fatalf("%q became %q", data, got)
			}
		}
		Rewrite{ID: "a", Server: "west"}.Append(nil, Frame(data))
		frames, _ := readFrames(bytes.NewReader(data), fuzzMax)
		for _, frame := range frames {
			checkRewrite(t, Frame(frame))
		}
	})
}

var frameSeeds = []string{
	pong, hangup, "\r\n", "\n", "",
	"Event: X\nActionID: a\nServer: b\n\n",
	"Event: UserEvent\r\nPrivilege: user,all\r\nActionID:  a \r\nServer: b\r\nno colon\r\n\r\n",
	"Event: OriginateResponse\r\nPrivilege: call,all\r\nActionID: a\r\nResponse: Failure\r\n\r\n",
	"Response: Success\r\nEventList: start\r\n\r\nEvent: XComplete\r\nEventList: Complete\r\n\r\n",
	"Response: Follows\r\nPrivilege: Command\r\nActionID: a\r\nx\n\nA: b\r\n\r\n--END COMMAND--\r\n\r\n",
	"Response: Error\r\nActionID: a\r\nMessage: No Auths found\n\r\n\r\n",
	"Response: Success\r\nNo categories found\r\n\r\n\r\n",
	"Host  Jitter\nnone 0\r\n\r\n",
	"Event: X\r\nActionID: a\r\nActionID: a\r\nMessage: x\n\r\n\n",
}
