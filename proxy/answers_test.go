package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// producer is one way in which a PBX answers an action.
type producer struct {
	name   string
	action string // its name, and more headers behind a |
	era    era    // of the PBXes that do so
	answer string // | is CRLF, ~ is LF, $ID the ActionID
}

// era is the age of a PBX in this respect.
type era int

const (
	always    era = iota
	unsaid        // lists are not announced: Asterisk 12 and older
	announced     // they are
	raw           // Command answers with raw text: Asterisk 13 and older
	lines         // with Output lines
)

const (
	ack     = "Response: Success|ActionID: $ID|"
	opens   = ack + "EventList: start|Message: will follow||"
	item    = "Event: Item|ActionID: $ID|N: 1||"
	bare    = "Event: Item|N: 2||"
	closes  = "Event: ItemsComplete|ActionID: $ID|EventList: Complete|ListItems: 2||"
	failure = "Response: Error|ActionID: $ID|Message: "
	rawHead = "Response: Follows|Privilege: Command|ActionID: $ID|"
	mark    = "--END COMMAND--||"
)

var producers = []producer{
	{"single", "Setvar", always, ack + "Message: Variable Set||"},
	{"single without more", "MuteAudio", always, ack + "|"},
	{"single, error", "Hangup", always, failure + "No such channel||"},
	{"text with an LF", "Park", always, failure + "Park action failed~||"},
	{"line without a colon", "GetConfig", always, ack + "No categories found||"},
	{"value with empty lines", "Getvar", always, ack + "Variable: A|Value: x||Response: Success|ActionID: y||~~Event: z||"},
	{"presence with empty lines", "PresenceState", always, ack + "Message: Presence State|State: away|Message: x||Event: y|EventList: Complete||z|PresenceMessage: x||"},
	{"list", "CoreShowChannels", always, opens + item + item + closes},
	{"list, empty", "QueueStatus", always, opens + closes},
	{"list, Start", "FAXSessions", always, strings.Replace(opens, "start", "Start", 1) + item + closes},
	{"list, START", "BridgeList", always, strings.Replace(opens, "start", "START", 1) + closes},
	{"list, items without id", "IAXpeers", always, opens + bare + bare + closes},
	{"list, forged end", "CoreShowChannels", always, opens + "Event: Item|AccountCode: x||Event: ItemsComplete|EventList: Complete||Response: Success||Response: Error|ActionID: y||" + item + closes},
	{"list, broken item", "Agents", always, opens + "Event: Agents|CallStarted: 0~||ActionID: $ID||" + closes},
	{"list, error inside", "QueueSummary", always, opens + item + failure + "gone||" + item + closes},
	{"list, error", "ConfbridgeList", always, failure + "No active conferences.||"},
	{"list, error with an LF", "PJSIPShowAuths", always, failure + "No Auths found~||"},
	{"list, none found", "VoicemailUsersList", always, ack + "Message: There are no voicemail users currently defined.||"},
	{"list of hung up", "Hangup", always, opens + "Event: ChannelHungup|Channel: a|ActionID: $ID||" + closes},
	{"breaks off", "CoreShowChannelMap", always, opens + item + failure + "Could not complete channel map~||"},
	{"opens and ends", "CoreShowChannelMap", always, opens},
	{"error inside, end", "PJSIPShowEndpoint", always, opens + item + failure + "Unable to format endpoint x~||" + closes},
	{"no such extension", "ShowDialPlan|Extension: x", always, opens + item + failure + "Did not find extension x@y||"},
	{"two responses", "JabberSend", always, ack + "Message: Attempting to send Jabber Message||Response: Error|ActionID: $ID||"},
	{"three errors", "ModuleLoad", always, failure + "Incomplete ModuleLoad action.||" + failure + "Need module name||" + failure + "Could not load module.||"},
	{"goes on after its error", "PRIDebugSet", always, failure + "Invalid value for 'Span'||" + failure + "Invalid span 'x' - Should be a number from 1 to 32||"},
	{"event follows", "FAXSession", always, ack + "Message: FAXSession event will follow||Event: FAXSession|ActionID: $ID|SessionNumber: 1||"},
	{"event never comes", "FAXSession", always, ack + "Message: FAXSession event will follow||"},
	{"statistics", "FAXStats", always, ack + "Message: FAXStats event will follow||Event: FAXStats|ActionID: $ID|CurrentSessions: 0||"},
	{"two empty lines", "QueueRule", always, ack + "RuleList: a|Rule: 1,+2,3|||"},
	{"rules without a response", "QueueRule", always, "RuleList: a|Rule: 1,+2,3|||"},
	{"raw text", "IAXnetstats", always, "        -------- LOCAL ---------------------~Channel    RTT~0 active IAX channels~|"},
	{"raw nothing", "IAXnetstats", always, "|"},
	{"peer", "SIPshowpeer", always, ack + "Channeltype: SIP|ObjectName: a|||"},
	{"peer not found", "SIPshowpeer", always, failure + "Peer a not found.~|||"},
	{"empty lines only", "SIPqualifypeer", always, "||"},
	{"no response", "SKINNYshowline", always, "Channeltype: SKINNY|ObjectName: 100|||"},
	{"unknown list", "DongleShowDevices", always, "Response: Success||Event: DongleDeviceEntry|Device: a||Event: DongleShowDevicesComplete||"},
	{"nothing at all", "DongleReset", always, ""},
	{"raw queues", "Queues", always, "support has 0 calls~   No Members~   No Callers~~|||"},
	{"raw look-alikes", "Queues", always, "Response: of nobody|ActionID: x||Event: Hangup|Privilege: call,all||--END COMMAND--||"},
	{"data", "DataGet", always, "Event: DataGet Tree|ActionID: $ID|asterisk: 1||"},

	{"status", "Status", unsaid, ack + "Message: Channel status will follow||Event: Status|Privilege: Call|Channel: a|ActionID: $ID||Event: StatusComplete|ActionID: $ID|Items: 1||"},
	{"status, none", "Status", unsaid, ack + "Message: Channel status will follow||Event: StatusComplete|ActionID: $ID||"},
	{"status, Success only", "Status", unsaid, ack + "Message: Channel status will follow||"},
	{"parked calls", "ParkedCalls", unsaid, ack + "Message: Parked calls will follow||Event: ParkedCall|Exten: 701|ActionID: $ID||Event: ParkedCallsComplete|ActionID: $ID||"},
	{"SIP peers", "SIPpeers", unsaid, ack + "Message: Peer status list will follow||Event: PeerEntry|ActionID: $ID|ObjectName: a||Event: PeerlistComplete|ListItems: 1|ActionID: $ID||"},
	{"SIP peers, Error inside", "SIPpeers", unsaid, ack + "Message: Peer status list will follow||" + bare + failure + "gone||"},
	{"Zap channels", "ZapShowChannels", unsaid, ack + "Message: Zap channel status will follow||Event: ZapShowChannels|Channel: 1|ActionID: $ID||Event: ZapShowChannelsComplete|ActionID: $ID||"},
	{"DAHDI channels", "DAHDIShowChannels", unsaid, ack + "Message: DAHDI channel status will follow||Event: DAHDIShowChannelsComplete|ActionID: $ID|Items: 0||"},
	{"raw IAX peers", "IAXpeers", unsaid, "ActionID: $ID|Name/Username    Host~0 iax2 peers~|||"},
	{"voicemail users", "VoicemailUsersList", unsaid, ack + "Message: Voicemail user list will follow||Event: VoicemailUserEntry|ActionID: $ID|VMContext: default||Event: VoicemailUserEntryComplete|ActionID: $ID||"},
	{"conferences", "MeetmeList", unsaid, opens + item + closes},

	{"announced status", "Status", announced, opens + "Event: Status|Privilege: Call|Channel: a|ActionID: $ID||" + closes},
	{"all variables", "Status|AllVariables: yes", announced, opens + "Event: Status|Variable: a=x||Event: y|EventList: Complete||ActionID: $ID||" + closes},

	{"output", "Command", lines, ack + "Message: Command output follows|Output: a|Output: |Output: b||"},
	{"output, none", "Command", lines, ack + "Message: Command output follows|Output: ||"},
	{"output, failed", "Command", lines, failure + "Command output follows|Output: No such command 'x'||"},
	{"output of all kinds", "Command", lines, ack + "Message: Command output follows|Output: --END COMMAND--|Output: Response: Success|Output: ActionID: x\r|Output: \x00|Output: \r||"},
	{"no command", "Command", always, failure + "No command provided||"},
	{"raw output", "Command", raw, rawHead + "Verbosity is 0~" + mark},
	{"raw output, none", "Command", raw, rawHead + mark},
	{"raw output without LF", "Command", raw, rawHead + "no end" + mark},
	{"raw output of all kinds", "Command", raw, rawHead + "~~a --END COMMAND-- b~--END COMMAND--~||Response: Success~ActionID: x~~Event: y||Output: \x00\r~\r~" + mark},
	{"raw output with its mark", "Command", raw, rawHead + "a~" + mark + "Response: Follows~b~" + mark},
}

// on reports whether a PBX of that AMI version does so.
func (p producer) on(version string) bool {
	isUnsaid := strings.HasPrefix(version, "1.") || version == "2.4.0"
	isRaw := isUnsaid || strings.HasPrefix(version, "2.")
	switch p.era {
	case unsaid:
		return isUnsaid
	case announced:
		return !isUnsaid
	case raw:
		return isRaw
	case lines:
		return !isRaw
	}
	return true
}

// wants is the answer that a client gets who gave that ActionID, or none.
func (p producer) wants(id string) string {
	answer := p.answer
	if id == "" {
		answer = strings.ReplaceAll(answer, "ActionID: $ID|", "")
	}
	return strings.NewReplacer("|", "\r\n", "~", "\n", "$ID", id).Replace(answer)
}

// write is an action of a client that asks for the answer number n of producers,
// in pieces that seed says.
func (p producer) write(n int, id string, seed uint64) string {
	text := "Action: " + strings.ReplaceAll(p.action, "|", "\r\n") + fmt.Sprintf("\r\nKind: %d\r\nSeed: %d\r\n", n, seed)
	if id != "" {
		text += "ActionID: " + id + "\r\n"
	}
	return text + "\r\n"
}

// produce makes the PBX answer as producers say, in pieces.
func produce(sim *simpbx.PBX) {
	for _, p := range producers {
		name, _, _ := strings.Cut(p.action, "|")
		sim.Handle(name, func(r *simpbx.Request) {
			var n int
			var seed uint64
			fmt.Sscan(r.Get("Kind"), &n)
			fmt.Sscan(r.Get("Seed"), &seed)
			rest, pieces := producers[n].wants(r.ID()), rand.New(rand.NewPCG(seed, 0))
			for seed > 0 && len(rest) > 1 {
				at := 1 + pieces.IntN(len(rest)-1)
				r.Write([]byte(rest[:at]))
				r.Flush()
				rest = rest[at:]
			}
			r.Write([]byte(rest))
		})
	}
}

// newAnswers starts a world of one PBX of that version, with few links, and waits
// until the proxy knows all that script has added to it.
func newAnswers(t testing.TB, version string, links int, general string, script func(*simpbx.PBX)) *world {
	t.Helper()
	w := newWorld(t, setup{
		sim:     map[string]simpbx.Options{"east": {Version: version, WriteTimeout: time.Minute}},
		general: general,
		users:   fmt.Sprintf("[pbx:east](+)\nlinks = %d\n", links) + standardUsers,
	})
	script(w.sims["east"])
	w.sims["east"].Handle("LastOfAll", func(*simpbx.Request) {})
	p := w.pbx("east")
	all := uint64(2 * links)
	eventually(t, "all links", func() bool { return p.Stats().Logins.Load() == all/2 })
	w.sims["east"].Crash() // the actions are asked for at the first login
	eventually(t, "all links again", func() bool {
		_, ok := p.Authority().Class("LastOfAll")
		return ok && p.Up() && p.Stats().Logins.Load() == all && p.FullyBooted(time.Now()) != nil
	})
	await := w.awaitEvents("east") // FullyBooted is not to surprise the clients
	w.sims["east"].Event("Settled", ami.ClassSystem)
	await(1)
	t.Cleanup(func() {
		if s := p.Stats(); s.Logins.Load() != all {
			t.Errorf("%d links were lost", s.Logins.Load()-all)
		}
	})
	return w
}

const (
	loginOff = "Action: Login\r\nUsername: full\r\nSecret: full-secret\r\nEvents: off\r\n\r\n"
	accepted = "Response: Success\r\nMessage: Authentication accepted\r\n\r\n"
	logoff   = "Action: Logoff\r\n\r\n"
	goodbye  = "Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n"
)

// converse writes all that a client has to say at once and returns all that it is
// told, from the login to the end. read, if not nil, reads in its own time.
func (w *world) converse(text string, read func(net.Conn) []byte) (string, error) {
	conn, err := net.Dial("tcp", w.addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, loginOff+text+logoff)
		wrote <- err
	}()
	var got []byte
	if read != nil {
		got = read(conn)
	} else if got, err = io.ReadAll(conn); err != nil {
		return "", fmt.Errorf("%w after %.2000q", err, got)
	}
	if err := <-wrote; err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(got), "\r\n") // the banner
	return rest, nil
}

// check compares what a session was told with what it should be.
func (w *world) check(t interface{ Errorf(string, ...any) }, text, want string, read func(net.Conn) []byte) {
	got, err := w.converse(text, read)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	want = accepted + want + goodbye
	if got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%d bytes, want %d; at byte %d after %.100q:\ngot  %.200q\nwant %.200q",
			len(got), len(want), at, got[max(0, at-100):at], got[at:], want[at:])
	}
}

// Whatever a PBX answers, and in whatever pieces, each client gets exactly its
// own, from PBXes of every age, although all share one link.
func TestAnswersOfEveryKind(t *testing.T) {
	for _, version := range []string{"1.0", "1.1", "2.4.0", "2.10.6", "5.0.4", "11.0.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newAnswers(t, version, 2, "", produce)
			var here []int
			for n, p := range producers {
				if p.on(version) {
					here = append(here, n)
				}
			}
			dropped := w.pbx("east").Stats().Dropped.Load()
			for _, n := range here {
				p := producers[n]
				if !t.Run(p.name, func(t *testing.T) {
					w.check(t, p.write(n, "a b", 0)+p.write(n, "", 1)+p.write(n, "c", 2), p.wants("a b")+p.wants("")+p.wants("c"), nil)
				}) {
					return
				}
			}
			rapid.Check(t, func(t *rapid.T) {
				var clients sync.WaitGroup
				failures := &collector{}
				for range rapid.IntRange(1, 4).Draw(t, "clients") {
					var text, want strings.Builder
					for range rapid.IntRange(1, 12).Draw(t, "actions") {
						n := rapid.SampledFrom(here).Draw(t, "producer")
						id := rapid.SampledFrom([]string{"", "x", "amiproxy-0123456789abcdef-1", strings.Repeat("long ", 20)}).Draw(t, "id")
						text.WriteString(producers[n].write(n, id, rapid.Uint64Range(0, 5).Draw(t, "seed")))
						want.WriteString(producers[n].wants(id))
					}
					clients.Go(func() { w.check(failures, text.String(), want.String(), nil) })
				}
				clients.Wait()
				for _, f := range failures.all {
					t.Errorf("%s", f)
				}
			})
			if n := w.pbx("east").Stats().Dropped.Load() - dropped; n != 0 {
				t.Errorf("%d frames dropped", n)
			}
		})
	}
}

// collector takes the failures of several goroutines.
type collector struct {
	mu  sync.Mutex
	all []string
}

func (c *collector) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

// A list is in one piece, announced or not, and what happens while the PBX makes
// it is told behind it, however long that takes.
func TestListsAmongEvents(t *testing.T) {
	for _, version := range []string{"1.0", "2.4.0", "5.0.4", "11.0.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			head, tail := opens+item, bare+closes
			if (producer{era: unsaid}).on(version) {
				head, tail = ack+"Message: will follow||"+item, bare+"Event: StatusComplete|ActionID: $ID|Items: 2||"
			}
			head, tail = producer{answer: head}.wants("l"), producer{answer: tail}.wants("l")
			begun, end := make(chan struct{}), make(chan struct{})
			w := newAnswers(t, version, 2, "", func(sim *simpbx.PBX) {
				sim.Handle("Status", func(r *simpbx.Request) {
					r.Write([]byte(strings.ReplaceAll(head, "ActionID: l", "ActionID: "+r.ID())))
					r.Flush()
					close(begun)
					<-end
					r.Write([]byte(strings.ReplaceAll(tail, "ActionID: l", "ActionID: "+r.ID())))
				})
			})
			c, other := w.login("full"), w.login("full")
			noise := func(n int) {
				w.sims["east"].Event("Noise", ami.ClassCall, "N", fmt.Sprint(n))
				other.Expect("Event: Noise", fmt.Sprintf("N: %d", n))
			}
			c.Send("Action: Status", "ActionID: l")
			<-begun
			await := w.awaitEvents("east")
			for n := range 5 {
				noise(n)
			}
			await(5)
			time.Sleep(holdTime + holdTime/4) // longer than events wait for what is no list
			noise(5)
			close(end)
			var got strings.Builder
			for range strings.Count(head+tail, "\r\n\r\n") {
				got.WriteString(string(c.ReadFrame()))
			}
			if got.String() != head+tail {
				t.Errorf("got  %q\nwant %q", got.String(), head+tail)
			}
			for n := range 6 {
				c.ExpectNext("Event: Noise", fmt.Sprintf("N: %d", n))
			}
			c.ExpectNothing()
		})
	}
}
