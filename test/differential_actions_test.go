//go:build unix

package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// fromActions makes scenarios of every action that the PBX lists, with what argumentTable
// has for it. An action that the table does not know fails the test.
func fromActions(t *testing.T, p *asterisk.PBX) []scenario {
	t.Helper()
	var all []scenario
	for _, name := range listedActions(t, p) {
		i := slices.IndexFunc(argumentTable, func(a arguments) bool { return a.action == name })
		if i < 0 {
			t.Errorf("%s has the action %s: add what to give it to argumentTable", release(p), name)
			continue
		}
		all = append(all, argumentTable[i].scenarios()...)
	}
	return all
}

// listedActions asks a PBX for its actions.
func listedActions(tb testing.TB, p *asterisk.PBX) []string {
	tb.Helper()
	c := loginDirect(tb, p)
	defer c.Close()
	var names []string
	for line := range strings.Lines(string(c.Do("Action: ListCommands"))) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.Contains(line, "  (Priv: ") {
			names = append(names, name)
		}
	}
	if len(names) < 100 {
		tb.Fatalf("%s lists only %d actions", release(p), len(names))
	}
	return names
}

// unusedArguments names the actions of the table that no PBX lists.
func unusedArguments(listed []string) []string {
	var unused []string
	for _, a := range argumentTable {
		if !slices.Contains(listed, a.action) {
			unused = append(unused, a.action)
		}
	}
	return unused
}

func (a arguments) scenarios() []scenario {
	var all []scenario
	add := func(kind string, trial string) {
		s := as("full", a.action+" "+kind, a.conversation(trial)...)
		s.alone = a.alone
		all = append(all, s)
	}
	add("bare", a.bare)
	for i, trial := range a.plausible {
		add(fmt.Sprintf("plausible %d: %s", i, trial), trial)
		if a.fixed || strings.HasPrefix(trial, "Action: ") {
			continue
		}
		first, more, _ := strings.Cut(trial, " || ")
		if more != "" {
			more = " || " + more
		}
		headers := strings.Split(first, " | ")
		for j, header := range headers {
			name, _, _ := strings.Cut(header, ":")
			change := func(kind string, changed ...string) {
				add(fmt.Sprintf("plausible %d %s %s", i, kind, name), strings.Join(slices.Replace(slices.Clone(headers), j, j+1, changed...), " | ")+more)
			}
			change("without")
			change("with an empty", name+":")
			change("with a wrong", name+": nosuch")
			change("with two", header, name+": nosuch")
			change("with an empty one before", name+":", header)
		}
	}
	for i, trial := range a.wrong {
		add(fmt.Sprintf("wrong %d: %s", i, trial), trial)
	}
	return all
}

// conversation makes the actions of a trial.
func (a arguments) conversation(trial string) []string {
	if !strings.HasPrefix(trial, "Action: ") {
		trial = "Action: " + a.action + " | " + trial
	}
	var all []string
	for i, headers := range strings.Split(trial, " || ") {
		lines := slices.DeleteFunc(strings.Split(headers, " | "), func(line string) bool { return line == "" })
		all = append(all, action(append(lines, fmt.Sprintf("ActionID: t-%d", i))...))
	}
	return all
}

// differentialPBX is what a PBX of the suite is like. It loads, besides the usual ones,
// modules that have actions; those that want a port get an address of their own.
func differentialPBX(major int) asterisk.Options {
	bind := fmt.Sprintf("bindaddr = 127.%d.%d.%d\n", 1+os.Getpid()>>8&127, os.Getpid()&255, major)
	return asterisk.Options{
		Major: major, Name: "pbx", Users: differentialUsers, General: "authlimit = 1000\n",
		Modules: []string{"res_fax", "res_fax_spandsp", "res_monitor", "res_xmpp", "chan_iax2", "chan_sip", "chan_skinny"},
		Extensions: `
[standing]
exten => hold,1,Answer()
 same => n,Wait(7200)
exten => hold,hint,Custom:hold
exten => ring,1,Ringing()
 same => n,Wait(20)
`,
		Files: map[string]string{
			"iax.conf":         "[general]\n" + bind + "[peer]\ntype = peer\nhost = 127.0.0.1\n",
			"queuerules.conf":  "[rising]\npenaltychange => 30,+3\npenaltychange => 60,10,20\n",
			"res_parking.conf": "[general]\n[default]\nparkext = 700\nparkpos = 701-720\ncontext = parkedcalls\nparkingtime = 7200\n",
			"sip.conf":         "[general]\nudp" + bind + "[phone]\ntype = friend\nhost = dynamic\n",
			"skinny.conf":      "[general]\n" + bind,
			"xmpp.conf":        "[general]\n",
		},
	}
}

// standingCalls makes calls that stay, so that lists have items, and returns the marks by
// which scenarios name them.
func standingCalls(t *testing.T, p *asterisk.PBX) map[string]string {
	t.Helper()
	c := loginDirect(t, p)
	defer c.Close()
	marks := make(map[string]string)
	for _, call := range [][3]string{{"call", "Wait", "7200"}, {"conf", "ConfBridge", "800"}, {"queued", "Queue", "sales"}, {"parked", "Park", ""}} {
		f := c.Do("Action: Originate", "Channel: Local/hold@standing", "Application: "+call[1], "Data: "+call[2], "ChannelId: standing-"+call[0])
		if !amiclient.Has(f, "Response: Success") {
			t.Fatalf("standing call in %s: %s", call[1], f)
		}
	}
	t.Cleanup(func() {
		c := loginDirect(t, p)
		c.List("Action: Hangup", "Channel: /./") // A PBX with calls takes its time to stop.
		c.Close()
	})
	eventually(t, "the standing calls", func() bool {
		for _, f := range c.List("Action: CoreShowChannels") {
			if name, ok := strings.CutPrefix(amiclient.Header(f, "Uniqueid"), "standing-"); ok && !strings.Contains(name, ";") {
				marks["{"+name+"}"] = amiclient.Header(f, "Channel")
				if name == "conf" {
					marks["{bridge}"] = amiclient.Header(f, "BridgeId")
				}
			}
		}
		parked := c.List("Action: ParkedCalls")
		return len(marks) == 5 && marks["{bridge}"] != "" && len(parked) == 3
	})
	return marks
}
