//go:build unix

package test

import (
	"fmt"
	"strings"
)

// framing is about lines, and what makes an action of them.
func framing() []scenario {
	long := strings.Repeat
	return []scenario{
		raw("before login", action("Action: Ping", "ActionID: 1")+action("Action: Nosuch")+action("Action: ListCommands")+goodbye),
		raw("nothing at all").watched(),
		raw("nothing after the login", logIn("full")).watched(),
		raw("no blank line", logIn("full")+"Action: Ping\r\nActionID: 1\r\n").watched(),
		raw("no line's end", logIn("full")+"Action: Ping\r\n\r").watched(),
		raw("half a line", "Action: Pi").hungUp(),
		raw("half an action", logIn("full")+"Action: Ping\r\n").hungUp(),
		raw("end after an action", logIn("full")+action("Action: Ping", "ActionID: 1")+action("Action: CoreSettings", "ActionID: 2")+action("Action: PJSIPShowEndpoints", "ActionID: 3")).hungUp(),
		raw("end before the login", action("Action: Challenge", "AuthType: SHA")).hungUp(),
		raw("actions after Logoff", logIn("full")+goodbye+action("Action: Ping", "ActionID: late")),
		raw("garbage after Logoff", logIn("full")+goodbye+strings.Repeat("x", 300)),
		raw("actions after Logoff later", logIn("full")+goodbye, action("Action: Ping", "ActionID: late")),
		raw("binary garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").hungUp(),
		raw("HTTP", "GET / HTTP/1.1\r\nHost: pbx\r\n\r\n").hungUp(),
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
	}
}

// quirks are made: lines about as long as the longest, headers about as many as fit, and
// the bytes that mean something wherever they may stand.
func quirks() []scenario {
	var all []scenario
	add := func(name, text string) {
		// What a line too long or a lost blank line makes of the goodbye is part of it.
		all = append(all, raw(name, logIn("full")+text+action("Action: Ping", "ActionID: next")+goodbye).hungUp())
	}
	for _, end := range []struct{ name, bytes string }{{"CRLF", "\r\n"}, {"LF", "\n"}} {
		for n := 1021; n <= 1026; n++ {
			for _, header := range []string{"X: ", "ActionID: ", "Action: ", "Variable: ", ""} {
				line := header + strings.Repeat("v", n-len(header))
				add(fmt.Sprintf("%q of %d bytes with %s, first", header, n, end.name), strings.Join([]string{line, "Action: Getvar", "ActionID: 1", "Variable: NONE", "", ""}, end.bytes))
				add(fmt.Sprintf("%q of %d bytes with %s, last", header, n, end.name), strings.Join([]string{"Action: Getvar", "ActionID: 1", "Variable: NONE", line, "", ""}, end.bytes))
			}
		}
		for n := 126; n <= 130; n++ {
			filler := strings.Repeat("H: x"+end.bytes, n-2)
			add(fmt.Sprintf("%d headers with %s, ActionID first", n, end.name), "ActionID: 1"+end.bytes+"Action: Ping"+end.bytes+filler+end.bytes)
			add(fmt.Sprintf("%d headers with %s, ActionID last", n, end.name), "Action: Ping"+end.bytes+filler+"ActionID: 1"+end.bytes+end.bytes)
			add(fmt.Sprintf("%d headers with %s, Action last", n, end.name), "ActionID: 1"+end.bytes+filler+"Action: Ping"+end.bytes+end.bytes)
			add(fmt.Sprintf("%d headers with %s, for the PBX", n, end.name), "Action: Getvar"+end.bytes+filler+"Variable: NONE"+end.bytes+end.bytes)
		}
	}
	for _, length := range []int{2046, 2047, 3069, 4096, 100_000} {
		add(fmt.Sprintf("a line of %d bytes", length), action("Action: Ping", "X: "+strings.Repeat("x", length-3), "ActionID: 1"))
	}
	text := action("Action: Getvar", "ActionID: a1", "Variable: NONE")
	for _, b := range []struct{ name, bytes string }{
		{"NUL", "\x00"}, {"CR", "\r"}, {"LF", "\n"}, {"blank", " "}, {"tab", "\t"}, {"colon", ":"}, {"control byte", "\x01"}, {"byte above 127", "\xe9"},
	} {
		for at := 0; at <= len(text); at++ {
			add(fmt.Sprintf("%s at byte %d", b.name, at), text[:at]+b.bytes+text[at:])
		}
	}
	for _, headers := range [][]string{
		{"Action: Getvar", "Action: Ping", "Variable: NONE"}, {"Action: Nosuch", "Action: Ping"}, {"Action:", "Action:  ", "Action: Ping"},
		{"Action: Getvar", "Variable:", "Variable: NONE"}, {"Action: Getvar", "Variable: NONE", "Variable: OTHER"}, {"Action: Getvar", "variable: NONE", "VARIABLE: OTHER"},
		{"Action: Getvar", "Variable : NONE", "Variable: OTHER"}, {"Action: Getvar", " Variable: NONE", "Variable: OTHER"}, {"Action: Getvar", "Variable:NONE"},
		{"Action: Getvar", "Variable: \t NONE"}, {"Action: Getvar", "Variable: NONE "}, {"Action: Getvar", "Variable: NO NE"}, {"Action: Getvar", "Variables: NONE"},
		{"ActionID: 1", "ActionID: 2", "Action: Ping"}, {"ActionID:", "ActionID: 2", "Action: Ping"}, {"ActionID:", "Action: Ping"}, {"ActionID:   ", "Action: Ping"},
		{"ActionID: 1", "ActionID: 2", "Action: Getvar", "Variable: NONE"}, {"ActionID:", "ActionID: 2", "Action: Getvar", "Variable: NONE"}, {"ActionID: 1 ", "Action: Getvar", "Variable: NONE"},
		{"ActionID: amiproxy-1", "Action: Getvar", "Variable: NONE"}, {"ActionID: amiproxy-0123456789abcdef-1", "Action: Getvar", "Variable: NONE"},
		{"Action: PJSIPShowEndpoint", "Endpoint: nosuch", "Endpoint: alice"}, {"Action: PJSIPShowEndpoint", "Endpoint: alice", "Endpoint: nosuch"},
		{"Action"}, {":"}, {": Ping"}, {"Action: :"}, {"Action: Ping:"}, {"Action: Action: Ping"}, {"Response: Success"}, {"Event: X"}, {"ActionID: 1"}, {"Server: pbx"},
	} {
		add(fmt.Sprintf("headers %q", headers), action(headers...))
	}
	return all
}
