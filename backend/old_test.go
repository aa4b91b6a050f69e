package backend

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// Asterisk 13 and older end the output of Command with a mark; several at once
// do not get mixed up.
func TestOldCommands(t *testing.T) {
	w := newWorld(t, simpbx.Options{Version: "2.10.6"}, Options{})
	output := func(id, text string) string {
		return "Response: Follows\r\nPrivilege: Command\r\nActionID: " + id + "\r\n" +
			"Verbose: " + text + "\n\nResponse: Success\nActionID: none\n\r\n\r\nEvent: none\n--END COMMAND--\r\n\r\n"
	}
	w.pbx.Handle("Command", func(r *simpbx.Request) { r.Write([]byte(output(r.ID(), r.Get("Command")))) })
	w.start()
	var all []asked
	for _, command := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, w.send(w.b.NewStream(nil), "Action: Command", "Command: "+command, "ActionID: x"+command))
	}
	for i, command := range []string{"a", "b", "c", "d", "e"} {
		if a := <-all[i]; string(a.Bytes) != output("x"+command, command) {
			t.Errorf("%s: %q, %v", command, a.Bytes, a.Err)
		}
	}
}

// The lists of Asterisk 12 and older do not say so: a Ping ends them.
func TestListsOfOldPBX(t *testing.T) {
	for _, version := range []string{"1.0", "1.1", "1.3", "2.5.0"} {
		w := newWorld(t, simpbx.Options{Version: version}, Options{})
		w.raw("Status", "Response: Success|ActionID: $ID|Message: Channel status will follow||"+
			"Event: Status|Channel: a|ActionID: $ID||Event: StatusComplete|ActionID: $ID|Items: 1||")
		w.start()
		s := w.b.NewStream(nil)
		first := w.send(s, "Action: Status", "ActionID: 1")
		after := w.send(s, "Action: Setvar", "Variable: A", "Value: 1", "ActionID: 2")
		w.want(w.got(first), "Response: Success|ActionID: 1|Message: Channel status will follow||"+
			"Event: Status|Channel: a|ActionID: 1||Event: StatusComplete|ActionID: 1|Items: 1|")
		w.want(w.got(after), "Response: Success|ActionID: 2|Message: Variable Set|")
	}
}

func TestListsUnannounced(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	for version, want := range map[string]bool{
		"1.0": true, "1.4": true, "2.5.0": true, "2.6.0": false, "2.10.6": false,
		"3.2.2": false, "5.0.4": false, "11.0.0": false, "13.0.0": false, "x": false,
	} {
		w.b.version.Store(&version)
		p, err := w.b.newPending(nil, Request{Action: ami.NewAction("Action: QueueStatus")})
		if err != nil || (p.fence != "") != want {
			t.Errorf("%s: fence %q, %v", version, p.fence, err)
		}
	}
}

// FullyBooted has no times before Asterisk 14, and none are made up.
func TestFullyBootedOfOldPBX(t *testing.T) {
	w := newWorld(t, simpbx.Options{Version: "2.10.6"}, Options{})
	w.start()
	w.await("FullyBooted", func() bool { return w.told.count("FullyBooted") == 1 })
	f := string(w.b.FullyBooted(w.told.state(0).Since))
	if strings.Contains(f, "Uptime") || f != string(w.told.event("FullyBooted").Frame) {
		t.Errorf("%q", f)
	}
}
