//go:build unix

package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// setVarValues are what the variables V0, V1 and so on of a user hold: what a header,
// a list of arguments, an expression or an event could take for something else.
func setVarValues() []string {
	values := []string{
		"\xff\xfe", "", "plain", `a,b="c\d(e`, "a,b", ",", ",,a,", `"`, `"a,b"`, `a"b,c"d`, `\`, `\\`, `\,`, `a\`, "(", ")", "(a,b", "a),b(",
		"[", "]", "[a,b", "a],b[", "{a,b}", "=", "a=b", "a=b,V1=c", " a", "a  b", "\ta", "${V1}", "$[1+1]", "${CURL(x)}", "a;b",
		"a: b", "Variable: V1=x", "'a,b'", "%20", "a&b|c", "\x01\x7f", "é", strings.Repeat(`"`, 250),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := make([]byte, 1+random.IntN(40))
		for i := range b {
			b[i] = `ab=,;"\()[]{}$ '`[random.IntN(16)]
		}
		values = append(values, strings.TrimRight(string(b), " "))
	}
	return values
}

// notUTF8 is the number of the value that is no UTF-8.
const notUTF8 = "0"

// setVarUsers are users of Asterisk and of the proxy, with the same sections.
func setVarUsers() string {
	var b strings.Builder
	b.WriteString("[values]\nsecret = pw\nread = all\nwrite = all\n")
	for i, v := range setVarValues() {
		fmt.Fprintf(&b, "setvar = V%d=%s\n", i, strings.ReplaceAll(v, ";", `\;`))
	}
	b.WriteString(`
[order]
secret = pw
read = all
write = all
setvar = FIRST=user
setvar=SECOND=user
setvar => THIRD=one
setvar = THIRD=two
setvar = __HANDED=down
setvar = CHANNEL(language)=de
setvar = SP ACED = a
[plain]
secret = pw
read = all
write = all
`)
	return b.String()
}

// originate has a user call the echo test and returns the session and the channel, which
// waits to be hung up.
func originate(tb testing.TB, addr, user string, variables ...string) (c *amiclient.Client, channel string) {
	tb.Helper()
	c, channel = loginAt(tb, addr, user, "Events: off"), "setvar-"+amiclient.ActionID()
	c.Do("Action: Events", "EventMask: call,dialplan")
	lines := []string{
		"Action: Originate", "ActionID: call", "Channel: Local/echo@default",
		"Application: Wait", "Data: 30", "ChannelId: " + channel,
	}
	for _, v := range variables {
		lines = append(lines, "Variable: "+v)
	}
	c.Send(lines...)
	return c, channel
}

// hangUp ends the call and returns the variables that were set, in order, and the
// language of the channel. Those that Asterisk sets itself are left out, and the one
// that Asterisk 16 cannot make an event of.
func hangUp(c *amiclient.Client, channel string, direct *amiclient.Client) (set []string) {
	direct.Do("Action: Hangup", "Channel: "+channel)
	for {
		f := c.ReadFrame()
		if !amiclient.Has(f, "Uniqueid: "+channel) {
			continue
		}
		if amiclient.Has(f, "Event: Hangup") {
			return append(set, "language="+amiclient.Header(f, "Language"))
		}
		name := amiclient.Header(f, "Variable")
		if amiclient.Has(f, "Event: VarSet") && !strings.HasPrefix(name, "LOCAL") && name != "V"+notUTF8 {
			set = append(set, name+"="+value(f))
		}
	}
}

// value is what the Value header of a frame holds, byte for byte.
func value(f amiclient.Frame) string {
	_, v, _ := strings.Cut(string(f), "\r\nValue: ")
	v, _, _ = strings.Cut(v, "\r\n")
	return v
}

// TestSetVar: what a user's setvar lines do to the channels that it originates is what
// they do in the manager.conf of Asterisk 22, on all releases: the same variables, byte
// for byte, in the same order.
func TestSetVar(t *testing.T) {
	pbxs := starts(t,
		asterisk.Options{Major: 22, Name: "v22", Users: setVarUsers()},
		asterisk.Options{Major: 16, Name: "v16"})
	scripts := []struct {
		user      string
		variables []string
	}{
		{"order", nil},
		{"order", []string{"SECOND=request,FOURTH=request", "FIRST=request", `THIRD="three,3"`}},
		{"order", []string{`OPEN="a,(b`, "FIRST="}},
		{"plain", []string{"SECOND=request,FOURTH=request", "FIRST=request"}},
		{"values", []string{"V1=request", "FIRST=request"}},
	}
	play := func(tb testing.TB, i int, addr string, direct *amiclient.Client) []string {
		c, channel := originate(tb, addr, scripts[i].user, scripts[i].variables...)
		c.Expect("ActionID: call", "Response: Success")
		return hangUp(c, channel, direct)
	}
	judge := loginDirect(t, pbxs[0])
	var want [][]string
	for i := range scripts {
		want = append(want, play(t, i, pbxs[0].Addr(), judge))
	}
	if first := want[1]; !slices.Equal(first, []string{
		"SP ACED= a", "__HANDED=down", "THIRD=two", "THIRD=one", "SECOND=user", "FIRST=user",
		"THIRD=three,3", "FIRST=request", "FOURTH=request", "SECOND=request", "language=de",
	}) {
		t.Errorf("Asterisk 22 sets %q", first)
	}
	for _, pbx := range pbxs {
		t.Run(pbx.Name(), func(t *testing.T) {
			p := startProxy(t, setVarUsers(), pbx)
			p.waitUp()
			direct := loginDirect(t, pbx)
			for i, s := range scripts {
				if got := play(t, i, p.addr, direct); !slices.Equal(got, want[i]) {
					t.Errorf("%s with %q: through the proxy, then to Asterisk 22\n%q\n%q", s.user, s.variables, got, want[i])
				}
			}
			c, channel := originate(t, p.addr, "values")
			c.Expect("ActionID: call", "Response: Success")
			for i, v := range setVarValues() {
				if got := value(direct.Do("Action: Getvar", "Channel: "+channel, fmt.Sprintf("Variable: V%d", i))); got != v {
					t.Errorf("V%d holds %q, is to hold %q", i, got, v)
				}
			}
			hangUp(c, channel, direct)
		})
	}
}
