package ami

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// eventStream is a stream of events as a busy PBX sends them, of some 600
// bytes each.
func eventStream(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		names := [...]string{"Newchannel", "Newstate", "DialBegin", "BridgeEnter", "Hangup"}
		fmt.Fprintf(&b, "Event: %s\r\nPrivilege: call,all\r\nTimestamp: %d.%06d\r\n", names[i%len(names)], 1700000000+i, i)
		for _, prefix := range [...]string{"", "Dest"} {
			fmt.Fprintf(&b, "%[1]sChannel: PJSIP/trunk-%08[2]x\r\n%[1]sChannelState: 6\r\n%[1]sChannelStateDesc: Up\r\n"+
				"%[1]sCallerIDNum: 555%04[2]d\r\n%[1]sCallerIDName: Somebody\r\n%[1]sConnectedLineNum: 100\r\n"+
				"%[1]sConnectedLineName: Front Desk\r\n%[1]sContext: from-trunk\r\n%[1]sExten: 100\r\n"+
				"%[1]sUniqueid: 1700000000.%[2]d\r\n", prefix, i)
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// repeat is an endless source of the same bytes.
type repeat struct {
	data []byte
	next int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.next:])
	r.next = (r.next + n) % len(r.data)
	return n, nil
}

func TestReaderAllocations(t *testing.T) {
	r := NewReader(&repeat{data: eventStream(100)}, 1<<20)
	var f Frame
	check := func(name string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	check("ReadFrame", func() {
		var err error
		if f, err = r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	})
	check("Class", func() {
		if f.Class() != ClassCall {
			t.Fatal("class")
		}
	})
	check("Event", func() {
		if f.Event() == nil {
			t.Fatal("no event")
		}
	})
	check("Get", func() {
		if _, ok := f.Get("destUNIQUEID"); !ok {
			t.Fatal("no header")
		}
	})
	check("Get of nothing", func() {
		if _, ok := f.Get("ActionID"); ok {
			t.Fatal("a header")
		}
	})
	buf := make([]byte, 0, 4096)
	rewrite := Rewrite{ID: "amiproxy-0-1", NewID: "x", Server: "west"}
	check("Rewrite", func() { buf = rewrite.Append(buf[:0], f) })
}

// An action costs what is kept of it, and forwarding it nothing.
func TestActionAllocations(t *testing.T) {
	text := "Action: Originate\r\nActionID: 1\r\nChannel: PJSIP/100\r\nVariable: a=b\r\nVariable: c=d\r\n\r\n"
	r := NewActionReader(&repeat{data: []byte(text)})
	if n := testing.AllocsPerRun(1000, func() { r.Read() }); n > 3 {
		t.Errorf("Read: %v allocations", n)
	}
	a := parse(t, text)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(1000, func() {
		if a.Name() != "Originate" || a.Get("Channel") == "" || a.HasControl() {
			t.Fatal("another action")
		}
		buf, _ = a.AppendForward(buf[:0], "amiproxy-0123456789abcdef-1")
	}); n != 0 {
		t.Errorf("look-ups and AppendForward: %v allocations", n)
	}
}

func BenchmarkReader(b *testing.B) {
	stream := eventStream(1000)
	r := NewReader(&repeat{data: stream}, 1<<20)
	b.SetBytes(int64(len(stream) / 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadFrame(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkActionReader(b *testing.B) {
	text := "Action: Originate\r\nActionID: 12345\r\nChannel: PJSIP/100\r\nContext: default\r\n" +
		"Exten: 200\r\nPriority: 1\r\nAsync: true\r\nVariable: a=b\r\n\r\n"
	r := NewActionReader(&repeat{data: []byte(text)})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendForward(b *testing.B) {
	a := NewAction("Action: Originate", "ActionID: 12345", "Channel: PJSIP/100", "Context: default",
		"Exten: 200", "Priority: 1", "Async: true", "Variable: a=b")
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = a.AppendForward(buf[:0], "amiproxy-0123456789abcdef-12345")
	}
}

func BenchmarkFrame(b *testing.B) {
	f := Frame(eventStream(1))
	b.Run("Class", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Class()
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Get("DestUniqueid")
		}
	})
}

func BenchmarkRewrite(b *testing.B) {
	event := Frame(eventStream(1))
	response := Frame(strings.Replace(pong, "ActionID: 1", "ActionID: amiproxy-0-1", 1))
	item := Frame(strings.Replace(string(event), "Timestamp: ", "ActionID: amiproxy-0-1\r\nTimestamp: ", 1))
	buf := make([]byte, 0, 4096)
	for _, bench := range []struct {
		name string
		r    Rewrite
		f    Frame
	}{
		{"none", Rewrite{}, event},
		{"server", Rewrite{Server: "west"}, event},
		{"id", Rewrite{ID: "amiproxy-0-1", NewID: "12345"}, response},
		{"both", Rewrite{ID: "amiproxy-0-1", NewID: "12345", Server: "west"}, response},
		{"item", Rewrite{ID: "amiproxy-0-1", NewID: "12345", Server: "west"}, item},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.f)))
			b.ReportAllocs()
			for b.Loop() {
				buf = bench.r.Append(buf[:0], bench.f)
			}
		})
	}
}
