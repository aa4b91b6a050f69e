//go:build unix

package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// A browser is a Chromium, whose tabs have cookies of their own each.
type browser struct {
	ctx context.Context
}

// inBrowserRoot runs a program in a Debian root with a /proc, which is gone with it.
const inBrowserRoot = `mount -t proc proc "$0/proc" && exec chroot "$0" "$@"`

// startBrowser starts the browser that test/provision installed, until the test ends.
func startBrowser(tb testing.TB) *browser {
	tb.Helper()
	root := filepath.Join(filepath.Dir(asterisk.Root(tb, 22)), "browser")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/chromium-headless-shell")); err != nil {
		missing := tb.Skipf
		if os.Getenv("AMIPROXY_REQUIRE_ASTERISK") == "1" {
			missing = tb.Fatalf
		}
		missing("Chromium is not installed in %s; run `make test`, or `test/provision` once", root)
	}
	profile, err := os.MkdirTemp(filepath.Join(root, "tmp"), "profile-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(profile) })
	cmd := exec.Command("unshare", "--mount", "sh", "-c", inBrowserRoot, root, "/usr/bin/chromium-headless-shell",
		"--no-sandbox", // It is root's, and sees nothing but these tests.
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--user-data-dir=/tmp/"+filepath.Base(profile), "--remote-debugging-port=0", "about:blank")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		var said []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, url, found := strings.Cut(lines.Text(), "DevTools listening on "); found {
				address <- url
				io.Copy(io.Discard, out)
				return
			}
			said = append(said, lines.Text())
		}
		address <- strings.Join(said, "\n")
	}()
	tb.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		cmd.Wait()
	})
	url := <-address
	if !strings.HasPrefix(url, "ws://") {
		tb.Fatalf("Chromium did not start:\n%s", url)
	}
	ctx, stop := remote.NewAllocator(context.Background(), url, remote.NoModifyURL)
	tb.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	tb.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("speaking to Chromium: %v", err)
	}
	return &browser{ctx}
}

// A page is one tab of a browser.
type page struct {
	testing.TB
	ctx context.Context
}

// open shows a page in a new tab, with cookies of its own.
func (b *browser) open(tb testing.TB, url string) *page {
	tb.Helper()
	return openIn(tb, b.ctx, url, chromedp.WithNewBrowserContext())
}

// tab shows a page in another tab, with the same cookies.
func (p *page) tab(url string) *page {
	p.Helper()
	return openIn(p.TB, p.ctx, url)
}

// openIn shows a page in a new tab. Whatever its scripts throw fails the test.
func openIn(tb testing.TB, parent context.Context, url string, options ...chromedp.ContextOption) *page {
	tb.Helper()
	ctx, stop := chromedp.NewContext(parent, append(options, chromedp.WithListener(func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			text := e.ExceptionDetails.Text
			if thrown := e.ExceptionDetails.Exception; thrown != nil {
				text += " " + thrown.Description
			}
			tb.Errorf("%s: %s", url, text)
		}
	}))...)
	tb.Cleanup(stop)
	p := &page{tb, ctx}
	if err := chromedp.Do(ctx); err != nil { // The tab lives as long as this context.
		tb.Fatalf("opening a tab: %v", err)
	}
	p.run(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(url))
	return p
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, stop := context.WithTimeout(p.ctx, patience)
	defer stop()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatal(err)
	}
}

// eval evaluates an expression to a text.
func (p *page) eval(js string) string {
	p.Helper()
	return get(p, chromedp.Evaluate[string]("String("+js+")"))
}

// get runs an action that returns something.
func get[T any](p *page, action chromedp.Action[T]) T {
	p.Helper()
	ctx, stop := context.WithTimeout(p.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.Fatal(err)
	}
	return v
}

// until waits until an expression is true.
func (p *page) until(what, js string) {
	p.Helper()
	for limit := time.Now().Add(patience); p.eval(js) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			p.shot("failed-" + strings.ReplaceAll(what, " ", "-"))
			p.Fatalf("waited for %s; the page shows\n%s", what, p.eval("document.body.innerText"))
		}
	}
}

// says waits for a text in an element.
func (p *page) says(id, text string) {
	p.Helper()
	p.until(text, fmt.Sprintf("document.getElementById(%q).textContent.includes(%q)", id, text))
}

// fill fills in the fields of a form and submits it by its button.
func (p *page) fill(form string, fields ...string) {
	p.Helper()
	for i := 0; i < len(fields); i += 2 {
		field := chromedp.CSS(fmt.Sprintf("%s [name=%s]", form, fields[i]))
		p.run(chromedp.SetValue(field, fields[i+1]))
	}
	p.run(chromedp.Click(chromedp.CSS(form + " .first")))
}

// row is an expression for the row whose text has all of these.
func row(texts ...string) string {
	js := "[...document.querySelectorAll('#rows tr')].find(r => "
	for i, text := range texts {
		if i > 0 {
			js += " && "
		}
		js += fmt.Sprintf("r.textContent.includes(%q)", text)
	}
	return js + ")"
}

// press presses a button of the row whose text has all of these.
func (p *page) press(button string, texts ...string) {
	p.Helper()
	p.until("a row with "+strings.Join(texts, ", "), row(texts...)+" !== undefined")
	p.eval(fmt.Sprintf("[...%s.querySelectorAll('button')].find(b => b.textContent === %q).click()", row(texts...), button))
}

// visibleButtons is an expression for the texts of all buttons that one can see.
const visibleButtons = "[...document.querySelectorAll('button')].filter(b => b.checkVisibility()).map(b => b.textContent).join(', ')"

func (p *page) buttons() string {
	p.Helper()
	return p.eval(visibleButtons)
}

// ask posts a form to rawman as a script of the page would, and returns the answer.
func (p *page) ask(form string) string {
	p.Helper()
	js := fmt.Sprintf("fetch('../rawman', {method: 'POST', body: new URLSearchParams(%q)}).then(r => r.text())", form)
	return get(p, chromedp.Evaluate[string](js, chromedp.EvalAwaitPromise))
}

// phone is how wide the screen of a small one is.
const phone = 360

// fits tells if something is wider than the screen of a phone.
func (p *page) fits() {
	p.Helper()
	p.run(chromedp.EmulateViewport(phone, 800))
	if wide := p.eval("[...document.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest('.spoken, thead') && e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80)).join('\\n')"); wide != "" {
		p.Errorf("wider than a phone:\n%s", wide)
	}
	p.run(chromedp.EmulateViewport(1280, 800))
}

// shot keeps pictures of the page: as wide as a desk's and as a phone's screen, light
// and dark.
func (p *page) shot(name string) {
	p.Helper()
	for _, width := range []int64{1280, phone} {
		for _, scheme := range []string{"light", "dark"} {
			p.picture(fmt.Sprintf("%s-%d-%s", name, width, scheme), width, 800, scheme)
		}
	}
}

// picture keeps a picture of the page in the folder that AMIPROXY_ARTEFACTS names, if it
// does.
func (p *page) picture(name string, width, height int64, scheme string) {
	p.Helper()
	dir := os.Getenv("AMIPROXY_ARTEFACTS")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.Fatal(err)
	}
	p.run(chromedp.EmulateViewport(width, height))
	get(p, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
	})
	if err := os.WriteFile(filepath.Join(dir, name+".png"), get(p, chromedp.CaptureScreenshot()), 0o644); err != nil {
		p.Fatal(err)
	}
	p.run(chromedp.EmulateViewport(1280, 800))
}

// channels returns how many channels the page says it shows.
func (p *page) channels() int {
	p.Helper()
	n, _ := strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(p.eval("document.getElementById('count').textContent")))
	return n
}
