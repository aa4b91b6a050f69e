package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// Whatever reloads do to others, a session whose user and PBXes stay the same
// gets every event and every answer once, in order, and is not closed.
func TestReloadsUnderLoad(t *testing.T) {
	const reloads = 50
	steady := `
[one]
secret = one-secret
read = all
write = all
pbx = one

[both]
secret = both-secret
read = all
write = all
pbx = one,two
eventfilter = !Event: Noise

[wide]                  ; sees all that there is
secret = wide-secret
read = all
write = all
`
	pbxs := []string{"one", "two", "a", "b", "c"}
	w := newWorld(t, setup{pbxs: pbxs, users: steady, general: "mergetimeout = 20"})
	for _, name := range pbxs {
		w.sims[name].Handle("Getvar", func(r *simpbx.Request) { r.Reply("Success", r.Get("Variable")) })
	}
	l := &reloadLoad{t: t, w: w}
	for _, user := range []string{"one", "one", "both", "both", "wide"} {
		c := w.login(user)
		c.Roundtrip()
		l.watchers.Go(func() { l.watch(c, user) })
	}
	l.others.Go(l.tick)
	for i := range 3 {
		l.others.Go(func() { l.come(fmt.Sprintf("u%d", i)) })
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range reloads {
		users, now := steady, []string{"one", "two"}
		for _, name := range []string{"a", "b", "c"} {
			if rng.IntN(3) > 0 {
				now = append(now, name+"\nlinks = "+strconv.Itoa(2+rng.IntN(2)))
			}
		}
		rng.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
		for i := range 3 {
			if rng.IntN(3) > 0 {
				read := []string{"all", "call", "system,call"}[rng.IntN(3)]
				users += fmt.Sprintf("[u%d]\nsecret = u%d-secret\nread = %s\nwrite = all\n", i, i, read)
				if rng.IntN(2) == 0 {
					users += "eventfilter = !Noise\n"
				}
			}
		}
		n := l.rounds.Load()
		w.reload(users, now...)
		l.checkRights()
		eventually(t, "the load goes on", func() bool { return l.rounds.Load() > n+20 || t.Failed() })
	}
	l.stop.Store(true)
	l.watchers.Wait()
	l.others.Wait()
	if t.Failed() {
		for _, e := range w.logs.FilterLevelExact(zap.ErrorLevel).All() {
			t.Log(e.Message, e.ContextMap())
		}
	}
}

// Who logs in while a reload is under way gets the rights of one side of it, and
// none that the other has taken.
func TestLoginsWhileReloading(t *testing.T) {
	user := func(read string) string { return "[u0]\nsecret = u0-secret\nread = " + read + "\n" }
	w := newWorld(t, setup{users: user("all")})
	l := &reloadLoad{t: t, w: w}
	var logins atomic.Int64
	for range 4 {
		l.others.Go(func() {
			var stay [8]*amiclient.Client
			for i := 0; !l.stop.Load(); i++ {
				c := w.srv.pipe(t)
				c.ReadBanner()
				c.Login("u0", "u0-secret", "Events: off")
				logins.Add(1)
				if old := stay[i%len(stay)]; old != nil {
					old.Close()
				}
				stay[i%len(stay)] = c
			}
		})
	}
	for i := range 400 {
		w.reload(user([]string{"call", "agent"}[i%2]), "east")
		n := logins.Load()
		eventually(t, "clients log in", func() bool { return logins.Load() > n+3 || t.Failed() })
		l.checkRights()
	}
	l.stop.Store(true)
	l.others.Wait()
}

// reloadLoad is what goes on meanwhile.
type reloadLoad struct {
	t        *testing.T
	w        *world
	stop     atomic.Bool
	watchers sync.WaitGroup
	others   sync.WaitGroup
	rounds   atomic.Int64 // of all watchers
	ticks    sync.Mutex   // guards last
	last     int
}

// tick has the PBXes one and two raise numbered events, and a, b and c any.
func (l *reloadLoad) tick() {
	for n := 1; !l.stop.Load(); n++ {
		for _, name := range []string{"one", "two"} {
			l.w.sims[name].Event("Tick", ami.ClassCall, "N", strconv.Itoa(n))
		}
		for _, name := range []string{"a", "b", "c", "one"} {
			l.w.sims[name].Event("Noise", ami.ClassCall)
		}
		l.ticks.Lock()
		l.last = n
		l.ticks.Unlock()
		time.Sleep(time.Millisecond) // a rate, no wait
	}
}

// watch sends numbered actions, and looks at all that comes.
func (l *reloadLoad) watch(c *amiclient.Client, user string) {
	last := map[string]int{} // Tick by PBX
	look := func(f amiclient.Frame) {
		switch header(f, "Event") {
		case "Tick":
			server := header(f, "Server")
			n, _ := strconv.Atoi(header(f, "N"))
			if old := last[server]; old != 0 && n != old+1 || (server == "") != (user == "one") {
				l.t.Errorf("%s: Tick %d of %q after %d", user, n, server, old)
			}
			last[server] = n
		case "ProxyServerState":
			if user != "wide" {
				l.t.Errorf("%s: %q", user, f)
			}
		case "Noise":
			if user == "both" {
				l.t.Errorf("%s: %q", user, f)
			}
		}
	}
	servers := map[string][]string{"one": {""}, "both": {"one", "two"}, "wide": {"one", "a", "b", "two", "c"}}[user]
	next := 0
	for round := 0; !l.stop.Load() && !l.t.Failed(); round++ {
		const burst = 5
		for i := range burst {
			lines := []string{"Action: Getvar", fmt.Sprintf("Variable: v%d", next+i)} // no ActionID: in order
			if server := servers[(round+i)%len(servers)]; server != "" {
				lines = append(lines, "Server: "+server)
			}
			c.Send(lines...)
		}
		for i := 0; i < burst; {
			f := c.ReadFrame()
			look(f)
			if header(f, "Response") == "" {
				continue
			}
			if got := header(f, "Message"); got != fmt.Sprintf("v%d", next+i) && (user != "wide" || !isNoServer(got)) {
				l.t.Errorf("%s: answer %d: %q", user, next+i, f)
			}
			i++
		}
		next += burst
		if round%10 == 0 {
			l.list(c, look)
		}
		l.rounds.Add(1)
	}
	l.ticks.Lock()
	end := l.last
	l.ticks.Unlock()
	for server := range last {
		for last[server] < end {
			look(c.ReadFrame())
		}
	}
	for _, f := range c.Roundtrip() {
		if look(f); header(f, "Response") != "" {
			l.t.Errorf("%s: one more answer: %q", user, f)
		}
	}
}

// list asks for a list, of all PBXes that the client sees.
func (l *reloadLoad) list(c *amiclient.Client, look func(amiclient.Frame)) {
	c.Send("Action: CoreShowChannels", "ActionID: list")
	for {
		f := c.ReadFrame()
		look(f)
		if header(f, "Event") == "CoreShowChannelsComplete" {
			return
		}
		if header(f, "Response") == "Error" {
			l.t.Errorf("list: %q", f)
			return
		}
	}
}

// isNoServer reports whether a text is about a PBX that is not there.
func isNoServer(text string) bool {
	return strings.HasPrefix(text, "Server ") || strings.HasPrefix(text, "No such server: ")
}

// come is a user who logs in again and again, and may be thrown out at any time.
func (l *reloadLoad) come(user string) {
	for !l.stop.Load() {
		conn, err := net.Dial("tcp", l.w.addr())
		if err != nil {
			l.t.Error(err)
			return
		}
		fmt.Fprintf(conn, "Action: Login\r\nUsername: %s\r\nSecret: %[1]s-secret\r\n\r\nAction: CoreShowChannels\r\n\r\n", user)
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		io.Copy(io.Discard, conn)
		if rand.IntN(2) == 0 {
			fmt.Fprintf(conn, "Action: Logoff\r\n\r\n")
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.Copy(io.Discard, conn)
		}
		conn.Close()
	}
}

// checkRights makes sure that nobody is in who has more than the configuration
// grants.
func (l *reloadLoad) checkRights() {
	l.w.srv.changing.Lock()
	defer l.w.srv.changing.Unlock()
	now := l.w.srv.now()
	for _, s := range l.w.srv.users() {
		rights := s.rights.Load()
		if user := now.user(rights.Policy.Name()); user == nil || rights.Narrow(user) != rights {
			l.t.Errorf("%v has more than %v", rights.Policy, user)
		}
	}
}
