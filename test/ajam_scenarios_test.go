//go:build unix

package test

import (
	"strings"
)

const (
	webLogin   = "action=login&username=full&secret=pw"
	webNoEvent = webLogin + "&events=off"
)

// loggedIn is a scenario of a user with all rights and without events.
func loggedIn(name string, steps ...request) webScenario {
	return webScenario{name: name, user: "full", steps: append([]request{webGet(webNoEvent)}, steps...)}
}

// webAs is one of another user.
func webAs(user, name string, steps ...request) webScenario {
	return webScenario{name: name, user: user, steps: append([]request{webGet("action=login&username=" + user + "&secret=pw&events=off")}, steps...)}
}

// webScenarios are all but those of Digest.
func webScenarios() []webScenario {
	all := []webScenario{
		{name: "no session", steps: []request{webGet("action=Ping&actionid=1")}},
		{name: "login by GET", steps: []request{webGet(webNoEvent), webGet("action=Ping&actionid=2")}},
		{name: "login by POST", steps: []request{webPost(webNoEvent), webPost("action=Ping&actionid=2")}},
		{name: "login by HEAD", steps: []request{webHead(webNoEvent), webHead("action=Ping"), webGet("action=Ping")}},
		{name: "login with an ActionID", steps: []request{webGet(webNoEvent + "&actionid=%3c'%22%26%3e")}},
		{name: "login with events", steps: []request{webGet(webLogin)}},
		{name: "login with events on", steps: []request{webGet(webLogin + "&events=on"), webGet("action=Ping")}},
		{name: "login with some events", steps: []request{webGet(webLogin + "&events=call,user")}},
		{name: "wrong secret", steps: []request{webGet("action=login&username=full&secret=bad&actionid=1"), webGet("action=Ping")}},
		{name: "unknown user", steps: []request{webGet("action=login&username=nosuch&secret=pw")}},
		{name: "no user", steps: []request{webGet("action=login")}},
		{name: "no secret", steps: []request{webGet("action=login&username=full")}},
		{name: "denied by the ACL", steps: []request{webGet("action=login&username=denied&secret=pw")}},
		{name: "user of another case", steps: []request{webGet("action=login&username=FULL&secret=pw&events=off"), webGet("action=Ping")}},
		{name: "login twice", steps: []request{webGet(webNoEvent), webGet(webNoEvent), webGet("action=login&username=full&secret=bad")}},
		{name: "challenge", steps: []request{webGet("action=challenge&authtype=md5"), webGet("action=login&authtype=md5&username=full&key=KEY(pw)&events=off"), webGet("action=Ping")}},
		{name: "challenge, wrong key", steps: []request{webGet("action=challenge&authtype=MD5"), webGet("action=login&authtype=md5&username=full&key=KEY(bad)")}},
		{name: "challenge twice", steps: []request{webGet("action=challenge&authtype=md5"), webGet("action=challenge&authtype=md5&actionid=2")}},
		{name: "challenge of another type", steps: []request{webGet("action=challenge&authtype=sha")}},
		{name: "key without challenge", steps: []request{webGet("action=login&authtype=md5&username=full&key=0123")}},
		{name: "logoff", steps: []request{webGet(webNoEvent), webGet("action=logoff&actionid=x"), webGet("action=Ping")}},
		{name: "logoff without login", steps: []request{webGet("action=logoff&actionid=x"), webGet("action=Ping")}},
		{name: "one login only", steps: []request{webGet("action=login&username=once&secret=pw"), {query: "action=login&username=once&secret=pw", cookie: "none"}}, alone: true},

		loggedIn("ActionID with markup", webGet(webForm("action=Ping", "actionid=<b a='1' c=\"2\">&amp;</b>"))),
		loggedIn("ActionID in UTF-8", webGet(webForm("action=Ping", "actionid=é世\U0001F600"))),
		loggedIn("ActionID in Latin-1", webGet("action=Ping&actionid=%e9%ff")),
		loggedIn("ActionID with control characters", webGet("action=Ping&actionid=a%01%1b%7fb")),
		loggedIn("ActionID with a tab", webGet("action=Ping&actionid=a%09b%20")),
		loggedIn("ActionID of blanks", webGet("action=Ping&actionid=+++")),
		loggedIn("ActionID encoded", webGet("action=Ping&actionid=a+b%20c%2Bd%26e%3D%25")),
		loggedIn("ActionID of a long line", webGet("action=Ping&actionid="+strings.Repeat("x", 3000)), webPost("action=Ping&actionid="+strings.Repeat("y", 20000))),
		loggedIn("no value", webGet("action=Ping&actionid"), webGet("action=Ping&actionid="), webGet("action"), webGet("action=")),
		loggedIn("more signs", webGet("action=Ping&actionid=a=b"), webGet("action=Ping;actionid=x"), webGet("action=Ping&actionid=a?b"), webGet("action=Ping&&actionid=1&")),
		loggedIn("repeated", webGet("actionid=1&actionid=2&action=Ping"), webGet("action=Ping&action=nosuch")),
		loggedIn("repeated, empty first", webGet("action=&action=Ping&actionid=&actionid=2")),
		loggedIn("bad names", webGet("action%3a=Ping"), webGet("+action=Ping"), webGet("action+=Ping"), webGet("=Ping")),
		loggedIn("bad escapes", webGet("action=Ping%zz"), webGet("action=Ping&actionid=%"), webGet("action=Ping&actionid=%%41")),
		loggedIn("half an escape", webGet("action=Ping&actionid=a%4zb")),
		loggedIn("names of any case", webGet("ACTION=pInG&AcTiOnId=1")),
		loggedIn("no action", webGet("actionid=9"), webGet(""), webGet("foo=bar&actionid=%3c9%3e")),
		loggedIn("unknown action", webGet("action=nosuch%3cb%3e&actionid=1"), webGet("action=Pin+g"), webGet("action=%e9")),
		loggedIn("128 and more parameters", webGet("action=Ping"+strings.Repeat("&a=b", 126)+"&actionid=128"), webGet("action=Ping"+strings.Repeat("&a=b", 127)+"&actionid=129")),

		loggedIn("POST ignores the query", request{method: "POST", query: "action=Ping", body: "actionid=1"}, request{query: "action=nosuch", body: "action=Ping"}),
		loggedIn("POST of another type", webPost("action=Ping", "Content-Type: text/plain"), webPost("action=Ping", "Content-Type: multipart/form-data; boundary=x"), webPost("action=Ping", "Content-Type: -")),
		loggedIn("POST with a charset", webPost("action=Ping&actionid=1", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8"), webPost("action=Ping", "content-type: Application/X-WWW-Form-URLEncoded")),
		loggedIn("POST of nothing", request{method: "POST"}),
		loggedIn("POST in chunks", webPost("a\r\naction=Pin\r\n3\r\ng&a\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
		loggedIn("POST of too much", webPost("action=Ping&actionid="+strings.Repeat("x", 41000))),
		loggedIn("POST of much", webPost("action=Ping&actionid=1&a="+strings.Repeat("x", 40000))),
		loggedIn("other methods", request{method: "PUT"}, request{method: "OPTIONS"}, request{method: "DELETE", query: "action=Ping"}, request{method: "PATCH"}, request{method: "get", query: "action=Ping"}),
		loggedIn("other paths", request{path: "/nosuch"}, request{path: "/"}, webGet("action=Ping"), request{path: "/rawman/x"}, request{path: "/rawmanx"}, request{path: "//rawman"}, request{path: "/httpstatus/x"}),
		loggedIn("a slash more", request{path: "/rawman/", query: "action=Ping"}, request{path: "/mxml/", query: "action=Ping"}, request{path: "/mxml//", query: "action=Ping"}),
		loggedIn("a path of another case", request{path: "/RawMan", query: "action=Ping"}, request{path: "/MXML", query: "action=Ping"}),
		loggedIn("an encoded path", request{path: "/raw%6dan", query: "action=Ping"}),
		loggedIn("a line too long", webGet("action=Ping&actionid="+strings.Repeat("x", 4096))),
		loggedIn("a header too long", webGet("action=Ping", "X-Long: "+strings.Repeat("x", 4096))),
		loggedIn("many headers", webGet("action=Ping", strings.Split(strings.TrimSuffix(strings.Repeat("X-A: b\n", 90), "\n"), "\n")...)),
		loggedIn("too many headers", webGet("action=Ping", strings.Split(strings.TrimSuffix(strings.Repeat("X-A: b\n", 120), "\n"), "\n")...)),
		loggedIn("to be closed", webGet("action=Ping", "Connection: close")),
		{name: "a bad length", steps: []request{webPost("action=Ping", "Content-Length: x"), webPost("action=Ping", "Content-Length: -1")}},
		{name: "another coding", steps: []request{webPost("action=Ping", "Transfer-Encoding: gzip")}},
		{name: "HTTP of nobody", steps: []request{{raw: "GET {uri}?action=Ping HTTP/1.1\r\n\r\n"}, {raw: "GET {uri}?action=Ping\r\n\r\n"}, {raw: "GET {uri}?action=Pi\x01ng HTTP/1.1\r\nHost: x\r\n\r\n"}}},
		{name: "HTTP/1.0", steps: []request{{raw: "GET {uri}?action=Ping HTTP/1.0\r\n\r\n"}, {raw: "GET {uri}?action=Ping HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"}}},

		loggedIn("cookie without quotes", request{query: "action=Ping", cookie: "Cookie: mansession_id={id}"}),
		loggedIn("cookie of another case", request{query: "action=Ping", cookie: `COOKIE: Mansession_ID="{id}"`}),
		loggedIn("cookie among others", request{query: "action=Ping", cookie: `Cookie: a=b; mansession_id="{id}"; d=e`}, request{query: "action=Ping", cookie: `Cookie: a=b;mansession_id={id};d=e`}),
		loggedIn("two headers of cookies", request{query: "action=Ping", cookie: "Cookie: other=1\r\nCookie: mansession_id=\"{id}\""}, request{query: "action=Ping", cookie: "Cookie: mansession_id=\"{id}\"\r\nCookie: other=1"}),
		loggedIn("cookie in vain", request{query: "action=Ping", cookie: "none"}, request{query: "action=Ping", cookie: "Cookie: mansession_id="}),
		{name: "a made-up cookie", steps: []request{{query: "action=Ping", cookie: `Cookie: mansession_id="deadbeef"`}, {query: webNoEvent, cookie: `Cookie: mansession_id="0123456789abcdef0123456789abcdef"`}, webGet("action=Ping")}},
		{name: "a cookie that is none", steps: []request{{query: "action=Ping", cookie: `Cookie: mansession_id="x'<>"`}, {query: "action=Ping", cookie: `Cookie: ; = ;;"`}}},

		webAs("limited", "WaitEvent without events", webGet("action=waitevent&timeout=0&actionid=w"), webGet("action=WaitEvent&timeout=1")),
		events("WaitEvent of no number", webGet("action=waitevent&timeout=0x1"), webGet("action=waitevent&timeout=1x")),
		events("WaitEvent of one", webGet(sayOwn), webGet("action=waitevent&timeout=5&actionid=w")),
		events("WaitEvent of some", webGet(sayOwn+"&n=1"), webGet(sayOwn+"&n=2&%3c'%3e=%3c'%3e&n=2"), settled("action=waitevent&timeout=5"), webGet("action=waitevent&timeout=0")),
		events("WaitEvent that waits", request{query: "action=waitevent&timeout=8", beside: true}, webGet(sayOwn)),
		events("a newer WaitEvent", request{query: "action=waitevent&timeout=8", beside: true}, webGet("action=waitevent&timeout=2&actionid=2")),
		events("an action beside WaitEvent", request{query: "action=waitevent&timeout=2", beside: true}, webGet("action=Ping&actionid=2")),
		events("other actions show no events", webGet(sayOwn), webGet("action=Ping"), webGet("action=waitevent&timeout=5")),
		events("Events off", webGet("action=events&eventmask=off"), webGet("action=events&eventmask=nosuch"), webGet("action=events&eventmask=call&actionid=e")),
		events("Filter", webGet("action=filter&operation=add&filter=Key:+yes"), webGet(sayOwn+"&Key=no"), webGet("action=userevent&userevent=Other&Key=yes&own={own}"), settled("action=waitevent&timeout=5")),
		events("logoff beside WaitEvent", request{query: "action=waitevent&timeout=2", beside: true}, webGet("action=logoff")),

		loggedIn("Command", webGet("action=command&command=core+show+version"), webGet("action=command&command=core+show+version&actionid=c"), webGet("action=command&command=nosuch"), webGet("action=command")),
		loggedIn("Command with a long output", webGet("action=command&command=core+show+applications")),
		loggedIn("GetConfig", webGet("action=getconfig&filename=queues.conf"), webGet("action=getconfig&filename=indications.conf&category=zz"), webGet("action=getconfig&filename=nosuch.conf"), webGet("action=getconfig")),
		loggedIn("GetConfigJSON", webGet("action=getconfigjson&filename=queues.conf")),
		loggedIn("ListCategories", webGet("action=listcategories&filename=pjsip.conf")),
		loggedIn("queues", webGet("action=queuesummary&actionid=1"), webGet("action=queuestatus&queue=support"), webGet("action=queues"), webGet("action=queuerule")),
		loggedIn("lists", webGet("action=coreshowchannels&actionid=%3c1%3e"), webGet("action=pjsipshowendpoints"), webGet("action=pjsipshowauths"), webGet("action=parkedcalls"), webGet("action=bridgelist"), webGet("action=agents")),
		loggedIn("states", webGet("action=devicestatelist"), webGet("action=extensionstate&exten=echo&context=default"), webGet("action=mailboxcount&mailbox=100@default"), webGet("action=mailboxstatus&mailbox=100@default")),
		loggedIn("the settings", webGet("action=coresettings")),
		loggedIn("variables", webGet("action=getvar&variable=NONE"), webGet("action=setvar&variable=A{own}&value=%3c'%22%3e"), webGet("action=getvar&variable=A{own}"), webGet("action=setvar"), webGet("action=getvar&channel=nosuch&variable=x")),
		loggedIn("the database", webGet("action=dbput&family={own}&key=k&val=%3c'%22%26%3e"), webGet("action=dbget&family={own}&key=k"), webGet("action=dbdel&family={own}&key=k"), webGet("action=dbget&family={own}&key=k")),
		loggedIn("calls that are not", webGet("action=hangup&channel=nosuch"), webGet("action=redirect&channel=nosuch&exten=1&context=default&priority=1"), webGet("action=originate&channel=Local"), webGet("action=originate"), webGet("action=status&channel=nosuch")),
		loggedIn("modules", webGet("action=modulecheck&module=app_queue"), webGet("action=modulecheck&module=nosuch")),
		loggedIn("the dialplan", webGet("action=showdialplan&context=default"), webGet("action=showdialplan&context=nosuch")),
		loggedIn("UserEvent", webGet("action=userevent&userevent=x&a=b"), webGet("action=userevent")),
		loggedIn("ajaxdest and ajaxobjtype", webGet("action=Ping&ajaxdest=my.dest:1-_&ajaxobjtype=ob_j.1-"), webGet("action=Ping&AJAXDEST=one&ajaxdest=two&ajaxdest="), webGet("action=queuesummary&ajaxdest=q")),
		loggedIn("ajaxdest that is none", webGet("action=Ping&ajaxdest=a%27b%3cc"), webGet("action=Ping&ajaxobjtype=ob%20j")),
		loggedIn("smuggled lines", webGet("action=Ping&actionid=x%0d%0aAction:%20Hangup"), webPost("action=userevent&userevent=x&a=%0aInjected:%20y"), webGet("action=Ping%0d&actionid=1")),
		loggedIn("NUL", webGet("action=Ping&actionid=nul%00x"), webGet("action=Ping%00&actionid=1")),

		webAs("limited", "not allowed", webGet("action=command&command=core+show+version&actionid=1"), webGet("action=originate&channel=Local/echo@default&application=wait&data=1"), webGet("action=coreshowchannels"), webGet("action=reload")),
		webAs("limited", "ListCommands of few rights", webGet("action=waitevent&timeout=0")),
		webAs("mute", "no rights", webGet("action=command&command=core+show+version"), webGet("action=Ping"), webGet("action=waitevent&timeout=0"), webGet("action=events&eventmask=on")),
	}
	return all
}

// settled is a request made when the events of those before are there. Behind the proxy they
// come by another connection than the answers.
func settled(query string) request { return request{query: query, settled: true} }

// sayOwn raises an event that only the playing's own session looks for.
const sayOwn = "action=userevent&userevent=Said&playing={own}"

// events is a scenario of a user who sees user events, those of the playing only. What the
// PBX has queued for him before is taken away first: it would end Asterisk's WaitEvent, shown
// or not.
func events(name string, steps ...request) webScenario {
	return webScenario{
		name:  name,
		user:  "speaker",
		steps: append([]request{webGet("action=login&username=speaker&secret=pw&events=off"), webGet("action=filter&operation=add&filter=Playing:+{own}"), webGet("action=events&eventmask=user"), webGet("action=waitevent&timeout=0")}, steps...),
		alone: true,
	}
}
