//go:build unix

package test

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// TestUniqueidOfAnother: Asterisk lets a client choose the Uniqueid of a channel, also
// that with which another's call began, or will begin. Behind a fence that is no way into the call.
func TestUniqueidOfAnother(t *testing.T) {
	const users = "[boss]\nsecret = pw\nread = all\nwrite = all\n[tenant:acme]\ncontext = acme-in\n[acme](boss)\ntenant = acme\n"
	const dialplan = `[acme-in]
exten => w,1,Answer()
 same => n,Wait(600)
[beta-in]
exten => w,1,Answer()
 same => n,Wait(600)
exten => d,1,Dial(Local/w@beta-in)
`
	for _, pbx := range starts(t, asterisk.Options{Major: 16, Name: "v16", Extensions: dialplan}, asterisk.Options{Major: 22, Name: "v22", Extensions: dialplan}) {
		p := startProxy(t, users, pbx)
		p.waitUp()
		boss, acme := p.login(t, "boss"), p.login(t, "acme")
		for _, chosen := range []string{"", "beta-1"} {
			id := betasCall(t, boss, chosen)
			answer := acme.Do("Action: Originate", "Channel: Local/w@acme-in", "Context: acme-in", "Exten: w", "Priority: 1", "Async: true", "ChannelId: "+id)
			switch {
			case chosen == "" && amiclient.Header(answer, "Message") != "Permission denied":
				t.Errorf("%s: a Uniqueid of Asterisk's own: %q", pbx.Name(), answer)
			case chosen != "":
				acme.Expect("Event: OriginateResponse", "Response: Success", "Uniqueid: "+id)
			}
			for _, f := range append(acme.Roundtrip(), acme.List("Action: CoreShowChannels")...) {
				if strings.Contains(string(f), "beta-in") {
					t.Errorf("%s: a call that %q began: %q", pbx.Name(), id, f)
				}
			}
		}
		pbx.Kill() // it would wait for its channels
	}
}

// betasCall makes a call that goes on without the channel that began it, and returns the
// Uniqueid of that.
func betasCall(t *testing.T, boss *amiclient.Client, chosen string) string {
	t.Helper()
	originate := []string{"Action: Originate", "Channel: Local/w@beta-in", "Context: beta-in", "Exten: d", "Priority: 1", "Async: true"}
	if chosen != "" {
		originate = append(originate, "ChannelId: "+chosen)
	}
	boss.Send(originate...)
	first := boss.Expect("Event: OriginateResponse", "Response: Success")
	dialled := amiclient.Header(boss.Expect("Event: DialEnd", "Channel: "+amiclient.Header(first, "Channel"), "DialStatus: ANSWER"), "DestChannel")
	boss.Expect("Event: BridgeEnter", "Channel: "+dialled)
	boss.Send("Action: Redirect", "Channel: "+dialled, "Context: beta-in", "Exten: w", "Priority: 1")
	boss.Expect("Event: BridgeLeave", "Channel: "+dialled)
	boss.Send("Action: Hangup", "Channel: "+amiclient.Header(first, "Channel"))
	boss.Expect("Event: Hangup", "Uniqueid: "+amiclient.Header(first, "Uniqueid"))
	boss.Roundtrip()
	return amiclient.Header(first, "Uniqueid")
}
