//go:build unix

package asterisk_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// each runs f for both releases, at once.
func each(t *testing.T, f func(t *testing.T, major int)) {
	for _, major := range []int{16, 22} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			f(t, major)
		})
	}
}

func login(t *testing.T, p *asterisk.PBX) *amiclient.Client {
	t.Helper()
	c := amiclient.Dial(t, p.Addr())
	c.Login(asterisk.DirectUser, asterisk.DirectSecret)
	c.Expect("Event: FullyBooted")
	return c
}

// call originates a call to an extension and returns the Newchannel event of one of
// its channels.
func call(t *testing.T, c *amiclient.Client, exten string) amiclient.Frame {
	t.Helper()
	f := c.Do("Action: Originate", "Channel: Local/"+exten+"@default", "Application: Wait", "Data: 1", "Async: true")
	if !amiclient.Has(f, "Response: Success") {
		t.Fatalf("Originate was answered %q", f)
	}
	return c.Expect("Event: Newchannel")
}

func TestTwoAtOnce(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		a := asterisk.StartNoWait(t, asterisk.Options{Major: major, Name: "a", SystemName: "paris"})
		b := asterisk.StartNoWait(t, asterisk.Options{Major: major, Name: "b"})
		a.WaitReady()
		b.WaitReady()
		if !strings.HasPrefix(a.Version(), strconv.Itoa(major)+".") {
			t.Errorf("Version = %q, want %d", a.Version(), major)
		}
		out, err := b.CLI("core show version")
		if err != nil || !strings.Contains(out, b.Version()) {
			t.Errorf("CLI = %q, %v", out, err)
		}
		for p, prefix := range map[*asterisk.PBX]string{a: "paris-", b: ""} {
			f := call(t, login(t, p), "echo")
			if got := amiclient.Header(f, "Uniqueid"); !strings.HasPrefix(got, prefix) || strings.Contains(got, "-") != (prefix != "") {
				t.Errorf("%s: Uniqueid = %q, want prefix %q", p.Name(), got, prefix)
			}
		}
	})
}

func TestKillAndStartOnTheSamePorts(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		p := asterisk.Start(t, asterisk.Options{Major: major})
		addr, pid := p.Addr(), p.Pid()
		c := login(t, p)
		call(t, c, "echo")
		p.Kill()
		c.ExpectClosed()
		if p.Pid() != 0 {
			t.Errorf("Pid = %d after Kill", p.Pid())
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Error("still listening after Kill")
		}
		p.Start()
		if p.Addr() != addr || p.Pid() == pid || p.Pid() == 0 {
			t.Errorf("restarted at %s as %d, was at %s as %d", p.Addr(), p.Pid(), addr, pid)
		}
		c = login(t, p)
		p.Restart()
		c.ExpectClosed()
		c = login(t, p)
		c.Roundtrip()

		p.Suspend()
		c.Send("Action: Ping", "ActionID: stopped")
		p.Resume()
		c.Expect("ActionID: stopped")

		p.Stop()
		p.Stop()
		p.Kill()
	})
}

// TestFurniture makes sure that the modules, users, queues and so on are there that the
// package comment promises.
func TestFurniture(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		p := asterisk.Start(t, asterisk.Options{
			Major:      major,
			Users:      "[limited]\nsecret = pw\nread = call\nwrite = call,originate\n",
			General:    "timestampevents = yes\n",
			Extensions: "[extra]\nexten => x,1,NoOp()\n",
		})
		c := login(t, p)
		for action, want := range map[string]string{
			"QueueStatus":          "Name: Local/100@agents",
			"Agents":               "Agent: 1001",
			"Parkinglots":          "Name: default",
			"PJSIPShowEndpoints":   "ObjectName: alice",
			"DeviceStateList":      "Event: DeviceStateChange",
			"PresenceStateList":    "",
			"CoreShowChannels":     "Event: CoreShowChannelsComplete",
			"ShowDialPlan":         "Context: extra",
			"BridgeTechnologyList": "BridgeTechnology: softmix",
			"PJSIPShowAors":        "ObjectName: bob",
			"ExtensionStateList":   "",
			"QueueSummary":         "Queue: sales",
			"PJSIPShowContacts":    "",
			"ConfbridgeListRooms":  "", // An error: there is none yet.
			"MailboxStatus":        "", // An error: it is not said which.
			"ParkedCalls":          "",
			"BridgeList":           "",
			"Status":               "",
		} {
			frames := c.List("Action: " + action)
			found := want == ""
			for _, f := range frames {
				found = found || amiclient.Has(f, want)
			}
			if !found {
				t.Errorf("%s: no %q in %q", action, want, frames)
			}
			if strings.Contains(string(frames[0]), "Invalid/unknown") {
				t.Errorf("%s: %q", action, frames[0])
			}
		}

		f := call(t, c, "ue")
		if amiclient.Header(f, "Timestamp") == "" {
			t.Errorf("General was not written: no Timestamp in %q", f)
		}
		c.Expect("Event: UserEvent", "UserEvent: Probe", "key: value")
		for exten, event := range map[string]string{
			"q":     "AgentCalled",
			"conf":  "ConfbridgeJoin",
			"park":  "MusicOnHoldStart",
			"echo":  "CEL",
			"fail":  "Hangup",
			"short": "Cdr",
		} {
			call(t, c, exten)
			c.Expect("Event: " + event)
		}

		limited := amiclient.Dial(t, p.Addr())
		limited.Login("limited", "pw")
		if f := limited.Do("Action: Command", "Command: core show version"); !amiclient.Has(f, "Message: Permission denied") {
			t.Errorf("limited got %q", f)
		}
	})
}

func TestTLSAndHTTP(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		p := asterisk.Start(t, asterisk.Options{Major: major, TLS: true, WebEnabled: true})
		c := amiclient.DialTLS(t, p.TLSAddr(), p.TLSConfig())
		c.Login(asterisk.ProxyUser, asterisk.ProxySecret)
		if got := c.Conn().(*tls.Conn).ConnectionState().Version; got < tls.VersionTLS12 {
			t.Errorf("TLS version %x", got)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: p.TLSConfig()}}
		defer client.CloseIdleConnections()
		for _, base := range []string{"http://" + p.HTTPAddr(), "https://" + p.HTTPSAddr()} {
			response, err := client.Get(fmt.Sprintf("%s/rawman?action=login&username=%s&secret=%s", base, asterisk.DirectUser, asterisk.DirectSecret))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || !strings.Contains(string(body), "Authentication accepted") {
				t.Errorf("%s: %s %q %v", base, response.Status, body, err)
			}
		}
		if _, err := os.Stat(p.CertFile()); err != nil {
			t.Error(err)
		}
	})
}

// TestDiesWithTheTestBinary runs this test once more, in a process that it kills.
func TestDiesWithTheTestBinary(t *testing.T) {
	const env = "AMIPROXY_TEST_PID_FILE"
	if name := os.Getenv(env); name != "" {
		p := asterisk.Start(t, asterisk.Options{Major: 22})
		if err := os.WriteFile(name+".tmp", fmt.Appendf(nil, "%d %s", p.Pid(), p.Dir()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			t.Fatal(err)
		}
		select {}
	}

	asterisk.Root(t, 22)
	name := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiesWithTheTestBinary$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), env+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	var pid int
	var dir string
	eventually(t, func() bool {
		select {
		case <-ended:
			t.Fatal("the other test binary ended before its PBX ran")
		default:
		}
		text, _ := os.ReadFile(name)
		n, _ := fmt.Sscan(string(text), &pid, &dir)
		return n == 2
	})
	cmd.Process.Kill()
	<-ended
	eventually(t, func() bool {
		// A process that nobody waited for yet is as good as gone.
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return syscall.Kill(pid, 0) == syscall.ESRCH || strings.Contains(string(stat), ") Z ")
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// eventually waits for what only polling can tell: the end of a process not our child.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("not after a minute")
		}
	}
}
