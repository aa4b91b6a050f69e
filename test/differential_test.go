//go:build unix

package test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// differentialUsers are users of the PBXes and of the proxy.
const differentialUsers = `
[full]
secret = pw
read = all
write = all
[limited]
secret = pw
read = call
write = call
[dialler]
secret = pw
read = call
write = originate
[agi]
secret = pw
write = originate,agi
[reporter]
secret = pw
read = cdr,reporting
write = reporting
[mute]
secret = pw
[nosecret]
read = all
[empty]
secret =
[once]
secret = pw
allowmultiplelogin = no
[single]
secret = pw
allowmultiplelogin = no
[denied]
secret = pw
deny = 0.0.0.0/0.0.0.0
`

// differences are all answers that the proxy makes otherwise than Asterisk, to a user with
// hardening = no, and how: by script, and by release unless on both.
var differences = map[string]struct {
	why string
	// proxy makes the proxy's answer of Asterisk's.
	proxy func(answer string) string
}{
	"lone CR": {
		"what the proxy writes itself holds no control characters of the client, which other parsers may take for a line's end",
		strings.NewReplacer("Ping\rX: y", "PingX: y").Replace,
	},
	"Originate refused on 16": {
		"the tests of the newest Asterisk are made for all releases, with its text",
		func(answer string) string {
			return regexp.MustCompile(`Forbidden: (Application|Data)`).ReplaceAllString(answer, "Forbidden: app or data blacklisted")
		},
	},
	"ListCommands":             {notBuilt, withoutNotBuilt},
	"ListCommands of limited":  {notBuilt, withoutNotBuilt},
	"ListCommands of reporter": {notBuilt, withoutNotBuilt},
	"ListCommands of mute":     {notBuilt, withoutNotBuilt},
	"Filter": {notBuilt, strings.NewReplacer("Unknown operation",
		"Invalid/unknown command: Filter. Use Action: ListCommands to show available commands.").Replace},
	"WaitEvent, Timeout: 0": {notBuilt, strings.NewReplacer("Success\r\nActionID: x-1\r\nMessage: Waiting for Event completed.\r\n\r\nEvent: WaitEventComplete\r\nActionID: x-1",
		"Error\r\nActionID: x-1\r\nMessage: Invalid/unknown command: WaitEvent. Use Action: ListCommands to show available commands.").Replace},
}

const notBuilt = "Filter and WaitEvent are not supported yet"

func withoutNotBuilt(answer string) string {
	return regexp.MustCompile(`(?m)^(Filter|WaitEvent): .*\n`).ReplaceAllString(answer, "")
}

// A script is what a client writes. What it gets, to the end of the connection, is to
// be the same from the proxy as from the PBX.
type script struct {
	name   string
	writes []string // Each but the first waits for a frame. KEY(secret) is the answer to the challenge.
	before string   // Written to another connection first, which stays.
	only   int      // The release that has what the script is about; 0: both.
	early  bool     // It gets events, so that it must not run beside those that cause some.
}

// action makes the bytes of an action.
func action(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const goodbye = "Action: Logoff\r\n\r\n"

func logIn(user string) string {
	return action("Action: Login", "Username: "+user, "Secret: pw", "Events: off")
}

// as is a script of one user's actions, each one header a line, in one write.
func as(user, name string, actions ...string) script {
	return script{name: name, writes: []string{logIn(user) + strings.Join(actions, "") + goodbye}}
}

// one is a script of one action of the user who may do all.
func one(lines ...string) script {
	return as("full", strings.TrimPrefix(strings.Join(lines, ", "), "Action: "), action(append(lines, "ActionID: x-1")...))
}

func raw(name string, writes ...string) script { return script{name: name, writes: writes} }

func (s script) ahead() script { s.early = true; return s }

func (s script) on(major int) script { s.only = major; return s }

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func scripts() []script {
	long := strings.Repeat
	return []script{
		// Framing.
		raw("before login", action("Action: Ping", "ActionID: 1")+action("Action: Nosuch")+action("Action: ListCommands")+goodbye),
		raw("blank lines", "\r\n\n\r\n"+goodbye),
		as("full", "blank lines after login", "\r\n", action("Action: Ping"), "\n\n"),
		as("full", "line feeds", "Action: Ping\nActionID: 2\n\n", "Action: Ping\r\nActionID: 3\n\r\n"),
		as("full", "lone CR", "Action: Ping\r\nActionID: a\rb\r\n\r\n", "Action: Ping\rX: y\r\n\r\n"),
		as("full", "NUL", "Action: Ping\x00more\r\nActionID: 4\x00more\r\n\r\n", "Action: Ping\r\n\x00ActionID: 5\r\nAction: Ping\r\n\r\n"),
		as("full", "the longest line", "Action: Ping\r\nX: "+long("x", 1019)+"\r\n\r\n"+"Action: Ping\nX: "+long("x", 1020)+"\n\n"),
		as("full", "one byte too long", "Action: Ping\r\nActionID: 6\r\nX: "+long("x", 1020)+"\r\n\r\n", action("Action: Ping")),
		as("full", "one byte too long with LF", "Action: Ping\nActionID: 6\nX: "+long("x", 1021)+"\n\n", action("Action: Ping")),
		as("full", "much too long", "Action: Ping\r\nActionID: 7\r\nX: "+long("x", 5000)+"\r\nActionID: 8\r\n\r\n", action("Action: Ping")),
		as("full", "tail of a long line", "Action: Ping\r\n"+long("x", 1023)+"ActionID: tail\r\n\r\n"),
		as("full", "128 headers", "Action: Ping\r\n"+lines(126, "H%d: x\r\n")+"ActionID: last\r\n\r\n"),
		as("full", "129 headers", "Action: Ping\r\n"+lines(127, "H%d: x\r\n")+"ActionID: lost\r\n\r\n"),
		as("full", "too many and too long", "ActionID: 9\r\n"+lines(130, "H%d: x\r\n")+long("x", 2000)+"\r\n\r\n", action("Action: Ping", "ActionID: 10"), action("Action: Ping", "ActionID: 11")),
		as("full", "blanks", "Action : Ping\r\n\r\n", " Action: Ping\r\n\r\n", "Action: Ping \r\n\r\n", "Action:Ping\r\nActionID:12\r\n\r\n", "Action: \t \x01Ping\r\nActionID: 13  \r\n\r\n"),
		as("full", "headers twice", action("Action: Ping", "ActionID: 14", "ActionID: 15"), action("ActionID:", "ActionID: 16", "Action:", "Action: Ping", "Action: Nosuch"), action("Action: Getvar", "Variable:", "Variable: X")),
		as("full", "upper case", action("aCTION: pING", "aCTIONID: 17"), action("ACTION: GETVAR", "VARIABLE: EPOCHX")),
		as("full", "no colon", action("Action: Ping", "nonsense", "ActionID: 18"), action("nonsense")),
		as("full", "long ActionID", action("Action: Ping", "ActionID: "+long("i", 900)), action("Action: Getvar", "Variable: X", "ActionID: "+long("i", 900))),
		as("full", "not ASCII", action("Action: Pïng"), action("Action: Getvar", "Variable: ä", "ActionID: \xff\xfe")),
		as("full", "unknown action", action("Action: Nosuch", "ActionID: 19"), action("Action: "+long("n", 900), "ActionID: 20")),

		// Logins.
		raw("wrong secret", action("Action: Login", "ActionID: 1", "Username: full", "Secret: PW")),
		raw("no secret given", action("Action: Login", "Username: full")),
		raw("unknown user", action("Action: Login", "Username: nobody", "Secret: pw")),
		raw("no user", action("Action: Login")),
		raw("general is no user", action("Action: Login", "Username: general", "Secret: pw")),
		raw("user without a secret", action("Action: Login", "Username: nosecret", "Secret: ")),
		raw("user with an empty secret", action("Action: Login", "Username: empty", "Events: off")+goodbye),
		raw("denied address", action("Action: Login", "Username: denied", "Secret: pw")),
		raw("user in upper case", action("Action: Login", "Username: FULL", "Secret: pw", "Events: off", "ActionID: 2")+goodbye),
		raw("another AuthType", action("Action: Login", "Username: full", "Secret: pw", "AuthType: SHA", "Events: off")+goodbye),
		raw("logged in twice", logIn("full")+action("Action: Login", "ActionID: 3", "Username: nobody", "Secret: x")+goodbye),
		raw("goodbye at once", action("Action: Logoff", "ActionID: bye")),
		{name: "login in use", before: logIn("once"), writes: []string{logIn("ONCE")}},
		{name: "challenge in use", before: logIn("single"), writes: []string{action("Action: Challenge", "AuthType: MD5", "Username: single")}},
		raw("challenges", action("Action: Challenge")+action("Action: Challenge", "AuthType: SHA1", "ActionID: 4")+action("Action: Challenge", "AuthType: md5", "ActionID: 5")+goodbye),
		raw("login by challenge", action("Action: Challenge", "AuthType: MD5"),
			action("Action: Login", "AuthType: MD5", "Username: full", "Key: KEY(pw)", "Events: off")+action("Action: Challenge", "AuthType: MD5")+goodbye),
		raw("challenge and wrong key", action("Action: Challenge", "AuthType: MD5"), action("Action: Login", "AuthType: MD5", "Username: full", "Key: KEY(PW)")),
		raw("key without a challenge", action("Action: Login", "AuthType: MD5", "Username: full", "Key: d41d8cd98f00b204e9800998ecf8427e")),
		raw("challenge and plain secret", action("Action: Challenge", "AuthType: MD5")+action("Action: Login", "AuthType: MD5", "Username: full", "Secret: pw")),
		raw("fully booted", action("Action: Login", "Username: full", "Secret: pw", "Events: system,config", "ActionID: 6")+goodbye).ahead(),
		raw("unknown class at login", action("Action: Login", "Username: full", "Secret: pw", "Events: nonsense")+goodbye),
		as("mute", "event masks", eventMasks()...),

		// Rights.
		as("limited", "permissions", action("Action: Command", "Command: core show version", "ActionID: 1"), action("Action: Originate"),
			action("Action: GetConfig", "Filename: x"), action("Action: Nosuch"), action("Action: DBGet"), action("Action: UserEvent"), action("Action: QueueAdd")),
		as("mute", "no rights", action("Action: Status"), action("Action: Getvar"), action("Action: Ping"), action("Action: QueueSummary", "Queue: sales")),
		as("limited", "shell in Getvar", action("Action: Getvar", "Variable: SHELL(id)", "ActionID: 1"), action("Action: Getvar", "Variable: EVAL(x)"),
			action("Action: Status", "Variables: A,SHELL(id)")),
		as("full", "shell in Getvar with all rights", action("Action: Getvar", "Variable: SHELL(id)"), action("Action: Getvar", "Variable: DB(a/b)")),
		as("limited", "no commands", action("Action: GetConfigJSON", "Filename: ../../etc/passwd")),
		as("full", "files", action("Action: GetConfig", "Filename: ../../../etc/passwd"), action("Action: GetConfig", "Filename: /etc/passwd"), action("Action: GetConfig")),
		as("dialler", "Originate", action("Action: Originate"), action("Action: Originate", "Channel: x"), action("Action: Originate", "Channel: Local/x@y"),
			action("Action: Originate", "Channel: Local/x@y", "Timeout: z"), action("Action: Originate", "Channel: Local/x@y", "Priority: z", "Exten: e", "Context: c"),
			action("Action: Originate", "Channel: Local/x@y", "Exten: e", "ActionID: 1"), action("Action: Originate", "Channel: Nosuch/x", "Application: Wait")),
		as("dialler", "Originate refused", refusedOriginates()...).on(22),
		as("dialler", "Originate refused on 16", refusedOriginates()[:7]...).on(16),
		as("agi", "Originate Queue with AGI", action("Action: Originate", "Channel: Nosuch/x", "Application: Queue", "Data: a,,,,,script"), action("Action: Originate", "Channel: x", "Application: AGI")).on(22),
		as("limited", "ListCommands of limited", action("Action: ListCommands", "ActionID: 1")),
		as("mute", "ListCommands of mute", action("Action: ListCommands")),
		as("reporter", "ListCommands of reporter", action("Action: ListCommands")),
		as("full", "ListCommands", action("Action: ListCommands")),

		// Lists.
		one("Action: QueueStatus"), one("Action: QueueStatus", "Queue: support"), one("Action: QueueStatus", "Queue: nosuch"),
		one("Action: QueueSummary"), one("Action: CoreShowChannels"), one("Action: Status"), one("Action: Status", "Channel: nosuch"),
		one("Action: BridgeList"), one("Action: BridgeInfo"), one("Action: BridgeInfo", "BridgeUniqueid: nosuch"), one("Action: BridgeTechnologyList"),
		one("Action: ParkedCalls"), one("Action: Parkinglots"), one("Action: Agents"),
		one("Action: PJSIPShowEndpoints"), one("Action: PJSIPShowEndpoint", "Endpoint: alice"), one("Action: PJSIPShowEndpoint", "Endpoint: nosuch"), one("Action: PJSIPShowEndpoint"),
		one("Action: PJSIPShowAuths"), one("Action: PJSIPShowAors"), one("Action: PJSIPShowContacts"), one("Action: PJSIPShowRegistrationsOutbound"),
		one("Action: PJSIPShowResourceLists"), one("Action: PJSIPShowSubscriptionsInbound"),
		one("Action: DeviceStateList"), one("Action: ExtensionStateList"), one("Action: PresenceStateList"),
		one("Action: ShowDialPlan", "Context: agents"), one("Action: ShowDialPlan", "Context: nosuch"),
		one("Action: ConfbridgeList", "Conference: 1"), one("Action: ConfbridgeList"), one("Action: ConfbridgeListRooms"),
		one("Action: VoicemailUsersList"), one("Action: VoicemailUserStatus", "Context: default", "Mailbox: nosuch"),
		one("Action: MWIGet", "Mailbox: nosuch"), one("Action: Hangup", "Channel: /^Nosuch/"), one("Action: CoreShowChannelMap", "Channel: nosuch"),
		one("Action: FAXSessions"), one("Action: FAXStats"), one("Action: FAXSession", "SessionNumber: 1"), one("Action: DAHDIShowChannels"), one("Action: SIPpeers"),
		one("Action: DBGet"), one("Action: DBGet", "Family: nosuch", "Key: x"), one("Action: DBGetTree", "Family: nosuch"),
		as("full", "database", action("Action: DBPut", "Family: f", "Key: k", "Val: a value"), action("Action: DBGet", "Family: f", "Key: k", "ActionID: 1"),
			action("Action: DBGetTree", "Family: f"), action("Action: DBDel", "Family: f", "Key: k"), action("Action: DBDel", "Family: f", "Key: k")),
		as("full", "lists without ActionID", action("Action: QueueStatus"), action("Action: PJSIPShowEndpoints"), action("Action: PJSIPShowAuths"), action("Action: Ping")),

		// Answers without a certain end, and other strange ones.
		one("Action: QueueRule"), one("Action: QueueRule", "Rule: nosuch"), one("Action: IAXnetstats"), one("Action: IAXpeers"), one("Action: IAXregistry"),
		one("Action: ModuleLoad"), one("Action: ModuleLoad", "Module: app_dial.so"), one("Action: ModuleLoad", "LoadType: load", "Module: nosuch.so"),
		one("Action: ModuleCheck", "Module: app_dial"), one("Action: ModuleCheck", "Module: nosuch"), one("Action: ModuleCheck"),
		one("Action: Command"), one("Action: Command", "Command: core show version"), one("Action: Command", "Command: nosuch"), one("Action: Command", "Command: module  load x"),
		one("Action: Command", "Command: core show help core show"), one("Action: Command", "Command: dialplan show agents"), one("Action: Command", "Command: dialplan show default"),
		one("Action: GetConfig", "Filename: queues.conf"), one("Action: GetConfig", "Filename: nosuch.conf"), one("Action: GetConfig", "Filename: queues.conf", "Category: nosuch"),
		one("Action: GetConfigJSON", "Filename: queues.conf"), one("Action: ListCategories", "Filename: queues.conf"), one("Action: ListCategories", "Filename: acl.conf"), one("Action: ListCategories"),
		as("full", "fenced in a pipeline", action("Action: Getvar", "Variable: A", "ActionID: 1"), action("Action: QueueRule", "ActionID: 2"), action("Action: Getvar", "Variable: B", "ActionID: 3"),
			action("Action: Command", "Command: core show version", "ActionID: 4"), action("Action: ModuleLoad"), action("Action: Ping", "ActionID: 6"), action("Action: QueueStatus", "Queue: support", "ActionID: 7")),

		// Single answers.
		one("Action: CoreStatus"), one("Action: CoreSettings"), one("Action: Getvar", "Variable: NOSUCH"), one("Action: Getvar", "Variable: X", "Channel: nosuch"), one("Action: Getvar"),
		one("Action: Setvar"), one("Action: Setvar", "Variable: X", "Channel: nosuch"), one("Action: Setvar", "Variable: DB(a/b)", "Value: x"),
		as("full", "variables", action("Action: Setvar", "Variable: G", "Value: a  b "), action("Action: Getvar", "Variable: G"), action("Action: Setvar", "Variable: G"), action("Action: Getvar", "Variable: G")),
		one("Action: MailboxStatus", "Mailbox: 100@default"), one("Action: MailboxStatus"), one("Action: MailboxCount", "Mailbox: 100@default"),
		one("Action: ExtensionState", "Exten: echo", "Context: default"), one("Action: ExtensionState"), one("Action: PresenceState", "Provider: nosuch"),
		one("Action: Hangup"), one("Action: Hangup", "Channel: nosuch"), one("Action: Redirect"), one("Action: Redirect", "Channel: nosuch"), one("Action: Bridge", "Channel1: a", "Channel2: b"),
		one("Action: Park"), one("Action: Park", "Channel: nosuch"), one("Action: Atxfer"), one("Action: AbsoluteTimeout", "Channel: nosuch"), one("Action: PlayDTMF", "Channel: nosuch"),
		one("Action: SendText", "Channel: nosuch"), one("Action: MuteAudio", "Channel: nosuch"), one("Action: MixMonitor", "Channel: nosuch"), one("Action: LocalOptimizeAway", "Channel: nosuch"),
		one("Action: QueueAdd"), one("Action: QueueAdd", "Queue: nosuch", "Interface: Local/1@x"), one("Action: QueuePause"), one("Action: QueueRemove", "Queue: sales", "Interface: x"),
		one("Action: QueueLog"), one("Action: QueueReset"), one("Action: MessageSend"), one("Action: AgentLogoff", "Agent: nosuch"), one("Action: Reload", "Module: nosuch"),
		one("Action: CreateConfig"), one("Action: UpdateConfig"), one("Action: DialplanExtensionAdd"), one("Action: PJSIPQualify"), one("Action: PJSIPQualify", "Endpoint: nosuch"),
		one("Action: SorceryMemoryCacheStale"), one("Action: UserEvent"), one("Action: UserEvent", "UserEvent: X", "Key: y"), one("Action: AGI", "Channel: nosuch"), one("Action: AOCMessage"),
		one("Action: BlindTransfer"), one("Action: ConfbridgeKick"), one("Action: PresenceState"), one("Action: LoggerRotate"), one("Action: Events"), one("Action: SuppressEvents", "SuppressEvents: yes"),
		one("Action: BridgeDestroy"), one("Action: BridgeDestroy", "BridgeUniqueid: nosuch"), one("Action: BridgeKick"), one("Action: BridgeTechnologySuspend"),
		one("Action: Filter"), one("Action: WaitEvent", "Timeout: 0"),
	}
}

func eventMasks() []string {
	var all []string
	for _, mask := range []string{"on", "off", "yes", "no", "1", "0", "2", "all", "none", "call", "CALL", "call,agent", "call, agent", "c,user", ",call", "nonsense", "-1",
		"2147483647", "2147483648", "4294967295", "4294967296", "99999999999999999999", "0x1", "t", "true", "f", "On", "hookresponse", " on", "on "} {
		all = append(all, action("Action: Events", "EventMask: "+mask, "ActionID: "+mask))
	}
	return append(all, action("Action: Events"), action("Action: Events", "EventMask:"))
}

func refusedOriginates() []string {
	var all []string
	for i, do := range [][2]string{{"System", "id"}, {"tRYsYSTEM", ""}, {"Exec", "x"}, {"ExternalIVR", ""}, {"MixMonitor", ""}, {"Originate", ""}, {"DeadAGI", ""}, {"DBdeltree", ""}, {"Reload", ""},
		{"Queue", "q,,,,,agi"}, {"Set", "X=${SHELL(id)}"}, {"Set", "X=${CURL(x)}"}, {"Set", "X=${DB(x)}"}, {"NoOp", "EVAL"}, {"NoOp", "FILE"}, {"NoOp", "ODBC"}, {"NoOp", "REALTIME"},
		{"Queue", "q,,,,"}, {"NoOp", "shell"}} {
		all = append(all, action("Action: Originate", fmt.Sprintf("ActionID: o-%d", i), "Channel: Nosuch/x", "Application: "+do[0], "Data: "+do[1]))
	}
	return all
}

// variable finds values that are never the same.
var variable = regexp.MustCompile(`(?m)^(Challenge|Timestamp|Uptime|LastReload|CoreReload(?:Date|Time)): .*\r$`)

// play writes a script to addr and returns all that came, less what varies.
func (s script) play(tb testing.TB, addr string) []byte {
	tb.Helper()
	dial := func() net.Conn {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			tb.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		return conn
	}
	read := func(conn net.Conn, enough func([]byte) bool) []byte {
		var got []byte
		buf := make([]byte, 64<<10)
		for !enough(got) {
			n, err := conn.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				tb.Fatalf("%s: %v after %q", s.name, err, got)
			}
		}
		return got
	}
	frame := func(b []byte) bool { return bytes.Contains(b, []byte("\r\n\r\n")) }
	if s.before != "" {
		other := dial()
		defer func() {
			io.WriteString(other, goodbye)
			io.Copy(io.Discard, other)
			other.Close()
		}()
		io.WriteString(other, s.before)
		read(other, frame)
	}
	conn := dial()
	defer conn.Close()
	var got []byte
	for i, text := range s.writes {
		if i > 0 {
			got = append(got, read(conn, frame)...)
		}
		text = challengeKey.ReplaceAllStringFunc(text, func(call string) string {
			_, digits, _ := bytes.Cut(got, []byte("Challenge: "))
			digits, _, _ = bytes.Cut(digits, []byte("\r\n"))
			sum := md5.Sum(append(digits, challengeKey.FindStringSubmatch(call)[1]...))
			return hex.EncodeToString(sum[:])
		})
		if _, err := io.WriteString(conn, text); err != nil {
			tb.Fatalf("%s: %v", s.name, err)
		}
	}
	got = append(got, read(conn, func([]byte) bool { return false })...)
	return variable.ReplaceAll(got, []byte("$1: varies\r"))
}

var challengeKey = regexp.MustCompile(`KEY\((\w+)\)`)

// TestAnswersAreThoseOfAsterisk plays scripts to the PBX and to a proxy before it.
func TestAnswersAreThoseOfAsterisk(t *testing.T) {
	const general = "authlimit = 1000\n"
	pbxs := starts(t,
		asterisk.Options{Major: 16, Name: "east", Users: differentialUsers, General: general},
		asterisk.Options{Major: 22, Name: "west", Users: differentialUsers, General: general})
	for i, major := range []int{16, 22} {
		pbx := pbxs[i]
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			p := startProxy(t, "[general]\nhardening = no\n"+general+differentialUsers, pbx)
			p.waitUp()
			var early, all []script
			for _, s := range scripts() {
				switch {
				case s.only != 0 && s.only != major:
				case s.early:
					early = append(early, s)
				default:
					all = append(all, s)
				}
			}
			for _, scripts := range [][]script{early, all} {
				together(t, len(scripts), func(tb testing.TB, i int) { scripts[i].compare(tb, pbx.Addr(), p.addr) })
			}
		})
	}
}

// compare plays a script to a PBX and to the proxy before it.
func (s script) compare(tb testing.TB, pbx, proxy string) {
	tb.Helper()
	want, got := s.play(tb, pbx), s.play(tb, proxy)
	if known, ok := differences[s.name]; ok {
		if bytes.Equal(got, want) {
			tb.Errorf("%s: no difference any more: remove it from the list (%s)", s.name, known.why)
		}
		want = []byte(known.proxy(string(want)))
	}
	if !bytes.Equal(got, want) {
		tb.Errorf("%s: the proxy's answer, then Asterisk's, differ %s", s.name, firstDifference(got, want))
	}
}
