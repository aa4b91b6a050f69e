//go:build unix

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// focused is an expression for what has the focus: its name, or its text.
const focused = "(e => e.name || e.getAttribute('aria-label') || e.textContent)(document.activeElement)"

// TestBrowserKeyboard does without a mouse what the page is for.
func TestBrowserKeyboard(t *testing.T) {
	b := startBrowser(t)
	pbxs := starts(t, asterisk.Options{Major: 22, Name: "twentytwo", Extensions: keep})
	p := b.open(t, serveLive(t, pbxs...)+"/static/live.html")
	keys := func(keys ...string) { p.run(chromedp.KeyEvent(strings.Join(keys, ""))) }
	onFocus := func(name string) {
		t.Helper()
		p.until("the focus on "+name, fmt.Sprintf("%s.startsWith(%q)", focused, name))
		if name != "No channels" && p.eval("getComputedStyle(document.activeElement).outlineStyle") != "solid" {
			t.Errorf("%s has the focus and does not show it", name)
		}
	}
	// tabTo goes on until something has the focus.
	tabTo := func(name string) {
		t.Helper()
		for range 30 {
			keys(kb.Tab)
			if strings.HasPrefix(p.eval(focused), name) {
				onFocus(name)
				return
			}
		}
		t.Fatalf("no way by Tab to %s", name)
	}

	onFocus("username")
	keys("operator", kb.Tab, "pw", kb.Enter)
	onFocus("No channels")
	p.until("the form for a call", "document.getElementById('originate').checkVisibility()")
	tabTo("channel")
	keys("Local/100@keep/n", kb.Tab, "200", kb.Tab, "away", kb.Enter) // Tab selects what is there
	call := row("200@away", "Up")
	p.until("the call", call+" !== undefined")

	tabTo("Transfer")
	keys(kb.Enter)
	onFocus("exten")
	p.shot("keyboard")
	keys(kb.Escape)
	p.until("the dialog to be closed", "!document.getElementById('transfer').open")
	onFocus("Transfer")
	for p.eval(call+".contains(document.activeElement)") != "true" {
		tabTo("Transfer")
	}
	keys(kb.Enter, "300", kb.Tab, "keep", kb.Enter)
	moved := row("300@keep", "Up")
	p.until("the call at its new place", moved+" !== undefined")

	tabTo("Hang up")
	for p.eval(moved+".contains(document.activeElement)") != "true" {
		tabTo("Hang up")
	}
	keys(kb.Enter)
	onFocus("Cancel")
	keys(kb.Enter)
	onFocus("Hang up")
	keys(kb.Enter)
	onFocus("Cancel")
	keys(kb.Tab)
	onFocus("Hang up")
	keys(kb.Enter)
	p.until("the call to go", moved+" === undefined")
	p.says("count", "No channels")
	onFocus("No channels")
	for range 30 {
		if keys(kb.Tab); p.eval(focused) == "Log off" {
			break
		}
	}
	keys(kb.Enter)
	p.says("notice", "Logged off")
	onFocus("username")
}
