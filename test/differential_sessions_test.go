//go:build unix

package test

import "strings"

// logins are about who is let in, and what is said to others.
func logins() []scenario {
	login := func(headers ...string) string { return action(append([]string{"Action: Login"}, headers...)...) }
	return []scenario{
		raw("wrong secret", login("ActionID: 1", "Username: full", "Secret: PW")),
		raw("no secret given", login("Username: full")),
		raw("unknown user", login("Username: nobody", "Secret: pw")),
		raw("no user", login()),
		raw("general is no user", login("Username: general", "Secret: pw")),
		raw("user without a secret", login("Username: nosecret", "Secret: ")),
		raw("user with an empty secret", login("Username: empty", "Events: off")+goodbye),
		raw("denied address", login("Username: denied", "Secret: pw")),
		raw("user in upper case", login("Username: FULL", "Secret: pw", "Events: off", "ActionID: 2")+goodbye),
		raw("another AuthType", login("Username: full", "Secret: pw", "AuthType: SHA", "Events: off")+goodbye),
		raw("logged in twice", logIn("full")+login("ActionID: 3", "Username: nobody", "Secret: x")+goodbye),
		raw("goodbye at once", action("Action: Logoff", "ActionID: bye")),
		{name: "login in use", before: logIn("once"), writes: []string{logIn("ONCE")}},
		{name: "challenge in use", before: logIn("single"), writes: []string{action("Action: Challenge", "AuthType: MD5", "Username: single")}},
		raw("challenges", action("Action: Challenge")+action("Action: Challenge", "AuthType: SHA1", "ActionID: 4")+action("Action: Challenge", "AuthType: md5", "ActionID: 5")+goodbye),
		raw("login by challenge", action("Action: Challenge", "AuthType: MD5"),
			login("AuthType: MD5", "Username: full", "Key: KEY(pw)", "Events: off")+action("Action: Challenge", "AuthType: MD5")+goodbye),
		raw("challenge and wrong key", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: full", "Key: KEY(PW)")),
		raw("key without a challenge", login("AuthType: MD5", "Username: full", "Key: d41d8cd98f00b204e9800998ecf8427e")),
		raw("challenge and plain secret", action("Action: Challenge", "AuthType: MD5")+login("AuthType: MD5", "Username: full", "Secret: pw")),
		raw("fully booted", login("Username: full", "Secret: pw", "Events: system,config", "ActionID: 6")+goodbye).byItself(),
		raw("unknown class at login", login("Username: full", "Secret: pw", "Events: nonsense")+goodbye),
		as("mute", "event masks", eventMasks()...),
		raw("empty user", login("Username:", "Secret: pw")),
		raw("empty user and secret", login("Username:", "Secret:")),
		raw("long user", login("Username: "+strings.Repeat("u", 300), "Secret: pw")),
		raw("long secret", login("Username: full", "Secret: "+strings.Repeat("s", 900))),
		raw("blank behind the user", login("Username: full ", "Secret: pw")),
		raw("blank behind the secret", login("Username: full", "Secret: pw ")),
		raw("blanks before both", login("Username:   full", "Secret:\tpw", "Events: off")+goodbye),
		raw("two users", login("Username: full", "Username: nobody", "Secret: pw", "Events: off")+goodbye),
		raw("two users, the other way", login("Username: nobody", "Username: full", "Secret: pw")),
		raw("two secrets", login("Username: full", "Secret: wrong", "Secret: pw")),
		raw("empty user first", login("Username:", "Username: full", "Secret: pw")),
		raw("odd user", login("Username: odd name!", "Secret: s p", "Events: off")+goodbye),
		raw("permitted address", login("Username: permitted", "Secret: pw", "Events: off")+goodbye),
		raw("denied and wrong secret", login("Username: denied", "Secret: wrong")),
		raw("empty secret and a wrong one", login("Username: empty", "Secret: x")),
		raw("empty secret by challenge", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: empty", "Key: KEY()", "Events: off")+goodbye),
		raw("no secret by challenge", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: nosecret", "Key: KEY((null))", "Events: off")+goodbye),
		raw("wrong secret, then more", login("Username: full", "Secret: wrong")+action("Action: Ping")+logIn("full")+goodbye),
		raw("refused actions, then login", action("Action: Ping", "ActionID: 1")+action("Action: Nosuch")+"\r\n"+logIn("full")+action("Action: Ping", "ActionID: 2")+goodbye),
		raw("every action before the login", action("Action: Events", "EventMask: on")+action("Action: Filter")+action("Action: WaitEvent")+action("Action: Originate")+action("Action: UserEvent")+goodbye),
		raw("login with line feeds", "Action: Login\nUsername: full\nSecret: pw\nEvents: off\n\n"+goodbye),
		raw("secret cut by NUL", login("Username: full", "Secret: pw\x00x", "Events: off")+goodbye),
		raw("user cut by NUL", login("Username: full\x00x", "Secret: pw", "Events: off")+goodbye),
		raw("login with too many headers", "Action: Login\r\nUsername: full\r\nSecret: pw\r\n"+strings.Repeat("X: y\r\n", 127)+"\r\n"+goodbye),
		raw("login with a long line", login("Username: full", "Secret: pw", "Events: off", "X: "+strings.Repeat("x", 2000))+goodbye),
		raw("AuthType in lower case", action("Action: Challenge", "AuthType: md5"), login("AuthType: md5", "Username: full", "Key: KEY(pw)", "Events: off")+goodbye),
		raw("key in upper case", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: full", "Key: 0123456789ABCDEF0123456789ABCDEF")),
		raw("no key", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: full")),
		raw("unknown user by challenge", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: nobody", "Key: KEY(pw)")),
		raw("denied by challenge", action("Action: Challenge", "AuthType: MD5"), login("AuthType: MD5", "Username: denied", "Key: KEY(pw)")),
		raw("challenge with a user", action("Action: Challenge", "AuthType: MD5", "Username: full", "ActionID: 1")+goodbye),
		raw("challenge with an unknown user", action("Action: Challenge", "AuthType: MD5", "Username: nobody")+goodbye),
		raw("challenge after the login", logIn("full")+action("Action: Challenge")+action("Action: Challenge", "AuthType: MD5", "Username: once")+goodbye),
		raw("plain secret after a challenge for MD5", action("Action: Challenge", "AuthType: MD5"), login("Username: full", "Secret: pw", "Key: x", "Events: off")+goodbye),
		{name: "login in use, wrong secret", before: logIn("alone"), writes: []string{login("Username: alone", "Secret: wrong", "ActionID: 1") + goodbye}},
		raw("mute user", logIn("mute")+action("Action: Ping", "ActionID: 1")+goodbye),
		raw("Logoff with headers", action("Action: Logoff", "ActionID: 1", "X: y", "ActionID: 2")),
		raw("Logoff in lower case", logIn("full")+action("action: logoff", "actionid: 1")),
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
