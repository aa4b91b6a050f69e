package proxy

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// What a PBX has told, and waits for its turn or for others, is not for those any more who
// may not see that PBX by then, or not that.
func TestReloadTakesWhatWaitsOfAPBX(t *testing.T) {
	const user = "[u]\nsecret = u-secret\nread = call,reporting\nwrite = call,reporting,originate\n"
	for _, way := range []string{"held", "kept", "merged", "merged, and a fence"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, setup{users: user, pbxs: []string{"east", "west"}})
			lose := func() { w.reload(user+"pbx = east\n", "east", "west") }
			tell := func() {
				await := w.awaitEvents("west")
				w.sims["west"].Event("Secret", ami.ClassCall)
				await(1)
			}
			var got []string
			switch way {
			case "held":
				c := w.login("u")
				open := w.block("west", "Originate")
				c.Send("Action: Originate", "Server: west", "ActionID: 1", "Channel: Local/1@a", "Application: Wait")
				w.await("west", "Originate")
				eventually(t, "it is sent", func() bool {
					s := w.session(c)
					s.mu.Lock()
					defer s.mu.Unlock()
					return len(s.slots) == 1 && s.slots[0].progress.Sent()
				})
				tell()
				lose()
				open()
				for _, f := range c.Roundtrip() {
					got = append(got, string(f))
				}
			case "kept":
				c := w.web("u")
				tell()
				c.awaitKept(1)
				lose()
				got = append(got, c.ask("Action: WaitEvent"))
			default:
				if way != "merged" {
					lose = func() { w.reload(user+"tenant = acme\n[tenant:acme]\ncontext = acme\n", "east", "west") }
				}
				hang := make(chan struct{})
				for name, sim := range w.sims {
					sim.Handle("CoreShowChannels", func(r *simpbx.Request) {
						if name == "east" {
							<-hang
						}
						r.Reply("Success", "Channels will follow", "EventList", "start")
						r.Write([]byte("Event: CoreShowChannel\r\nActionID: " + r.ID() + "\r\nChannel: Secret-of-" + name + "\r\n\r\n"))
						r.Write([]byte("Event: CoreShowChannelsComplete\r\nActionID: " + r.ID() + "\r\nEventList: Complete\r\nListItems: 1\r\n\r\n"))
					})
				}
				c := w.login("u", "Events: off")
				c.Send("Action: CoreShowChannels", "ActionID: 1")
				s := w.session(c)
				eventually(t, "west has answered", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					if len(s.slots) == 0 || s.slots[0].merge == nil {
						return false
					}
					m := s.slots[0].merge
					m.mu.Lock()
					defer m.mu.Unlock()
					return m.open == 1
				})
				lose()
				close(hang)
				for _, f := range c.ReadUntil(func(f amiclient.Frame) bool { return strings.Contains(string(f), "Complete") }) {
					got = append(got, strings.ReplaceAll(string(f), "Secret-of-east", ""))
				}
			}
			for _, f := range got {
				if strings.Contains(f, "Secret") {
					t.Errorf("got %q", f)
				}
			}
		})
	}
}
