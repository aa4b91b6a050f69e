package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// A client that shuts its side gets what it asked for, then the end.
func TestHalfClose(t *testing.T) {
	w := newWorld(t, setup{pbxs: []string{"east", "west"}})
	open := w.block("east", "Getvar")
	c := w.login("full", "Events: off")
	c.Send("Action: Getvar", "Server: east", "ActionID: e")
	c.Send("Action: CoreShowChannels", "Server: west", "ActionID: w")
	c.Conn().(*net.TCPConn).CloseWrite()
	equal(t, "west", ids(c, 2), []string{"w", "w"})
	open()
	equal(t, "east", ids(c, 1), []string{"e"})
	if frames := c.ExpectClosed(); len(frames) > 0 {
		t.Errorf("%q", frames)
	}
	w.awaitReason(reasonClientClosed)
}

// reset cuts the connection without a goodbye.
func reset(c *amiclient.Client) {
	c.Conn().(*net.TCPConn).SetLinger(0)
	c.Close()
}

// Nobody is left to get the answers of a client that was cut off: what was not
// sent is not sent any more, what was sent runs on.
func TestReset(t *testing.T) {
	w := newWorld(t, setup{})
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	w.sims["east"].Handle("Originate", func(r *simpbx.Request) {
		entered <- struct{}{}
		<-gate
		r.Reply("Success", "Originate successfully queued")
	})
	c, other := w.login("full", "Events: off"), w.login("full", "Events: off")
	// A synchronous Originate has a link for itself; what the session sends
	// after it waits.
	c.Send("Action: Originate", "Channel: PJSIP/alice", "Exten: 1", "Context: default", "Priority: 1")
	<-entered
	c.Send("Action: DBPut", "Family: f", "Key: k", "Val: v")
	s := w.session(c)
	eventually(t, "both are pending", func() bool { return s.pending() == 2 })
	reset(c)
	w.awaitReason(reasonClientReset)
	w.awaitSessions(1)
	close(gate)
	p := w.pbx("east")
	eventually(t, "nothing is pending", func() bool { return p.Pending() == 0 })
	other.Send("Action: CoreStatus", "ActionID: o")
	other.ExpectNext("Response: Success", "ActionID: o")
	for _, r := range w.sims["east"].Received() {
		if r.Name == "DBPut" {
			t.Error("the action that waited was sent")
		}
	}
}

// The end of one client in the middle of its list is nothing to the others,
// even those whose actions are behind it on the same link.
func TestGoneInTheMiddleOfAList(t *testing.T) {
	w := newWorld(t, setup{})
	half, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.sims["east"].Handle("CoreShowChannels", func(r *simpbx.Request) {
		first := false
		once.Do(func() { first = true })
		if !first {
			r.Default()
			return
		}
		r.Reply("Success", "", "EventList", "start")
		r.Write([]byte("Event: CoreShowChannel\r\nActionID: " + r.ID() + "\r\n\r\n"))
		r.Flush()
		close(half)
		<-gate
		r.Write([]byte("Event: CoreShowChannelsComplete\r\nActionID: " + r.ID() + "\r\nEventList: Complete\r\n\r\n"))
	})
	c := w.login("full", "Events: off")
	c.Send("Action: CoreShowChannels", "ActionID: l")
	<-half
	reset(c)
	w.awaitSessions(0)
	var others []*amiclient.Client
	for range 5 {
		o := w.login("full", "Events: off")
		o.Send("Action: CoreShowChannels", "ActionID: o")
		others = append(others, o)
	}
	close(gate)
	for _, o := range others {
		equal(t, "other", ids(o, 2), []string{"o", "o"})
		o.ExpectNothing()
	}
}

// Clients come and go in every way there is while the PBX talks, and comes and
// goes itself; in the end nothing is left of them.
func TestManyComeAndGo(t *testing.T) {
	const total, atOnce = 500, 50
	w := newWorld(t, setup{
		pbxs: []string{"east", "west"}, general: "authlimit = 100",
		sim: map[string]simpbx.Options{"east": {Idle: 20}},
	})
	stop := make(chan struct{})
	var background, clients sync.WaitGroup
	background.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			w.sims["east"].Event("Newchannel", ami.ClassCall, "N", fmt.Sprint(i))
			w.sims["west"].Event("Newchannel", ami.ClassCall, "N", fmt.Sprint(i))
			if i%1000 == 999 {
				w.sims["west"].Crash()
			}
		}
	})
	turns := make(chan struct{}, atOnce)
	for i := range total {
		turns <- struct{}{}
		clients.Go(func() {
			defer func() { <-turns }()
			comeAndGo(w.addr(), rand.New(rand.NewPCG(uint64(i), 1)))
		})
	}
	clients.Wait()
	close(stop)
	background.Wait()
	w.awaitSessions(0)
	w.srv.mu.Lock()
	if len(w.srv.strangers) != 0 || len(w.srv.loggedIn) != 0 {
		t.Errorf("%d strangers, users %v", len(w.srv.strangers), w.srv.loggedIn)
	}
	w.srv.mu.Unlock()
	for _, p := range w.srv.now().pbxs {
		eventually(t, p.Name()+" has nothing pending", func() bool { return p.Pending() == 0 })
		p.mu.RLock()
		if len(p.sessions) > 0 {
			t.Errorf("%s: %d sessions", p.Name(), len(p.sessions))
		}
		p.mu.RUnlock()
	}
	if used := w.srv.total.Used(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}

// comeAndGo is one client's life.
func comeAndGo(addr string, r *rand.Rand) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	user := []string{"full", "eastonly"}[r.IntN(2)]
	var out strings.Builder
	if r.IntN(10) > 0 {
		fmt.Fprintf(&out, "Action: Login\r\nUsername: %s\r\nSecret: %s-secret\r\n\r\n", user, user)
	}
	for range r.IntN(20) {
		fmt.Fprintf(&out, "Action: %s\r\nServer: %s\r\nActionID: %d\r\n\r\n",
			[]string{"Ping", "CoreShowChannels", "CoreStatus", "Nope", "UserEvent", "Events"}[r.IntN(6)],
			[]string{"east", "west", "nowhere"}[r.IntN(3)], r.IntN(100))
	}
	if r.IntN(3) == 0 {
		out.WriteString("Action: Logoff\r\n\r\n")
	}
	text := out.String()
	if r.IntN(4) == 0 {
		text = text[:r.IntN(len(text)+1)]
	}
	io.WriteString(conn, text)
	conn.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(200)) * time.Millisecond))
	switch r.IntN(4) {
	case 0:
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	case 1:
		io.CopyN(io.Discard, conn, int64(r.IntN(5000)))
		conn.(*net.TCPConn).SetLinger(0)
	case 2:
		io.Copy(io.Discard, conn)
	}
}
