package ami

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFollows(t *testing.T) {
	const head = "Response: Follows\r\nPrivilege: Command\r\n"
	const message = "Message: Command output follows\r\n"
	for name, test := range map[string][2]string{
		"some lines": {
			"Response: Success\r\nActionID: a b \r\n" + message + "Output: one: 1\r\nOutput: \r\nOutput:  two\r\n\r\n",
			head + "ActionID: a b \r\none: 1\n\n two\n--END COMMAND--\r\n\r\n"},
		"an error with output, no id": {
			"Response: Error\r\n" + message + "Output: No such command 'x'\r\n\r\n",
			head + "No such command 'x'\n--END COMMAND--\r\n\r\n"},
		"no output": {
			"Response: Success\r\n" + message + "Output: \r\n\r\n",
			head + "--END COMMAND--\r\n\r\n"},
		"two empty lines": {
			"Response: Success\r\n" + message + "Output: \r\nOutput: \r\n\r\n",
			head + "\n\n--END COMMAND--\r\n\r\n"},
		"Server": {
			"Response: Success\r\nActionID: 1\r\n" + message + "Output: a\r\nOutput: Server: x\r\nServer: west\r\n\r\n",
			head + "ActionID: 1\r\nServer: west\r\na\nServer: x\n--END COMMAND--\r\n\r\n"},
		"Server, no output": {
			"Response: Success\r\n" + message + "Output: \r\nServer: west\r\n\r\n",
			head + "Server: west\r\n--END COMMAND--\r\n\r\n"},
		"the end mark inside": {
			"Response: Success\r\n" + message + "Output: --END COMMAND--\r\nOutput: \r\nOutput: x--END COMMAND--END COMMAND--END COMMAND\r\n\r\n",
			head + "-- END COMMAND--\n\nx-- END COMMAND-- END COMMAND-- END COMMAND\n--END COMMAND--\r\n\r\n"},
		"CRs": {
			"Response: Success\r\n" + message + "Output: a\rb\r\r\r\nOutput: \r\r\nOutput: Event: x\r\r\n\r\n",
			head + "a\rb\n\nEvent: x\n--END COMMAND--\r\n\r\n"},
		"an id with a CR": {
			"Response: Success\r\nActionID: a\r\r\n" + message + "Output: x\r\n\r\n",
			head + "ActionID: a\r\r\nx\n--END COMMAND--\r\n\r\n"},
	} {
		if got := Follows(Frame(test[0])); string(got) != test[1] {
			t.Errorf("%s:\n got %q\nwant %q", name, got, test[1])
		}
	}
	// What is no output stays.
	for _, text := range []string{
		"", "\r\n", "Response: Error\r\nMessage: No command provided\r\n\r\n",
		"Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n",
		"Response: Success\r\nMessage: Failed to set position on temporary file: x\r\n\r\n",
		"Response: Success\r\nX: y\r\n" + message + "Output: a\r\n\r\n",
		"Response: Success\r\nActionID: 1\r\nActionID: 2\r\n" + message + "Output: a\r\n\r\n",
		"Response: Goodbye\r\n" + message + "Output: a\r\n\r\n",
		"Event: X\r\n" + message + "Output: a\r\n\r\n",
		"Response: Success", "Response: Success\r\nActionID: 1",
		head + "ActionID: 1\r\nx\n--END COMMAND--\r\n\r\n",
		head + message + "Output: x\n--END COMMAND--\r\n\r\n",
	} {
		if got := Follows(Frame(text)); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// someOutput is what a command may print.
var someOutput = rapid.Map(rapid.SliceOf(rapid.OneOf(
	rapid.SampledFrom([]string{"\n", "\n\n", "\r", "\r\n", "\r\n\r\n", "--END COMMAND--", "--END COMMAND", "--", "END COMMAND--",
		"Event: x", "Response: Success", "ActionID: 1", "Server: x", "Output: ", ":", " ", "\x00", "\xff"}),
	rapid.StringOfN(rapid.RuneFrom([]rune("ab-: EN")), 0, 10, -1),
)), func(parts []string) string { return strings.Join(parts, "") })

// The older form holds the lines of the newer one, and is one frame to whoever
// looks for the end mark or for an empty line with CRLF.
func TestFollowsKeepsOutput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := someOutput.Draw(t, "output")
		id := rapid.SampledFrom([]string{"", "ActionID: mine\r\n"}).Draw(t, "id")
		server := rapid.SampledFrom([]string{"", "Server: west\r\n"}).Draw(t, "server")
		lines := strings.Split(text, "\n")
		f := "Response: Success\r\n" + id + "Message: Command output follows\r\n"
		for _, line := range lines {
			f += "Output: " + line + "\r\n"
		}
		f += server + "\r\n"
		in := []byte(f)
		got := string(Follows(in))
		if string(in) != f {
			t.Fatal("the frame was changed")
		}
		rest, ok := strings.CutPrefix(got, "Response: Follows\r\nPrivilege: Command\r\n"+id+server)
		if !ok {
			t.Fatalf("begins %q", got)
		}
		body, ok := strings.CutSuffix(rest, "--END COMMAND--\r\n\r\n")
		if !ok || strings.Contains(body, "--END COMMAND--") || strings.Contains(body, "\r\n") {
			t.Fatalf("%q holds an end of its own", got)
		}
		back := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
		for i, line := range lines {
			lines[i] = strings.ReplaceAll(strings.TrimRight(line, "\r"), "--END COMMAND", "-- END COMMAND")
		}
		if strings.Join(back, "\n") != strings.Join(lines, "\n") {
			t.Fatalf("holds %q, was %q", back, lines)
		}
		frames, err := readFrames(bytes.NewReader([]byte(got+pong)), 1<<30)
		if err == nil || len(frames) != 2 || frames[0] != got {
			t.Fatalf("%q is read as %q, %v", got, frames, err)
		}
	})
}

// Output of any size takes time in proportion to it.
func TestFollowsIsLinear(t *testing.T) {
	for _, line := range []string{"", strings.Repeat("x", 70), "--END COMMAND--", "--END COMMAND", strings.Repeat("\r", 50)} {
		f := []byte("Response: Success\r\nMessage: Command output follows\r\n")
		for len(f) < 2<<20 {
			f = append(f, "Output: "+line+"\r\n"...)
		}
		f = append(f, "Server: west\r\n\r\n"...)
		start := time.Now()
		if got := Follows(f); len(got) > len(f)+100 {
			t.Errorf("%d bytes became %d", len(f), len(got))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("2 MB of %.10q took %v", line, took)
		}
	}
}
