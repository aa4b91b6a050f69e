//go:build unix

package test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// differentialUsers are users of the PBXes and of the proxy.
const differentialUsers = `
[full]
secret = pw
read = all
write = all
[limited]
secret = pw
read = call
write = call
[dialler]
secret = pw
read = call
write = originate
[agi]
secret = pw
write = originate,agi
[reporter]
secret = pw
read = cdr,reporting
write = reporting
[speaker]
secret = pw
read = user
write = user
[mute]
secret = pw
[nosecret]
read = all
[empty]
secret =
[once]
secret = pw
allowmultiplelogin = no
[single]
secret = pw
allowmultiplelogin = no
[alone]
secret = pw
allowmultiplelogin = no
[denied]
secret = pw
deny = 0.0.0.0/0.0.0.0
[permitted]
secret = pw
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.0/255.0.0.0
[classes]
secret = pw
read = none,call
write = config,reporting,reporting
[last]
secret = pw
write = all
write = call
[blanks]
secret = pw
write = call, system
[filtered]
secret = pw
read = user
write = user
eventfilter = UserEvent: (Said|More)
eventfilter = !Key: secret
[advanced]
secret = pw
read = user
write = user
eventfilter(name(UserEvent),header(UserEvent),method(exact)) = Said
eventfilter(action(exclude),header(Key),method(starts_with)) = sec
[filterer]
secret = pw
read = user
write = user,system
[waiter]
secret = pw
read = call
write = user
[odd name!]
secret = s p;w
`

// action makes the bytes of an action.
func action(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const goodbye = "Action: Logoff\r\n\r\n"

// pause is a write of nothing: what comes within a moment comes before the next one.
const pause = "{pause}"

// other begins a write to the other connection, which waits for nothing.
const other = "{other}"

func logIn(user string) string {
	return action("Action: Login", "Username: "+user, "Secret: pw", "Events: off")
}

// as is a scenario of one user's actions, in one write.
func as(user, name string, actions ...string) scenario {
	return scenario{name: name, writes: []string{logIn(user) + strings.Join(actions, "") + goodbye}}
}

// one is a scenario of one action of the user who may do all.
func one(lines ...string) scenario {
	return as("full", strings.TrimPrefix(strings.Join(lines, ", "), "Action: "), action(append(lines, "ActionID: x-1")...))
}

func raw(name string, writes ...string) scenario { return scenario{name: name, writes: writes} }

func (s scenario) byItself() scenario { s.alone = true; return s }

func (s scenario) on(major int) scenario { s.only = major; return s }

// watched is a scenario whose connection may stay open.
func (s scenario) watched() scenario { s.watch = time.Second; return s }

func (s scenario) hungUp() scenario { s.hangUp = true; return s }

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// scenarios are all that do not depend on what the PBX has; those that take long come first.
func scenarios() []scenario {
	// Elsewhere nothing waits, and the times of a machine that is busy would only confuse.
	timed := append(logins(), framing()...)
	for i := range timed {
		timed[i].timed = true
	}
	return slices.Concat(cuts(), timed, masks(), filters(), waits(), rights(), answers(), quirks())
}
