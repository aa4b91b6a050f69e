package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const compatUsers = `
[old]
secret = old-secret
read = all
write = all
compat = command-follows

[oldeast]
secret = oldeast-secret
read = all
write = all
pbx = east
compat = command-follows

[powerless]
secret = powerless-secret
write = call
compat = command-follows

[new]
secret = new-secret
read = all
write = all
pbx = east
`

// compatWorld has a PBX of Asterisk 22, whose commands print a text (%c in it is the
// command), and one of 13.
func compatWorld(t *testing.T, word, text string) *world {
	w := newWorld(t, setup{
		pbxs: []string{"east", "west"}, users: compatUsers,
		sim: map[string]simpbx.Options{"west": {Version: "2.10.6"}},
	})
	w.sims["east"].Handle("Command", func(r *simpbx.Request) {
		b := ami.AppendResponseStart(nil, word, r.ID())
		b = ami.AppendHeader(b, "Message", "Command output follows")
		for line := range strings.SplitSeq(strings.ReplaceAll(text, "%c", r.Get("Command")), "\n") {
			b = ami.AppendHeader(b, "Output", line)
		}
		r.Write(ami.AppendEnd(b))
	})
	return w
}

// readFollows reads raw output to its end mark.
func readFollows(c *amiclient.Client) string {
	var b strings.Builder
	for b.Len() == 0 || !strings.HasSuffix(b.String(), "--END COMMAND--\r\n\r\n") {
		b.WriteString(c.ReadLine())
	}
	return b.String()
}

const followsHead = "Response: Follows\r\nPrivilege: Command\r\n"

func TestCommandFollows(t *testing.T) {
	for _, word := range []string{"Success", "Error"} {
		w := compatWorld(t, word, "%c: 1\n\n--END COMMAND--\n\nEvent: none")
		for _, test := range []struct{ user, lines, want string }{
			{"oldeast", "ActionID: 1", "ActionID: 1\r\n"},
			{"oldeast", "X: y", ""},
			{"old", "ActionID: 1\r\nServer: east", "ActionID: 1\r\nServer: east\r\n"},
			{"old", "Server: east", "Server: east\r\n"},
		} {
			c := w.login(test.user)
			c.Send("Action: command", "Command: x", test.lines)
			want := followsHead + test.want + "x: 1\n\n-- END COMMAND--\n\nEvent: none\n--END COMMAND--\r\n\r\n"
			if got := readFollows(c); got != want {
				t.Errorf("%s, %s: got %q\nwant %q", test.user, test.lines, got, want)
			}
			c.ExpectNothing()
		}
		want := "Response: " + word + "\r\nActionID: 1\r\nMessage: Command output follows\r\n" +
			"Output: x: 1\r\nOutput: \r\nOutput: --END COMMAND--\r\nOutput: \r\nOutput: Event: none\r\n\r\n"
		if got := w.login("new").Do("Action: Command", "Command: x", "ActionID: 1"); string(got) != want {
			t.Errorf("without compat: %q", got)
		}
	}
}

// What is no output of a Command stays as it is, and so does what Asterisk 13 sends.
func TestFollowsChangesOnlyOutput(t *testing.T) {
	w := compatWorld(t, "Success", "x")
	w.sims["east"].Handle("Command", func(r *simpbx.Request) { r.Default() })
	w.sims["east"].Handle("Setvar", func(r *simpbx.Request) {
		r.Reply("Success", "Command output follows", "Output", "x")
	})
	c := w.login("oldeast")
	for lines, want := range map[string]string{
		"Action: Command": "Response: Error\r\nActionID: 1\r\nMessage: No command provided\r\n\r\n",
		"Action: Command\r\nCommand: module load x":      "Response: Error\r\nActionID: 1\r\nMessage: Command blacklisted\r\n\r\n",
		"Action: Setvar\r\nVariable: x\r\nValue: y":      "Response: Success\r\nActionID: 1\r\nMessage: Command output follows\r\nOutput: x\r\n\r\n",
		"Action: Command\r\nCommand: core show channels": "",
	} {
		c.Send(lines, "ActionID: 1")
		if want == "" {
			readFollows(c)
		} else if got := c.ReadFrame(); string(got) != want {
			t.Errorf("%s: %q", lines, got)
		}
	}
	denied := w.login("powerless").Do("Action: Command", "Command: core show channels", "ActionID: 1", "Server: east")
	if want := "Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n"; string(denied) != want {
		t.Errorf("denied: %q", denied)
	}
	c = w.login("old")
	c.Send("Action: Command", "Command: nope", "ActionID: 1", "Server: west")
	want := followsHead + "ActionID: 1\r\nServer: west\r\n" +
		"No such command 'nope' (type 'core show help nope' for other possible commands)\n--END COMMAND--\r\n\r\n"
	if got := readFollows(c); got != want {
		t.Errorf("from 13: %q", got)
	}
}

// Clients that run different commands at once get their own output, however long.
func TestFollowsIsTheirOwn(t *testing.T) {
	lines := strings.Repeat("\n"+strings.Repeat("line of %c: 0123456789 ", 20), 1000)
	w := compatWorld(t, "Success", "%c"+lines)
	var clients []*amiclient.Client
	for i := range 8 {
		c := w.login("oldeast")
		c.Send("Action: Command", fmt.Sprintf("Command: cmd%d", i), "ActionID: 1")
		clients = append(clients, c)
	}
	for i, c := range clients {
		text := strings.ReplaceAll("%c"+lines, "%c", fmt.Sprintf("cmd%d", i))
		if got := readFollows(c); got != followsHead+"ActionID: 1\r\n"+text+"\n--END COMMAND--\r\n\r\n" {
			t.Errorf("client %d got %d bytes, of %d", i, len(got), len(text))
		}
		c.ExpectNothing()
	}
}
