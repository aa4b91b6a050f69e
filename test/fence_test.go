//go:build unix

package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// fencePlan is the dialplan: calls begin in a context of their tenant, and go on where
// nothing tells whose they are.
var fencePlan = fenceContext("acme-in", "acme") + fenceContext("beta-in", "beta") + fenceContext("nobody", "common") + `
[common]
exten => phone,1,Answer()
 same => n,Wait(60)
exten => chain,1,Dial(Local/phone@common,20)
exten => other,1,Answer()
 same => n,Wait(60)
exten => 5,1,Answer()
 same => n,Wait(60)
`

// fenceContext is where calls begin. The end that is held says something, as Answer at the
// other waits half a second for that (channel.c: __ast_answer).
func fenceContext(context, tenant string) string {
	return strings.NewReplacer("CONTEXT", context, "TENANT", tenant).Replace(`
[CONTEXT]
exten => hold,1,Answer()
 same => n,SendText(hello)
 same => n,Wait(60)
exten => talk,1,Dial(Local/phone@common,20,Tt)
exten => chain,1,Dial(Local/chain@common,20)
exten => q,1,Answer()
 same => n,Queue(TENANT-q,,,,10)
exten => park,1,Answer()
 same => n,Park()
exten => fetch,1,Answer()
 same => n,ParkedCall(default,${SLOT})
exten => conf,1,Answer()
 same => n,ConfBridge(TENANT-room)
`)
}

const fenceQueues = `[general]
[acme-q]
strategy = ringall
member => Local/phone@common
[beta-q]
strategy = ringall
member => Local/phone@common
[common-q]
strategy = ringall
member => Local/phone@common
`

const fenceUsers = `
[tenant:acme]
context = acme-in
queue = acme-q
conference = acme-room
[tenant:beta]
context = beta-in
queue = beta-q
conference = beta-room
[any](!)
secret = pw
read = all
write = all
queuelimit = 256M
[all](any)
[acme](any)
tenant = acme
allowevent = UserEvent
allowevent(UserEvent) = UserEvent: Mark
[beta](any)
tenant = beta
allowevent = UserEvent
allowevent(UserEvent) = UserEvent: Mark
`

func startFenced(t *testing.T, major int) (*asterisk.PBX, *proxied) {
	pbx := asterisk.Start(t, asterisk.Options{
		Major: major, Name: "east", Extensions: fencePlan,
		// Every channel tells in all of its events whose it is.
		General: "channelvars = TENANT",
		Files: map[string]string{
			"queues.conf": fenceQueues,
			// Short, as who enters and leaves waits for them: the first for a sentence of three seconds.
			"confbridge.conf": "[general]\n[default_user]\ntype = user\n[default_bridge]\ntype = bridge\nsound_only_person = ascending-2tone\nsound_join = ascending-2tone\nsound_leave = ascending-2tone\n",
			// An Atxfer takes this second: its one digit ends the prompt, and another is waited for
			// (bridge_basic.c: grab_transfer). One that is queued by then may not be heard.
			"features.conf": "[general]\nfeaturedigittimeout = 20000\ntransferdigittimeout = 1\n[featuremap]\natxfer => *2\nblindxfer => #1\n[applicationmap]\n",
		},
	})
	p := startProxy(t, fenceUsers, pbx)
	p.waitUp()
	return pbx, p
}

var fenceContexts = map[string]string{"acme": "acme-in", "beta": "beta-in", "nobody": "nobody"}

// A dialler makes calls of a tenant, of which the test knows the Uniqueids.
type dialler struct {
	tb     testing.TB
	c      *amiclient.Client // With events of the class call.
	tenant string
	name   string
	n      int
}

// call makes a call. One end is held, the other runs an extension; those are
// their Uniqueids.
func (d *dialler) call(exten string, more ...string) (held, runs string) {
	d.tb.Helper()
	d.n++
	held, runs = fmt.Sprintf("%s-%d-a", d.name, d.n), fmt.Sprintf("%s-%d-b", d.name, d.n)
	context := fenceContexts[d.tenant]
	d.c.Send(append([]string{
		"Action: Originate", "Channel: Local/" + exten + "@" + context, "Context: " + context, "Exten: hold", "Priority: 1", "Async: true",
		"ChannelId: " + held, "OtherChannelId: " + runs, "Variable: __TENANT=" + d.tenant,
	}, more...)...)
	return held, runs
}

func (d *dialler) expect(headers ...string) amiclient.Frame { return d.c.Expect(headers...) }

// talks waits until a call is answered, and the end that runs an extension is in a
// bridge with another channel.
func (d *dialler) talks(held, runs string) {
	bridge, answered, bridged := "", false, false
	d.c.ReadUntil(func(f amiclient.Frame) bool {
		answered = answered || amiclient.Has(f, "Event: OriginateResponse", "Uniqueid: "+held)
		if amiclient.Has(f, "Event: BridgeEnter", "Uniqueid: "+runs) {
			bridge = "BridgeUniqueid: " + amiclient.Header(f, "BridgeUniqueid")
		}
		bridged = bridged || bridge != "" && amiclient.Has(f, "Event: BridgeEnter", bridge, "BridgeNumChannels: 2")
		return answered && bridged
	})
}

// consults waits until a channel is in a bridge with the one that it is to transfer to,
// and that has answered. (Who hangs up before may bring Asterisk 16 down: bridge_basic.c,
// blond_nonfinal_enter.) It reports false when the call ends before that: the digits by which
// Atxfer works are timed, and a busy machine may not hear them (channel.c: __ast_read).
func (d *dialler) consults(transferer string) (ok bool) {
	bridges, up := map[string][]string{}, map[string]bool{}
	d.c.ReadUntil(func(f amiclient.Frame) bool {
		id := amiclient.Header(f, "Uniqueid")
		switch bridge := amiclient.Header(f, "BridgeUniqueid"); {
		case amiclient.Has(f, "Event: Hangup", "Uniqueid: "+transferer):
			return true
		case amiclient.Has(f, "Event: Newstate", "ChannelState: 6"):
			up[id] = true
		case amiclient.Has(f, "Event: BridgeEnter"):
			bridges[bridge] = append(bridges[bridge], id)
		}
		for _, ids := range bridges {
			ok = ok || slices.Contains(ids, transferer) && slices.ContainsFunc(ids, func(id string) bool { return id != transferer && up[id] })
		}
		return ok
	})
	return ok
}

func (d *dialler) hangUp(channels ...string) {
	for _, channel := range channels {
		d.c.Send("Action: Hangup", "Channel: "+channel)
	}
}

// fenceCalls are the kinds of calls.
var fenceCalls = map[string]func(d *dialler){
	"talk": func(d *dialler) {
		held, runs := d.call("talk")
		d.talks(held, runs)
		d.hangUp(held)
	},
	"chain": func(d *dialler) { // Local channels that Asterisk takes out again.
		held, runs := d.call("chain")
		d.talks(held, runs)
		d.hangUp(held)
	},
	"queue": func(d *dialler) {
		held, runs := d.call("q")
		d.talks(held, runs)
		d.hangUp(held)
	},
	"conference": func(d *dialler) {
		a, runs := d.call("conf")
		d.expect("Event: BridgeEnter", "Uniqueid: "+runs)
		b, runs := d.call("conf")
		d.expect("Event: BridgeEnter", "Uniqueid: "+runs)
		d.hangUp(a, b)
	},
	"parking": func(d *dialler) {
		parked, _ := d.call("park")
		f := d.c.ReadUntil(func(f amiclient.Frame) bool {
			return amiclient.Has(f, "Event: ParkedCall") && strings.HasPrefix(amiclient.Header(f, "ParkeeUniqueid"), parked[:len(parked)-1])
		})
		slot := amiclient.Header(f[len(f)-1], "ParkingSpace")
		fetches, runs := d.call("fetch", "Variable: SLOT="+slot, "Variable: __SLOT="+slot)
		d.expect("Event: BridgeEnter", "Uniqueid: "+runs)
		d.hangUp(parked, fetches)
	},
	"blind transfer": func(d *dialler) {
		held, runs := d.call("talk")
		d.talks(held, runs)
		d.c.Send("Action: BlindTransfer", "Channel: "+runs, "Context: common", "Exten: other")
		f := d.expect("Event: BlindTransfer", "TransfererUniqueid: "+runs)
		d.hangUp(amiclient.Header(f, "TransfereeUniqueid"), held)
	},
	"redirect": func(d *dialler) {
		held, runs := d.call("talk")
		d.talks(held, runs)
		d.c.Send("Action: Redirect", "Channel: "+runs, "Context: common", "Exten: other", "Priority: 1")
		d.expect("Event: Newexten", "Uniqueid: "+runs, "Extension: other")
		d.hangUp(held)
	},
	"bridged": func(d *dialler) { // Two calls, of which one end each goes on with the other.
		a, aRuns := d.call("talk")
		d.talks(a, aRuns)
		b, bRuns := d.call("talk")
		d.talks(b, bRuns)
		d.c.Send("Action: Bridge", "Channel1: "+aRuns, "Channel2: "+bRuns)
		d.expect("Event: BridgeEnter", "BridgeNumChannels: 2")
		d.hangUp(a, b)
	},
	"attended transfer": func(d *dialler) {
		held, runs := "", ""
		for try := 1; ; try++ {
			held, runs = d.call("talk")
			d.talks(held, runs)
			d.c.Send("Action: AbsoluteTimeout", "Channel: "+held, "Timeout: 8")
			d.c.Send("Action: Atxfer", "Channel: "+runs, "Context: common", "Exten: 5")
			if d.consults(runs) {
				break
			}
			if try == 5 {
				d.tb.Fatal("no Atxfer was heard")
			}
		}
		d.hangUp(held)
		f := d.expect("Event: AttendedTransfer", "OrigTransfererUniqueid: "+runs)
		d.hangUp(amiclient.Header(f, "TransfereeUniqueid"))
	},
}

// TestFence makes 200 calls of two tenants and nobody, of all kinds and at the same time.
// Each tenant's client is to get all events of its own, and none of others.
func TestFence(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) { testFence(t, major) })
	}
}

func testFence(t *testing.T, major int) {
	pbx, p := startFenced(t, major)
	clients := map[string]*amiclient.Client{}
	for _, user := range []string{"all", "acme", "beta"} {
		clients[user] = p.login(t, user)
		clients[user].Roundtrip()
	}
	const each = 3 // Times that a worker makes each kind of call.
	kinds := slices.Sorted(maps.Keys(fenceCalls))
	var made atomic.Int64
	together(t, 6, func(tb testing.TB, i int) {
		tenant := []string{"acme", "beta", "acme", "beta", "nobody", "acme"}[i]
		d := &dialler{tb: tb, c: loginDirect(tb, pbx, "Events: call,dialplan"), tenant: tenant, name: fmt.Sprint(tenant, i)}
		order := rand.New(rand.NewPCG(1, uint64(i)))
		for range each {
			for _, k := range order.Perm(len(kinds)) {
				fenceCalls[kinds[k]](d)
			}
		}
		made.Add(int64(d.n))
	})
	if t.Failed() {
		return
	}
	settle(t, pbx)
	loginDirect(t, pbx).Do("Action: UserEvent", "UserEvent: Mark")
	streams := map[string][]amiclient.Frame{}
	for user, c := range clients {
		streams[user] = c.ReadUntil(func(f amiclient.Frame) bool { return amiclient.Has(f, "UserEvent: Mark") })
		streams[user] = streams[user][:len(streams[user])-1]
	}
	pbx.Kill() // A stop takes its time.
	full := streams["all"]
	known := label(full)
	t.Logf("%d calls, %d events", made.Load(), len(full))
	if made.Load() < 200 {
		t.Error("fewer than 200 calls")
	}
	for _, tenant := range []string{"acme", "beta"} {
		compare(t, tenant, known, full, streams[tenant])
	}
}

// settle waits until the PBX has no channels and nothing more to say of those it had.
func settle(t *testing.T, pbx *asterisk.PBX) {
	watch := loginDirect(t, pbx, "Events: on")
	direct := loginDirect(t, pbx)
	asked := map[string]bool{}
	eventually(t, "no channels", func() bool {
		frames := direct.List("Action: CoreShowChannels")
		for _, f := range frames[1 : len(frames)-1] {
			if id := amiclient.Header(f, "Uniqueid"); !asked[id] {
				asked[id] = true
				direct.Send("Action: Hangup", "Channel: "+id)
			}
		}
		return len(frames) == 2
	})
	quiet := 0
	eventually(t, "the end of the events", func() bool {
		if quiet++; len(watch.Roundtrip()) > 0 {
			quiet = 0
		}
		time.Sleep(50 * time.Millisecond)
		return quiet > 20
	})
}

// labels say whose the channels and bridges of a stream are, by the variable that all
// channels of a call inherit.
type labels struct{ channels, bridges map[string]map[string]bool }

var (
	tenantLine = regexp.MustCompile(`(?m)^(\w*)ChanVariable(?:\([^)]*\))?: TENANT=(\w+)\r$`)
	idLine     = regexp.MustCompile(`(?mi)^(\w*)Uniqueid: (.+)\r$`)
)

func label(frames []amiclient.Frame) *labels {
	l := &labels{map[string]map[string]bool{}, map[string]map[string]bool{}}
	add := func(m map[string]map[string]bool, id string, tenants map[string]bool) {
		if m[id] == nil {
			m[id] = map[string]bool{}
		}
		maps.Copy(m[id], tenants)
	}
	for _, f := range frames {
		for _, m := range tenantLine.FindAllStringSubmatch(string(f), -1) {
			if id := amiclient.Header(f, m[1]+"Uniqueid"); id != "" {
				add(l.channels, id, map[string]bool{m[2]: true})
			}
		}
	}
	for _, f := range frames {
		if amiclient.Has(f, "Event: BridgeEnter") && !amiclient.Has(f, "BridgeTechnology: holding_bridge") {
			add(l.bridges, amiclient.Header(f, "BridgeUniqueid"), l.channels[amiclient.Header(f, "Uniqueid")])
		}
	}
	return l
}

// of says whose an event is.
func (l *labels) of(f amiclient.Frame) (tenants map[string]bool) {
	tenants = map[string]bool{}
	for _, m := range idLine.FindAllStringSubmatch(string(f), -1) {
		if strings.HasSuffix(strings.ToLower(m[1]), "bridge") {
			maps.Copy(tenants, l.bridges[m[2]])
		} else {
			maps.Copy(tenants, l.channels[m[2]])
		}
	}
	for _, thing := range []string{"Queue", "Conference"} {
		if name, _, ok := strings.Cut(amiclient.Header(f, thing), "-"); ok {
			tenants[name] = true
		}
	}
	return tenants
}

// namesWaiting reports whether an event names others in a parking lot, for which it is
// hidden if they are another tenant's.
func namesWaiting(f amiclient.Frame) bool {
	return amiclient.Header(f, "Peer") != "" && strings.Contains(amiclient.Header(f, "Extra"), "holding_bridge")
}

// overtaking are events that may come before the channel that they are of.
var overtaking = []string{"CEL", "Cdr", "ConfbridgeJoin", "OriginateResponse"}

// compare fails unless a tenant's client got what is its own of all, and nothing else.
func compare(t *testing.T, tenant string, l *labels, full, got []amiclient.Frame) {
	t.Helper()
	want := map[amiclient.Frame]int{}
	own := 0
	for _, f := range full {
		if amiclient.Has(f, "Event: TestEvent") {
			continue // Only this build of Asterisk has them.
		}
		if namesWaiting(f) {
			continue
		}
		if l.of(f)[tenant] {
			want[f]++
			own++
		}
	}
	if own < 1000 {
		t.Errorf("only %d events are of %s: the test is none", own, tenant)
	}
	var missing, strange []amiclient.Frame
	born := map[string]bool{}
	for _, f := range got {
		if amiclient.Has(f, "Event: TestEvent") || namesWaiting(f) {
			continue
		}
		if want[f]--; want[f] < 0 {
			strange = append(strange, f)
		}
		id := amiclient.Header(f, "Uniqueid")
		if amiclient.Has(f, "Event: Newchannel") {
			born[id] = true
		} else if event := amiclient.Header(f, "Event"); id != "" && !born[id] && !slices.Contains(overtaking, event) {
			t.Errorf("%s got %s of a channel that it was not told of: %q", tenant, event, f)
		}
	}
	for f, n := range want {
		for range n {
			missing = append(missing, f)
		}
	}
	if len(missing)+len(strange) > 0 {
		t.Errorf("%s got %d of %d events; missing: %s; not its own: %s", tenant, len(got), own, names(missing), names(strange))
		for i, f := range slices.Concat(missing[:min(3, len(missing))], strange[:min(5, len(strange))]) {
			t.Logf("%d: %v %q", i, l.of(f), f)
		}
	}
}
