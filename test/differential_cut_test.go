//go:build unix

package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// cuts are a few long conversations whose bytes come in pieces: one by one, and cut at
// random places.
func cuts() []scenario {
	long := strings.Repeat
	texts := []struct{ name, text string }{
		{"a session", action("Action: Challenge", "AuthType: MD5", "ActionID: 0") + logIn("full") + action("Action: Ping", "ActionID: 1") + action("Action: Getvar", "Variable: NONE", "ActionID: 2") +
			"\r\n\n" + action("Action: QueueStatus", "Queue: support", "ActionID: 3") + action("Action: Nosuch") + goodbye},
		{"line ends", logIn("full") + "Action: Ping\nActionID: 1\n\nAction: Getvar\r\nVariable: A\rB\r\n\r\nAction: Getvar\r\nVariable: NO\x00NE\r\n\nAction: Ping\r\n\x00\r\n" + goodbye},
		{"long lines", logIn("full") + action("Action: Ping", "X: "+long("x", 1019)) + action("Action: Getvar", "X: "+long("x", 1020), "ActionID: 1") + action("Action: Ping", "X: "+long("x", 1021)+"ActionID: 2") +
			action(long("x", 1023)+"ActionID: tail", "Action: Ping") + goodbye},
		{"many headers", logIn("full") + "Action: Getvar\r\n" + long("H: x\r\n", 125) + "Variable: A\r\nActionID: 1\r\n\r\n" + "Action: Ping\n" + long("H: x\n", 128) + "\n" + goodbye},
	}
	var all []scenario
	for i, t := range texts {
		s := raw(t.name+" byte by byte", t.text).hungUp()
		s.cut = func(text string) []string { return strings.Split(text, "") }
		if len(t.text) > 1500 {
			s.name, s.cut = t.name+" in sevens", func(text string) []string { return pieces(text, func() int { return 7 }) }
		}
		all = append(all, s)
		for n := range 12 {
			s := raw(fmt.Sprintf("%s cut at random, %d", t.name, n), t.text).hungUp()
			s.cut = func(text string) []string {
				random := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				return pieces(text, func() int { return 1 + random.IntN(1<<(n%6+3)) })
			}
			all = append(all, s)
		}
	}
	return all
}

// pieces cuts a text into pieces as long as next says.
func pieces(text string, next func() int) []string {
	var all []string
	for text != "" {
		n := min(next(), len(text))
		all = append(all, text[:n])
		text = text[n:]
	}
	return all
}
