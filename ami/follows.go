package ami

import (
	"bytes"
	"slices"
)

// What is in the answer to Command before its output: from Asterisk 14 on, and
// up to 13 (manager.c: action_command).
const (
	outputFollows = "Message: Command output follows"
	followsHead   = "Response: Follows\r\nPrivilege: Command\r\n"
)

var (
	outputName = []byte("Output: ")
	// endMark is what clients look for behind raw output. Inside the output it
	// is written brokenMark. No end of it is its beginning, so that none is
	// left, or made, when all that are found are replaced.
	endMark    = []byte("--END COMMAND")
	brokenMark = []byte("-- END COMMAND")
)

// Follows gives the answer to the action Command of Asterisk 14 and newer
// (Output lines, after Success or Error) the form that 13 and older give it:
// Response: Follows, the raw text with LF line ends, --END COMMAND--. Headers
// that follow the output, such as a Server of ours, come before it. f is not
// modified; if it is something else, such as an Error without output, it is
// returned as it is.
//
// The text can end neither itself nor the frame: the end mark inside it gets a
// blank (-- END COMMAND--), and CRs at the ends of its lines are dropped, so
// that it holds no CRLF. It ends with an LF unless it is empty; the newer form
// does not tell whether it did.
func Follows(f Frame) Frame {
	if word := string(f.Response()); word != "Success" && word != "Error" {
		return f
	}
	_, rest := cutLine(f)
	var id []byte // the whole line
	line, next := cutLine(rest)
	if hasName(line, "actionid") {
		id, rest = rest[:len(rest)-len(next)], next
		line, next = cutLine(rest)
	}
	if string(line) != outputFollows {
		return f
	}
	b := append(make([]byte, 0, len(f)+len(followsHead)), followsHead...)
	b = append(b, id...)
	start := len(b) // of the text
	for rest = next; ; rest = next {
		line, next = cutLine(rest)
		value, ok := bytes.CutPrefix(line, outputName)
		if !ok {
			break
		}
		b = append(append(b, bytes.TrimRight(value, "\r")...), '\n')
	}
	switch text := b[start:]; {
	case len(text) == 1: // one empty line stands for no output
		b = b[:start]
	case bytes.Contains(text, endMark):
		b = append(b[:start], bytes.ReplaceAll(text, endMark, brokenMark)...)
	}
	headers, _ := bytes.CutSuffix(rest, crlf)
	b = slices.Insert(b, start, headers...)
	return append(b, endOfCommand...)
}
