//go:build unix

package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/asterisk"
)

// classSets are the write classes of the users of the permission matrix: none, each one,
// all, and usual combinations.
var classSets = append(strings.Fields("system call log verbose command agent user config dtmf reporting cdr dialplan originate agi cc aoc test security message all"),
	"",
	"system,call,log,verbose,command,agent,user", // As in many manuals.
	"system,call,log,verbose,agent,user,config,dtmf,reporting,cdr,dialplan",
	"call,originate", "call,originate,agent,user", "originate,agi", "agent,reporting", "call,reporting", "reporting,cdr",
	"system,config", "system,command,originate", "config,command", "user,message,dialplan",
	"call,log,verbose,agent,user,config,dtmf,reporting,cdr,dialplan,originate,agi,cc,aoc,test,security,message", // All but system and command.
)

func matrixUser(i int) string { return fmt.Sprintf("classes-%d", i) }

func matrixUsers() string {
	var b strings.Builder
	for i, set := range classSets {
		fmt.Fprintf(&b, "[%s]\nsecret = pw\nwrite = %s\n", matrixUser(i), set)
	}
	return b.String()
}

// TestPermissions sends every action that the PBX lists as users with each set of classes:
// the proxy answers as the PBX, or with hardening = yes refuses more, and never less.
func TestPermissions(t *testing.T) {
	t.Parallel() // with TestLimitsAreThoseOfAsterisk, which mostly waits
	options := func(major int) asterisk.Options {
		o := differentialPBX(major)
		o.Users = matrixUsers()
		return o
	}
	for i, p := range starts(t, options(16), options(22)) {
		t.Run(fmt.Sprint([]int{16, 22}[i]), func(t *testing.T) { testPermissions(t, p) })
	}
}

func testPermissions(t *testing.T, p *asterisk.PBX) {
	sections := "authlimit = 1000\npendinglimit = 1000\n" + matrixUsers()
	soft := startProxy(t, "[general]\nhardening = no\n"+sections, p)
	hard := startProxy(t, "[general]\nhardening = yes\n"+sections, p)
	soft.waitUp()
	hard.waitUp()
	actions := matrixActions(listedActions(t, p))

	var mu sync.Mutex
	var total, totalHard matrixCount
	together(t, len(classSets), func(tb testing.TB, i int) {
		var count, countHard matrixCount
		var more, moreHard []string
		// What differs must do so again, and again: the first and the second time count
		// as chance. More rights are never chance.
		for range strikes {
			direct := playMatrix(tb, p.Addr(), matrixUser(i), actions)
			count = compareRights(classSets[i], actions, direct, playMatrix(tb, soft.addr, matrixUser(i), actions))
			countHard = compareRights(classSets[i], actions, direct, playMatrix(tb, hard.addr, matrixUser(i), actions))
			more, moreHard = append(more, count.more...), append(moreHard, countHard.more...)
			if len(count.more)+len(count.fewer)+len(count.other)+len(countHard.more)+len(countHard.other) == 0 {
				break
			}
		}
		count.more, countHard.more = more, moreHard
		mu.Lock()
		defer mu.Unlock()
		total.add(count)
		totalHard.add(countHard)
	})

	for _, cell := range append(total.more, totalHard.more...) {
		t.Errorf("MORE RIGHTS THROUGH THE PROXY: %s", cell)
	}
	for _, cell := range append(total.fewer, total.other...) {
		t.Errorf("hardening = no: %s", cell)
	}
	for _, cell := range totalHard.other {
		t.Errorf("hardening = yes, and no refusal: %s", cell)
	}
	if len(totalHard.fewer) == 0 {
		t.Error("hardening = yes refuses nothing more")
	}
	report(t, "permissions: Asterisk %s: %d class sets × %d actions: %d equal, %d with more rights, %d with fewer, %d otherwise different; hardening = yes: %d refused more, %d with more rights, %d other differences",
		release(p), len(classSets), len(actions), total.equal, len(total.more), len(total.fewer), len(total.other), len(totalHard.fewer), len(totalHard.more), len(totalHard.other))
}

// A matrixAction is an action of the matrix as it is sent.
type matrixAction struct{ name, text string }

// matrixActions gives actions no arguments, or those without which they would do harm. Of
// these only one ends the session: it comes last.
func matrixActions(names []string) []matrixAction {
	var all []matrixAction
	for _, name := range append(slices.DeleteFunc(names, func(name string) bool { return name == "Logoff" }), "Logoff") {
		bare := ""
		if i := slices.IndexFunc(argumentTable, func(a arguments) bool { return a.action == name }); i >= 0 {
			bare = argumentTable[i].bare
		}
		all = append(all, matrixAction{name, arguments{action: name}.conversation(bare)[0]})
	}
	return all
}

// pong is the answer to the Ping behind an action, which tells where its answer ends.
var pong = regexp.MustCompile(`Response: Success\r\nActionID: fence\r\nPing: Pong\r\nTimestamp: [0-9.]+\r\n\r\n`)

// playMatrix sends all actions in one session and returns the first frame of each answer.
func playMatrix(tb testing.TB, addr, user string, actions []matrixAction) []string {
	tb.Helper()
	w := dialWire(addr)
	defer w.close()
	w.write(logIn(user), nil)
	w.awaitFrame()
	banner := len(w.got)
	for i, a := range actions {
		if i > 0 {
			w.write(action("Action: Ping", "ActionID: fence"), nil)
		}
		w.write(a.text, nil)
		if i%16 == 15 {
			w.awaitFrame() // Who writes only is not read from.
		}
	}
	if end := w.awaitEnd(time.Now().Add(playLimit)); end != "closed" {
		tb.Fatalf("%s at %s: the session is %s after %q", user, addr, end, w.got[max(0, len(w.got)-300):])
	}
	answers := pong.Split(string(w.got[banner:]), -1)
	if len(answers) != len(actions) {
		tb.Fatalf("%s at %s: %d actions and %d answers, the last %q", user, addr, len(actions), len(answers), answers[len(answers)-1])
	}
	for i, answer := range answers {
		first, _, _ := strings.Cut(answer, "\r\n\r\n")
		answers[i] = withoutVolatiles(first + "\r\n")
	}
	return answers
}

// A matrixCount is what a comparison of two answers to each action came to.
type matrixCount struct {
	equal              int
	more, fewer, other []string // How they differ.
}

func (c *matrixCount) add(d matrixCount) {
	c.equal += d.equal
	c.more = append(c.more, d.more...)
	c.fewer = append(c.fewer, d.fewer...)
	c.other = append(c.other, d.other...)
}

func compareRights(set string, actions []matrixAction, direct, through []string) matrixCount {
	var c matrixCount
	for i, a := range actions {
		cell := fmt.Sprintf("write = %s: %s: through the proxy, then directly:\n%q\n%q", set, a.name, through[i], direct[i])
		switch {
		case through[i] == direct[i]:
			c.equal++
		case refused(direct[i]):
			c.more = append(c.more, cell)
		case refused(through[i]):
			c.fewer = append(c.fewer, cell)
		case a.name == "ListCommands" && listsLess(through[i], direct[i]):
			c.fewer = append(c.fewer, cell)
		case a.name == "ListCommands":
			c.more = append(c.more, cell)
		default:
			c.other = append(c.other, cell)
		}
	}
	return c
}

// refused reports whether an answer refuses the action for want of rights.
func refused(answer string) bool {
	return strings.HasPrefix(answer, "Response: Error\r\n") && regexp.MustCompile(`Message: (Permission denied|\w+ Access Forbidden.*|File requires escalated .*|Command blacklisted|Invalid/unknown command: .*)\r\n`).MatchString(answer)
}

// listsLess reports whether every line of one answer is a line of another.
func listsLess(less, more string) bool {
	lines := strings.Split(more, "\r\n")
	return !slices.ContainsFunc(strings.Split(less, "\r\n"), func(line string) bool { return !slices.Contains(lines, line) })
}
