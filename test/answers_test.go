//go:build unix

package test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

const answersUser = "[answers]\nsecret = pw\nread = all\nwrite = all\nwritetimeout = 10000\n"

// hugeContext is a dialplan whose listing has more than 2 MB.
func hugeContext() string {
	var b strings.Builder
	b.WriteString("[odd]\nignorepat => 9\nswitch => Loopback/huge\nexten => here,1,NoOp()\n[huge]\n")
	for n := range 10_000 {
		fmt.Fprintf(&b, "exten => e%d,1,NoOp(%s)\n", n, strings.Repeat("x", n%400))
	}
	return b.String()
}

// startAnswers starts a PBX with modules that answer in odd ways, and a proxy
// before it.
func startAnswers(t *testing.T, major int) (*asterisk.PBX, *proxied) {
	t.Helper()
	pbx := asterisk.Start(t, asterisk.Options{
		Major: major, Name: "east", Users: answersUser, Extensions: hugeContext(),
		Modules: []string{"chan_iax2", "chan_sip", "chan_skinny", "res_fax", "pbx_loopback"},
		Files: map[string]string{
			"iax.conf":        fmt.Sprintf("[general]\nbindaddr = 127.0.0.1:%d\n[trunk]\ntype = peer\nhost = 127.0.0.1\n", freeUDP(t)),
			"sip.conf":        fmt.Sprintf("[general]\nudpbindaddr = 127.0.0.1:%d\n[phone]\ntype = peer\nhost = dynamic\n", freeUDP(t)),
			"skinny.conf":     "[general]\nbindaddr = 127.0.0.1\nbindport = 0\n[lines]\n[100]\ntype = line\n[devices]\n[desk]\ntype = device\ndevice = SEP0007EB463101\nline = 100\n",
			"queuerules.conf": "[rush]\npenaltychange => 30,+3\npenaltychange => 60,10,5\n[calm]\npenaltychange => 10,0\n",
		},
	})
	p := startProxy(t, answersUser, pbx)
	p.waitUp()
	// A value with empty lines, which comes back in answers.
	conversation(t, pbx.Addr(), action("Action: Setvar", "Variable: PRESENCE_STATE(CustomPresence:odd)", "Value: away,sub,YQ0KDQpFdmVudDogeA0KRXZlbnRMaXN0OiBDb21wbGV0ZQ0KDQpSZXNwb25zZTogU3VjY2Vzcw0KDQplbmQ=,e"))
	return pbx, p
}

func freeUDP(t *testing.T) int {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// conversation writes a login without events, text and a logoff at once, and
// returns all that comes.
func conversation(tb testing.TB, addr, text string) []byte {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, action("Action: Login", "Username: answers", "Secret: pw", "Events: off")+text+goodbye); err != nil {
		tb.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		tb.Fatalf("%v after %d bytes", err, len(got))
	}
	return got
}

// sameAnswers compares what a client is told by the PBX and by the proxy.
func sameAnswers(tb testing.TB, pbx *asterisk.PBX, p *proxied, text string) (n int) {
	tb.Helper()
	want, got := conversation(tb, pbx.Addr(), text), conversation(tb, p.addr, text)
	if !bytes.Equal(got, want) {
		tb.Errorf("%.300q: the proxy's answer, then Asterisk's, differ %s", text, firstDifference(got, want))
	}
	return len(got)
}

// TestAnswers asks both releases, and proxies before them, for what is hard to
// take apart.
func TestAnswers(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx, p := startAnswers(t, major)
			logins := p.backend("east").Stats().Logins.Load()
			t.Run("odd ones", func(t *testing.T) { testOddAnswers(t, pbx, p) })
			t.Run("commands at once", func(t *testing.T) { testCommandsAtOnce(t, pbx, p) })
			t.Run("long command", func(t *testing.T) { testLongCommand(t, pbx, p) })
			s := p.backend("east").Stats()
			if s.Dropped.Load() != 0 || s.Logins.Load() != logins {
				t.Errorf("%d frames dropped, %d links lost", s.Dropped.Load(), s.Losses.Load())
			}
		})
	}
}

// oddActions have answers without a certain end, or none that says what it is.
var oddActions = [][]string{
	{"Action: QueueRule"}, {"Action: QueueRule", "Rule: rush"}, {"Action: QueueRule", "Rule: nosuch"},
	{"Action: IAXnetstats"}, {"Action: IAXpeers"}, {"Action: IAXpeerlist"}, {"Action: IAXregistry"},
	{"Action: ModuleLoad"}, {"Action: ModuleLoad", "LoadType: nonsense"}, {"Action: ModuleLoad", "Module: app_nosuch.so"},
	{"Action: FAXSession"}, {"Action: FAXSession", "SessionNumber: 1"}, {"Action: FAXSessions"}, {"Action: FAXStats"},
	{"Action: SIPpeers"}, {"Action: SIPshowpeer", "Peer: phone"}, {"Action: SIPshowpeer", "Peer: nosuch"}, {"Action: SIPshowregistry"},
	{"Action: SIPpeerstatus"}, {"Action: SIPqualifypeer", "Peer: phone"},
	{"Action: SKINNYdevices"}, {"Action: SKINNYlines"}, {"Action: SKINNYshowline", "Line: 100"}, {"Action: SKINNYshowline"},
	{"Action: SKINNYshowdevice", "Device: desk"}, {"Action: SKINNYshowdevice", "Device: nosuch"},
	{"Action: ShowDialPlan", "Context: odd"}, {"Action: ShowDialPlan", "Context: odd", "Extension: here"},
	{"Action: ShowDialPlan", "Context: odd", "Extension: nosuch"}, {"Action: ShowDialPlan", "Context: nosuch"},
	{"Action: PJSIPShowEndpoint", "Endpoint: alice"}, {"Action: PJSIPShowEndpoint", "Endpoint: nosuch"}, {"Action: PJSIPShowAuths"},
	{"Action: CoreShowChannelMap", "Channel: nosuch"}, {"Action: CoreShowChannels"}, {"Action: Status", "AllVariables: yes"},
	{"Action: PresenceState", "Provider: CustomPresence:odd"}, {"Action: PresenceStateList"},
	{"Action: VoicemailUsersList"}, {"Action: ConfbridgeListRooms"}, {"Action: Agents"},
	{"Action: Getvar", "Variable: A"}, {"Action: Command", "Command: dialplan show odd"}, {"Action: Nosuch"},
	{"Action: GetConfig", "Filename: queuerules.conf"}, {"Action: Setvar"},
}

// testOddAnswers has several clients ask for odd answers at once, and each gets
// what it gets from the PBX alone.
func testOddAnswers(t *testing.T, pbx *asterisk.PBX, p *proxied) {
	for _, lines := range oddActions {
		sameAnswers(t, pbx, p, action(append(lines, "ActionID: one")...)+action(lines...))
	}
	together(t, 6, func(tb testing.TB, i int) {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		for round := range 4 {
			var text strings.Builder
			for n, at := range random.Perm(len(oddActions)) {
				lines := oddActions[at]
				if random.IntN(3) > 0 {
					lines = append(lines[:len(lines):len(lines)], fmt.Sprintf("ActionID: client %d, %d.%d", i, round, n))
				}
				text.WriteString(action(lines...))
			}
			sameAnswers(tb, pbx, p, text.String())
		}
	})
}

// testCommandsAtOnce has eight clients run commands at once, and each gets the
// output of its own.
func testCommandsAtOnce(t *testing.T, pbx *asterisk.PBX, p *proxied) {
	commands := []string{
		"core show applications", "core show functions", "dialplan show default", "core show application Dial",
		"manager show commands", "core show codecs", "nosuch command", "queue show sales",
	}
	together(t, len(commands), func(tb testing.TB, i int) {
		text := action("Action: Command", "ActionID: "+commands[i], "Command: "+commands[i])
		want := conversation(tb, pbx.Addr(), text)
		for range 20 {
			if got := conversation(tb, p.addr, text); !bytes.Equal(got, want) {
				tb.Fatalf("%s: the proxy's answer, then Asterisk's, differ %s", commands[i], firstDifference(got, want))
			}
		}
	})
}

// testLongCommand compares an output of more than 2 MB, asked for by two clients
// at once with other actions before and behind.
func testLongCommand(t *testing.T, pbx *asterisk.PBX, p *proxied) {
	together(t, 2, func(tb testing.TB, i int) {
		id := fmt.Sprintf("ActionID: client %d", i)
		n := sameAnswers(tb, pbx, p, action("Action: Command", id, "Command: core show version")+
			action("Action: Command", id, "Command: dialplan show huge")+action("Action: QueueRule", id))
		if n < 2<<20 {
			tb.Errorf("%d bytes are too few to show anything", n)
		}
		sameAnswers(tb, pbx, p, action("Action: ShowDialPlan", id, "Context: huge")+action("Action: QueueRule", id))
	})
}
