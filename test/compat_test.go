//go:build unix

package test

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestCommandFollows: with compat = command-follows the output of a command is what
// Asterisk prints, in the form of Asterisk 13.
func TestCommandFollows(t *testing.T) {
	const user = "[old]\nsecret = pw\nread = all\nwrite = all\ncompat = command-follows\n"
	pbxs := starts(t, asterisk.Options{Major: 16, Name: "v16"}, asterisk.Options{Major: 22, Name: "v22"})
	for _, pbx := range pbxs {
		t.Run(pbx.Name(), func(t *testing.T) {
			p := startProxy(t, user, pbx)
			p.waitUp()
			direct, c := loginDirect(t, pbx), p.login(t, "old", "Events: off")
			for _, command := range []string{
				"core show version", "core show help", "core show help core show channels", "dialplan show default",
				"manager show commands", "core show applications", "nosuch command", "core show application nosuch",
				"database show nosuch", "core set verbose 0", "channel request hangup nosuch",
			} {
				f := direct.Do("Action: Command", "Command: "+command)
				if amiclient.Header(f, "Message") != "Command output follows" {
					t.Fatalf("%s: Asterisk says %.200q", command, f)
				}
				_, output, _ := strings.Cut(string(f), "follows\r\nOutput: ")
				output = strings.ReplaceAll(strings.TrimSuffix(output, "\r\n\r\n"), "\r\nOutput: ", "\n")
				want := "Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n" + output + "\n--END COMMAND--\r\n\r\n"
				c.Send("Action: Command", "Command: "+command, "ActionID: 1")
				var got strings.Builder
				for !strings.HasSuffix("\n"+got.String(), "\n--END COMMAND--\r\n\r\n") {
					got.WriteString(c.ReadLine())
				}
				if got.String() != want {
					t.Errorf("%s: %s", command, firstDifference([]byte(got.String()), []byte(want)))
				}
			}
			want := "Response: Error\r\nActionID: 1\r\nMessage: No command provided\r\n\r\n"
			if f := c.Do("Action: Command", "ActionID: 1"); string(f) != want {
				t.Errorf("no command: %q", f)
			}
		})
	}
}
