//go:build unix

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

const escapeUsers = `
[tenant:acme]
context = acme-in
[tenant:beta]
context = beta-in
accountcode = beta
parkinglot = beta-lot
[acme]
secret = pw
read = all
write = all
tenant = acme
`

// escapePlan has calls of acme to beta, where an extension tells that it ran.
const escapePlan = `
[acme-in]
exten => hold,1,Answer()
 same => n,Wait(600)
exten => call,1,Dial(Local/hold@beta-in/n,20,TtKk)
[beta-in]
exten => hold,1,Answer()
 same => n,Wait(600)
exten => 900,1,Set(GLOBAL(EVIL)=ran)
 same => n,Return()
`

// An escape is a detour out of a fence. ACME is a channel that runs the dialplan of acme
// and talks to BETA, OTHER the other half of that, FILE a file of the PBX.
type escape struct {
	name    string
	actions []string // All are allowed but the first.
	evil    string   // An action.
	tells   string   // In the answer to it, once it is done.
}

const (
	didRun  = "Getvar|Variable: EVIL"
	isThere = "CoreShowChannels"
)

var escapes = []escape{
	{"a blind transfer within the other's context", []string{"BlindTransfer|Channel: BETA|Exten: 900"}, didRun, "ran"},
	{"an attended transfer within the other's context", []string{"Atxfer|Channel: BETA|Exten: 900"}, didRun, "ran"},
	{"keys that the other has not pressed", []string{"PlayDTMF|Channel: BETA|Digit: *|Receive: true", "Getvar|Channel: BETA|Variable: CALLERID(num)"}, "Getvar|Channel: BETA|Variable: CALLERID(num)", "Success"},
	{"an extension that runs when the connected line changes", []string{"Setvar|Channel: ACME|Variable: CONNECTED_LINE_SEND_SUB|Value: beta-in,900,1", "Setvar|Channel: OTHER|Variable: CONNECTEDLINE(num)|Value: 7"}, didRun, "ran"},
	{"the same, of a channel that is to come", []string{"Originate|Channel: Local/call@acme-in/n|Context: acme-in|Exten: hold|Priority: 1|Async: true|Variable: X=1,__CONNECTED_LINE_SEND_SUB=beta-in\\,900\\,1"}, "", ""},
	{"an account code behind a backslash", []string{`Setvar|Channel: ACME|Variable: CDR(acc\ountcode)|Value: beta`}, isThere, "AccountCode: beta"},
	{"an account code in quotes", []string{`Setvar|Channel: ACME|Variable: CDR("acc"ountcode)|Value: beta`}, isThere, "AccountCode: beta"},
	{"the other's parking lot", []string{"Setvar|Channel: ACME|Variable: PARKINGLOT|Value: beta-lot", "Park|Channel: ACME"}, "ParkedCalls", "Parkinglot: beta-lot"},
	{"a command behind the file", []string{"MixMonitor|Channel: ACME|File: x.wav,,touch FILE;", "Hangup|Channel: ACME"}, "", ""},
	{"a command behind the options", []string{"MixMonitor|Channel: ACME|File: x.wav|Options: ,touch FILE;", "Hangup|Channel: ACME"}, "", ""},
	{"a variable of the whole PBX", []string{"Getvar|Channel: ACME|Variable: SECRET"}, "Getvar|Variable: SECRET", hush},
	{"the same by Status", []string{"Status|Channel: ACME|Variables: CALLERID(num),SECRET"}, "Status|Channel: ACME|Variables: CALLERID(num),SECRET", hush},
}

// TestFenceEscapes: what leads out of a fence by a detour is refused. That it does lead
// out, the PBX itself shows.
func TestFenceEscapes(t *testing.T) {
	options := func(major int) asterisk.Options {
		return asterisk.Options{Major: major, Name: fmt.Sprint("v", major), Extensions: escapePlan, Files: map[string]string{
			"res_parking.conf": "[general]\n[default]\nparkext = 700\nparkpos = 701-720\ncontext = parked\n[beta-lot]\nparkext = 800\nparkpos = 801-820\ncontext = parked\n",
			"features.conf":    "[general]\nfeaturedigittimeout = 20000\ntransferdigittimeout = 20\n[featuremap]\natxfer => *2\n[applicationmap]\n",
		}}
	}
	pbxs := starts(t, options(16), options(22))
	for i, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx := pbxs[i]
			p := startProxy(t, escapeUsers, pbx)
			p.waitUp()
			direct, acme := loginDirect(t, pbx), p.login(t, "acme", "Events: off")
			direct.Do("Action: Setvar", "Variable: SECRET", "Value: "+hush)
			for n, e := range escapes {
				e.play(t, direct, acme, pbx, major, n)
			}
			pbx.Kill() // It would wait for its channels.
		})
	}
}

func (e escape) play(t *testing.T, direct, acme *amiclient.Client, pbx *asterisk.PBX, major, n int) {
	ours, theirs := e.call(t, direct, fmt.Sprint("acme-", n))
	file := filepath.Join(pbx.Dir(), "lib", fmt.Sprint("escape-", n))
	lines := func(action string) []string {
		fill := strings.NewReplacer("ACME", ours, "BETA", theirs, "OTHER", strings.TrimSuffix(theirs, "1")+"2", "FILE", strings.TrimPrefix(file, asterisk.Root(t, major)))
		return strings.Split("Action: "+fill.Replace(action), "|")
	}
	eventually(t, "the proxy to know the call", func() bool {
		return amiclient.Has(acme.Do("Action: Getvar", "Channel: "+theirs, "Variable: CHANNEL(state)"), "Response: Success")
	})
	for i, action := range e.actions {
		if f := acme.Do(lines(action)...); (i == 0) != amiclient.Has(f, "Message: Permission denied") {
			t.Errorf("%s: %s: %q", e.name, action, f)
		}
	}
	led := func() bool {
		if strings.Contains(e.actions[0], "FILE") {
			_, err := os.Stat(file)
			return err == nil
		}
		direct.Send(lines(e.evil)...)
		return strings.Contains(fmt.Sprint(direct.Roundtrip()), e.tells)
	}
	// A busy Asterisk may drop the digits that Atxfer makes of a transfer: it is asked again.
	var asked time.Time
	tries := 0
	eventually(t, e.name, func() bool {
		if time.Since(asked) > patience/4 {
			ours, theirs = e.call(t, direct, fmt.Sprint("proof-", n, "-", tries))
			for _, action := range e.actions {
				direct.Do(lines(action)...)
			}
			asked, tries = time.Now(), tries+1
		}
		return e.evil == "" && !strings.Contains(e.actions[0], "FILE") || led()
	})
	direct.Do("Action: Setvar", "Variable: EVIL", "Value:")
	eventually(t, "no channels", func() bool {
		frames := direct.List("Action: CoreShowChannels")
		for _, f := range frames[1 : len(frames)-1] {
			direct.Send("Action: Hangup", "Channel: "+amiclient.Header(f, "Channel"))
		}
		return len(frames) == 2
	})
}

// call makes a call of acme to beta.
func (e escape) call(t *testing.T, direct *amiclient.Client, id string) (ours, theirs string) {
	direct.Do("Action: Originate", "Channel: Local/call@acme-in/n", "Context: acme-in", "Exten: hold", "Priority: 1", "Async: true", "ChannelId: "+id+"-a", "OtherChannelId: "+id+"-b")
	eventually(t, "a call to beta", func() bool {
		bridged := 0
		for _, f := range direct.List("Action: CoreShowChannels") {
			if amiclient.Header(f, "Linkedid") == id+"-a" && amiclient.Header(f, "BridgeId") != "" {
				bridged++
				if amiclient.Header(f, "Uniqueid") == id+"-b" {
					ours = amiclient.Header(f, "Channel")
				} else {
					theirs = amiclient.Header(f, "Channel")
				}
			}
		}
		return bridged == 2
	})
	return ours, theirs
}
