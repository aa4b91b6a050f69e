package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// A user's variables go with the Originates of that user, behind the client's own, and
// with nothing else.
func TestSetVar(t *testing.T) {
	w := newWorld(t, setup{users: `
[sets]
secret = sets-secret
write = all
setvar = ONE=a,b
setvar = TWO=(
[plain]
secret = plain-secret
write = all
`})
	for _, test := range []struct {
		user, action string
		want         []string
	}{
		{"sets", "Originate", []string{"X=1", `ONE=a\,b`, `TWO=\(`}},
		{"sets", "ORIGINATE", []string{"X=1", `ONE=a\,b`, `TWO=\(`}},
		{"sets", "Setvar", []string{"X=1"}},
		{"plain", "Originate", []string{"X=1"}},
	} {
		c := w.login(test.user)
		c.Do("Action: "+test.action, "Channel: PJSIP/nosuch", "Application: Wait", "Variable: X=1", "Value: 2")
		received := slices.DeleteFunc(w.sims["east"].Received(), func(r simpbx.Received) bool { return r.Name != test.action })
		got := amiclient.Values(amiclient.Frame(received[len(received)-1].Text), "Variable")
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %s: %q", test.action, test.user, got)
		}
	}
	// What no longer fits gets Asterisk's own error.
	lines := append([]string{"Action: Originate"}, slices.Repeat([]string{"Variable: X=1"}, 125)...)
	c := w.login("sets")
	if f := c.Do(lines...); !amiclient.Has(f, "Response: Error", "Message: Too many lines in message or allocation failure") {
		t.Errorf("got %q", f)
	}
	if f := c.Do(lines[:len(lines)-1]...); strings.Contains(string(f), "Too many") {
		t.Errorf("got %q", f)
	}
}
