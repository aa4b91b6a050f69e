//go:build unix

package test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestBrowserTabs: the tabs of a browser are one session. None of them acts as somebody
// else than it shows, or shows what that one may not do.
func TestBrowserTabs(t *testing.T) {
	b := startBrowser(t)
	pbxs := starts(t, asterisk.Options{Major: 22, Name: "twentytwo", Extensions: keep})
	page := serveLive(t, pbxs...) + "/static/live.html"
	const loginShown = "document.getElementById('login').checkVisibility() && !document.getElementById('live').checkVisibility()"
	// A tab may see that its session has ended before it hears of the other tab.
	const loggedOff = loginShown + " && /has logged off|session has ended/.test(document.getElementById('error').textContent)"

	one := b.open(t, page)
	one.until("the form to log in", loginShown)
	two := one.tab(page)
	two.until("the form to log in", loginShown)
	one.fill("#login", "username", "operator", "secret", "pw")
	one.says("user", "operator")
	two.says("error", "logged in as operator")
	one.fill("#originate", "channel", "Local/100@keep/n", "exten", "200", "context", "away")
	one.until("the call", row("100@keep", "Up")+" !== undefined && "+row("200@away", "Up")+" !== undefined")
	two.fill("#login", "username", "reader", "secret", "wrong")
	two.says("error", "Not logged in as reader: this browser has logged in as operator already")
	two.says("user", "operator")
	two.until("the call", row("200@away", "Up")+" !== undefined")
	one.run(chromedp.Click(chromedp.CSS("#refresh")))
	one.until("the call", row("200@away", "Up")+" !== undefined")

	two.run(chromedp.Click(chromedp.CSS("#logoff")))
	one.until("the form to log in", loggedOff)
	two.says("notice", "Logged off")
	two.fill("#login", "username", "reader", "secret", "pw")
	two.says("notice", "You may not ask")
	one.says("error", "logged in as reader")
	one.until("no calls to be shown", loginShown+" && document.querySelectorAll('#rows tr').length === 0")
	one.shot("tabs-other")
	one.run(chromedp.Reload())
	one.says("user", "reader")
	one.until("a reader's buttons only", visibleButtons+" === 'Log off, Refresh'")

	// A tab that was asleep has not been told.
	two.run(chromedp.Click(chromedp.CSS("#logoff")))
	one.until("the form to log in", loggedOff)
	one.fill("#login", "username", "operator", "secret", "pw")
	one.until("the call", row("200@away", "Up")+" !== undefined")
	one.eval("localStorage.setItem('amiproxy-login', '1 reader')")
	one.press("Hang up", "200@away")
	one.fill("#hangup")
	one.says("error", "logged in as reader")
	one.until("the form to log in", loginShown)
	one.eval("localStorage.removeItem('amiproxy-login')")
	if channels := one.ask("action=coreshowchannels"); strings.Count(channels, "ChannelStateDesc: Up") != 2 {
		t.Errorf("a tab acted as another user than it showed: %s", channels)
	}

	clerk := b.open(t, page) // who may hang up, and neither transfer nor originate
	clerk.fill("#login", "username", "clerk", "secret", "pw")
	clerk.until("a clerk's buttons", visibleButtons+" === 'Log off, Refresh, Hang up, Hang up'")
}
