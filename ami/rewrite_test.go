package ami

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRewrite(t *testing.T) {
	const (
		id      = "amiproxy-0123456789abcdef-7"
		head    = "Response: Success\r\n"
		follows = "Response: Follows\r\nPrivilege: Command\r\n"
	)
	restore := Rewrite{ID: id, NewID: "mine"}
	strip := Rewrite{ID: id}
	server := Rewrite{Server: "west"}
	all := Rewrite{ID: id, NewID: "mine", Server: "west"}
	tests := []struct {
		name     string
		r        Rewrite
		in, want string
	}{
		{"restored", restore, head + "ActionID: " + id + "\r\nPing: Pong\r\n\r\n", head + "ActionID: mine\r\nPing: Pong\r\n\r\n"},
		{"taken out", strip, head + "ActionID: " + id + "\r\nPing: Pong\r\n\r\n", head + "Ping: Pong\r\n\r\n"},
		{"at the end", restore, "Event: X\r\nA: b\r\nActionID: " + id + "\r\n\r\n", "Event: X\r\nA: b\r\nActionID: mine\r\n\r\n"},
		{"taken out at the end", strip, "Event: X\r\nA: b\r\nActionID: " + id + "\r\n\r\n", "Event: X\r\nA: b\r\n\r\n"},
		{"in the first line", strip, "ActionID: " + id + "\r\nA: b\r\n\r\n", "A: b\r\n\r\n"},
		{"written in an odd way", restore, "Event: X\naCtIoNiD:\t " + id + "\nA: b\n\n", "Event: X\naCtIoNiD:\t mine\nA: b\n\n"},
		{"blanks at the end are the client's", Rewrite{ID: id, NewID: " a  "}, head + "ActionID: " + id + "\r\n\r\n", head + "ActionID:  a  \r\n\r\n"},
		{"another id", all, head + "ActionID: " + id + "8\r\n\r\n", head + "ActionID: " + id + "8\r\nServer: west\r\n\r\n"},
		{"an id with blanks behind", restore, head + "ActionID: " + id + " \r\n\r\n", head + "ActionID: " + id + " \r\n\r\n"},
		{"elsewhere than in an ActionID", restore, head + "Message: " + id + "\r\n\r\n", head + "Message: " + id + "\r\n\r\n"},
		{"each that is ours", strip, "Event: X\r\nActionID: " + id + "\r\nActionID: x\r\nactionid:" + id + "\r\n\r\n", "Event: X\r\nActionID: x\r\n\r\n"},
		{"two frames in one", restore, "Event: X\r\nActionID: " + id + "\r\nEvent: Y\r\nActionID: " + id + "\r\nA: b\r\n\r\n", "Event: X\r\nActionID: mine\r\nEvent: Y\r\nActionID: mine\r\nA: b\r\n\r\n"},
		{"the first that is ours", restore, "Event: X\r\nActionID: other\r\nActionID: " + id + "\r\n\r\n", "Event: X\r\nActionID: other\r\nActionID: mine\r\n\r\n"},

		{"Server of a response", server, head + "A: b\r\n\r\n", head + "A: b\r\nServer: west\r\n\r\n"},
		{"Server of an event", server, hangup, hangup[:len(hangup)-2] + "Server: west\r\n\r\n"},
		{"Server with LF ends", server, "Event: X\nA: b\n\n", "Event: X\nA: b\nServer: west\r\n\n"},
		{"a foreign Server in an event", server, "Event: X\r\nServer: east\r\nA: b\r\nsERVER:\r\n\r\n", "Event: X\r\nA: b\r\nServer: west\r\n\r\n"},
		{"a foreign Server in a response", server, head + "Server: east\r\nA: b\r\n\r\n", head + "Server: east\r\nA: b\r\nServer: west\r\n\r\n"},
		{"names like it", server, "Event: X\r\nServers: b\r\nX Server: c\r\nserver\r\n\r\n", "Event: X\r\nServers: b\r\nX Server: c\r\nserver\r\nServer: west\r\n\r\n"},
		{"what clients take for it", server, "Event: X\r\nServer : a\r\n\t SERVER\t: b\nA: b\r\n Server:c\r\n\r\n", "Event: X\r\nA: b\r\nServer: west\r\n\r\n"},
		{"a foreign Server, one PBX", restore, "Event: X\r\nServer: east\r\n\r\n", "Event: X\r\nServer: east\r\n\r\n"},
		{"raw text gets none", server, "Host Jitter\nnone 0\r\n\r\n", "Host Jitter\nnone 0\r\n\r\n"},
		{"an empty line stays one", all, "\r\n", "\r\n"},
		{"and an LF", all, "\n", "\n"},

		{"UserEvent", all, "Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: x\r\nServer: fake\r\nActionID:  " + id + "\r\nlast\r\n\r\n",
			"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: x\r\nActionID:  mine\r\nlast\r\nServer: west\r\n\r\n"},
		{"OriginateResponse for others", Rewrite{ID: id, Server: "west"},
			"Event: OriginateResponse\r\nPrivilege: call,all\r\nActionID: " + id + "\r\nResponse: Failure\r\n\r\n",
			"Event: OriginateResponse\r\nPrivilege: call,all\r\nResponse: Failure\r\nServer: west\r\n\r\n"},

		{"Follows", all, follows + "ActionID: " + id + "\r\nx\n\nActionID: " + id + "\n\r\n\r\nServer: x\n--END COMMAND--\r\n\r\n",
			follows + "ActionID: mine\r\nServer: west\r\nx\n\nActionID: " + id + "\n\r\n\r\nServer: x\n--END COMMAND--\r\n\r\n"},
		{"Follows without an id", all, follows + "x\n--END COMMAND--\r\n\r\n", follows + "Server: west\r\nx\n--END COMMAND--\r\n\r\n"},
		{"Follows, empty first line", all, follows + "\nActionID: " + id + "\n--END COMMAND--\r\n\r\n",
			follows + "Server: west\r\n\nActionID: " + id + "\n--END COMMAND--\r\n\r\n"},
		{"Follows, one PBX", strip, follows + "ActionID: " + id + "\r\nx\n--END COMMAND--\r\n\r\n", follows + "x\n--END COMMAND--\r\n\r\n"},

		{"text that ends in LF, one PBX", restore, "Response: Error\r\nActionID: " + id + "\r\nMessage: No Auths found\n\r\n\r\n",
			"Response: Error\r\nActionID: mine\r\nMessage: No Auths found\n\r\n\r\n"},
		{"text that ends in LF, Server", all, "Response: Error\r\nActionID: " + id + "\r\nMessage: No Auths found\n\r\n\r\n",
			"Response: Error\r\nActionID: mine\r\nMessage: No Auths found\r\nServer: west\r\n\r\n"},
		{"LF in another header, Server", server, "Event: Agents\r\nCallStarted: 0\nA: b\r\n\r\n", "Event: Agents\r\nCallStarted: 0\nA: b\r\nServer: west\r\n\r\n"},
	}
	for _, test := range tests {
		in := []byte(test.in)
		got := test.r.Append([]byte("before "), in)
		if want := "before " + test.want; string(got) != want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, want)
		}
		if string(in) != test.in {
			t.Errorf("%s: the frame was changed", test.name)
		}
	}
}

// With nothing to change, every byte stays.
func TestRewriteIdentity(t *testing.T) {
	frames := []string{pong, hangup, "", "\r\n", "\n", "no end", "Event: X\r\n", "\r\n\r\n\r\n",
		"Response: Follows\r\nx\n--END COMMAND--\r\n\r\n", "Response: Error\r\nMessage: x\n\r\n\r\n"}
	for _, frame := range frames {
		for _, r := range []Rewrite{{}, {NewID: "x"}, {ID: "no such id", NewID: "x"}} {
			if got := r.Append(nil, Frame(frame)); string(got) != frame {
				t.Errorf("%+v: %q became %q", r, frame, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		frame := someFrame.Draw(t, "frame")
		if got := (Rewrite{}).Append(nil, Frame(frame)); string(got) != frame {
			t.Fatalf("%q became %q", frame, got)
		}
	})
}

// checkRewrite tests what holds for any frame that a Reader returns.
func checkRewrite(t interface{ Fatalf(string, ...any) }, f Frame) {
	id := "no such id"
	if v, ok := f.Get("actionid"); ok && len(v) > 0 {
		id = string(v)
	}
	got := Rewrite{ID: id, NewID: "restored", Server: "west"}.Append(nil, f)
	if !bytes.Equal(f.Event(), Frame(got).Event()) || !bytes.Equal(f.Response(), Frame(got).Response()) {
		t.Fatalf("%q became another: %q", f, got)
	}
	if f.Event() == nil && f.Response() == nil { // raw text, or a stray line
		if bytes.Count(got, []byte("Server: west")) > bytes.Count(f, []byte("Server: west")) {
			t.Fatalf("%q became %q", f, got)
		}
		return
	}
	frames, err := readFrames(bytes.NewReader(got), 1<<30)
	if len(frames) != 1 || frames[0] != string(got) {
		t.Fatalf("%q became %q, which is %d frames, %v", f, got, len(frames), err)
	}
	if f.follows() {
		if !bytes.Contains(got, []byte("\nServer: west\r\n")) {
			t.Fatalf("no Server in %q", got)
		}
		return
	}
	if !strings.HasSuffix(strings.TrimRight(string(got), "\r\n"), "\nServer: west") {
		t.Fatalf("Server is not last in %q", got)
	}
	if server, _ := Frame(got).Get("server"); f.Event() != nil && string(server) != "west" {
		t.Fatalf("Server %q in %q", server, got)
	}
	if now, _ := Frame(got).Get("actionid"); id != "no such id" && string(now) != "restored" {
		t.Fatalf("id %q in %q", now, got)
	}
}

func TestRewriteKeepsFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkRewrite(t, Frame(someFrame.Draw(t, "frame"))) })
}
