package proxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

const adminUsers = slowUsers + `
[admin]                 ; no class at all
secret = admin-secret
pbx = east
proxyadmin = yes

[filtered]
secret = filtered-secret
read = call,agent
eventfilter = !Event: Noise
`

// sessionNumber is the session's number in the log.
func (w *world) sessionNumber(c *amiclient.Client) string {
	w.tb.Helper()
	s := w.session(c)
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	return strconv.FormatUint(s.id, 10)
}

// items are a list without its first and last frame, which are checked.
func items(t testing.TB, list []amiclient.Frame) []amiclient.Frame {
	t.Helper()
	last := list[len(list)-1]
	if !amiclient.Has(list[0], "EventList: start") || !amiclient.Has(last, "EventList: Complete", "ListItems: "+strconv.Itoa(len(list)-2)) {
		t.Fatalf("no list: %q", list)
	}
	return list[1 : len(list)-1]
}

// values is one header of all frames.
func values(frames []amiclient.Frame, name string) (all []string) {
	for _, f := range frames {
		all = append(all, header(f, name))
	}
	return all
}

// What an admin may do is to all others what no Asterisk has, whatever their
// classes, and even if a PBX has it since it is a proxy itself.
func TestProxyActionsAreUnknownToOthers(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{users: adminUsers})
	w.sims["east"].Handle("ProxyKick", func(r *simpbx.Request) { r.Reply("Success", "not for you") })
	await := w.awaitEvents("east")
	w.sims["east"].Boot(false)
	w.sims["east"].Boot(true) // lists its actions anew
	await(1)
	eventually(t, "the action of the PBX is known", func() bool {
		_, ok := w.pbx("east").Authority().Class("proxykick")
		return ok
	})
	full, admin := w.login("full", "Events: off"), w.login("admin")
	for _, name := range []string{"ProxyStatus", "ProxySessions", "ProxyKick", "proxykick", "ProxyReload"} {
		got := full.Do("Action: "+name, "ActionID: x", "Username: full")
		want := strings.ReplaceAll(string(full.Do("Action: Nonsense", "ActionID: x")), "Nonsense", name)
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if list := full.Do("Action: ListCommands"); strings.Contains(strings.ToLower(string(list)), "proxy") {
		t.Errorf("%q", list)
	}
	var names []string
	for line := range strings.Lines(string(admin.Do("Action: ListCommands"))) {
		if name, _, _ := strings.Cut(line, ":"); strings.HasSuffix(line, "(Priv: <none>)\r\n") {
			names = append(names, strings.ToLower(name))
		}
	}
	at := slices.Index(names, "proxykick")
	if !slices.IsSorted(names) || at < 0 || !slices.Equal(names[at:at+4], []string{"proxykick", "proxyreload", "proxysessions", "proxystatus"}) ||
		slices.Contains(names[at+1:], "proxykick") {
		t.Errorf("%q", names)
	}
	if f := w.dial().Do("Action: ProxyStatus"); header(f, "Message") != textDenied {
		t.Errorf("before the login: %q", f)
	}
	if slices.ContainsFunc(w.sims["east"].Received(), func(r simpbx.Received) bool { return r.Name == "ProxyKick" }) {
		t.Error("the PBX was asked")
	}
}

// The operator sees all PBXes, those included that its user may not use.
func TestProxyStatus(t *testing.T) {
	o := idle()
	o.pbxs, o.absent, o.users = []string{"east", "west", "north"}, []string{"north"}, adminUsers
	w := newWorld(t, o)
	w.srv.Version, w.srv.URIs = "1.2.3", []URI{{"/x/rawman", "Raw"}, {"/x/static/...", "Files"}}
	w.awaitNames("east", "west")
	east := w.pbx("east").Backend
	eventually(t, "all links", func() bool { return east.Info().Links == 4 })
	admin, full, stranger := w.login("admin"), w.login("full", "Events: off"), w.dial()
	stranger.Do("Action: Challenge", "AuthType: MD5")

	open := w.block("east", "Setvar")
	before := east.Info()
	full.Send("Action: Setvar", "Server: east", "ActionID: a")
	full.Send("Action: UserEvent", "Server: east", "ActionID: b", "UserEvent: x")
	w.await("east", "Setvar")
	full.Send("Action: Command", "Server: east", "ActionID: c", "Command: core show version")
	s := w.session(full)
	eventually(t, "all three are pending", func() bool { return s.pending() == 3 })

	eventually(t, "north was tried", func() bool { return w.pbx("north").Backend.State().Reason == "cannot connect" })
	list := items(t, admin.List("Action: ProxyStatus"))
	equal(t, "items", names(list), []string{"Event: ProxyStatus", "Event: ProxyServer", "Event: ProxyServer", "Event: ProxyServer", "Event: ProxyURI", "Event: ProxyURI"})
	if !amiclient.Has(list[0], "Version: 1.2.3", "Sessions: 2", "Unauthenticated: 1", "TotalLimit: 1073741824") {
		t.Errorf("%q", list[0])
	}
	started, _ := strconv.ParseInt(header(list[0], "Started"), 10, 64)
	uptime, err := strconv.ParseInt(header(list[0], "Uptime"), 10, 64)
	if now := time.Now().Unix(); err != nil || started+uptime > now || started+uptime < now-20 {
		t.Errorf("%q", list[0])
	}
	if !amiclient.Has(list[1], "Server: east", "Address: "+w.addrs["east"], "State: Up", "Reason: logged in", "Links: 4", "MaxLinks: 4",
		"Sessions: 2", "Pending: 3", "Waiting: 1", "NamesKnown: Yes", "Channels: 2", "Dropped: 0", "Losses: 0", "Version: "+east.Version(),
		"Actions: "+strconv.FormatUint(before.Actions+2, 10)) {
		t.Errorf("%q", list[1])
	}
	if !amiclient.Has(list[2], "Server: west", "State: Up", "Sessions: 1", "Pending: 0", "Waiting: 0", "Channels: 3") {
		t.Errorf("%q", list[2])
	}
	if !amiclient.Has(list[3], "Server: north", "State: Down", "Reason: cannot connect", "Links: 0", "Version: ", "NamesKnown: No", "Logins: 0") {
		t.Errorf("%q", list[3])
	}
	equal(t, "URIs", values(list[4:], "URI"), []string{"/x/rawman", "/x/static/..."})
	equal(t, "descriptions", values(list[4:], "Description"), []string{"Raw", "Files"})

	open()
	ids(full, 3)
	w.take("east")
	w.awaitDown("east")
	list = items(t, admin.List("Action: ProxyStatus"))
	if !amiclient.Has(list[1], "State: Down", "Reason: connection lost", "Pending: 0", "NamesKnown: No", "Channels: 2",
		"Actions: "+strconv.FormatUint(before.Actions+3, 10)) {
		t.Errorf("%q", list[1])
	}
	eventually(t, "all links are lost", func() bool { i := east.Info(); return i.Losses == i.Logins && i.Links == 0 })
}

func TestProxySessions(t *testing.T) {
	o := idle()
	o.users = adminUsers
	w := newWorld(t, o)
	admin, full := w.login("admin"), w.dial()
	full.Login("Full", "full-secret", "Events: off")
	filtered := w.login("filtered", "Events: call,agent")
	stranger := w.dial()
	stranger.Do("Action: Challenge", "AuthType: MD5")
	slow := w.pipe("full")
	defer slow.Close()

	defer w.block("east", "Setvar")()
	full.Send("Action: Setvar", "Server: east", "Value: password")
	w.await("east", "Setvar")
	await := w.awaitEvents("east")
	w.flood(0, 4)
	expectFlood(filtered, 0, 4)
	await(4)
	eventually(t, "all is written", func() bool { n, _ := w.session(filtered).out.Size(); return n == 0 })

	list := items(t, admin.List("Action: ProxySessions"))
	equal(t, "users", values(list, "Username"), []string{"admin", "Full", "filtered", "", "full"})
	for i, c := range []*amiclient.Client{admin, full, filtered, stranger} {
		now := time.Now().Unix()
		since, err := strconv.ParseInt(header(list[i], "Since"), 10, 64)
		if !amiclient.Has(list[i], "Event: ProxySession", "SessionID: "+w.sessionNumber(c), "Address: "+c.Conn().LocalAddr().String(), "Transport: TCP") ||
			err != nil || since > now || since < now-60 {
			t.Errorf("%q", list[i])
		}
	}
	for i, want := range [][]string{
		{"PBXes: east", "EventMask: off", "Filters: No", "Pending: 0", "Actions: 3", "Events: 0"}, // Login, Ping and this one
		{"PBXes: east,west", "EventMask: off", "Pending: 1", "Actions: 2", "Events: 0"},
		{"PBXes: east,west", "EventMask: call,agent", "Filters: Yes", "Events: 4", "QueuedBytes: 0"},
		{"PBXes: ", "EventMask: off", "Filters: No", "Actions: 1", "Events: 0"},
		{"PBXes: east,west", "EventMask: on", "Filters: No", "Actions: 1", "Events: 4"},
	} {
		if !amiclient.Has(list[i], want...) {
			t.Errorf("%q\nwant %q", list[i], want)
		}
	}
	// What waits for those who do not read shows, and what went out to the others.
	if n, _ := strconv.Atoi(header(list[4], "QueuedBytes")); n < 4*bigEvent {
		t.Errorf("%d bytes are queued", n)
	}
	if n, _ := strconv.Atoi(header(list[2], "SentBytes")); n < 4*bigEvent {
		t.Errorf("%d bytes were sent", n)
	}
	if text := fmt.Sprint(list); strings.Contains(text, "password") || strings.Contains(text, "-secret") {
		t.Errorf("secrets in %q", text)
	}

	// Who is gone is not in the list.
	filtered.Close()
	w.awaitSessions(4)
	equal(t, "users", values(items(t, admin.List("Action: ProxySessions")), "Username"), []string{"admin", "Full", "", "full"})
}

// The answers take their place in the order of the session.
func TestProxyActionsKeepTheOrder(t *testing.T) {
	w := newWorld(t, setup{users: strings.ReplaceAll(adminUsers, "[admin]", "[admin]\nwrite = all")})
	open := w.block("east", "Setvar")
	c := w.login("admin")
	c.Send("Action: Setvar", "ActionID: 1")
	c.Send("Action: ProxySessions", "ActionID: 2")
	c.Send("Action: ProxyKick", "ActionID: 3", "SessionID: 77")
	c.Send("Action: Ping", "ActionID: 4")
	w.await("east", "Setvar")
	s := w.session(c)
	eventually(t, "all four wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.slots) == 4
	})
	open()
	equal(t, "answers", ids(c, 6), []string{"1", "2", "2", "2", "3", "4"})
}

// Everything at once: clients come, go and are kicked, while events are handed
// out and the lists are asked for. Nobody who was not kicked is closed.
func TestProxyActionsUnderLoad(t *testing.T) {
	o := idle()
	o.users = adminUsers
	w := newWorld(t, o)
	stays := w.login("eastonly")
	stop := make(chan struct{})
	var events, others sync.WaitGroup
	n := 0
	events.Go(func() {
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
				w.sims["east"].Event("Flood", ami.ClassCall, "N", strconv.Itoa(n))
			}
			time.Sleep(100 * time.Microsecond) // a rate, not a wait
		}
	})
	for range 2 {
		others.Go(func() {
			for range 30 {
				conn, err := net.Dial("tcp", w.addr())
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(conn, "Action: Login\r\nUsername: full\r\nSecret: full-secret\r\n\r\nAction: CoreShowChannels\r\n\r\n")
				conn.Read(make([]byte, 300))
				conn.Close()
			}
		})
		others.Go(func() {
			admin := w.login("admin")
			for range 30 {
				items(t, admin.List("Action: ProxyStatus"))
				items(t, admin.List("Action: ProxySessions"))
				if f := admin.Do("Action: ProxyKick", "Username: full"); header(f, "Kicked") == "" && header(f, "Message") != textNobody {
					t.Errorf("%q", f)
				}
			}
			admin.ExpectNothing()
		})
	}
	others.Wait()
	close(stop)
	events.Wait()
	for i := range n {
		stays.ExpectNext("Event: Flood", "N: "+strconv.Itoa(i))
	}
	stays.ExpectNothing()
}

func TestMaskText(t *testing.T) {
	for text, mask := range map[string]ami.Class{
		"off": 0, "on": ami.ClassAll, "call": ami.ClassCall, "system,call": ami.ClassCall | ami.ClassSystem,
	} {
		if got := maskText(mask); got != text || ami.Class(ami.ParseEventMask(got)) != mask {
			t.Errorf("%v: %q", mask, got)
		}
	}
}
