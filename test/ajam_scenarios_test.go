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
	return webScenario{name: name, steps: append([]request{get(webNoEvent)}, steps...)}
}

// webAs is one of another user.
func webAs(user, name string, steps ...request) webScenario {
	return webScenario{name: name, steps: append([]request{get("action=login&username=" + user + "&secret=pw&events=off")}, steps...)}
}

// webScenarios are all that are played by every URI with cookies.
func webScenarios() []webScenario {
	all := []webScenario{
		{name: "no session", steps: []request{get("action=Ping&actionid=1")}},
		{name: "login by GET", steps: []request{get(webNoEvent), get("action=Ping&actionid=2")}},
		{name: "login by POST", steps: []request{post(webNoEvent), post("action=Ping&actionid=2")}},
		{name: "login by HEAD", steps: []request{head(webNoEvent), head("action=Ping"), get("action=Ping")}},
		{name: "login with an ActionID", steps: []request{get(webNoEvent + "&actionid=%3c'%22%26%3e")}},
		{name: "login with events", steps: []request{get(webLogin)}},
		{name: "login with events on", steps: []request{get(webLogin + "&events=on"), get("action=Ping")}},
		{name: "login with some events", steps: []request{get(webLogin + "&events=call,user")}},
		{name: "wrong secret", steps: []request{get("action=login&username=full&secret=bad&actionid=1"), get("action=Ping")}},
		{name: "unknown user", steps: []request{get("action=login&username=nosuch&secret=pw")}},
		{name: "no user", steps: []request{get("action=login")}},
		{name: "no secret", steps: []request{get("action=login&username=full")}},
		{name: "denied by the ACL", steps: []request{get("action=login&username=denied&secret=pw")}},
		{name: "user of another case", steps: []request{get("action=login&username=FULL&secret=pw&events=off"), get("action=Ping")}},
		{name: "login twice", steps: []request{get(webNoEvent), get(webNoEvent), get("action=login&username=full&secret=bad")}},
		{name: "challenge", steps: []request{get("action=challenge&authtype=md5"), get("action=login&authtype=md5&username=full&key=KEY(pw)&events=off"), get("action=Ping")}},
		{name: "challenge, wrong key", steps: []request{get("action=challenge&authtype=MD5"), get("action=login&authtype=md5&username=full&key=KEY(bad)")}},
		{name: "challenge twice", steps: []request{get("action=challenge&authtype=md5"), get("action=challenge&authtype=md5&actionid=2")}},
		{name: "challenge of another type", steps: []request{get("action=challenge&authtype=sha")}},
		{name: "key without challenge", steps: []request{get("action=login&authtype=md5&username=full&key=0123")}},
		{name: "logoff", steps: []request{get(webNoEvent), get("action=logoff&actionid=x"), get("action=Ping")}},
		{name: "logoff without login", steps: []request{get("action=logoff&actionid=x"), get("action=Ping")}},
		{name: "one login only", steps: []request{get("action=login&username=once&secret=pw"), {query: "action=login&username=once&secret=pw", cookie: "none"}}, alone: true},

		loggedIn("ActionID with markup", get(webForm("action=Ping", "actionid=<b a='1' c=\"2\">&amp;</b>"))),
		loggedIn("ActionID in UTF-8", get(webForm("action=Ping", "actionid=é世\U0001F600"))),
		loggedIn("ActionID in Latin-1", get("action=Ping&actionid=%e9%ff")),
		loggedIn("ActionID with control characters", get("action=Ping&actionid=a%01%1b%7fb")),
		loggedIn("ActionID with a tab", get("action=Ping&actionid=a%09b%20")),
		loggedIn("ActionID of blanks", get("action=Ping&actionid=+++")),
		loggedIn("ActionID encoded", get("action=Ping&actionid=a+b%20c%2Bd%26e%3D%25")),
		loggedIn("ActionID of a long line", get("action=Ping&actionid="+strings.Repeat("x", 3000)), post("action=Ping&actionid="+strings.Repeat("y", 20000))),
		loggedIn("no value", get("action=Ping&actionid"), get("action=Ping&actionid="), get("action"), get("action=")),
		loggedIn("more signs", get("action=Ping&actionid=a=b"), get("action=Ping;actionid=x"), get("action=Ping&actionid=a?b"), get("action=Ping&&actionid=1&")),
		loggedIn("repeated", get("actionid=1&actionid=2&action=Ping"), get("action=Ping&action=nosuch")),
		loggedIn("repeated, empty first", get("action=&action=Ping&actionid=&actionid=2")),
		loggedIn("bad names", get("action%3a=Ping"), get("+action=Ping"), get("action+=Ping"), get("=Ping")),
		loggedIn("bad escapes", get("action=Ping%zz"), get("action=Ping&actionid=%"), get("action=Ping&actionid=%%41")),
		loggedIn("names of any case", get("ACTION=pInG&AcTiOnId=1")),
		loggedIn("no action", get("actionid=9"), get(""), get("foo=bar&actionid=%3c9%3e")),
		loggedIn("unknown action", get("action=nosuch%3cb%3e&actionid=1"), get("action=Pin+g"), get("action=%e9")),
		loggedIn("128 and more parameters", get("action=Ping"+strings.Repeat("&a=b", 126)+"&actionid=128"), get("action=Ping"+strings.Repeat("&a=b", 127)+"&actionid=129")),

		loggedIn("POST ignores the query", request{method: "POST", query: "action=Ping", body: "actionid=1"}, request{query: "action=nosuch", body: "action=Ping"}),
		loggedIn("POST of another type", post("action=Ping", "Content-Type: text/plain"), post("action=Ping", "Content-Type: multipart/form-data; boundary=x"), post("action=Ping", "Content-Type: -")),
		loggedIn("POST with a charset", post("action=Ping&actionid=1", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8"), post("action=Ping", "content-type: Application/X-WWW-Form-URLEncoded")),
		loggedIn("POST of nothing", request{method: "POST"}),
		loggedIn("POST in chunks", post("a\r\naction=Pin\r\n3\r\ng&a\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
		loggedIn("POST of too much", post("action=Ping&actionid="+strings.Repeat("x", 41000))),
		loggedIn("POST of much", post("action=Ping&actionid=1&a="+strings.Repeat("x", 40000))),
		loggedIn("other methods", request{method: "PUT"}, request{method: "OPTIONS"}, request{method: "DELETE", query: "action=Ping"}, request{method: "PATCH"}, request{method: "get", query: "action=Ping"}),
		loggedIn("other paths", request{path: "/nosuch"}, request{path: "/"}, get("action=Ping"), request{path: "/rawman/x"}, request{path: "/rawmanx"}, request{path: "//rawman"}, request{path: "/httpstatus/x"}),
		loggedIn("a slash more", request{path: "/rawman/", query: "action=Ping"}, request{path: "/mxml/", query: "action=Ping"}, request{path: "/mxml//", query: "action=Ping"}),
		loggedIn("a path of another case", request{path: "/RawMan", query: "action=Ping"}, request{path: "/MXML", query: "action=Ping"}),
		loggedIn("an encoded path", request{path: "/raw%6dan", query: "action=Ping"}),
		loggedIn("a line too long", get("action=Ping&actionid="+strings.Repeat("x", 4096))),
		loggedIn("a header too long", get("action=Ping", "X-Long: "+strings.Repeat("x", 4096))),
		loggedIn("many headers", get("action=Ping", strings.Split(strings.TrimSuffix(strings.Repeat("X-A: b\n", 90), "\n"), "\n")...)),
		loggedIn("too many headers", get("action=Ping", strings.Split(strings.TrimSuffix(strings.Repeat("X-A: b\n", 120), "\n"), "\n")...)),
		loggedIn("to be closed", get("action=Ping", "Connection: close")),
		{name: "a bad length", steps: []request{post("action=Ping", "Content-Length: x"), post("action=Ping", "Content-Length: -1")}},
		{name: "another coding", steps: []request{post("action=Ping", "Transfer-Encoding: gzip")}},
		{name: "HTTP/1.0", steps: []request{{raw: "GET {uri}?action=Ping HTTP/1.0\r\n\r\n"}, {raw: "GET {uri}?action=Ping HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"}}},

		loggedIn("cookie without quotes", request{query: "action=Ping", cookie: "Cookie: mansession_id={id}"}),
		loggedIn("cookie of another case", request{query: "action=Ping", cookie: `COOKIE: Mansession_ID="{id}"`}),
		loggedIn("cookie among others", request{query: "action=Ping", cookie: `Cookie: a=b; mansession_id="{id}"; d=e`}, request{query: "action=Ping", cookie: `Cookie: a=b;mansession_id={id};d=e`}),
		loggedIn("two headers of cookies", request{query: "action=Ping", cookie: "Cookie: other=1\r\nCookie: mansession_id=\"{id}\""}, request{query: "action=Ping", cookie: "Cookie: mansession_id=\"{id}\"\r\nCookie: other=1"}),
		loggedIn("cookie in vain", request{query: "action=Ping", cookie: "none"}, request{query: "action=Ping", cookie: "Cookie: mansession_id="}),
		{name: "a made-up cookie", steps: []request{{query: "action=Ping", cookie: `Cookie: mansession_id="deadbeef"`}, {query: webNoEvent, cookie: `Cookie: mansession_id="0123456789abcdef0123456789abcdef"`}, get("action=Ping")}},
		{name: "a cookie that is none", steps: []request{{query: "action=Ping", cookie: `Cookie: mansession_id="x'<>"`}, {query: "action=Ping", cookie: `Cookie: ; = ;;"`}}},

		webAs("limited", "WaitEvent without events", get("action=waitevent&timeout=0&actionid=w"), get("action=WaitEvent&timeout=1")),
		events("WaitEvent of no number", get("action=waitevent&timeout=0x1"), get("action=waitevent&timeout=1x")),
		events("WaitEvent of one", get(sayOwn), get("action=waitevent&timeout=5&actionid=w")),
		events("WaitEvent of some", get(sayOwn+"&n=1"), get(sayOwn+"&n=2&%3c'%3e=%3c'%3e&n=2"), settled("action=waitevent&timeout=5"), get("action=waitevent&timeout=0")),
		events("WaitEvent that waits", request{query: "action=waitevent&timeout=8", beside: true}, get(sayOwn)),
		events("a newer WaitEvent", request{query: "action=waitevent&timeout=8", beside: true}, get("action=waitevent&timeout=2&actionid=2")),
		events("an action beside WaitEvent", request{query: "action=waitevent&timeout=2", beside: true}, get("action=Ping&actionid=2")),
		events("other actions show no events", get(sayOwn), get("action=Ping"), get("action=waitevent&timeout=5")),
		events("Events off", get("action=events&eventmask=off"), get("action=events&eventmask=nosuch"), get("action=events&eventmask=call&actionid=e")),
		events("Filter", get("action=filter&operation=add&filter=Key:+yes"), get(sayOwn+"&Key=no"), get("action=userevent&userevent=Other&Key=yes&own={own}"), settled("action=waitevent&timeout=5")),
		events("logoff beside WaitEvent", request{query: "action=waitevent&timeout=2", beside: true}, get("action=logoff")),

		loggedIn("Command", get("action=command&command=core+show+version"), get("action=command&command=core+show+version&actionid=c"), get("action=command&command=nosuch"), get("action=command")),
		loggedIn("Command with a long output", get("action=command&command=core+show+applications")),
		loggedIn("GetConfig", get("action=getconfig&filename=queues.conf"), get("action=getconfig&filename=indications.conf&category=zz"), get("action=getconfig&filename=nosuch.conf"), get("action=getconfig")),
		loggedIn("GetConfigJSON", get("action=getconfigjson&filename=queues.conf")),
		loggedIn("ListCategories", get("action=listcategories&filename=pjsip.conf")),
		loggedIn("queues", get("action=queuesummary&actionid=1"), get("action=queuestatus&queue=support"), get("action=queues"), get("action=queuerule")),
		loggedIn("lists", get("action=coreshowchannels&actionid=%3c1%3e"), get("action=pjsipshowendpoints"), get("action=pjsipshowauths"), get("action=parkedcalls"), get("action=bridgelist"), get("action=agents")),
		loggedIn("states", get("action=devicestatelist"), get("action=extensionstate&exten=echo&context=default"), get("action=mailboxcount&mailbox=100@default"), get("action=mailboxstatus&mailbox=100@default")),
		loggedIn("the settings", get("action=coresettings")),
		loggedIn("variables", get("action=getvar&variable=NONE"), get("action=setvar&variable=A{own}&value=%3c'%22%3e"), get("action=getvar&variable=A{own}"), get("action=setvar"), get("action=getvar&channel=nosuch&variable=x")),
		loggedIn("the database", get("action=dbput&family={own}&key=k&val=%3c'%22%26%3e"), get("action=dbget&family={own}&key=k"), get("action=dbdel&family={own}&key=k"), get("action=dbget&family={own}&key=k")),
		loggedIn("calls that are not", get("action=hangup&channel=nosuch"), get("action=redirect&channel=nosuch&exten=1&context=default&priority=1"), get("action=originate&channel=Local"), get("action=originate"), get("action=status&channel=nosuch")),
		loggedIn("modules", get("action=modulecheck&module=app_queue"), get("action=modulecheck&module=nosuch")),
		loggedIn("the dialplan", get("action=showdialplan&context=default"), get("action=showdialplan&context=nosuch")),
		loggedIn("UserEvent", get("action=userevent&userevent=x&a=b"), get("action=userevent")),
		loggedIn("ajaxdest and ajaxobjtype", get("action=Ping&ajaxdest=my.dest:1-_&ajaxobjtype=ob_j.1-"), get("action=Ping&AJAXDEST=one&ajaxdest=two&ajaxdest="), get("action=queuesummary&ajaxdest=q")),
		loggedIn("ajaxdest that is none", get("action=Ping&ajaxdest=a%27b%3cc"), get("action=Ping&ajaxobjtype=ob%20j")),
		loggedIn("smuggled lines", get("action=Ping&actionid=x%0d%0aAction:%20Hangup"), post("action=userevent&userevent=x&a=%0aInjected:%20y"), get("action=Ping%0d&actionid=1")),
		loggedIn("NUL", get("action=Ping&actionid=nul%00x"), get("action=Ping%00&actionid=1")),

		webAs("limited", "not allowed", get("action=command&command=core+show+version&actionid=1"), get("action=originate&channel=Local/echo@default&application=wait&data=1"), get("action=coreshowchannels"), get("action=reload")),
		webAs("limited", "ListCommands of few rights", get("action=waitevent&timeout=0")),
		webAs("mute", "no rights", get("action=command&command=core+show+version"), get("action=Ping"), get("action=waitevent&timeout=0"), get("action=events&eventmask=on")),
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
		steps: append([]request{get("action=login&username=speaker&secret=pw&events=off"), get("action=filter&operation=add&filter=Playing:+{own}"), get("action=events&eventmask=user"), get("action=waitevent&timeout=0")}, steps...),
		alone: true,
	}
}
