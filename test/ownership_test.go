//go:build unix

package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const (
	crowdSize    = 16   // Clients at once.
	crowdActions = 1000 // Of each.
	crowdWindow  = 32   // Unanswered, at most.
)

// TestEveryAnswerReachesItsOwner lets many clients use the same ActionIDs at once, for
// actions whose answers show whose they are.
func TestEveryAnswerReachesItsOwner(t *testing.T) {
	pbxs := starts(t, asterisk.Options{Major: 16, Name: "east"}, asterisk.Options{Major: 22, Name: "west"})
	p := startProxy(t, `
[both](!)
secret = pw
read = all
write = all
[many](both)
[eastonly](both)
pbx = east
[westonly](both)
pbx = west
`, pbxs...)
	p.waitUp()

	stop := make(chan struct{})
	callers := make(chan struct{})
	go func() {
		defer close(callers)
		together(t, len(pbxs), func(tb testing.TB, i int) { keepCalling(tb, pbxs[i], stop) })
	}()
	defer func() { close(stop); <-callers }()
	together(t, crowdSize, func(tb testing.TB, i int) {
		user := []string{"many", "eastonly", "many", "westonly"}[i%4]
		m := &member{Client: p.login(tb, user), tb: tb, name: fmt.Sprintf("c%02d", i), several: user == "many"}
		m.rand = rand.New(rand.NewPCG(1, uint64(i)))
		m.run()
	})
	noLosses(t, p)
	for _, b := range p.Backends() {
		if n := b.Stats().Dropped.Load(); n != 0 {
			t.Errorf("%d frames of %s belonged to nobody", n, b.Name())
		}
	}
}

// keepCalling makes calls, so that there are events.
func keepCalling(tb testing.TB, pbx *asterisk.PBX, stop <-chan struct{}) {
	c := loginDirect(tb, pbx)
	for {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Millisecond):
			c.Do("Action: Originate", "Channel: Local/short@default", "Context: default", "Exten: ue", "Priority: 1", "Async: true")
		}
	}
}

// A member of the crowd is one client and what it waits for.
type member struct {
	*amiclient.Client
	tb      testing.TB
	rand    *rand.Rand
	name    string // In all that it sends.
	several bool   // It sees two PBXes.

	sent     int
	asked    map[string]*asked   // By ActionID, as long as anything is to come.
	lanes    map[string][]*asked // Unanswered, in order: of each PBX, or of all.
	open     *asked              // The list that is being sent to us.
	answered int
	events   int
	values   map[string]string // What we set last, by PBX.
}

// asked is an action that was sent.
type asked struct {
	id, lane, server string
	action           string
	// right says what is wrong with the answer, "" if it is ours.
	right func(answer []amiclient.Frame) string
	list  bool
	event bool // An event with our ActionID follows the answer.
	done  bool
	got   []amiclient.Frame
}

func (m *member) run() {
	m.asked, m.lanes, m.values = map[string]*asked{}, map[string][]*asked{}, map[string]string{}
	for m.answered < crowdActions || m.events > 0 {
		if n := min(crowdWindow-(m.sent-m.answered), crowdActions-m.sent); n > 0 {
			n = 1 + m.rand.IntN(n)
			var b bytes.Buffer
			for range n {
				m.sent++
				b.WriteString(m.next())
			}
			m.Write(b.Bytes())
		}
		m.take(m.ReadFrame())
	}
	m.ExpectNothingOurs()
	m.leave()
}

// ExpectNothingOurs makes sure that no answer comes twice.
func (m *member) ExpectNothingOurs() {
	for _, f := range m.Roundtrip() {
		if amiclient.Header(f, "ActionID") != "" && m.isOurs(f) {
			m.tb.Errorf("%s: %q came although all was answered", m.name, f)
		}
	}
}

// leave asks for a list and for the end in one write.
func (m *member) leave() {
	server := ""
	if m.several {
		server = "Server: west\r\n"
	}
	m.Write([]byte("Action: CoreShowChannels\r\nActionID: last\r\n" + server + "\r\n" + "Action: Logoff\r\nActionID: bye\r\n\r\n"))
	var kinds []string
	for _, f := range m.ExpectClosed() {
		switch {
		case !m.isOurs(f):
			if len(kinds) > 0 && kinds[len(kinds)-1] == "Success" {
				m.tb.Errorf("%s: %q fell into a list", m.name, f)
			}
		case amiclient.Has(f, "Event: CoreShowChannel", "ActionID: last"):
		default:
			kinds = append(kinds, amiclient.Header(f, "Event")+amiclient.Header(f, "Response"))
		}
	}
	if got := strings.Join(kinds, " "); got != "Success CoreShowChannelsComplete Goodbye" {
		m.tb.Errorf("%s: a list and Logoff were answered %q", m.name, got)
	}
}

// next makes the next action.
func (m *member) next() string {
	a := &asked{id: strconv.Itoa(m.sent)}
	if m.several {
		a.server = []string{"east", "west"}[m.rand.IntN(2)]
		a.lane = a.server
	}
	own := fmt.Sprintf("%s-%d", m.name, m.sent)
	header := func(want ...string) func([]amiclient.Frame) string {
		return func(answer []amiclient.Frame) string {
			if !amiclient.Has(answer[0], want...) {
				return fmt.Sprintf("lacks one of %q", want)
			}
			return ""
		}
	}
	var lines []string
	switch m.rand.IntN(16) {
	case 0:
		lines, a.right = []string{"Action: Ping"}, header("Response: Success", "Ping: Pong")
		if m.several {
			a.lane, a.server = "proxy", ""
		}
	case 1:
		lines, a.right = []string{"Action: Nosuch" + own},
			header("Response: Error", "Message: Invalid/unknown command: Nosuch"+own+". Use Action: ListCommands to show available commands.")
		if m.several {
			a.lane, a.server = "proxy", ""
		}
	case 2:
		lines = []string{"Action: CoreStatus"}
		a.right = func(answer []amiclient.Frame) string {
			if amiclient.Header(answer[0], "CoreCurrentCalls") == "" {
				return "is no CoreStatus"
			}
			return ""
		}
	case 3:
		lines, a.right = []string{"Action: Setvar", "Variable: G" + m.name, "Value: " + own}, header("Response: Success", "Message: Variable Set")
		m.values[a.server] = own
	case 4, 5:
		lines, a.right = []string{"Action: Getvar", "Variable: G" + m.name}, header("Response: Success", "Variable: G"+m.name, "Value: "+m.values[a.server])
	case 6:
		lines, a.list = []string{"Action: CoreShowChannels"}, true
	case 7:
		lines, a.list = []string{"Action: QueueStatus", "Queue: support"}, true
		a.right = func(answer []amiclient.Frame) string {
			if len(answer) < 5 || !amiclient.Has(answer[1], "Event: QueueParams", "Queue: support") {
				return "is no QueueStatus"
			}
			return ""
		}
	case 8:
		lines = []string{"Action: Command", "Command: nosuch " + own}
		a.right = func(answer []amiclient.Frame) string {
			// The hint behind it, "(type 'core show help nosuch ...')", is of whoever asked
			// last: Asterisk makes it in one buffer for all (cli.c: find_best).
			if !amiclient.Has(answer[0], "Response: Error") || !strings.HasPrefix(amiclient.Header(answer[0], "Output"), "No such command 'nosuch "+own+"'") {
				return "is not about the command"
			}
			return ""
		}
	case 9:
		lines = []string{"Action: Command", "Command: core show uptime"}
		a.right = func(answer []amiclient.Frame) string {
			if !strings.HasPrefix(amiclient.Header(answer[0], "Output"), "System uptime:") {
				return "is no uptime"
			}
			return ""
		}
	case 10:
		lines, a.right = []string{"Action: DBPut", "Family: crowd", "Key: " + m.name, "Val: " + own}, header("Response: Success", "Message: Updated database successfully")
		m.values["DB"+a.server] = own
	case 11:
		lines, a.list = []string{"Action: DBGet", "Family: crowd", "Key: " + m.name}, true
		want := m.values["DB"+a.server]
		a.right = func(answer []amiclient.Frame) string {
			if want == "" {
				return header("Response: Error", "Message: Database entry not found")(answer)
			}
			if len(answer) != 3 || !amiclient.Has(answer[1], "Event: DBGetResponse", "Key: "+m.name, "Val: "+want) {
				return "does not have our value " + want
			}
			return ""
		}
	case 12:
		lines, a.right = []string{"Action: MailboxStatus", "Mailbox: " + own + "@default"}, header("Response: Success", "Mailbox: "+own+"@default")
	case 13:
		lines, a.right = []string{"Action: ExtensionState", "Exten: " + own, "Context: default"}, header("Response: Success", "Exten: "+own)
	case 14:
		lines, a.right = []string{"Action: Hangup", "Channel: Local/" + own}, header("Response: Error", "Message: No such channel")
	case 15:
		lines, a.right = []string{"Action: UserEvent", "UserEvent: Own", "Name: " + own}, header("Response: Success", "Message: Event Sent")
		a.event = true
		m.events++
	}
	a.action = lines[0]
	if a.right == nil {
		a.right = header("Response: Success")
	}
	if a.server != "" {
		lines = append(lines, "Server: "+a.server)
	}
	m.asked[a.id] = a
	m.lanes[a.lane] = append(m.lanes[a.lane], a)
	return action(append(lines, "ActionID: "+a.id)...)
}

// isOurs reports whether a frame belongs to an action of anybody, rather than to all.
func (m *member) isOurs(f amiclient.Frame) bool {
	return !strings.HasPrefix(string(f), "Event:") || amiclient.Header(f, "Privilege") == ""
}

// take judges the next frame.
func (m *member) take(f amiclient.Frame) {
	id := amiclient.Header(f, "ActionID")
	if !m.isOurs(f) {
		m.takeEvent(f, id)
		return
	}
	a := m.asked[id]
	switch {
	case a == nil || a.done:
		m.tb.Fatalf("%s: not ours, or a second time: %q", m.name, f)
	case m.open != nil && a != m.open:
		m.tb.Fatalf("%s: in the middle of the list %s came %q", m.name, m.open.id, f)
	case m.lanes[a.lane][0] != a:
		m.tb.Fatalf("%s: not in order: %s is due before %q", m.name, m.lanes[a.lane][0].id, f)
	case strings.HasPrefix(string(f), "Event:") != (m.open != nil):
		m.tb.Fatalf("%s: not the frame that is due of %s: %q", m.name, a.action, f)
	}
	if server := amiclient.Header(f, "Server"); server != a.server {
		m.tb.Fatalf("%s: sent to %q, answered by %q: %q", m.name, a.server, server, f)
	}
	a.got = append(a.got, f)
	m.open = nil
	if a.list && !amiclient.Has(f, "EventList: Complete") && !amiclient.Has(a.got[0], "Response: Error") {
		m.open = a
		return
	}
	if wrong := a.right(a.got); wrong != "" {
		m.tb.Fatalf("%s: the answer to %s %s %s: %q", m.name, a.id, a.action, wrong, a.got)
	}
	a.done = true
	m.answered++
	m.lanes[a.lane] = m.lanes[a.lane][1:]
	if !a.event {
		delete(m.asked, id)
	}
}

func (m *member) takeEvent(f amiclient.Frame, id string) {
	if m.open != nil {
		m.tb.Fatalf("%s: an event in the middle of the list %s: %q", m.name, m.open.id, f)
	}
	name, number, _ := strings.Cut(amiclient.Header(f, "Name"), "-")
	mine := amiclient.Has(f, "Event: UserEvent", "UserEvent: Own") && name == m.name
	if strings.HasPrefix(id, "amiclient-") {
		return // The answer to who makes the calls, at the PBX itself: all see its ActionID.
	}
	if mine != (id != "") {
		m.tb.Fatalf("%s: an event has an ActionID just if it is ours: %q", m.name, f)
	}
	if !mine {
		return
	}
	a := m.asked[id]
	if a == nil || !a.event || number != id || amiclient.Header(f, "Server") != a.server {
		m.tb.Fatalf("%s: our own event is wrong, or comes twice: %q", m.name, f)
	}
	if !a.done {
		m.tb.Fatalf("%s: our own event came before the answer to the action: %q", m.name, f)
	}
	delete(m.asked, id)
	m.events--
}
