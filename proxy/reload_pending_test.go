package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// What a session has asked for and its PBX has not been sent yet is not sent any
// more once a reload has taken the right to it: others before it, such as a call
// that rings, may take hours.
func TestReloadStopsWhatIsNotSent(t *testing.T) {
	const crm = "[crm]\nsecret = crm-secret\nwrite = system,call,command,originate\n"
	w := newWorld(t, setup{users: reloadUsers + crm, pbxs: []string{"east", "west"}})
	w.answerer("Setvar")
	w.answerer("Getvar")
	w.answerer("Command")
	for _, test := range []struct{ now, command, getvar string }{
		{crm, "I am west", "I am west"},
		{strings.Replace(crm, "command,", "", 1), "Permission denied", "I am west"},
		{crm + "allowaction = *\ndenyaction = Command\n", "Permission denied", "I am west"},
		{crm + "allowaction = *\nsetheader(Getvar) = Variable: y\n", "I am west", "Permission denied"},
		{crm + "pbx = east\n", "No such server: west", "No such server: west"},
	} {
		w.reload(reloadUsers+crm, "east", "west")
		c := w.login("crm")
		full := w.login("full", "Events: off")
		open := w.block("west", "Originate")
		w.sims["west"].Forget()
		c.Send("Action: Originate", "Server: west", "ActionID: 1", "Channel: Local/1@a", "Application: Wait", "Timeout: 3600000")
		c.Send("Action: Command", "Server: west", "ActionID: 2", "Command: core show version")
		c.Send("Action: Getvar", "Server: west", "ActionID: 3", "Variable: x")
		w.await("west", "Originate")
		eventually(t, "all are pending", func() bool { return w.pbx("west").Pending() == 3 })
		w.reload(reloadUsers+test.now, "east", "west")
		if got := header(full.Do("Action: Command", "Server: west", "Command: x"), "Message"); got != "I am west" {
			t.Error("another session:", got)
		}
		w.sims["west"].Forget()
		open()
		for i, want := range []string{"Originate", test.command, test.getvar} {
			f := c.ExpectNext("ActionID: " + string(rune('1'+i)))
			if got := amiclient.Header(f, "Message"); got != want {
				t.Errorf("%s: %q, want %q", test.now, f, want)
			}
		}
		for _, r := range w.sims["west"].Received() {
			if r.Name == "Command" && test.command != "I am west" {
				t.Errorf("%s was sent", r.Text)
			}
		}
		c.Close()
		full.Close()
		w.awaitSessions(0)
	}
}
