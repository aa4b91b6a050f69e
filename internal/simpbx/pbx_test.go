package simpbx

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// inBubble runs a test with a PBX in a bubble of its own time.
func inBubble(t *testing.T, o Options, test func(t *testing.T, p *PBX)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := New(o)
		defer p.Close()
		test(t, p)
	})
}

func TestBeforeLogin(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := dial(t, p)
		if c.banner != "Asterisk Call Manager/11.0.0" {
			t.Errorf("banner %q", c.banner)
		}
		c.expect(c.do(), "Response: Error|Message: Missing action in request|")
		c.expect(c.read(), "Response: Error|Message: Missing action in request|") // one for each empty line
		c.expect(c.do("Action: Ping", "ActionID: p1"), "Response: Error|ActionID: p1|Message: Permission denied|")
		c.expect(c.do("Action: Nope", "ActionID: p1"), "Response: Error|ActionID: p1|Message: Permission denied|")
		c.expect(c.do("Action: Challenge"), "Response: Error|Message: Must specify AuthType|")
		c.expect(c.do("Action: Ping", strings.Repeat("x", 1100), "ActionID: 7"),
			"Response: Error|ActionID: 7|Message: Failed to parse message: line too long|")
		c.expect(c.do("Action: Logoff", "ActionID: x"), "Response: Goodbye|ActionID: x|Message: Thanks for all the fish.|")
		c.expectEnd()
	})
}

func TestLogin(t *testing.T) {
	inBubble(t, Options{SystemName: "pbx22"}, func(t *testing.T, p *PBX) {
		time.Sleep(151 * time.Second)
		c := dial(t, p)
		c.expect(c.do("Action: Login", "Username: PROXY", "Secret: upstream-secret", "ActionID: q"),
			"Response: Success|ActionID: q|Message: Authentication accepted|")
		c.expect(c.read(), "Event: FullyBooted|Privilege: system,all|Uptime: 151|LastReload: 151|Status: Fully Booted|")
		c.expect(c.do("Action: Login", "ActionID: l"), "Response: Success|ActionID: l|Message: Already authenticated|")
		pong := c.do("action: PING", "actionid: low")
		if !strings.HasPrefix(pong, "Response: Success|ActionID: low|Ping: Pong|Timestamp: ") {
			t.Error(pong)
		}
		c.expect(c.do("Action: Ping ", "ActionID: 4"),
			"Response: Error|ActionID: 4|Message: Invalid/unknown command: Ping . Use Action: ListCommands to show available commands.|")
		if s := p.Sessions(); len(s) != 1 || s[0].User != "PROXY" || s[0].Mask != ami.ClassAll {
			t.Errorf("sessions %+v", s)
		}
	})
}

func TestLoginMD5(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := dial(t, p)
		challenge := get(c.do("Action: Challenge", "AuthType: md5"), "Challenge")
		if again := get(c.do("Action: Challenge", "AuthType: MD5"), "Challenge"); challenge == "" || again != challenge {
			t.Errorf("challenges %q, %q", challenge, again)
		}
		sum := md5.Sum([]byte(challenge + "upstream-secret"))
		c.expect(c.do("Action: Login", "AuthType: MD5", "Username: proxy", "Key: "+hex.EncodeToString(sum[:]), "Events: off"),
			"Response: Success|Message: Authentication accepted|")
		c.expect(c.do("Action: Events", "EventMask: call"), "Response: Success|Events: On|")
		c.expect(c.do("Action: Events"), "Response: Error|Message: Invalid event mask|")
		c.expect(c.do("Action: Events", "EventMask: off"), "Response: Success|Events: Off|")
	})
}

func TestLoginRefused(t *testing.T) {
	for _, lines := range [][]string{
		{"Action: Login", "Username: proxy", "Secret: nope", "ActionID: f1"},
		{"Action: Login", "Username: nobody", "Secret: upstream-secret", "ActionID: f1"},
		{"Action: Login", "ActionID: f1"},
		{"Action: Login", "Username: proxy", "AuthType: MD5", "Secret: upstream-secret", "ActionID: f1"},
	} {
		inBubble(t, Options{}, func(t *testing.T, p *PBX) {
			c := dial(t, p)
			begin := time.Now()
			c.expect(c.do(lines...), "Response: Error|ActionID: f1|Message: Authentication failed|")
			if d := time.Since(begin); d != time.Second {
				t.Errorf("refused after %v", d)
			}
			c.expectEnd()
		})
	}
}

func TestAuthTimeout(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := dial(t, p)
		begin := time.Now()
		c.expectEnd()
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("cut after %v", d)
		}
	})
}

func TestRights(t *testing.T) {
	o := Options{Users: []User{{"reader", "s", ami.ClassCall, ami.ClassCommand}}}
	inBubble(t, o, func(t *testing.T, p *PBX) {
		c := dial(t, p)
		c.expect(c.do("Action: Login", "Username: reader", "Secret: s"), "Response: Success|Message: Authentication accepted|")
		c.expect(c.do("Action: CoreShowChannels", "ActionID: 1"), "Response: Error|ActionID: 1|Message: Permission denied|")
		list := c.do("Action: ListCommands", "ActionID: lc")
		for _, want := range []string{
			"Response: Success|ActionID: lc|",
			"|Command: Run a command of the CLI.  (Priv: command,all)|",
			"|Ping: Keep the connection alive.  (Priv: <none>)|",
		} {
			if !strings.Contains(list, want) {
				t.Errorf("%q is not in %s", want, list)
			}
		}
		if strings.Contains(list, "|Hangup: ") {
			t.Error("Hangup is listed")
		}
		p.Event("Newchannel", ami.ClassCall, "Channel", "x")
		p.Event("UserEvent", ami.ClassUser)
		p.Emit([]byte("Event: NoClass\r\n\r\n"))
		p.Emit([]byte("Event: ForAll\r\nPrivilege: <none>\r\n\r\n"))
		c.expect(c.read(), "Event: Newchannel|Privilege: call,all|Channel: x|")
		c.expect(c.read(), "Event: ForAll|Privilege: <none>|")
	})
}

func TestBoot(t *testing.T) {
	inBubble(t, Options{SystemName: "s"}, func(t *testing.T, p *PBX) {
		p.Boot(false)
		c := login(t, p, "")
		time.Sleep(5 * time.Second)
		p.Boot(true)
		c.expect(c.read(), "Event: FullyBooted|Privilege: system,all|SystemName: s|Uptime: 5|LastReload: 5|Status: Fully Booted|")
	})
}

func TestHang(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := login(t, p, "call")
		p.Hang(true)
		p.Event("Later", ami.ClassCall)
		c.send("Action: Ping", "ActionID: 1") // what was being read when it began
		got := make(chan string)
		go func() { got <- c.read() }()
		time.Sleep(10 * time.Second)
		select {
		case f := <-got:
			t.Errorf("a hung PBX said %s", f)
		default:
		}
		if n := len(p.Received()); n != 1 {
			t.Errorf("%d actions received", n)
		}
		p.Hang(false)
		if f := <-got; !strings.Contains(f, "Event: Later") && !strings.Contains(f, "Ping: Pong") {
			t.Error(f)
		}
		c.read()
		if n := len(p.Received()); n != 2 {
			t.Errorf("%d actions received", n)
		}
	})
}

func TestCrash(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(l) // ends with the PBX
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	buf := make([]byte, 100)
	if _, err := nc.Read(buf); err != nil {
		t.Fatal(err)
	}
	p.Crash()
	if _, err := nc.Read(buf); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("error %v, want a reset", err)
	}
	if nc, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Read(buf); err != nil {
		t.Errorf("after a crash: %v", err)
	}
}

func TestSlowClient(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		login(t, p, "call")
		p.Event("One", ami.ClassCall)
		time.Sleep(3 * time.Second)
		if n := len(p.Sessions()); n != 0 {
			t.Errorf("%d sessions left", n)
		}
	})
	inBubble(t, Options{QueueLimit: 100, WriteTimeout: time.Hour}, func(t *testing.T, p *PBX) {
		c := login(t, p, "call")
		for range 3 {
			p.Event("One", ami.ClassCall, "Header", strings.Repeat("x", 50))
		}
		for {
			if _, err := c.r.ReadFrame(); err != nil {
				return
			}
		}
	})
}

func TestHandle(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := login(t, p, "off")
		p.Handle("sippeers", func(r *Request) {
			r.Write([]byte("Response: Success\r\n"))
			r.Sleep(time.Minute / 2)
			r.Write([]byte("\r\n"))
		})
		begin := time.Now()
		c.expect(c.do("Action: SIPpeers"), "Response: Success|")
		if time.Since(begin) != time.Minute/2 {
			t.Error("no delay")
		}
		p.Handle("Ping", func(r *Request) {
			if r.ID() == "2" {
				r.Default()
				return
			}
			r.Reply("Error", "Never", "Extra", "1")
		})
		c.expect(c.do("Action: Ping", "ActionID: 1"), "Response: Error|ActionID: 1|Message: Never|Extra: 1|")
		if f := c.do("Action: Ping", "ActionID: 2"); !strings.Contains(f, "Pong") {
			t.Error(f)
		}
		p.Remove("Ping")
		if f := c.do("Action: Ping"); !strings.Contains(f, "Invalid/unknown command: Ping.") {
			t.Error(f)
		}
		got, err := p.Await(t.Context(), "SIPPEERS")
		if err != nil || got.Name != "SIPpeers" || got.User != "proxy" || got.Text != "Action: SIPpeers\r\n" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestPipelining(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, p *PBX) {
		c := login(t, p, "off")
		go c.send("Action: Ping", "ActionID: 1", "", "Action: Ping", "ActionID: 2", "", "Action: Ping", "ActionID: 3")
		for _, id := range []string{"1", "2", "3"} {
			if got := get(c.read(), "ActionID"); got != id {
				t.Errorf("got %q, want %q", got, id)
			}
		}
	})
}

// TestStorm has everything happen at once; it is for the race detector, and
// for goleak to see that nothing is left.
func TestStorm(t *testing.T) {
	p := New(Options{Calls: 200, RTCP: 20, Ring: 10 * time.Millisecond, Talk: 50 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { p.Serve(l) }) // ends with the PBX
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return
				}
				nc.SetDeadline(time.Now().Add(100 * time.Millisecond)) // the storm ends anyway
				nc.Write([]byte("Action: Login\r\nUsername: proxy\r\nSecret: upstream-secret\r\n\r\n" +
					"Action: CoreShowChannels\r\n\r\nAction: Hangup\r\nChannel: /0$/\r\n\r\n" +
					"Action: Originate\r\nChannel: Local/support\r\nApplication: Wait\r\nData: 1\r\n\r\n" +
					"Action: QueueStatus\r\n\r\nAction: WaitEvent\r\n\r\nAction: ListCommands\r\n\r\n"))
				io.Copy(io.Discard, nc) // ends with the deadline
				nc.Close()
			}
		})
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range 40 {
		<-tick.C
		switch i % 8 {
		case 0:
			p.Crash()
		case 1:
			p.Hang(true)
		case 2:
			p.Hang(false)
		case 3:
			p.Boot(false)
		case 4:
			p.Boot(true)
		case 5:
			for _, s := range p.Sessions() {
				p.Kick(s.ID)
				break
			}
		case 6:
			p.Handle("Ping", (*Request).Default)
			p.Inject([]byte("odd\n"))
		case 7:
			p.Received()
			p.Backlog()
			p.Handle("Ping", nil)
		}
	}
	close(stop)
	p.Close()
	all.Wait()
	near, _ := net.Pipe()
	if err := p.ServeConn(near); err != ErrClosed {
		t.Errorf("ServeConn after Close: %v", err)
	}
}
