//go:build unix

package test

import (
	"fmt"
	"strings"
)

// A form is a way to write headers such that one reader may see the evil value and
// another one does not. NAME, GOOD and EVIL stand for the header and its values.
type form struct {
	name  string
	lines string // parted by line feeds
	proof bool   // Asterisk reads the evil value
}

var headerForms = []form{
	{"plain", "NAME: EVIL", true},
	{"before the good one", "NAME: EVIL\nNAME: GOOD", true},
	{"behind the good one", "NAME: GOOD\nNAME: EVIL", false},
	{"behind an empty one", "NAME:\nNAME: EVIL", false},
	{"behind a blank one", "NAME:  \t \nNAME: EVIL", false},
	{"without a blank", "NAME:EVIL", true},
	{"with a tab", "NAME:\tEVIL", true},
	{"with many blanks", "NAME:" + strings.Repeat(" ", 200) + "EVIL", false},
	{"behind control characters", "NAME: \x01\x1f \x02EVIL", true},
	{"in capitals", "UPPER: EVIL\nNAME: GOOD", false},
	{"in small letters", "NAME: GOOD\nLOWER: EVIL", false},
	{"with a blank before the colon", "NAME: GOOD\nNAME : EVIL", false},
	{"with a blank before the name", "NAME: GOOD\n NAME: EVIL", false},
	{"with a tab before the colon alone", "NAME\t: EVIL", false},
	{"in a continuation line", "NAME: GOOD\n EVIL", false},
	{"in a continuation line behind a tab", "NAME:\n\tEVIL", false},
	{"with a blank behind it", "NAME: EVIL ", false},
	{"with a NUL behind it", "NAME: EVIL\x00GOOD", true},
	{"behind a NUL", "NAME: GOOD\x00EVIL", false},
	{"behind a NUL in its line", "NAME: GOOD\x00\r\nNAME: EVIL", false},
	{"with a NUL in the name", "NAME\x00: GOOD\nNAME: EVIL", false},
	{"behind a carriage return", "NAME: GOOD\rNAME: EVIL", false},
	{"with a carriage return behind it", "NAME: EVIL\r", false},
	{"behind a comma", "NAME: GOOD,EVIL", false},
	{"before a comma", "NAME: EVIL,GOOD", false},
	{"behind an ampersand", "NAME: GOOD&EVIL", false},
	{"behind a bar", "NAME: GOOD|EVIL", false},
	{"before a bar", "NAME: EVIL|GOOD", false},
	{"behind a semicolon", "NAME: GOOD;EVIL", false},
	{"behind a backslash", "NAME: \\EVIL", false},
	{"in quotes", "NAME: \"EVIL\"", false},
	{"as a comment of the good one", "NAME: GOOD ; EVIL", false},
	{"behind two colons", "NAME:: EVIL", false},
	{"behind a line without a colon", "NAME GOOD\nNAME: EVIL", false},
	{"as a pattern", "NAME: *", false},
	{"with a byte order mark", "\xef\xbb\xbfNAME: GOOD\nNAME: EVIL", false},
	{"behind a line that is too long", "X: " + strings.Repeat("x", 1020) + "NAME: EVIL\nNAME: GOOD", false},
	{"as the end of a line that is too long", strings.Repeat("x", 1023) + "NAME: EVIL", false},
	{"behind 130 others", strings.Repeat("Async: true\n", 130) + "NAME: EVIL", false},
}

// spell puts a header and its values into a form.
func (f form) spell(name, good, evil string) string {
	return strings.NewReplacer("NAME", name, "UPPER", strings.ToUpper(name), "LOWER", strings.ToLower(name),
		"GOOD", good, "EVIL", evil, "\n", "\r\n").Replace(f.lines)
}

// A target is an action with one header that is tried in every form.
type target struct {
	action             []string // the rest of it
	header, good, evil string
	// deaf: what the evil value does shows on the PBX itself too seldom for a proof.
	deaf bool
}

func (c *canary) targets() []target {
	originate := []string{"Action: Originate", "Async: true", "Exten: 1"}
	return []target{
		{append(originate, "Channel: Local/1@from-crm", "Priority: 1"), "Context", "from-crm", "internal", false},
		{append(originate, "Context: from-crm", "Priority: 1"), "Channel", "Local/1@from-crm", "Local/1@internal", false},
		{[]string{"Action: Originate", "Async: true", "Channel: Local/1@from-crm", "Data: GLOBAL(EVIL)=1"}, "Application", "Playback", "Set", false},
		{append(originate, "Channel: Local/1@from-crm", "Context: from-crm", "Priority: 1"), "Variable", "CRM_A=1", "GLOBAL(EVIL)=smuggled", false},
		{append(originate, "Channel: Local/1@from-crm", "Context: from-crm", "Priority: 1"), "CallerID", "100", "666", false},
		{[]string{"Action: Originate", "Async: true", "Channel: Local/1@from-crm", "Context: from-crm", "Exten: p"}, "Priority", "1", "2", false},
		{[]string{"Action: Redirect", "Channel: " + c.own, "Exten: w", "Priority: 1"}, "Context", "from-crm", "internal", false},
		{[]string{"Action: Command"}, "Command", "core show channels", "dialplan set global EVIL 1", false},
		{[]string{"Action: Getvar"}, "Variable", "CRM_A", "SECRET", false},
		{[]string{"Action: Setvar", "Value: 1"}, "Variable", "CRM_A", "EVIL", false},
		{[]string{"Action: QueueAdd", "Interface: PJSIP/200"}, "Queue", "sales-1", "support", true},
		{[]string{"Action: QueueAdd", "Queue: sales-1"}, "Interface", "PJSIP/200", "PJSIP/666", true},
		{[]string{"Action: UserEvent", "Note: x"}, "UserEvent", "CRMx", "Boss", false},
		{[]string{"Action: GetConfig"}, "Filename", "indications.conf", "manager.conf", false},
	}
}

// attempts are all that a user tries.
func (c *canary) attempts() (all []bypass) {
	for _, t := range c.targets() {
		for _, f := range headerForms {
			action := strings.TrimPrefix(t.action[0], "Action: ")
			text := strings.Join(t.action, "\r\n") + "\r\n" + f.spell(t.header, t.good, t.evil) + "\r\n\r\n"
			all = append(all, bypass{
				name: fmt.Sprintf("%s of %s, %s", t.header, action, f.name), raw: text,
				proof: f.name == "plain" && !t.deaf || t.header == "Context" && action == "Originate" && f.proof,
			})
		}
	}
	return append(append(append(append(all, c.lookAlikes()...), c.originates()...), c.others()...), c.framing()...)
}

// lookAlikes are values that look like those allowed, or mean them to some reader.
func (c *canary) lookAlikes() (all []bypass) {
	base := "Action: Originate\r\nAsync: true\r\nExten: 1\r\nPriority: 1\r\nChannel: Local/1@from-crm\r\nContext: "
	for name, context := range map[string]string{
		"full width":           "ｆｒｏｍ-ｃｒｍ",
		"Cyrillic":             "frоm-crm",
		"a Unicode hyphen":     "from‐crm",
		"a zero width space":   "from-crm\u200b",
		"a no-break space":     "from-crm\u00a0",
		"Latin-1":              "from-crm\xa0",
		"overlong UTF-8":       "from\xc0\xad crm",
		"percent encoding":     "%69nternal",
		"capitals":             "FROM-CRM",
		"a prefix":             "from-c",
		"a path":               "from-crm/../internal",
		"a variable":           "${CONTEXT}",
		"an expression":        "$[1]",
		"an application's way": "from-crm,1,1",
		"a switch":             "from-crm@internal",
		"another half":         "internal\u200bfrom-crm",
		"bars":                 "internal|1|1",
	} {
		all = append(all, bypass{name: "a context with " + name, raw: base + context + "\r\n\r\n"})
	}
	return all
}

// originates are what an Originate can reach besides.
func (c *canary) originates() (all []bypass) {
	add := func(name string, proof bool, lines ...string) {
		all = append(all, bypass{name: name, proof: proof, raw: action(append([]string{"Action: Originate", "Async: true"}, lines...)...)})
	}
	there := []string{"Context: from-crm", "Exten: 1", "Priority: 1"}
	for i, channel := range []string{
		"Local/1@internal/n", "Local/1@internal/n@from-crm", "Local/1@internal@from-crm", "Local/1@from-crm/n", "Local/1@from-crm@internal",
		"Local/echo", "Local/1", "Local/@internal", "Local/1@", "Local/1@from-crm&Local/1@internal", "Local/1@internal&Local/1@from-crm",
		"Local/1@from-crm,Local/1@internal", "Local/1;2@from-crm", "LOCAL/1@internal", "local/1@from-crm", "Local /1@from-crm", "Local/1 @from-crm",
		"Local/${EXTEN}@from-crm", "Local/${SHELL(touch " + c.inside + "/shell)}@from-crm", "Local/1@${CONTEXT}", "Local/1/2@from-crm", "Local/1@internal/@from-crm",
		"Local/" + strings.Repeat("1", 242) + "@from-crm", "Local/" + strings.Repeat("1", 300) + "@from-crm", "Local/" + strings.Repeat("1", 900) + "@from-crm",
		"PJSIP/alice", "PJSIP/1", "PJSIP/1000", "PJSIP/100@alice", "PJSIP/1/sip:evil@127.0.0.1", "PJSIP/10/", "PJSIP/1@@", "pjsip/100", "PJSIP//10", "PJSIP/100/sip:x@127.0.0.1",
		"SIP/100", "IAX2/100", "Agent/1001", "Message/x", "Bridge/x", "Recorder/1", "Announcer/1", "CBAnn/1", "MulticastRTP/basic/127.0.0.1:4000", "/1", "Local", "",
		"\"Local/1@from-crm\"", "Local/1@from-crm\x7f", "Local/1@from-crm \t",
	} {
		add(fmt.Sprintf("channel %d, %.60q", i, channel), i == 0 || i == 1, append(there, "Channel: "+channel)...)
	}
	channel := "Channel: Local/1@from-crm"
	for _, app := range [][2]string{
		{"Set", "GLOBAL(EVIL)=smuggled"}, {"MSet", "GLOBAL(EVIL)=smuggled,CRM_A=1"}, {"Set", "DB(evil/x)=1"}, {"Set", "FILE(" + c.inside + "/set)=x"},
		{"System", "touch " + c.inside + "/system"}, {"TrySystem", "touch " + c.inside + "/trysystem"}, {"Exec", "System(touch " + c.inside + "/exec)"}, {"ExecIf", "1?System(touch " + c.inside + "/execif)"},
		{"Goto", "internal,1,1"}, {"GotoIf", "1?internal,1,1"}, {"Gosub", "internal,1,1"}, {"Dial", "Local/1@internal"}, {"UserEvent", "Boss"}, {"AGI", "nosuch"}, {"Originate", "Local/1@internal,app,NoOp"},
		{"Playback,System", "touch " + c.inside + "/comma"}, {"Playback(System)", "x"}, {"System\u200b", "x"}, {"Playback&System", "touch " + c.inside + "/both"}, {"Echo", ""}, {"ChanSpy", ""}, {"MixMonitor", c.inside + "/mix.wav"},
		{"AddQueueMember", "support,PJSIP/666"}, {"DBput", "evil/x=1"}, {"SoftHangup", c.victim}, {"ChannelRedirect", c.victim + ",internal,1,1"}, {"Record", c.inside + "/record.wav"}, {"WaitForNoise", ""},
	} {
		add(fmt.Sprintf("application %s(%.40s)", app[0], app[1]), app[0] == "Set" || app[0] == "Dial" || app[0] == "UserEvent" || app[0] == "System" || app[0] == "AddQueueMember",
			channel, "Application: "+app[0], "Data: "+app[1])
		add(fmt.Sprintf("application %s(%.40s) with an extension that is allowed", app[0], app[1]), false,
			append(there, channel, "Application: "+app[0], "Data: "+app[1])...)
	}
	good := append(there, channel)
	for i, variable := range []string{
		"GLOBAL(EVIL)=smuggled", "CRM_A=1,GLOBAL(EVIL)=smuggled", "CRM_A=\"1\",GLOBAL(EVIL)=smuggled", "CRM_A=\"1,GLOBAL(EVIL)=smuggled\",GLOBAL(EVIL)=smuggled", "CRM_A=(1),GLOBAL(EVIL)=smuggled",
		"CRM_A=[,GLOBAL(EVIL)=smuggled", "CRM_A=(,GLOBAL(EVIL)=smuggled", "CRM_A=\\,GLOBAL(EVIL)=smuggled", "CRM_A=\\\\,GLOBAL(EVIL)=smuggled", "\"GLOBAL(EVIL)=smuggled\"", "G\"\"LOBAL(EVIL)=smuggled",
		"\\GLOBAL(EVIL)=smuggled", "__GLOBAL(EVIL)=smuggled", "_GLOBAL(EVIL)=smuggled", ",GLOBAL(EVIL)=smuggled", ",,,GLOBAL(EVIL)=smuggled", "CRM_A=1|GLOBAL(EVIL)=smuggled", "CRM_A=1,\tEVIL=smuggled", "CRM_A=1, EVIL=smuggled",
		"CRM_A,GLOBAL(EVIL)=smuggled", "=1,GLOBAL(EVIL)=smuggled", "CRM_A==,GLOBAL(EVIL)=smuggled", "CRM_A(GLOBAL(EVIL))=smuggled", "CRM_${GLOBAL(EVIL)}=smuggled", "CRM_A=1" + strings.Repeat(",CRM_B=2", 70) + ",GLOBAL(EVIL)=smuggled",
		strings.Repeat(",", 63) + "GLOBAL(EVIL)=smuggled", strings.Repeat("CRM_A=1,", 63) + "GLOBAL(EVIL)=smuggled", "FILE(" + c.inside + "/variable)=smuggled", "FILE(" + c.inside + "/variable,,,a)=smuggled", "DB(evil/x)=1", "SHELL(touch " + c.inside + "/x)=1", "EVIL=smuggled", "crm_a=smuggled",
		"CRM=smuggled", "ＣRM_A=smuggled", "CRM_A\u200b=smuggled", "CALLERID(num)=666", "CALLERID(all)=666", "CONNECTEDLINE(num)=666", "CHANNEL(accountcode)=evil", "MASTER_CHANNEL(EVIL)=smuggled", "SHARED(EVIL)=smuggled", "ARRAY(EVIL,X)=smuggled", "HASH(EVIL,x)=smuggled",
		"EVAL(GLOBAL(EVIL))=smuggled", "CRM_A=1;GLOBAL(EVIL)=smuggled", "CRM_A=1&GLOBAL(EVIL)=smuggled", "CRM_A=${SHELL(touch " + c.inside + "/value)}", "CRM_A={GLOBAL(EVIL)=smuggled}",
	} {
		add(fmt.Sprintf("variable %d, %.60q", i, variable), i < 4 || strings.HasPrefix(variable, "FILE"), append(good, "Variable: "+variable)...)
	}
	for _, header := range []string{
		"Account: evil", "account: evil", "PreDialGoSub: gosub,s,1", "ChannelId: evil-1", "OtherChannelId: evil-2", "Callerid: \"x\" <666>", "CALLERID:666", "CallerID : 666",
		"Priority: label", "Priority: 3", "Priority: 1\r\nExten: p\r\nPriority: 2", "Variable : GLOBAL(EVIL)=smuggled", "Variables: GLOBAL(EVIL)=smuggled", "SetVar: GLOBAL(EVIL)=smuggled",
		"Command: dialplan set global EVIL 1", "Action: Command\r\nCommand: dialplan set global EVIL 1", "Server: west", "Nested: x\x00\r\nAccount: evil",
	} {
		add(fmt.Sprintf("an Originate with %.40q", header), header == "Account: evil" || header == "ChannelId: evil-1", append(good, header)...)
	}
	add("an Originate without a context", false, channel, "Exten: 1", "Priority: 1")
	add("an Originate without an extension, context or application", false, channel)
	add("an Originate with an empty application and an evil context", false, channel, "Application:", "Context: internal", "Exten: 1", "Priority: 1")
	add("an Originate with a blank application and an evil one", false, channel, "Application: \t", "Application: Set", "Data: GLOBAL(EVIL)=1", "Context: from-crm", "Exten: 1", "Priority: 1")
	add("an Originate with an application and an evil context", false, channel, "Application: Playback", "Data: x", "Context: internal", "Exten: 1", "Priority: 1")
	channel = "Channel: Local/w@phones"
	for i, lines := range [][]string{
		{channel}, {channel, "Application:"}, {channel, "Application: \t", "Application: Playback"}, {channel, "Data: x"}, {channel, "Priority: 1"}, {channel, "Exten: s", "Priority: 1"},
		{channel, "Context: default", "Exten: s", "Priority: 1"}, {channel, "Application: Set", "Data: GLOBAL(EVIL)=1"}, {channel, "Application: Playback", "Variable: GLOBAL(EVIL)=smuggled"},
		{channel, "Application: Playback", "Variable: FILE(" + c.inside + "/comma,CALLERID(name)=x"}, {channel, "Application: Playback", "Variable: FILE(" + c.inside + "/bar|CALLERID(name)=x"},
		{channel, "Application: Playback", "Variable: FILE(\"" + c.inside + "/quote),CALLERID(name)=x"},
	} {
		all = append(all, bypass{
			name: fmt.Sprintf("an Originate of who may play only: %q", lines), user: "apps", proof: i == 0 || strings.Contains(fmt.Sprint(lines), "/comma"),
			raw: action(append([]string{"Action: Originate", "Async: true"}, lines...)...),
		})
	}
	add("a synchronous Originate", true, "Channel: Local/1@from-crm", "Async: false", "Context: internal", "Exten: 1", "Priority: 1")
	return all
}

// others are the other actions, those that are allowed in part and those that are not.
func (c *canary) others() (all []bypass) {
	add := func(proof bool, lines ...string) {
		all = append(all, bypass{name: fmt.Sprintf("%.100q", lines), proof: proof, raw: action(lines...)})
	}
	for _, command := range []string{
		"core show channels\r\nCommand: dialplan set global EVIL 1", "core show channels;dialplan set global EVIL 1", "queue show sales-1 ; dialplan set global EVIL 1", "queue show sales-1\tsupport", "queue show \"support\"", "queue show support", "queue show", "queue show ",
		"queue show  support", "queue  show support", "QUEUE SHOW support", "queue sho support", "queue show sales-1 support", "queue show \\support", "queue show *", "queue show \tsupport", "queue show sales-1\\ support",
		"!touch " + c.inside + "/bang", "core show channels !touch " + c.inside + "/bang", "queue show !touch " + c.inside + "/bang", "queue add member PJSIP/666 to sales-1", "database put evil x 1", "channel originate Local/1@internal application NoOp",
		"dialplan  set\tglobal EVIL 1", "\"dialplan\" set global EVIL 1", "d\\ialplan set global EVIL 1", "dialplan eval function GLOBAL(SECRET)", "core show channels `touch " + c.inside + "/tick`", "core show channels | touch " + c.inside + "/pipe", "channel request hangup all",
		"core show global SECRET", "dialplan show globals", "core stop now", "core restart now", "module reload", "?", "queue show " + strings.Repeat("x", 80) + " support", "",
	} {
		add(command == "queue show support" || command == "database put evil x 1" || strings.HasPrefix(command, "queue add") || strings.HasPrefix(command, "channel originate"), "Action: Command", "Command: "+command)
	}
	for _, name := range []string{
		"SECRET", "CRM_A,SECRET", "GLOBAL(SECRET)", "CRM_${SECRET}", "${SECRET}", "EVAL(${SECRET})", "SHELL(echo " + hush + ")", "CRM_A\r\nVariable: SECRET", "\"SECRET\"", "SECRET:0", "CRM_A:0}${SECRET", "IMPORT(" + c.victim + ",PRIVATE)", "DB(evil/y)", "secret", "CRM_A)SECRET",
	} {
		add(name == "GLOBAL(SECRET)" || name == "EVAL(${SECRET})", "Action: Getvar", "Variable: "+name)
		add(false, "Action: Getvar", "Channel: "+c.own, "Variable: "+name)
		add(false, "Action: Status", "Variables: "+name)
		add(false, "Action: Status", "Channel: "+c.victim, "Variables: CRM_A,"+name)
	}
	add(true, "Action: Getvar", "Channel: "+c.victim, "Variable: PRIVATE")
	add(true, "Action: Status", "Variables: PRIVATE")
	add(false, "Action: Status", "AllVariables: true")
	add(false, "Action: Status", "Variables: CRM_A", "allvariables: yes")
	for _, name := range []string{
		"EVIL", "GLOBAL(EVIL)", "CRM_A,EVIL", "CRM_A=1,EVIL", "__EVIL", "CRM_A(EVIL)", "ＣRM_A", "FILE(" + c.inside + "/setvar)", "DB(evil/x)", "SHELL(touch " + c.inside + "/y)", "CRM_A\r\nVariable: EVIL", "CRM_A ", "CRM_${EVIL}", "ARRAY(EVIL,CRM_A)",
	} {
		add(name == "GLOBAL(EVIL)", "Action: Setvar", "Variable: "+name, "Value: smuggled")
	}
	add(false, "Action: Setvar", "Variable: CRM_A", "Value: 1", "Variable : EVIL", "Channels: x")
	for _, more := range []string{
		"ExtraContext: internal", "ExtraChannel: " + c.victim, "ExtraChannel: " + c.victim + "\r\nExtraContext: internal\r\nExtraExten: 1\r\nExtraPriority: 1", "context: internal", "Context : internal", "Priority: 2",
	} {
		add(false, "Action: Redirect", "Channel: "+c.own, "Exten: w", "Priority: 1", "Context: from-crm", more)
	}
	for _, queue := range []string{
		"support", "SUPPORT", "sales-1,support", "sales-1&support", "sales-1|support", "sales-", "sales", "xsales-1", "sales-1 ", "sales-*", "sales-1\r\nQueue: support", "*", "",
	} {
		add(queue == "support", "Action: QueueAdd", "Queue: "+queue, "Interface: PJSIP/201")
		add(false, "Action: QueuePause", "Queue: "+queue, "Interface: PJSIP/299", "Paused: true")
		add(false, "Action: QueueRemove", "Queue: "+queue, "Interface: PJSIP/299")
		add(false, "Action: QueuePenalty", "Queue: "+queue, "Interface: PJSIP/299", "Penalty: 7")
	}
	add(true, "Action: QueuePause", "Interface: PJSIP/299", "Paused: true")
	add(false, "Action: QueuePenalty", "Interface: PJSIP/299", "Penalty: 7")
	for _, device := range []string{"Local/1@internal", "PJSIP/20", "PJSIP/2000", "PJSIP/666", "PJSIP/2/x", "PJSIP/20&", "pjsip/200", "Local/1@from-crm", "PJSIP/200,PJSIP/666", "PJSIP/200/sip:x@127.0.0.1", "SIP/200", ""} {
		add(device == "Local/1@internal", "Action: QueueAdd", "Queue: sales-1", "Interface: "+device)
	}
	add(false, "Action: QueueAdd", "Queue: sales-1", "Interface: PJSIP/200", "StateInterface: PJSIP/666")
	for _, name := range []string{"QueueStatus", "QueueSummary", "QueueReload", "QueueRule", "QueueReset", "QueueLog", "queuereset", "QueueMemberRingInUse", "QueueChangePriorityCaller", "QueueWithdrawCaller"} {
		add(name == "QueueStatus", "Action: "+name)
		add(false, "Action: "+name, "Queue: support", "Event: x", "Interface: PJSIP/299", "Caller: "+c.victim)
	}
	for _, channel := range []string{c.victim, "/.*/", "/Local/", "/" + "Local.*internal" + "/", "/^" + c.own, c.own + "\r\nChannel: " + c.victim, c.own + "&" + c.victim, "Local/w@internal-*;1", "*", "Local/w@from-crm-x;1/", "", "/x|.*/", "Local/1@internal/w@from-crm-0;1"} {
		add(false, "Action: Hangup", "Channel: "+channel)
	}
	add(true, "Action: Hangup", "Channel: /internal/")
	for _, file := range []string{"manager.conf", "./manager.conf", "../etc/manager.conf", "indications.conf/../manager.conf", "/etc/asterisk/manager.conf", "indications.conf\x00", "indications.conf ", "manager.conf\x00indications.conf", "*.conf", "indications.conf\r\nFilename: manager.conf", "extensions.conf", "INDICATIONS.CONF"} {
		add(file == "./manager.conf", "Action: GetConfig", "Filename: "+file)
		add(false, "Action: GetConfigJSON", "Filename: "+file)
	}
	add(false, "Action: GetConfig", "Filename: indications.conf", "Category: us", "Filter: x")
	for _, lines := range []string{
		"UserEvent: Boss", "UserEvent: CRMx\r\nUserEvent: Boss", "UserEvent: CRM x\r\nBoss: yes", "UserEvent: CRMx\r\nBoss: yes", "UserEvent: CRMx\r\nBoss", "UserEvent: CRMx\r\n Boss: yes", "UserEvent: CRMx\r\nNote : x\r\nBoss:yes", "userevent:Boss", "UserEvent: CRMx\rBoss: yes",
	} {
		add(lines == "UserEvent: CRMx\r\nBoss: yes", "Action: UserEvent", lines)
	}
	for _, lines := range [][]string{
		{"DBPut", "Family: evil", "Key: x", "Val: 1"}, {"CreateConfig", "Filename: " + "evil.conf"}, {"MixMonitor", "Channel: " + c.victim, "File: " + c.inside + "/m.wav"},
		{"UpdateConfig", "SrcFilename: queues.conf", "DstFilename: queues.conf", "Action-000000: NewCat", "Cat-000000: evil"}, {"ModuleLoad", "LoadType: unload", "Module: app_queue.so"}, {"DialplanExtensionAdd", "Context: from-crm", "Extension: 666", "Priority: 1", "Application: System"},
		{"AGI", "Channel: " + c.victim, "Command: EXEC System x"}, {"Atxfer", "Channel: " + c.victim, "Exten: 1", "Context: internal"}, {"BlindTransfer", "Channel: " + c.victim, "Exten: 1", "Context: internal"}, {"Bridge", "Channel1: " + c.own, "Channel2: " + c.victim},
		{"Park", "Channel: " + c.victim}, {"PlayDTMF", "Channel: " + c.victim, "Digit: 1"}, {"SendText", "Channel: " + c.victim, "Message: x"}, {"AbsoluteTimeout", "Channel: " + c.victim, "Timeout: 1"}, {"LocalOptimizeAway", "Channel: " + c.victim}, {"CoreShowChannels"}, {"Reload"}, {"LoggerRotate"},
		{"MuteAudio", "Channel: " + c.victim, "Direction: all", "State: on"}, {"PJSIPNotify", "Endpoint: alice", "Variable: Event=x"}, {"MessageSend", "To: pjsip:alice", "Body: x"}, {"DBDelTree", "Family: evil"}, {"PJSIPHangup", "Channel: /.*/", "Cause: 16"}, {"ControlPlayback", "Channel: " + c.victim, "Control: stop"},
		{"ProxyKick", "Session: 1"}, {"ProxyReload"}, {"ProxyStatus"}, {"Originate\u200b", "Channel: Local/1@internal"}, {"Origi\x00nate"}, {"Setvar ", "Variable: EVIL", "Value: 1"}, {"*"}, {"Originate, Setvar", "Variable: EVIL", "Value: 1"},
	} {
		add(lines[0] == "DBPut", append([]string{"Action: " + lines[0]}, lines[1:]...)...)
	}
	return all
}

// framing are messages that two readers may part in two ways, and actions about the
// login.
func (c *canary) framing() (all []bypass) {
	add := func(name, raw string) { all = append(all, bypass{name: name, raw: raw}) }
	evil := "Action: Setvar\r\nVariable: EVIL\r\nValue: 1"
	add("an evil action behind a bare line feed", "Action: Ping\n\n"+evil+"\n\n")
	add("an evil action behind a NUL", "Action: Ping\r\n\x00\r\n"+evil+"\r\n\r\n")
	add("an evil action behind a carriage return", "Action: Ping\r\r"+evil+"\r\n\r\n")
	add("an evil action behind a lone carriage return", "Action: Getvar\r\nVariable: CRM_A\r\n\r\r\n"+evil+"\r\n\r\n")
	add("an evil action behind an empty one", "Action:\r\n"+evil+"\r\n\r\n")
	add("an evil action before a good one", evil+"\r\nAction: Ping\r\n\r\n")
	add("an evil action behind a good one", "Action: Getvar\r\n"+evil+"\r\n\r\n")
	add("an evil action in a value", "Action: Setvar\r\nVariable: CRM_A\r\nValue: x\r"+evil+"\r\n\r\n")
	add("an evil action in an ActionID", "Action: Ping\r\nActionID: x\r\r\n"+evil+"\r\n\r\n")
	add("an evil action behind a line that fills the buffer", "X: "+strings.Repeat("x", 1020)+"\r\n"+evil+"\r\n\r\n")
	add("an evil action behind a line that fills the buffer but for one", "X: "+strings.Repeat("x", 1019)+"\r\n"+evil+"\r\n\r\n")
	add("an evil action in the tail of a long line", strings.Repeat("x", 1023)+evil+"\r\n\r\n")
	add("an evil action behind 128 headers", "Action: Ping\r\n"+strings.Repeat("X: y\r\n", 127)+evil+"\r\n\r\n")
	add("an action that grows beyond the limit by what is set", "Action: Originate\r\nChannel: Local/1@from-crm\r\nContext: internal\r\n"+strings.Repeat("Async: true\r\n", 124)+"\r\n")
	add("an evil action that says Goodbye", evil+"\r\nActionID: x\r\n\r\nAction: Logoff\r\n\r\n")
	add("many evil actions at once", strings.Repeat(evil+"\r\n\r\n", 50))
	login := "Action: Login\r\nUsername: crm\r\nSecret: pw\r\nEvents: off\r\n\r\n"
	fresh := func(name, raw string, proof bool) {
		all = append(all, bypass{name: name, raw: raw, fresh: true, proof: proof})
	}
	fresh("an evil action right behind the login", login+evil+"\r\n\r\n", true)
	fresh("an evil action before the login", evil+"\r\n\r\n"+login, false)
	fresh("an evil action in the login", "Action: Login\r\nUsername: crm\r\nSecret: pw\r\n"+evil+"\r\n\r\n", false)
	fresh("an evil action behind two logins", login+login+evil+"\r\n\r\n", false)
	fresh("an evil action behind the login of another", login+"Action: Login\r\nUsername: direct\r\nSecret: direct-secret\r\n\r\n"+evil+"\r\n\r\n", false)
	fresh("an evil action behind the login of the proxy's own user", "Action: Login\r\nUsername: proxy\r\nSecret: upstream-secret\r\n\r\n"+evil+"\r\n\r\n", false)
	fresh("an evil action behind a challenge", "Action: Challenge\r\nAuthType: MD5\r\n\r\n"+login+evil+"\r\n\r\n", false)
	fresh("an evil action behind a login in capitals", "ACTION: LOGIN\r\nUSERNAME: CRM\r\nSECRET: pw\r\nEVENTS: off\r\n\r\n"+evil+"\r\n\r\n", false)
	return all
}

// allowed is what the user may do.
func (c *canary) allowed() []allowed {
	return []allowed{
		{[]string{"Action: Originate", "Async: true", "Channel: Local/1@from-crm", "Context: from-crm", "Exten: 1", "Priority: 1", "Timeout: 5000", "Variable: CRM_A=\"1\",CRM_B=2"}, "Event: OriginateResponse\r\nPrivilege: call,all\r\nResponse: Success"},
		{[]string{"Action: Originate", "Async: true", "Channel: Local/1@from-crm", "Context: from-crm", "Exten: 1", "Priority: 1", "CallerID: 666"}, "CallerIDNum: 100"},
		{[]string{"Action: Originate", "Async: true", "Channel: Local/1@from-crm", "Application: Playback", "Data: beep"}, "Application: Playback"},
		{[]string{"Action: Redirect", "Channel: " + c.own, "Context: from-crm", "Exten: w", "Priority: 1"}, "Redirect successful"},
		{[]string{"Action: QueueAdd", "Queue: sales-1", "Interface: PJSIP/222", "Penalty: 1"}, "Event: QueueMemberAdded"},
		{[]string{"Action: QueueRemove", "Queue: sales-1", "Interface: PJSIP/222"}, "Event: QueueMemberRemoved"},
		{[]string{"Action: Command", "Command: core show channels"}, "active channel"},
		{[]string{"Action: Command", "Command: queue show sales-1"}, "sales-1 has"},
		{[]string{"Action: Setvar", "Variable: CRM_A", "Value: kept"}, "Variable Set"},
		{[]string{"Action: Getvar", "Variable: CRM_A"}, "Value: kept"},
		{[]string{"Action: Status", "Channel: " + c.own, "Variables: CRM_A,CRM_B"}, "Event: StatusComplete"},
		{[]string{"Action: GetConfig", "Filename: indications.conf"}, "United States"},
		{[]string{"Action: UserEvent", "UserEvent: CRMx", "Note: x"}, "UserEvent: CRMx"},
		{[]string{"Action: Hangup", "Channel: " + c.over}, "Channel Hungup"},
	}
}
