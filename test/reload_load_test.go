//go:build unix

package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const reloadUsers = `
[rights](!)
secret = pw
read = all
write = all
[steady](rights)
pbx = east
[pair](rights)
pbx = east,north
[many](rights)
[admin](rights)
pbx = east
proxyadmin = yes
`

// A reloads is a proxy whose PBXes east and north stay, while what reloads do to west
// and to users must not be noticed by those who do not see these.
type reloads struct {
	*proxied
	t                 *testing.T
	east, west, north *asterisk.PBX // Where they are at first.
	admin             *amiclient.Client
	count             int // Of reloads.
	clients           int // That use the PBXes.

	channels map[string][]string // That stay, by PBX.
	rounds   atomic.Int64        // Of all who use the PBXes.
	stop     chan struct{}       // Closed when they are to end.
	ticked   map[string]*atomic.Int64
	users    sync.WaitGroup
	ticks    sync.WaitGroup
	noTicks  chan struct{} // Closed when the PBXes are to raise no more events.
}

// startReloads starts all that goes on meanwhile.
func startReloads(t *testing.T) *reloads {
	pbxs := threePBXs(t)
	r := &reloads{t: t, east: pbxs[0], west: pbxs[1], north: pbxs[2], channels: map[string][]string{},
		stop: make(chan struct{}), noTicks: make(chan struct{}), ticked: map[string]*atomic.Int64{}}
	r.proxied = startProxyFile(t, r.config(""))
	r.waitUp()
	r.admin = r.login(t, "admin", "Events: off")
	for _, h := range hold(t, []*amiclient.Client{loginDirect(t, r.east), loginDirect(t, r.north)}, []*asterisk.PBX{r.east, r.north}, 6) {
		r.channels[h.server] = append(r.channels[h.server], h.name, h.partner)
	}
	for _, pbx := range pbxs {
		n := new(atomic.Int64)
		r.ticked[pbx.Name()] = n
		r.ticks.Go(func() { tick(ownTB{t}, pbx, n, r.noTicks) })
	}
	r.use("steady", "")
	r.use("pair", "east", "north")
	r.use("pair", "north", "east")
	r.use("many", "east", "north") // It never sees west, which comes after its login.
	r.goesOn()
	return r
}

// config is a configuration with such a west, and more users.
func (r *reloads) config(west string, users ...string) string {
	return "[general]\nmergetimeout = 30\n" + pbxSection("east", r.east) + west + pbxSection("north", r.north) + reloadUsers + strings.Join(users, "")
}

// reload goes over to a configuration, by ProxyReload or by what SIGHUP calls.
func (r *reloads) reload(west string, users ...string) {
	r.t.Helper()
	r.file = r.config(west, users...)
	if r.count++; r.count%2 == 0 {
		if f := r.admin.Do("Action: ProxyReload"); !amiclient.Has(f, "Response: Success", "Message: Configuration reloaded") {
			r.t.Fatalf("%q", f)
		}
	} else if err := r.Reload(); err != nil {
		r.t.Fatal(err)
	}
}

// logged wants what the log says of the latest reload.
func (r *reloads) logged(what ...string) {
	r.t.Helper()
	all := r.logs.FilterMessage("configuration reloaded").All()
	last := all[len(all)-1].ContextMap()
	delete(last, "PBXes")
	delete(last, "users")
	var got []string
	for key, names := range last {
		got = append(got, fmt.Sprint(key, ": ", names))
	}
	slices.Sort(got)
	if slices.Sort(what); !slices.Equal(got, what) {
		r.t.Errorf("logged %q, want %q", got, what)
	}
}

// goesOn waits until all have been answered again.
func (r *reloads) goesOn() {
	r.t.Helper()
	before := r.rounds.Load()
	eventually(r.t, "answers", func() bool { return r.rounds.Load() >= before+8 || r.t.Failed() })
}

// end makes sure that nothing is missing, or came twice.
func (r *reloads) end() {
	r.west.Resume()
	close(r.noTicks)
	r.ticks.Wait()
	close(r.stop)
	r.users.Wait()
	for _, name := range []string{"east", "north"} {
		if n := r.backend(name).Stats().Losses.Load(); n != 0 {
			r.t.Errorf("%d links to %s were lost", n, name)
		}
	}
}

// tick has a PBX raise numbered events.
func tick(tb testing.TB, pbx *asterisk.PBX, n *atomic.Int64, stop <-chan struct{}) {
	c := loginDirect(tb, pbx)
	for {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond): // a rate, no wait
		}
		c.Do("Action: UserEvent", "UserEvent: Tick", fmt.Sprintf("N: %d", n.Load()+1))
		n.Add(1)
	}
}

// use has a client use PBXes until the end. Of west it may be told that it is away.
func (r *reloads) use(user string, servers ...string) {
	c := r.login(r.t, user)
	u := &reloadUser{r: r, tb: ownTB{r.t}, Client: c, servers: servers, name: fmt.Sprint(user, r.clients), last: map[string]int{}}
	r.clients++
	r.users.Go(u.run)
}

type reloadUser struct {
	*amiclient.Client
	r       *reloads
	tb      testing.TB
	name    string
	servers []string
	last    map[string]int // Tick, by PBX.
}

func (u *reloadUser) run() {
	for n := 0; ; n++ {
		select {
		case <-u.r.stop:
			u.leave()
			return
		default:
		}
		u.values(n)
		u.list(fmt.Sprint(u.name, n))
		u.r.rounds.Add(1)
	}
}

// values sets and gets variables, with no ActionID: the answers come in order.
func (u *reloadUser) values(n int) {
	var b strings.Builder
	for _, server := range u.servers {
		name := u.name + server
		lines := []string{"Action: Setvar", "Variable: " + name, fmt.Sprintf("Value: %d", n), "Server: " + server}
		if server == "" {
			lines = lines[:3]
		}
		b.WriteString(action(lines...))
		lines[0], lines[2] = "Action: Getvar", "X: Y"
		b.WriteString(action(lines...))
	}
	u.Write([]byte(b.String()))
	for i := range 2 * len(u.servers) {
		f := u.event()
		server := u.servers[i/2]
		want := []string{"Response: Success", "Server: " + server, fmt.Sprintf("Value: %d", n)}[:2+i%2]
		if server == "" {
			want = slices.Delete(want, 1, 2)
		}
		if !amiclient.Has(f, want...) && (server != "west" || !isOfWest(f)) {
			u.tb.Fatalf("%s: got %q, want %q", u.name, f, want)
		}
	}
}

// isOfWest reports whether an answer is the proxy's for the PBX west that is away, or
// was just made anew, and has no such value.
func isOfWest(f amiclient.Frame) bool {
	message := amiclient.Header(f, "Message")
	return amiclient.Has(f, "Response: Error") && (strings.HasPrefix(message, "Server west ") || message == "No such server: west") ||
		amiclient.Has(f, "Response: Success", "Server: west")
}

// list asks for the channels of all PBXes that the user sees.
func (u *reloadUser) list(id string) {
	u.Send("Action: CoreShowChannels", "ActionID: "+id)
	f := u.event()
	if !amiclient.Has(f, "Response: Success", "ActionID: "+id, "EventList: start") {
		u.tb.Fatalf("%s: the start of a list is due, got %q", u.name, f)
	}
	got := map[string][]string{}
	items := 0
	for {
		f = u.ReadFrame()
		if amiclient.Header(f, "ActionID") != id || amiclient.Header(f, "Privilege") != "" {
			u.tb.Fatalf("%s: in the middle of a list came %q", u.name, f)
		}
		if amiclient.Has(f, "EventList: Complete") {
			break
		}
		items++
		server := amiclient.Header(f, "Server")
		got[server] = append(got[server], amiclient.Header(f, "Channel"))
	}
	missing := amiclient.Header(f, "Missing")
	if missing != "" && (missing != "west" || !slices.Contains(u.servers, missing)) || number(amiclient.Header(f, "ListItems")) != items {
		u.tb.Errorf("%s: %d items, and %q", u.name, items, f)
	}
	for _, server := range u.servers {
		if server == "west" {
			continue
		}
		want := u.r.channels[server]
		if server == "" {
			want = u.r.channels["east"]
		}
		// Others come and go.
		kept := slices.DeleteFunc(slices.Clone(got[server]), func(name string) bool { return !slices.Contains(want, name) })
		if !slices.Equal(slices.Sorted(slices.Values(kept)), slices.Sorted(slices.Values(want))) {
			u.tb.Errorf("%s: of %s %q, want %q", u.name, server, got[server], want)
		}
	}
}

// event reads up to a response, and looks at the events that come before it.
func (u *reloadUser) event() amiclient.Frame {
	for {
		f := u.ReadFrame()
		if amiclient.Header(f, "Response") != "" {
			return f
		}
		u.look(f)
	}
}

func (u *reloadUser) look(f amiclient.Frame) {
	server := amiclient.Header(f, "Server")
	if server == "" && amiclient.Has(f, "Privilege: security,all") {
		return // the proxy's own, of a login to it
	}
	if !slices.Contains(u.servers, server) {
		u.tb.Errorf("%s: an event of another PBX: %q", u.name, f)
	}
	switch {
	case amiclient.Has(f, "Event: UserEvent", "UserEvent: Tick"):
		n := number(amiclient.Header(f, "N"))
		if last := u.last[server]; last != 0 && n != last+1 {
			u.tb.Errorf("%s: event %d of %q after %d", u.name, n, server, last)
		}
		u.last[server] = n
	case amiclient.Has(f, "Event: ProxyServerState"):
		if server != "west" {
			u.tb.Errorf("%s: told %q", u.name, f)
		}
		u.last[server] = 0
	}
}

// leave reads the events that are still to come, and no other answer.
func (u *reloadUser) leave() {
	for _, server := range u.servers {
		pbx := server
		if pbx == "" {
			pbx = "east"
		}
		for server != "west" && u.last[server] < int(u.r.ticked[pbx].Load()) {
			u.look(u.ReadFrame())
		}
	}
	for _, f := range u.Roundtrip() {
		if u.look(f); !strings.HasPrefix(string(f), "Event: ") {
			u.tb.Errorf("%s: came although all was answered: %q", u.name, f)
		}
	}
}
