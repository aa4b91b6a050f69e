package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const ruledUser = `
[crm]
secret = crm-secret
read = call
write = all
pbx = east
allowaction = Originate, Setvar
denyaction = S*r
allowheader(Originate) = Channel: PJSIP/1??
allowheader(Originate) = Context: from-crm
allowheader(Originate) = Exten: *
allowheader(Originate) = Priority: 1
setheader(Originate) = CallerID: "CRM" <100>
`

// lastOf is the action of a name that a PBX got last, and how many it got.
func (w *world) lastOf(pbx, name string) (last amiclient.Frame, n int) {
	received := slices.DeleteFunc(w.sims[pbx].Received(), func(r simpbx.Received) bool { return r.Name != name })
	if len(received) == 0 {
		return "", 0
	}
	return amiclient.Frame(received[len(received)-1].Text), len(received)
}

// What a user's rules do not allow gets Asterisk's refusal and never reaches a PBX;
// what they set reaches it in the place of what the client sent. A reload takes
// rights from those who are logged in, and gives them none.
func TestActionRules(t *testing.T) {
	w := newWorld(t, setup{users: reloadUsers + ruledUser, pbxs: []string{"east", "west"}})
	c := w.login("crm")
	originate := func(c *amiclient.Client, context string, more ...string) string {
		t.Helper()
		f := c.Do(append([]string{"Action: Originate", "Channel: PJSIP/100", "Context: " + context, "Exten: 1", "Priority: 1", "Async: true"}, more...)...)
		return header(f, "Message")
	}
	refused := func(what string, got string) {
		t.Helper()
		if got != "Permission denied" {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := originate(c, "from-crm", "callerid: \"Boss\" <1>", "Server: east"); got == "Permission denied" {
		t.Errorf("an allowed Originate: %q", got)
	}
	f, n := w.lastOf("east", "Originate")
	if got := amiclient.Values(f, "CallerID"); n != 1 || !slices.Equal(got, []string{`"CRM" <100>`}) {
		t.Errorf("%d Originates, the last with CallerID %q", n, got)
	}
	refused("another context", originate(c, "internal"))
	refused("an application", originate(c, "from-crm", "Application: Playback"))
	refused("a denied action", header(c.Do("Action: Setvar", "Variable: x", "Value: y"), "Message"))
	refused("an action that is not named", header(c.Do("Action: CoreStatus"), "Message"))
	c.Roundtrip()
	if _, n := w.lastOf("east", "Originate"); n != 1 {
		t.Errorf("%d Originates reached the PBX", n)
	}
	var listed []string
	for line := range strings.SplitSeq(string(c.Do("Action: ListCommands")), "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "Response" && name != "ActionID" {
			listed = append(listed, name)
		}
	}
	if !slices.Contains(listed, "Originate") || !slices.Contains(listed, "Ping") || slices.Contains(listed, "Setvar") || slices.Contains(listed, "CoreStatus") {
		t.Errorf("ListCommands: %q", listed)
	}

	// From now on the context is another: this session has none left.
	after := strings.ReplaceAll(ruledUser, "Context: from-crm", "Context: from-shop")
	w.reload(reloadUsers+after, "east", "west")
	late := w.login("crm")
	refused("the old context", originate(c, "from-crm"))
	refused("the new context", originate(c, "from-shop"))
	refused("the old context, a new session", originate(late, "from-crm"))
	if got := originate(late, "from-shop"); got == "Permission denied" {
		t.Errorf("the new context, a new session: %q", got)
	}

	// Rules that come bind those who had none; rules that go bind on.
	full := w.login("full")
	w.reload(strings.Replace(reloadUsers, "write = all\n", "write = all\nallowaction = Ping*\n", 1)+"[crm]\nsecret = crm-secret\nwrite = all\npbx = east\n", "east", "west")
	refused("rules for a user who had none", header(full.Do("Action: CoreStatus", "Server: east"), "Message"))
	refused("rules that are gone", header(late.Do("Action: CoreStatus"), "Message"))

	// One that cannot be understood changes nothing.
	w.write(reloadUsers+ruledUser+"denyaction = a b\n", "east", "west")
	if err := w.srv.Reload(); err == nil || !strings.Contains(err.Error(), `[crm] denyaction: "a b" is not the name of an action`) {
		t.Errorf("a bad rule: %v", err)
	}
	refused("after a bad rule", header(full.Do("Action: CoreStatus", "Server: east"), "Message"))
}
