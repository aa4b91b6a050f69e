package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
)

// What explain says is what a session does.
func TestExplainIsWhatHappens(t *testing.T) {
	users := reloadUsers + ruledUser + `
[plain]
secret = plain-secret
write = call
`
	w := newWorld(t, setup{users: users, pbxs: []string{"east", "west"}})
	cfg, err := w.load()
	if err != nil {
		t.Fatal(err)
	}
	actions := []string{
		"Action: Originate\nChannel: PJSIP/100\nContext: from-crm\nExten: 1\nPriority: 1\nAsync: true",
		"Action: Originate\nChannel: PJSIP/100\nContext: internal\nExten: 1\nPriority: 1\nAsync: true",
		"Action: Originate\nServer: east\nChannel: Local/1@x\nContext: from-crm\nExten: 1\nPriority: 1\nAsync: true",
		"Action: Ping", "Action: ListCommands", "Action: Events\nEventMask: on", "Action: Filter\nOperation: Add\nFilter: x",
		"Action: Setvar\nVariable: x\nValue: y\nServer: west", "Action: Setvar\nVariable: x\nValue: y\nServer: north",
		"Action: Getvar\nVariable: SHELL(x)\nServer: west", "Action: Command\nCommand: module load x\nServer: west", "Action: Command\nCommand: module load x",
		"Action: NoSuch", "Action: ProxyStatus", "X: y",
		"Action: QueueReset\nServer: west", "Action: QueueReset\nQueue: \x01\nServer: west", "Action: CoreShowChannels",
	}
	refusals := 0
	for _, user := range []string{"full", "westonly", "crm", "plain"} {
		for _, action := range actions {
			var text strings.Builder
			allowed, err := Explain(cfg, user, "", strings.NewReader(action), &text)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(text.String(), "\n")
			_, says, _ := strings.Cut(first, ": refused: ")
			c := w.login(user)
			f := c.Do(strings.Split(action, "\n")...)
			refused := amiclient.Has(f, "Response: Error") && !strings.HasPrefix(header(f, "Message"), "I am")
			switch message := header(f, "Message"); {
			case !allowed && message != says:
				t.Errorf("%s, %q: explained as %q, and it is %q", user, action, says, f)
			case allowed && refused && (message == "Permission denied" || strings.Contains(message, "Forbidden") || strings.Contains(message, "erver") || strings.Contains(message, "unknown")):
				t.Errorf("%s, %q: explained as allowed, and it is %q", user, action, f)
			case !allowed:
				refusals++
			}
			c.Close()
		}
	}
	if refusals < 20 {
		t.Errorf("%d refusals", refusals)
	}
}
