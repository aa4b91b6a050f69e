//go:build unix

package test

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// bypassUser may do all by its classes, without hardening, so that nothing but its rules
// stands between it and the PBX.
const bypassUser = `
[general]
hardening = no
[crm]
secret = pw
read = all
write = all
allowaction = Originate, Redirect, Queue*, Getvar, Setvar, Command, Hangup, GetConfig, UserEvent, Status
denyaction  = QueueReset, QueueLog
allowheader(Originate) = Channel: PJSIP/1?? | Local/*@from-crm
allowheader(Originate) = Context: from-crm
allowheader(Originate) = Exten: *
allowheader(Originate) = Priority: 1
allowheader(Originate) = Application: Playback
allowheader(Originate) = Data: *
allowheader(Originate) = Variable: CRM_*
setheader(Originate)   = CallerID: "CRM" <100>
allowheader(Redirect)  = Channel: *
allowheader(Redirect)  = Context: from-crm
allowheader(Redirect)  = Exten: *
allowheader(Redirect)  = Priority: 1
allowheader(Queue*)    = Queue: sales-*
allowheader(Queue*)    = Interface: PJSIP/2??
allowheader(Command)   = Command: core show channels | queue show sales-*
allowheader(Getvar, Setvar) = Variable: CRM_*
allowheader(Getvar, Setvar) = Channel: *
allowheader(Hangup)    = Channel: Local/?*@from-crm-*\;?
allowheader(GetConfig) = Filename: indications.conf
allowheader(UserEvent) = UserEvent: CRM*
allowheader(UserEvent) = Note: *
allowheader(Status)    = Channel: *
allowheader(Status)    = Variables: CRM_*
[apps]                      ; may play to a telephone, and call no context
secret = pw
write = all
allowaction = Originate
allowheader(Originate) = Channel: Local/*@phones
allowheader(Originate) = Application: Playback | none
allowheader(Originate) = Data: *
allowheader(Originate) = Variable: CALLERID(name)
`

// bypassPBX has a context that the user may call, and others that show when somebody
// else gets there.
func bypassPBX(major int) asterisk.Options {
	return asterisk.Options{
		Major: major, Name: "east",
		Users: "[crm]\nsecret = pw\nread = all\nwrite = all\nwritetimeout = 10000\n[apps](crm)\n",
		Extensions: `[from-crm]
exten => p,1,Hangup()
 same => 2,Set(GLOBAL(EVIL)=priority)
 same => 3(label),Set(GLOBAL(EVIL)=label)
exten => _[vw],1,Answer()
 same => n,Wait(600)
exten => _X!,1,Answer()
 same => n,Hangup()
[internal]
exten => w,1,Answer()
 same => n,Wait(600)
exten => _.,1,Set(GLOBAL(EVIL)=internal)
 same => n,Hangup()
[from-c]
exten => _.,1,Set(GLOBAL(EVIL)=cut)
 same => n,Hangup()
[phones]
exten => w,1,Answer()
 same => n,Wait(600)
[gosub]
exten => s,1,Set(GLOBAL(EVIL)=gosub)
 same => n,Return()
`,
		Files: map[string]string{"queues.conf": "[general]\n[sales-1]\nstrategy = ringall\n[support]\nstrategy = ringall\nmember => PJSIP/299\n"},
	}
}

// hush is what nobody without the right to it may read.
const hush = "hush-hush"

// canary tells what has happened on a PBX that the user's rules do not allow.
type canary struct {
	tb      testing.TB
	watcher *amiclient.Client // with all events
	direct  *amiclient.Client
	folder  string            // of files, on this machine
	inside  string            // the same, as the PBX sees it
	victims map[string]string // uniqueids of calls that are none of the user's business, and their channels
	victim  string            // one of these channels
	own     string            // a channel that the user may redirect
	over    string            // one that it hangs up
}

func newCanary(tb testing.TB, p *asterisk.PBX, major int) *canary {
	c := &canary{
		tb: tb, direct: loginDirect(tb, p), folder: filepath.Join(p.Dir(), "canary"),
		victims: map[string]string{},
	}
	c.inside = strings.TrimPrefix(c.folder, asterisk.Root(tb, major))
	if err := os.MkdirAll(c.folder, 0o777); err != nil {
		tb.Fatal(err)
	}
	c.direct.Do("Action: Setvar", "Variable: SECRET", "Value: "+hush)
	c.own, c.over, c.victim = c.call("w@from-crm"), c.call("v@from-crm"), c.call("w@internal")
	for _, f := range c.direct.List("Action: CoreShowChannels") {
		if name := amiclient.Header(f, "Channel"); strings.HasPrefix(name, "Local/w@internal") {
			c.victims[amiclient.Header(f, "Uniqueid")] = name
			c.direct.Do("Action: Setvar", "Channel: "+name, "Variable: PRIVATE", "Value: "+hush)
		}
	}
	c.watcher = loginDirect(tb, p, "Events: on")
	return c
}

// call makes a call that lasts, and returns the name of one of its channels.
func (c *canary) call(to string) (channel string) {
	c.tb.Helper()
	c.direct.Do("Action: Originate", "Channel: Local/"+to, "Application: Wait", "Data: 600", "Async: true")
	eventually(c.tb, "a call to "+to, func() bool {
		waiting := 0
		for _, f := range c.direct.List("Action: CoreShowChannels") {
			if name := amiclient.Header(f, "Channel"); strings.HasPrefix(name, "Local/"+to) && amiclient.Has(f, "Application: Wait") {
				waiting++
				if strings.HasSuffix(name, ";1") {
					channel = name
				}
			}
		}
		return waiting == 2
	})
	return channel
}

// tells says what an answer holds that the user may not know.
func tells(answer string) (found []string) {
	for _, secret := range []string{hush, asterisk.ProxySecret, "support has", "PJSIP/299"} {
		if strings.Contains(answer, secret) {
			found = append(found, "the answer holds "+secret)
		}
	}
	return found
}

// happened says what has happened since it was asked last.
func (c *canary) happened() (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, f := range c.watcher.Roundtrip() {
		if what := c.evil(f); what != "" {
			add("%s: %q", what, f)
		}
	}
	if f := c.direct.Do("Action: Getvar", "Variable: EVIL"); amiclient.Header(f, "Value") != "" {
		add("EVIL is %s", amiclient.Header(f, "Value"))
		c.direct.Do("Action: Setvar", "Variable: EVIL", "Value:")
	}
	if f := c.direct.Do("Action: DBGet", "Family: evil", "Key: x"); amiclient.Has(f, "Response: Success") {
		add("the database has evil/x")
		c.direct.Do("Action: DBDel", "Family: evil", "Key: x")
		c.direct.Roundtrip()
	}
	files, err := os.ReadDir(c.folder)
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, f := range files {
		add("the file %s is there", f.Name())
		os.RemoveAll(filepath.Join(c.folder, f.Name()))
	}
	return found
}

// evil says what is wrong with an event of the PBX, "" if nothing is.
func (c *canary) evil(f amiclient.Frame) string {
	get := func(name string) string { return amiclient.Header(f, name) }
	switch event := get("Event"); {
	case event == "Newexten" && get("Context") != "from-crm" && !(get("Context") == "phones" && strings.HasSuffix(get("Channel"), ";2")):
		return "the dialplan ran elsewhere" // also where the telephone that was called begins
	case event == "Newchannel" && !strings.HasPrefix(get("Channel"), "PJSIP/1") && !strings.Contains(get("Channel"), "@from-crm-") && !strings.Contains(get("Channel"), "@phones-"):
		return "another channel was called"
	case strings.HasPrefix(get("Uniqueid"), "evil") || get("AccountCode") == "evil":
		return "the channel has been given what it must not have"
	case get("CallerIDNum") == "666" || get("ConnectedLineNum") == "666":
		return "another caller id"
	case event == "VarSet" && strings.Contains(get("Value"), "smuggled") && !strings.HasPrefix(get("Variable"), "CRM_"):
		return "another variable"
	case strings.HasPrefix(event, "QueueMember") && (!strings.HasPrefix(get("Queue"), "sales-") || !strings.HasPrefix(get("Interface"), "PJSIP/2") || get("StateInterface") == "PJSIP/666"):
		return "another queue, or member"
	case event == "UserEvent" && !strings.HasPrefix(get("UserEvent"), "CRM"):
		return "another event"
	case event == "UserEvent" && get("Boss") != "":
		return "another header of an event"
	case c.victims[get("Uniqueid")] != "" && event != "VarSet":
		return "somebody else's call"
	case event == "QueueMemberPause" || event == "Reload" || event == "Shutdown":
		return "what changes all"
	}
	return ""
}

// bypass is an attempt of the user to do what its rules do not allow.
type bypass struct {
	name string
	raw  string // all that the client sends
	// proof: sent to the PBX itself it gets through, by which the canary is known to live.
	proof bool
	// fresh: the client has not logged in before.
	fresh bool
	// user logs in; crm if empty.
	user string
}

// play sends what the client has to say, and returns all that it is answered.
func (b bypass) play(tb testing.TB, addr string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	text := b.raw
	if !b.fresh {
		text = action("Action: Login", "Username: "+cmp.Or(b.user, "crm"), "Secret: pw", "Events: off") + text
	}
	// The end of the session is the end of the answers.
	if _, err := conn.Write([]byte(text + "\r\n\r\n" + action("Action: Logoff"))); err != nil {
		tb.Fatal(b.name, err)
	}
	var got strings.Builder
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			tb.Fatalf("%s: the session does not end: %q", b.name, got.String())
		case err != nil:
			return got.String()
		}
	}
}

// TestBypass has a user try in every way to do what its rules do not allow: none gets
// through, as the PBX itself tells. What of it proves that the canaries live gets through
// where nobody watches, and what is allowed gets through here.
func TestBypass(t *testing.T) {
	pbxs := starts(t, bypassPBX(16), bypassPBX(22))
	for i, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx := pbxs[i]
			p := startProxy(t, bypassUser, pbx)
			p.waitUp()
			c := newCanary(t, pbx, major)
			attempts, through, denied := c.attempts(), 0, 0
			seen := map[string]bool{}
			for _, b := range attempts {
				if seen[b.name] {
					t.Errorf("two attempts are called %s", b.name)
				}
				seen[b.name] = true
			}
			fail := func(who string, leaks []string) {
				for _, leak := range leaks {
					through++
					t.Errorf("GETS THROUGH: %s: %s", who, leak)
				}
			}
			for some := range slices.Chunk(attempts, 20) { // to ask the PBX takes longer than an attempt
				for _, b := range some {
					answer := b.play(t, p.addr)
					denied += strings.Count(answer, "Message: Permission denied")
					fail(b.name, tells(answer))
				}
				if leaks := c.happened(); len(leaks) > 0 {
					fail("one of those from "+some[0].name, leaks)
					for _, b := range some {
						b.play(t, p.addr)
						fail(b.name, c.happened())
					}
				}
			}
			for _, a := range c.allowed() {
				c.expectAllowed(a, p.addr)
			}
			fail("one that took its time", c.happened())

			proofs := 0
			for _, b := range attempts {
				if b.proof {
					proofs++
					c.expectLeak(b, pbx.Addr())
				}
			}
			if len(attempts) < 200 || proofs < 20 {
				t.Errorf("%d attempts, %d proofs", len(attempts), proofs)
			}
			report(t, "bypass: Asterisk %s: %d attempts, %d get through; %d answers are Permission denied; %d attempts that get through without the proxy",
				release(pbx), len(attempts), through, denied, proofs)
		})
	}
}

// expectLeak plays an attempt to the PBX itself until the canary tells of it.
func (c *canary) expectLeak(b bypass, addr string) {
	c.tb.Helper()
	answer := b.play(c.tb, addr)
	for limit := time.Now().Add(10 * time.Second); len(tells(answer))+len(c.happened()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			c.tb.Errorf("%s: the canary says nothing when it gets through\n%q", b.name, answer)
			return
		}
	}
}

// allowed is what the user may do, and what shows that it happened.
type allowed struct {
	headers []string
	want    string // in the answer, or in an event
}

func (c *canary) expectAllowed(a allowed, addr string) {
	c.tb.Helper()
	client := loginAt(c.tb, addr, "crm")
	defer client.Close()
	client.Send(a.headers...)
	var got strings.Builder
	for limit := time.Now().Add(10 * time.Second); !strings.Contains(got.String(), a.want); time.Sleep(10 * time.Millisecond) {
		for _, f := range client.Roundtrip() {
			got.WriteString(string(f))
		}
		if time.Now().After(limit) {
			c.tb.Errorf("%q is allowed, and does not happen: %q", a.headers, got.String())
			return
		}
	}
}
