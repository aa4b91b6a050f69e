//go:build unix

package test

import (
	"fmt"
	"strings"
)

// rights are about users who may not do all.
func rights() []scenario {
	return []scenario{
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
		as("dialler", "Originate refused, and its ChannelId too long", action("Action: Originate", "Channel: Nosuch/x", "Application: System", "ChannelId: "+strings.Repeat("x", 150))),
		as("dialler", "Originate refused, and its Priority no label", action("Action: Originate", "Channel: Nosuch/x", "Application: System", "Context: standing", "Exten: hold", "Priority: nosuch")).on(22),
		as("agi", "Originate Queue with AGI and SHELL", action("Action: Originate", "Channel: Nosuch/x", "Application: Queue", "Data: a,,,,,script SHELL")).on(22),
		as("full", "files outside that are not there", action("Action: GetConfig", "Filename: ../nosuch.conf"), action("Action: ListCategories", "Filename: /nosuch/x.conf")).on(22),
		as("dialler", "Originate refused on 16", refusedOriginates()[:7]...).on(16),
		as("agi", "Originate Queue with AGI", action("Action: Originate", "Channel: Nosuch/x", "Application: Queue", "Data: a,,,,,script"), action("Action: Originate", "Channel: x", "Application: AGI")).on(22),
		as("limited", "ListCommands of limited", action("Action: ListCommands", "ActionID: 1")),
		as("mute", "ListCommands of mute", action("Action: ListCommands")),
		as("reporter", "ListCommands of reporter", action("Action: ListCommands")),
		as("full", "ListCommands", action("Action: ListCommands")),
		as("classes", "ListCommands of classes", action("Action: ListCommands")),
		as("last", "ListCommands of last", action("Action: ListCommands")),
		// A blank in a list of classes is part of a name to Asterisk: this user may call.
		as("blanks", "blanks in classes", action("Action: Atxfer"), action("Action: ModuleCheck")),
		as("permitted", "ListCommands of permitted", action("Action: ListCommands", "ActionID: 1", "ActionID: 2")),
	}
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

// answers are about single actions.
func answers() []scenario {
	return []scenario{
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
		as("full", "sixty actions at once", strings.Repeat(action("Action: Getvar", "Variable: NONE", "ActionID: 1")+action("Action: Ping", "ActionID: 1")+action("Action: QueueStatus", "Queue: support", "ActionID: 2")+action("Action: Nosuch")+
			action("Action: PJSIPShowEndpoint", "Endpoint: nosuch", "ActionID: 3")+action("Action: Events", "EventMask: off"), 10)),
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
		one("Action: SorceryMemoryCacheStale"), one("Action: UserEvent").byItself(), one("Action: UserEvent", "UserEvent: X", "Key: y").byItself(), one("Action: AGI", "Channel: nosuch"), one("Action: AOCMessage"),
		one("Action: BlindTransfer"), one("Action: ConfbridgeKick"), one("Action: PresenceState"), one("Action: LoggerRotate"), one("Action: Events"), one("Action: SuppressEvents", "SuppressEvents: yes"),
		one("Action: BridgeDestroy"), one("Action: BridgeDestroy", "BridgeUniqueid: nosuch"), one("Action: BridgeKick"), one("Action: BridgeTechnologySuspend"),
		one("Action: Filter"), one("Action: WaitEvent", "Timeout: 0"),
	}
}
