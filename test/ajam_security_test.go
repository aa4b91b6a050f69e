//go:build unix

package test

import "strings"

// webSecurityScripts are what a client does by HTTP, and what Asterisk raises of it.
var webSecurityScripts = []struct {
	webScenario
	uri, events string
	// login is what ours raises before that. Digest is no login to Asterisk, which says
	// nothing of it, nor when it was; these events are compared by their names.
	login string
}{
	{webScripted("login", "action=login&username=CallER&secret=pw", "action=Ping"), "/rawman", "SuccessfulAuth", ""},
	{webScripted("login by MD5", "action=challenge&authtype=md5", "action=login&username=caller&authtype=md5&key=KEY(pw)"), "/mxml", "SuccessfulAuth", ""},
	{webScripted("wrong secret", "action=login&username=caller&secret=pW"), "/rawman", "InvalidPassword", ""},
	{webScripted("no secret", "action=login&username=caller"), "/manager", "InvalidPassword", ""},
	{webScripted("unknown user", "action=login&username=nobody&secret=pw"), "/mxml", "InvalidAccountID", ""},
	{webScripted("strange user", "action=login&username=%01a%09b\"c\\+&secret=pw"), "/rawman", "InvalidAccountID", ""},
	{webScripted("no user", "action=login"), "/rawman", "", ""},
	{webScripted("wrong address", "action=login&username=far&secret=pw"), "/rawman", "FailedACL", ""},
	{webScripted("wrong key", "action=challenge&authtype=md5", "action=login&username=caller&authtype=md5&key=00"), "/rawman", "ChallengeResponseFailed", ""},
	{webScripted("no challenge", "action=login&username=caller&authtype=md5&key=00"), "/rawman", "", ""},
	{webScripted("twice", "action=login&username=ONCE&secret=pw"), "/rawman", "SessionLimit", ""},
	{webScripted("actions before the login", "action=Ping", "action="+strings.Repeat("x", 300), "action=originate&channel=Local/1", "no=action", "", "action=challenge", "action=waitevent"),
		"/rawman", "RequestNotAllowed RequestNotAllowed RequestNotAllowed RequestBadFormat RequestBadFormat RequestNotAllowed", ""},
	{webScripted("actions", "action=login&username=caller&secret=pw&events=off", "action=originate", "action=Ping", "action=nosuch", "no=action", "action=filter&operation=add&filter=x",
		"action=login&username=x", "action=getvar&variable=SHELL(x)", "action=command&command=x", "action=logoff"),
		"/mxml", "SuccessfulAuth RequestNotAllowed RequestBadFormat RequestBadFormat RequestNotAllowed RequestNotAllowed", ""},

	{digestedAs("caller", "actions", webGet("action=Ping"), webGet("action=Ping"), webGet("action=command&command=x"), webGet("action=nosuch")),
		"/arawman", "RequestNotAllowed RequestBadFormat", "SuccessfulAuth SuccessfulAuth "}, // the first request and its session are gone
	{digestedAs("caller", "wrong secret", shows(func(d *webDigest) { d.secret = "pW" })), "/amxml", "", "InvalidPassword"},
	{digestedAs("far", "wrong address", webGet("action=Ping")), "/arawman", "", "FailedACL"},
	{digestedAs("once", "twice", webGet("action=Ping")), "/arawman", "", "SessionLimit"},
}

// webScripted is a scenario of requests with queries.
func webScripted(name string, queries ...string) webScenario {
	s := webScenario{name: name}
	for _, q := range queries {
		s.steps = append(s.steps, webGet(q))
	}
	return s
}
