package backend

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{Idle: 3}, Options{Links: 3})
		w.b.settings.Load().Host, w.b.settings.Load().Port = "pbx.example.com", 5039
		if i := w.b.Info(); i.Up || i.Reason != "not connected yet" || i.Links != 0 || i.MaxLinks != 3 || i.Address != "pbx.example.com:5039" || i.NamesKnown {
			t.Errorf("before: %+v", i)
		}
		w.start()
		synctest.Wait()
		i := w.b.Info()
		if !i.Up || i.Links != 3 || i.Logins != 3 || i.Losses != 0 || !i.NamesKnown || i.Channels != 3 || i.Version != w.b.Version() ||
			i.Actions != 0 || i.Pending != 0 || i.Waiting != 0 { // our own do not count
			t.Errorf("up: %+v", i)
		}

		// Two actions block their links, one is behind each.
		release := make(chan struct{})
		w.pbx.Handle("Setvar", func(r *simpbx.Request) {
			select {
			case <-release:
			case <-r.Done():
			}
			r.Reply("Success", "")
		})
		var all []asked
		s := w.b.NewStream(nil)
		all = append(all, w.send(s, "Action: Setvar"), w.send(s, "Action: Ping"), w.send(s, "Action: Command"), w.send(s, "Action: Ping"))
		synctest.Wait()
		if i := w.b.Info(); i.Pending != 4 || i.Waiting != 2 || i.Actions != 2 {
			t.Errorf("busy: %+v", i)
		}
		close(release)
		for _, done := range all {
			w.got(done)
		}
		if i := w.b.Info(); i.Pending != 0 || i.Waiting != 0 || i.Actions != 4 {
			t.Errorf("done: %+v", i)
		}

		w.b.dial = func(context.Context) (net.Conn, error) { return nil, errors.New("gone") }
		w.pbx.Crash()
		synctest.Wait()
		if i := w.b.Info(); i.Up || i.Reason != "connection lost" || i.Links != 0 || i.Losses != 3 || i.NamesKnown || i.Channels != 3 {
			t.Errorf("down: %+v", i)
		}
	})
}

// Rates are those of the last five seconds, whenever they are asked for.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{Links: 2})
		w.start()
		time.Sleep(time.Minute + houseInterval/2) // nothing below happens as a sample is taken
		near := func(what string, got, low, high float64) {
			t.Helper()
			if got < low || got > high {
				t.Errorf("%s: %v a second, want %v to %v", what, got, low, high)
			}
		}
		near("idle", w.b.Info().EventRate, 0, 0)
		s := w.b.NewStream(nil)
		for range 40 { // for ten seconds
			for range 5 {
				w.pbx.Event("Tick", ami.ClassCall)
			}
			w.got(w.send(s, "Action: MailboxCount"))
			time.Sleep(250 * time.Millisecond)
		}
		near("events", w.b.Info().EventRate, 19, 21)
		near("actions", w.b.Info().ActionRate, 3.8, 4.2)
		time.Sleep(2 * time.Second)
		near("events, a while after", w.b.Info().EventRate, 8, 16)
		time.Sleep(5 * time.Second)
		near("events, after", w.b.Info().EventRate, 0, 0)
		near("actions, after", w.b.Info().ActionRate, 0, 0)
	})
}

// A PBX that has just come up has no rate of millions.
func TestRatesAtTheStart(t *testing.T) {
	var s samples
	start := time.Now()
	s.add(sample{at: start})
	if actions, events := s.rates(sample{start.Add(time.Millisecond), 2, 7}); actions != 2 || events != 7 {
		t.Error(actions, events)
	}
	if actions, events := s.rates(sample{start.Add(2 * time.Second), 2, 7}); actions != 1 || events != 3.5 {
		t.Error(actions, events)
	}
}
