//go:build unix

package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// ringing is an extension that rings until the global variable GO is 1.
const ringing = `
[hold]
exten => ring,1,Ringing()
 same => n,While($["${GO}" != "1"])
 same => n,Wait(0.1)
 same => n,EndWhile()
 same => n,Answer()
 same => n,Wait(1)
 same => n,Hangup()
`

// ring is a synchronous Originate, which Asterisk answers when the callee does.
var ring = []string{"Action: Originate", "Channel: Local/ring@hold", "Application: Wait", "Data: 1", "Timeout: 90000"}

// waitRinging waits until that many calls of the extension ring.
func waitRinging(tb testing.TB, c *amiclient.Client, n int) {
	tb.Helper()
	eventually(tb, fmt.Sprintf("%d calls to ring", n), func() bool { return ringingCalls(c) >= n })
}

func ringingCalls(c *amiclient.Client) int {
	n := 0
	for _, f := range c.List("Action: CoreShowChannels") {
		name := amiclient.Header(f, "Channel")
		if strings.HasPrefix(name, "Local/ring@hold-") && strings.HasSuffix(name, ";2") {
			n++
		}
	}
	return n
}

// pingCycle is longer than the proxy waits before it tests an idle link and for the
// answer to that.
const pingCycle = 11 * time.Second

// TestBlockingActions has more synchronous Originates pending on a PBX than may block it.
func TestBlockingActions(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx := asterisk.Start(t, asterisk.Options{Major: major, Name: "east", Extensions: ringing})
			p := startProxy(t, "[general]\nactiontimeout = 120\n"+blockingUser, pbx)
			direct, callers := threeRing(t, p, pbx)
			fourth := p.login(t, "ops", "Events: off")
			fourth.Send("Action: Command", "Command: core show version", "ActionID: patient")

			// Nobody else is held up, as long as it rings.
			end := time.Now().Add(pingCycle)
			together(t, 4, func(tb testing.TB, i int) {
				c := p.login(tb, "ops", "Events: off")
				for n := 0; n < 50 || time.Now().Before(end); n++ {
					useWhileBlocked(c, fmt.Sprintf("%d-%d", i, n))
					if n >= 50 {
						time.Sleep(100 * time.Millisecond) // Enough load; the rest is to take its time.
					}
				}
			})
			if n := ringingCalls(direct); n != 2 {
				t.Errorf("%d synchronous Originates run at once on 3 links, want 2", n)
			}

			direct.Do("Action: Setvar", "Variable: GO", "Value: 1")
			for i, c := range callers {
				c.ExpectNext("Response: Success", fmt.Sprintf("ActionID: call-%d", i), "Message: Originate successfully queued")
				c.ExpectNext("Response: Success", "ActionID: behind")
				c.ExpectNothing()
			}
			fourth.ExpectNext("Response: Success", "ActionID: patient", "Message: Command output follows")
			fourth.ExpectNothing()
			noLosses(t, p)
		})
	}
}

// TestBusy has actions wait longer than actiontimeout for others that block the PBX.
func TestBusy(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx := asterisk.Start(t, asterisk.Options{Major: major, Name: "east", Extensions: ringing})
			p := startProxy(t, "[general]\nactiontimeout = 5\n"+blockingUser, pbx)
			direct, callers := threeRing(t, p, pbx)
			fourth := p.login(t, "ops", "Events: off")
			fourth.Send("Action: Command", "Command: core show version", "ActionID: too many")
			other := p.login(t, "ops", "Events: off")
			useWhileBlocked(other, "before")
			fourth.ExpectNext("Response: Error", "ActionID: too many", "Message: Server east is busy")
			useWhileBlocked(other, "behind")

			direct.Do("Action: Setvar", "Variable: GO", "Value: 1")
			// The third Originate may wait for as long as it may ring.
			for i, c := range callers {
				c.ExpectNext("Response: Success", fmt.Sprintf("ActionID: call-%d", i))
			}
			for _, c := range callers {
				c.ExpectNext("Response: Success", "ActionID: behind")
				c.ExpectNothing()
			}
			fourth.Send("Action: Command", "Command: core show version", "ActionID: again")
			fourth.ExpectNext("Response: Success", "ActionID: again")
			fourth.ExpectNothing()
			noLosses(t, p)
		})
	}
}

const blockingUser = "[ops]\nsecret = pw\nread = user\nwrite = all\n"

// threeRing makes three clients that call the extension, each with a Ping behind it. Of
// their Originates the last one has to wait for a link.
func threeRing(t *testing.T, p *proxied, pbx *asterisk.PBX) (direct *amiclient.Client, callers []*amiclient.Client) {
	t.Helper()
	p.waitUp()
	direct = loginDirect(t, pbx)
	for i := range 3 {
		c := p.login(t, "ops", "Events: off")
		c.Send(append(ring[:len(ring):len(ring)], fmt.Sprintf("ActionID: call-%d", i))...)
		c.Send("Action: Ping", "ActionID: behind")
		callers = append(callers, c)
		waitRinging(t, direct, min(i+1, 2))
	}
	return direct, callers
}

// useWhileBlocked sends some actions in a row and checks the answers, which own marks.
func useWhileBlocked(c *amiclient.Client, own string) {
	c.Send("Action: Setvar", "Variable: V"+own, "Value: "+own)
	c.Send("Action: QueueStatus", "Queue: support")
	c.Send("Action: Getvar", "Variable: V"+own)
	c.ExpectNext("Response: Success", "Message: Variable Set")
	c.ExpectNext("Response: Success", "EventList: start")
	c.Expect("Event: QueueStatusComplete", "ListItems: 3")
	c.ExpectNext("Response: Success", "Value: "+own)
}

func noLosses(t *testing.T, p *proxied) {
	t.Helper()
	for _, b := range p.Backends() {
		if n := b.Stats().Losses.Load(); n != 0 {
			t.Errorf("%d links to %s were taken for dead", n, b.Name())
		}
	}
}
