//go:build unix

package test

import "fmt"

// witness logs in the other connection of a scenario, by which play knows that an event was
// raised.
var witness = action("Action: Login", "Username: speaker", "Secret: pw")

// say makes an event. Those of other playings are left out of what came.
func say(name, key string) string {
	return action("Action: UserEvent", "UserEvent: "+name, "Key: "+key, "Playing: {own}")
}

// masks are about which events come. speaker may read user events and send some.
func masks() []scenario {
	said := say("Said", "x")
	var all []scenario
	for _, mask := range []string{"", "on", "off", "user", "call,user", "u,call", "USER", "user, call", "64", "65", "0", "-1", "1", "all", "none", "nonsense", "t", "2147483647", "2147483648", "4294967360", "true", "NO", "f",
		",call", "call,,agent", "user,", "USER,user", " on", "on ", "0x40", "hookresponse", "99999999999999999999"} {
		all = append(all,
			raw("Events: "+mask+" at login", action("Action: Login", "Username: speaker", "Secret: pw", "Events: "+mask), said, pause, goodbye),
			raw("EventMask: "+mask, logIn("speaker")+action("Action: Events", "EventMask: "+mask)+said, pause, goodbye))
	}
	all = append(all,
		raw("no mask at login", action("Action: Login", "Username: speaker", "Secret: pw"), said, pause, goodbye),
		raw("masks one after the other", logIn("speaker")+action("Action: Events", "EventMask: on")+said, pause, action("Action: Events", "EventMask: off")+said, pause, action("Action: Events", "EventMask: bad,")+said, pause, goodbye),
		raw("strange user events", logIn("speaker")+action("Action: Events", "EventMask: on")+
			action("Action: UserEvent", "ActionID: 1", "UserEvent: A", "X: y ", "no colon", " blank: first", "Event: Y", "Privilege: z", "SuppressEvents: no", "UserEvent: B", "action: x", "Empty:", "Playing: {own}"),
			pause, action("Action: UserEvent", "ActionID: 2", "Playing: {own}"), pause, action("Action: UserEvent", "UserEvent:", "ActionID: 3", "X:1", "X: 2", "Playing: {own}"), pause, goodbye),
		raw("two ActionIDs of a user event", logIn("speaker")+action("Action: Events", "EventMask: on")+action("Action: UserEvent", "ActionID: 1", "UserEvent: A", "ActionID: 2", "Playing: {own}"), pause, goodbye),
		raw("Server of a user event", logIn("speaker")+action("Action: Events", "EventMask: on")+action("Action: UserEvent", "UserEvent: A", "Server: pbx", "Playing: {own}"), pause, goodbye),
		raw("SuppressEvents", logIn("speaker")+action("Action: Events", "EventMask: on")+action("Action: UserEvent", "UserEvent: A", "SuppressEvents: yes", "Playing: {own}"), pause, goodbye),
	)
	for i := range all {
		all[i].before = witness
	}
	return all
}

// filters are about which of the events that a user may read come. An event is awaited
// before the next is sent: Asterisk raises it in its own time.
func filters() []scenario {
	events := func(s scenario, user string, before ...string) scenario {
		login := action("Action: Login", "Username: "+user, "Secret: pw")
		for _, a := range before {
			login += a
		}
		s.before = witness
		s.writes = []string{login + say("Said", "open"), pause, say("Said", "secret"), pause, say("More", "open"), pause, say("Other", "open"), pause, goodbye}
		return s
	}
	all := []scenario{
		events(raw("eventfilter"), "filtered"),
		events(raw("eventfilter, advanced"), "advanced").on(22),
		events(raw("eventfilter and Filter"), "filtered", action("Action: Filter", "Operation: Add", "Filter: x")),
	}
	for _, expression := range []string{"Said", "!Said", "^Event: UserEvent", "said", "UserEvent: (Said|More)", "Key: .*e[nt]", "!Key: [^o]", "Said$", "open\\r", "Privilege: user,all.*Key: open", "!.", "a{2}|M", "[[:upper:]]aid", " Said", "\\bSaid\\b",
		"(", "[", "*", "a{2,1}", "\\", ")", "x**", "!(x)\\1", "!x{1001}"} {
		all = append(all, events(raw("Filter: "+expression), "filterer", action("Action: Filter", "ActionID: f", "Operation: Add", "Filter: "+expression)))
	}
	for i, f := range [][2]string{
		{"name(UserEvent)", ""}, {"name(Nosuch)", ""}, {"action(exclude),name(UserEvent)", ""}, {"action(include) name(UserEvent) header(Key) method(exact)", "open"}, {"header(Key),method(contains)", "pe"},
		{"header(Key),method(starts_with)", "sec"}, {"header(Key),method(ends_with)", "ret"}, {"header(Key),method(regex)", "^o"}, {"header(Key)", ""}, {"header(Nosuch)", ""}, {"header(Key:),method(exact)", "open"}, {"header(key),method(exact)", "open"},
		{"name(UserEvent),method(contains)", "Said"}, {"method(regex)", "Said"}, {"method(exact)", "Said"}, {"header(Key),method(exact)", "!open"}, {"action(include),header(Key),method(exact)", "!open"}, {"name(UserEvent)", "!"},
		{"", "Said"}, {"nonsense", "Said"}, {"name(UserEvent", ""}, {"name(UserEvent),method(nosuch)", "x"}, {"action(nosuch),name(UserEvent)", ""}, {"name(UserEvent),method(none)", "x"}, {"method(none)", ""}, {"method(regex)", ""}, {"header(Key),method(regex)", "("}, {"Name(UserEvent)", ""}, {"name()", ""},
	} {
		s := events(raw(fmt.Sprintf("MatchCriteria %d: %s = %s", i, f[0], f[1])), "filterer", action("Action: Filter", "ActionID: f", "Operation: Add", "Filter: "+f[1], "MatchCriteria: "+f[0]))
		if f[0] != "header(Nosuch)" { // Enough to show that 16 knows nothing of it.
			s.only = 22
		}
		all = append(all, s)
	}
	return append(all,
		events(raw("two filters"), "filterer", action("Action: Filter", "Operation: Add", "Filter: Said"), action("Action: Filter", "operation: ADD", "filter: More")),
		events(raw("one filter in, one out"), "filterer", action("Action: Filter", "Operation: Add", "Filter: UserEvent: [SM]"), action("Action: Filter", "Operation: Add", "Filter: !secret")),
		events(raw("a bad filter and a good one"), "filterer", action("Action: Filter", "Operation: Add", "Filter: ("), action("Action: Filter", "Operation: Add", "Filter: Said")),
		events(raw("Operation: Remove"), "filterer", action("Action: Filter", "Operation: Remove", "Filter: Said")),
	)
}

// waits are about WaitEvent. The security event of the login, which ends one in Asterisk
// although this session may not see it, is let pass first.
func waits() []scenario {
	wait := func(name, user string, writes ...string) scenario {
		return scenario{
			name: "WaitEvent " + name, before: witness, timed: true, alone: true,
			writes: append([]string{action("Action: Login", "Username: "+user, "Secret: pw"), pause}, writes...),
		}
	}
	timeout := func(t string) string { return action("Action: WaitEvent", "Timeout: "+t, "ActionID: w") }
	said := other + say("Said", "x")
	return []scenario{
		wait("for nothing", "speaker", timeout("1")+goodbye),
		wait("for no time", "speaker", timeout("0")+goodbye),
		wait("for an event", "speaker", timeout("20"), pause, said, pause, goodbye),
		wait("without an ActionID", "speaker", action("Action: WaitEvent", "Timeout: 20"), pause, said, pause, goodbye),
		wait("for one event of two", "speaker", timeout("20")+timeout("20"), pause, said, pause, said, pause, goodbye),
		wait("until an action", "speaker", timeout("20"), pause, action("Action: Ping", "ActionID: p")+goodbye),
		wait("until a byte", "speaker", timeout("20"), pause, "A", pause, "ction: Ping\r\n\r\n"+goodbye),
		wait("for ever, until a byte", "speaker", action("Action: WaitEvent", "ActionID: w"), pause, "\r\n"+goodbye),
		wait("with a wrong Timeout, until a byte", "speaker", timeout("x"), pause, "\r\n"+goodbye),
		wait("with a negative Timeout, until a byte", "speaker", timeout("-5"), pause, "\r\n"+goodbye),
		wait("without rights", "mute", timeout("1")+goodbye),
		// The table of differences says how much later these end: Asterisk has to be in
		// the WaitEvent when the event is raised.
		wait("for what one may not see", "waiter", timeout("2")+goodbye, pause, pause, pause, pause, said),
		wait("for what is filtered", "filterer", action("Action: Filter", "Operation: Add", "Filter: !Said")+timeout("2")+goodbye, pause, pause, pause, pause, said),
	}
}
