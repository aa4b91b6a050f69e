//go:build unix

package test

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// attackUsers are a tenant, and one who sees all and makes the calls of others.
const attackUsers = "[boss]\nsecret = pw\nread = all\nwrite = all\n[tenant:acme]\ncontext = acme-in\n[acme](boss)\ntenant = acme\n"

const attackPlan = `[acme-in]
exten => w,1,Answer()
 same => n,Wait(600)
[beta-in]
exten => w,1,Answer()
 same => n,Wait(600)
exten => d,1,Dial(Local/w@beta-in)
exten => short,1,Answer()
 same => n,Hangup()
`

// TestUniqueidOfAnother: Asterisk lets a client choose the Uniqueid of a channel, also
// that with which another's call began, or will begin. Behind a fence that is no way into the call.
func TestUniqueidOfAnother(t *testing.T) {
	for _, pbx := range starts(t, asterisk.Options{Major: 16, Name: "v16", Extensions: attackPlan}, asterisk.Options{Major: 22, Name: "v22", Extensions: attackPlan}) {
		p := startProxy(t, attackUsers, pbx)
		p.waitUp()
		boss, acme := p.login(t, "boss"), p.login(t, "acme")
		for _, chosen := range []string{"", "beta-1"} {
			id := betasCall(t, boss, chosen)
			answer := acme.Do(acmesCall(id)...)
			if amiclient.Header(answer, "Message") != "Permission denied" {
				t.Errorf("%s: %q, by which a call of another goes: %q", pbx.Name(), id, answer)
			}
			nothingOfBeta(t, pbx.Name()+": a call that "+id+" began", append(acme.Roundtrip(), acme.List("Action: CoreShowChannels")...))
		}
		pbx.Kill() // it would wait for its channels
	}
}

// TestUniqueidAwaited: a tenant has a call with the Uniqueid that another's client chooses
// for its next, and again that of one that is over, of which a Cdr is still to come.
func TestUniqueidAwaited(t *testing.T) {
	batch := map[string]string{"cdr.conf": "[general]\nenable = yes\nbatch = yes\nsize = 1000\ntime = 300\n"}
	for _, pbx := range starts(t, asterisk.Options{Major: 16, Name: "v16", Extensions: attackPlan, Files: batch}, asterisk.Options{Major: 22, Name: "v22", Extensions: attackPlan, Files: batch}) {
		p := startProxy(t, attackUsers, pbx)
		p.waitUp()
		boss, acme := p.login(t, "boss"), p.login(t, "acme")
		betas := []string{"Action: Originate", "Channel: Local/w@beta-in", "Context: beta-in", "Exten: short", "Priority: 1", "Async: true", "CallerID: 555"}

		acme.Send(acmesCall("crm-1")...)
		acme.Expect("Event: OriginateResponse", "Response: Success", "Uniqueid: crm-1")
		boss.Send(append(betas, "ChannelId: crm-1")...)
		boss.Expect("Event: OriginateResponse", "Response: Failure", "Uniqueid: crm-1")
		nothingOfBeta(t, pbx.Name()+": a call that came to nothing", acme.Roundtrip())

		boss.Send(append(betas, "ChannelId: crm-2", "OtherChannelId: crm-3")...)
		over := 0
		boss.ReadUntil(func(f amiclient.Frame) bool {
			if amiclient.Has(f, "Event: Hangup", "Linkedid: crm-2") {
				over++
			}
			return over == 2
		})
		eventually(t, "the id to be free again", func() bool {
			acme.Send(acmesCall("crm-2")...)
			return amiclient.Has(acme.Expect("Event: OriginateResponse", "Uniqueid: crm-2"), "Response: Success")
		})
		boss.Do("Action: Command", "Command: cdr submit")
		boss.Expect("Event: Cdr", "UniqueID: crm-2")
		nothingOfBeta(t, pbx.Name()+": a Cdr that comes late", acme.Roundtrip())
		pbx.Kill()
	}
}

func acmesCall(id string) []string {
	return []string{"Action: Originate", "Channel: Local/w@acme-in", "Context: acme-in", "Exten: w", "Priority: 1", "Async: true", "ChannelId: " + id}
}

func nothingOfBeta(t *testing.T, what string, frames []amiclient.Frame) {
	t.Helper()
	for _, f := range frames {
		if strings.Contains(string(f), "beta-in") {
			t.Errorf("%s: %q", what, f)
		}
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
	// OriginateResponse may come before the events of the dialplan, and after them.
	var first amiclient.Frame
	channel, talks := "", false
	boss.ReadUntil(func(f amiclient.Frame) bool {
		switch {
		case amiclient.Has(f, "Event: OriginateResponse", "Response: Success"):
			first = f
		case amiclient.Has(f, "Event: DialEnd", "DialStatus: ANSWER", "Context: beta-in", "Exten: d"):
			channel = amiclient.Header(f, "DestChannel")
		case amiclient.Has(f, "Event: BridgeEnter", "Channel: "+channel):
			talks = true
		}
		return first != "" && talks
	})
	uniqueid := amiclient.Header(first, "Uniqueid")
	boss.Send("Action: Redirect", "Channel: "+channel, "Context: beta-in", "Exten: w", "Priority: 1")
	boss.Expect("Event: BridgeLeave", "Channel: "+channel)
	boss.Send("Action: Hangup", "Channel: "+amiclient.Header(first, "Channel"))
	boss.Expect("Event: Hangup", "Uniqueid: "+uniqueid)
	boss.Roundtrip()
	return uniqueid
}
