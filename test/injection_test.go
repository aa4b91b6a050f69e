//go:build unix

package test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const injectionUsers = `
[narrow]
secret = pw
write = call
[admin]
secret = pw
read = all
write = all
`

// uriEncode is text such that the dialplan function URIDECODE gives it back.
func uriEncode(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Asterisk writes the value of a variable as it is, line ends included. Whoever may read
// one can so make the PBX write whole frames on a link that he shares with others.
var breakouts = []string{
	"x\r\n\r\nResponse: Follows\r\n",
	"x\r\n\r\nResponse: Follows\r\nPrivilege: Command\r\nActionID: mine\r\n",
	"x\r\n\r\n--END COMMAND--\r\n\r\n",
	"x\r\nEventList: start",
	"x\r\n\r\nResponse: Success\r\nEventList: start\r\n\r\n",
	"x\r\n\r\nResponse: Success\r\nMessage: forged\r\n\r\n",
	"x\r\n\r\nEvent: Newchannel\r\nPrivilege: call,all\r\nChannel: forged\r\n\r\n",
	"x\r\n\r\nMessage: forged\n\r\n",
	"x" + strings.Repeat("\n\na", 130),
	"\r\n\r\n\r\n\r\n",
}

// TestValuesStayWithTheirOwner has a user who may only read variables try to break out of
// his answers while others use the same links.
func TestValuesStayWithTheirOwner(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pbx := starts(t, asterisk.Options{Major: major, Name: "east"})[0]
			p := startProxy(t, injectionUsers, pbx)
			p.waitUp()
			var attackers, victims sync.WaitGroup
			stop := make(chan struct{})
			for range 3 {
				c := p.login(t, "narrow")
				attackers.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						value := breakouts[n%len(breakouts)]
						c.Send("Action: Getvar", "ActionID: mine", "Variable: URIDECODE("+uriEncode(value)+")")
						// He gets all that he made the PBX write, as from the PBX itself.
						got := ""
						for _, f := range c.Roundtrip() {
							got += string(f)
						}
						if strings.Contains(got, "AsteriskVersion") || strings.Contains(got, "amiproxy-") || strings.Contains(got, "upstream") {
							t.Errorf("the answer to a Getvar holds %q", got)
							return
						}
						if !strings.HasPrefix(got, "Response: Success\r\nActionID: mine\r\nVariable: URIDECODE(") {
							t.Errorf("Getvar was answered %q", got)
							return
						}
					}
				})
			}
			for i := range 4 {
				c := p.login(t, "admin", "Events: off")
				victims.Go(func() {
					for n := range 100 {
						id := fmt.Sprintf("%d-%d", i, n)
						c.Send("Action: CoreSettings", "ActionID: "+id)
						f := c.ReadFrame()
						if !amiclient.Has(f, "Response: Success", "ActionID: "+id) || amiclient.Header(f, "AsteriskVersion") == "" {
							t.Errorf("CoreSettings was answered %q", f)
							return
						}
					}
				})
			}
			victims.Wait()
			close(stop)
			attackers.Wait()
			if n := p.backend("east").Stats().Losses.Load(); n != 0 {
				t.Errorf("%d links were lost", n)
			}
		})
	}
}

// TestEventsGoOnBehindAnyText has the dialplan raise an event whose text would begin a
// frame of raw output: the events after it come all the same.
func TestEventsGoOnBehindAnyText(t *testing.T) {
	const name = "Msg,Body: ${URIDECODE(hi%0d%0a%0d%0aResponse%3a%20Follows%0d%0a)}"
	pbx := starts(t, asterisk.Options{Major: 22, Name: "east", Extensions: "[breakout]\nexten => s,1,UserEvent(" + name + ")\n same => n,Hangup()\n"})[0]
	p := startProxy(t, injectionUsers, pbx)
	p.waitUp()
	c := p.login(t, "admin")
	c.Expect("Event: FullyBooted")
	c.Send("Action: Originate", "ActionID: call", "Channel: Local/s@breakout", "Application: Wait", "Data: 1", "Async: yes")
	c.Expect("Event: UserEvent", "UserEvent: Msg")
	c.Send("Action: UserEvent", "UserEvent: Marker")
	c.Expect("Event: UserEvent", "UserEvent: Marker")
	if n := p.backend("east").Stats().Losses.Load(); n != 0 {
		t.Errorf("%d links were lost", n)
	}
}
