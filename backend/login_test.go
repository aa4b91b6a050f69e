package backend

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// received are the actions of that name that the PBX got.
func (w *world) received(name string) (all []simpbx.Received) {
	for _, r := range w.pbx.Received() {
		if r.Name == name {
			all = append(all, r)
		}
	}
	return all
}

func TestLoginByMD5(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.start()
	events := 0
	for _, r := range w.received("Login") {
		if r.Get("AuthType") != "MD5" || len(r.Get("Key")) != 32 || strings.Contains(r.Text, secret) {
			t.Errorf("login by other means:\n%s", r.Text)
		}
		if r.Get("Events") == "on" {
			events++
		}
	}
	if events != 1 {
		t.Errorf("%d links with events, want 1", events)
	}
	if w.b.Version() != "11.0.0" {
		t.Errorf("version %q", w.b.Version())
	}
}

func TestLoginPlainWhereMD5IsRefused(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.raw("Challenge", "Response: Error|ActionID: $ID|Message: Must specify AuthType||")
	w.start()
	for _, r := range w.received("Login") {
		if r.Get("Secret") != secret || r.Get("Key") != "" {
			t.Errorf("login:\n%s", r.Text)
		}
	}
}

// A PBX that only seems to agree to MD5 does not get the secret in the clear.
func TestNoPlainLoginForStrangeChallenge(t *testing.T) {
	for _, answer := range []string{
		"Response: Success|ActionID: $ID||",
		"Response: Success|ActionID: $ID|Challenge: ||",
		"Response: Goodbye|ActionID: $ID|Challenge: 123||",
	} {
		w := newWorld(t, simpbx.Options{}, Options{})
		w.raw("Challenge", answer)
		w.run()
		w.await("a word in the log", func() bool { return w.logs.FilterMessage("no link").Len() > 0 })
		w.stop()
		if logins := w.received("Login"); logins != nil {
			t.Errorf("login:\n%s", logins[0].Text)
		}
		w.wantLog("no challenge in the answer")
	}
}

// A refused login is tried again after 30 s, by one link only, and its cause
// is in the log without the secret.
func TestLoginRefused(t *testing.T) {
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const wrong = "wrong-secret-4711"
			var dials []time.Time
			w := newBubble(t, simpbx.Options{}, Options{Username: "proxy", Secret: wrong})
			if plain {
				w.raw("Challenge", "Response: Error|ActionID: $ID||")
			}
			w.b.dial = func(ctx context.Context) (net.Conn, error) {
				dials = append(dials, time.Now())
				return w.pipe(ctx)
			}
			w.run()
			time.Sleep(40 * time.Second)
			synctest.Wait()
			if len(dials) != 2 {
				t.Fatalf("%d attempts in 40 s, want 2", len(dials))
			}
			// Asterisk takes a second to refuse.
			if d := dials[1].Sub(dials[0]); d < 30*time.Second || d > 32*time.Second {
				t.Errorf("second attempt after %v", d)
			}
			w.wantLog("warn", "no link", "refused: Authentication failed", "30")
			if n := w.logs.FilterMessage("no link").Len(); n != 1 {
				t.Errorf("said %d times", n)
			}
			w.secretFree(wrong)
			if w.b.Up() || w.told.all() != "" {
				t.Errorf("up, or told %q", w.told.all())
			}
			w.stop()
		})
	}
}

// secretFree fails if the log shows a secret, or what of it goes over the wire.
func (w *world) secretFree(secrets ...string) {
	w.t.Helper()
	for _, r := range w.received("Login") {
		secrets = append(secrets, r.Get("Key"))
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(w.log(), s) {
			w.t.Errorf("%q is in the log:\n%s", s, w.log())
		}
	}
}

func TestLogHasNoSecret(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	const challenge = "918273645"
	w.raw("Challenge", "Response: Success|ActionID: $ID|Challenge: "+challenge+"||")
	w.raw("Login", "Response: Success|ActionID: $ID|Challenge: "+challenge+"||Secret: "+secret+"||")
	// The script has let nobody in: what follows the login is refused.
	w.run()
	w.await("an attempt", func() bool { return w.logs.FilterMessage("no link").Len() > 0 })
	w.stop()
	w.secretFree(secret, challenge)
}

// The others wait until the first link is logged in.
func TestFirstLinkGoesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 6})
		var dials, early atomic.Int32
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			if dials.Add(1) > 1 && len(w.received("ListCommands")) == 0 {
				early.Add(1)
			}
			return w.pipe(ctx)
		}
		w.start()
		if dials.Load() != 6 || early.Load() != 0 {
			t.Errorf("%d dials, %d of them early", dials.Load(), early.Load())
		}
		w.stop()
	})
}

// A service that is no AMI, or does not go on, costs one connect timeout and
// is said once.
func TestNoAMI(t *testing.T) {
	hold := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, text)
			io.Copy(io.Discard, c)
			c.Close()
		}
	}
	tests := map[string]struct {
		serve func(net.Conn)
		says  string
		after time.Duration // of the first attempt
	}{
		"other service": {hold("220 mail.example ESMTP\r\n"), `greeting \"220 mail.example ESMTP\" is not Asterisk's`, 0},
		"no version":    {hold("Asterisk Call Manager/\r\n"), "is not Asterisk's", 0},
		"odd version":   {hold("Asterisk Call Manager/1 \x1b[2J\r\n"), "is not Asterisk's", 0},
		"long version":  {hold("Asterisk Call Manager/" + strings.Repeat("1", 1000) + "\r\n"), "is not Asterisk's", 0},
		"silent":        {hold(""), "no greeting: i/o timeout", 3 * time.Second},
		"closes":        {func(c net.Conn) { c.Close() }, "no greeting: EOF (authlimit", 0},
		"hangs":         {hold("Asterisk Call Manager/11.0.0\r\n"), "login to", 3 * time.Second},
		"endless line":  {func(c net.Conn) { pour(c, "x") }, "no greeting: ami: frame is longer than the limit", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBubble(t, simpbx.Options{}, Options{AnswerLimit: 1 << 20})
				w.dialTo(test.serve)
				start := time.Now()
				w.run()
				w.await("a word in the log", func() bool { return w.logs.FilterMessage("no link").Len() > 0 })
				if d := time.Since(start).Round(100 * time.Millisecond); d != test.after {
					t.Errorf("given up after %v, want %v", d, test.after)
				}
				if !strings.Contains(strings.ReplaceAll(w.log(), `"`, `\"`), test.says) {
					t.Errorf("log without %q:\n%s", test.says, w.log())
				}
				time.Sleep(time.Minute)
				if n := w.logs.FilterMessage("no link").Len(); n != 1 {
					t.Errorf("said %d times", n)
				}
				w.stop()
			})
		})
	}
}

// pour writes the same until the other end has gone.
func pour(c net.Conn, what string) {
	defer c.Close()
	block := []byte(strings.Repeat(what, 64<<10/len(what)))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// A PBX that is away at the start is found within 2 s of its coming, and is
// not hammered until then.
func TestPBXComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		var mu sync.Mutex
		var dials []time.Time
		away := true
		w.b.dial = func(ctx context.Context) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dials = append(dials, time.Now())
			if away {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			return w.pipe(ctx)
		}
		w.run()
		if s := w.b.NewStream(nil); s.Do(Request{Action: ami.NewAction("Action: Ping")}) != ErrDown {
			t.Error("a PBX that was never there takes an action")
		}
		time.Sleep(time.Minute)
		mu.Lock()
		away = false
		failed := slices.Clone(dials)
		mu.Unlock()
		came := time.Now()
		w.allUp()
		if d := time.Since(came); d > 2*time.Second {
			t.Errorf("found after %v", d)
		}
		for i := 1; i < len(failed); i++ {
			if d := failed[i].Sub(failed[i-1]); d > 2*time.Second || i > 8 && d < time.Second {
				t.Errorf("attempt %d came %v after the one before", i, d)
			}
		}
		w.wantLog("no link", "connect to", "connection refused")
		w.stop()
	})
}
