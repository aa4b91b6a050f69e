package simpbx

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// TestAnswers compares whole answers; frames are divided by an empty line, and
// U stands for the time at which the PBX started.
func TestAnswers(t *testing.T) {
	const start = "946684800"
	tests := []struct{ name, action, want string }{
		{"ack and end of an empty list", "Action: CoreShowChannels|ActionID: A1",
			"Response: Success|ActionID: A1|EventList: start|Message: Channels will follow||" +
				"Event: CoreShowChannelsComplete|ActionID: A1|EventList: Complete|ListItems: 0||"},
		{"no id", "Action: Status",
			"Response: Success|EventList: start|Message: Channel status will follow||" +
				"Event: StatusComplete|EventList: Complete|ListItems: 0|Items: 0||"},
		{"id at the end of items", "Action: QueueStatus|Queue: sales|Member: PJSIP/erin|ActionID: A1",
			"Response: Success|ActionID: A1|EventList: start|Message: Queue status will follow||" +
				"Event: QueueParams|Queue: sales|Max: 0|Strategy: rrmemory|Calls: 0|Holdtime: 0|TalkTime: 0|Completed: 0|" +
				"Abandoned: 0|ServiceLevel: 0|ServicelevelPerf: 0.0|ServicelevelPerf2: 0.0|Weight: 0|ActionID: A1||" +
				"Event: QueueMember|Queue: sales|Name: PJSIP/erin|Location: PJSIP/erin|StateInterface: PJSIP/erin|" +
				"Membership: static|Penalty: 0|CallsTaken: 0|LastCall: 0|LastPause: 0|LoginTime: U|InCall: 0|Status: 1|" +
				"Paused: 0|PausedReason: |Wrapuptime: 0|ActionID: A1||" +
				"Event: QueueStatusComplete|ActionID: A1|EventList: Complete|ListItems: 2||"},
		{"unknown queue", "Action: QueueSummary|Queue: zz",
			"Response: Success|EventList: start|Message: Queue summary will follow||" +
				"Event: QueueSummaryComplete|EventList: Complete|ListItems: 0||"},
		{"id in front of items", "Action: PJSIPShowEndpoints|ActionID: e",
			"Response: Success|ActionID: e|EventList: start|Message: A listing of Endpoints follows, presented as EndpointList events||" +
				"Event: EndpointList|ActionID: e|ObjectType: endpoint|ObjectName: alice|Transport: |Aor: alice|Auths: |OutboundAuths: |" +
				"Contacts: alice/sip:alice@192.0.2.10:5060,|DeviceState: Not in use|ActiveChannels: 0||" +
				"Event: EndpointList|…"},
		{"a text with an LF", "Action: PJSIPShowAuths|ActionID: a", "Response: Error|ActionID: a|Message: No Auths found\n||"},
		{"put", "Action: DBPut|Family: fam|Key: k|Val: value", "Response: Success|Message: Updated database successfully||"},
		{"get", "Action: DBGet|Family: fam|Key: k|ActionID: A1",
			"Response: Success|ActionID: A1|EventList: start|Message: Result will follow||" +
				"Event: DBGetResponse|Family: fam|Key: k|Val: value|ActionID: A1||" +
				"Event: DBGetComplete|ActionID: A1|EventList: Complete|ListItems: 1||"},
		{"tree", "Action: DBGetTree|Family: fam",
			"Response: Success|EventList: start|Message: Result will follow||" +
				"Event: DBGetTreeResponse|Key: /fam/k|Val: value||" +
				"Event: DBGetTreeComplete|EventList: Complete|ListItems: 1||"},
		{"del", "Action: DBDel|Family: fam|Key: k", "Response: Success|Message: Key deleted successfully||"},
		{"get none", "Action: DBGet|Family: fam|Key: k", "Response: Error|Message: Database entry not found||"},
		{"setvar", "Action: Setvar|Variable: FOO|Value: bar", "Response: Success|Message: Variable Set||"},
		{"getvar", "Action: Getvar|Variable: FOO|ActionID: 1", "Response: Success|ActionID: 1|Variable: FOO|Value: bar||"},
		{"getvar none", "Action: Getvar|Variable: X", "Response: Success|Variable: X|Value: ||"},
		{"getvar of no channel", "Action: Getvar|Channel: nosuch/1|Variable: X", "Response: Error|Message: No such channel||"},
		{"mailbox", "Action: MailboxCount|Mailbox: 100@default",
			"Response: Success|Message: Mailbox Message Count|Mailbox: 100@default|UrgMessages: 0|NewMessages: 0|OldMessages: 0||"},
		{"extension", "Action: ExtensionState|Exten: 100",
			"Response: Success|Message: Extension Status|Exten: 100|Context: default|Hint: PJSIP/alice|Status: 0|StatusText: Idle||"},
		{"no extension", "Action: ExtensionState|Exten: zz|Context: c",
			"Response: Success|Message: Extension Status|Exten: zz|Context: c|Hint: |Status: -1|StatusText: Unknown||"},
		{"add", "Action: QueueAdd|Queue: sales|Interface: Local/7@agents", "Response: Success|Message: Added interface to queue||"},
		{"add again", "Action: QueueAdd|Queue: sales|Interface: Local/7@agents", "Response: Error|Message: Unable to add interface: Already there||"},
		{"pause", "Action: QueuePause|Interface: Local/7@agents|Paused: 1", "Response: Success|Message: Interface paused successfully||"},
		{"remove", "Action: QueueRemove|Queue: sales|Interface: Local/7@agents", "Response: Success|Message: Removed interface from queue||"},
		{"remove static", "Action: QueueRemove|Queue: sales|Interface: PJSIP/dave", "Response: Error|Message: Member not dynamic||"},
		{"uptime", "Action: Command|Command: core show uptime|ActionID: c1",
			"Response: Success|ActionID: c1|Message: Command output follows|Output: System uptime: 0 seconds|Output: Last reload: 0 seconds||"},
		{"no such command", "Action: Command|Command: nosuch  command",
			"Response: Error|Message: Command output follows|Output: No such command 'nosuch command' (type 'core show help nosuch command' for other possible commands)||"},
		{"blank command", "Action: Command|Command:   ", "Response: Error|Message: No command provided||"},
		{"blacklisted", "Action: Command|Command: MODULE   LOAD x", "Response: Error|Message: Command blacklisted||"},
		{"wait", "Action: WaitEvent|Timeout: 0|ActionID: w",
			"Response: Success|ActionID: w|Message: Waiting for Event completed.||Event: WaitEventComplete|ActionID: w||"},
	}
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		tp := login(t, p, "off").record()
		for _, tt := range tests {
			got := strings.Join(tp.ask(strings.Split(tt.action, "|")...), "|") + "|"
			want := strings.ReplaceAll(tt.want, "LoginTime: U", "LoginTime: "+start)
			if part, cut := strings.CutSuffix(want, "…"); cut {
				got, want = got[:min(len(got), len(part))], part
			}
			if got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, want)
			}
		}
	})
}

func TestStatusItem(t *testing.T) {
	inBubble(t, Options{Idle: 2, Seed: 1}, func(t *testing.T, p *PBX) {
		time.Sleep(75 * time.Second)
		tp := login(t, p, "off").record()
		tp.ask("Action: Setvar", "Channel: PJSIP/idle-00000001", "Variable: A", "Value: a b")
		f := tp.ask("Action: Status", "Channel: PJSIP/idle-00000001", "Variables: A,CHANNEL(name),X", "ActionID: s")
		snapshot := "Channel: PJSIP/idle-00000001|ChannelState: 6|ChannelStateDesc: Up|CallerIDNum: 10001|CallerIDName: <unknown>|" +
			"ConnectedLineNum: <unknown>|ConnectedLineName: <unknown>|Language: en|AccountCode: |Context: default|Exten: idle|" +
			"Priority: 1|Uniqueid: 946684800.1|Linkedid: 946684800.1|"
		tp.expect(f[1], "Event: Status|Privilege: Call|"+snapshot+"Type: PJSIP|DNID: |EffectiveConnectedLineNum: <unknown>|"+
			"EffectiveConnectedLineName: <unknown>|TimeToHangup: 0|BridgeID: |Application: Wait|Data: 86400|Nativeformats: (ulaw)|"+
			"Readformat: ulaw|Readtrans: |Writeformat: ulaw|Writetrans: |Callgroup: 0|Pickupgroup: 0|Seconds: 75|"+
			"Variable: A=a b|Variable: CHANNEL(name)=PJSIP/idle-00000001|Variable: X=(null)|ActionID: s|")
		tp.expect(f[2], "Event: StatusComplete|ActionID: s|EventList: Complete|ListItems: 1|Items: 1|")
		f = tp.ask("Action: CoreShowChannels")
		tp.expect(f[2], "Event: CoreShowChannel|"+snapshot+"Application: Wait|ApplicationData: 86400|Duration: 00:01:15|BridgeId: |")
	})
}

func TestUserEvent(t *testing.T) {
	inBubble(t, Options{SystemName: "pbx22"}, func(t *testing.T, p *PBX) {
		other := login(t, p, "user").record()
		tp := login(t, p, "user").record()
		f := tp.ask("Action: UserEvent", "ActionID: UE1", "UserEvent: My", "Key: value ", "junk line", "Event: Fake",
			"UserEventX: y", "userevent: again", "ActionX: q", " action: sp")
		event := "Event: UserEvent|Privilege: user,all|SystemName: pbx22|UserEvent: My|ActionID: UE1|Key: value |junk line|" +
			"Event: Fake|UserEventX: y|ActionX: q| action: sp|"
		tp.expect(f[0], "Response: Success|ActionID: UE1|Message: Event Sent|")
		tp.expect(f[1], event)
		tp.expect(other.take()[0], event)
	})
}

func TestOldCommand(t *testing.T) {
	inBubble(t, Options{Version: "2.10.6"}, func(t *testing.T, p *PBX) {
		c := login(t, p, "system")
		c.expect(c.read(), "Event: FullyBooted|Privilege: system,all|Status: Fully Booted|")
		c.expect(c.do("Action: Command", "Command: core show uptime", "ActionID: 1"),
			"Response: Follows|Privilege: Command|ActionID: 1|System uptime: 0 seconds\nLast reload: 0 seconds\n--END COMMAND--|")
	})
}

// connect logs in by TCP.
func connect(b *testing.B, p *PBX, events string) net.Conn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip(err)
	}
	go p.Serve(l) // ends with the PBX
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	fmt.Fprintf(nc, "Action: Login\r\nUsername: proxy\r\nSecret: upstream-secret\r\nEvents: %s\r\n\r\n", events)
	r := ami.NewReader(nc, 1<<20)
	if _, err := r.ReadLine(); err != nil {
		b.Fatal(err)
	}
	if _, err := r.ReadFrame(); err != nil {
		b.Fatal(err)
	}
	return nc
}

func BenchmarkEmit(b *testing.B) {
	p := New(Options{})
	defer p.Close()
	frame := []byte("Event: Newstate\r\nPrivilege: call,all\r\nHeader: " + strings.Repeat("x", 550) + "\r\n\r\n")
	for range 3 {
		go io.Copy(io.Discard, connect(b, p, "call")) // ends with the PBX
	}
	b.SetBytes(int64(3 * len(frame)))
	for b.Loop() {
		p.Emit(frame)
		for p.Backlog() > 1<<20 {
			<-time.After(time.Millisecond)
		}
	}
	for p.Backlog() > 0 {
		<-time.After(time.Millisecond)
	}
}

func BenchmarkCoreShowChannels(b *testing.B) {
	p := New(Options{Idle: 5000})
	defer p.Close()
	nc := connect(b, p, "off")
	r := ami.NewReader(nc, 1<<20)
	for b.Loop() {
		fmt.Fprint(nc, "Action: CoreShowChannels\r\n\r\n")
		for {
			f, err := r.ReadFrame()
			if err != nil {
				b.Fatal(err)
			}
			if f.EndsList() {
				break
			}
		}
	}
}
