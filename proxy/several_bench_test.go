package proxy

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// crowdedPBXs is a world of PBXes with so many channels on each, whose names are
// known.
func crowdedPBXs(b *testing.B, channels int) *world {
	b.Helper()
	o := setup{pbxs: []string{"east", "west", "north"}, users: routingUsers, sim: map[string]simpbx.Options{}}
	for i, name := range o.pbxs {
		o.sim[name] = simpbx.Options{Idle: channels + i, SystemName: name, Seed: uint64(i)}
	}
	w := newWorld(b, o)
	w.awaitNames(o.pbxs...)
	return w
}

// BenchmarkMergedList is the time of one CoreShowChannels over three PBXes with
// 5,000 channels each, beside that of the slowest of them when it is asked alone,
// straight. The PBXes take some time to make the list, as real ones do; with none,
// three of them share the processors that one has alone.
func BenchmarkMergedList(b *testing.B) {
	for _, making := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond} {
		b.Run(fmt.Sprintf("making=%v", making), func(b *testing.B) {
			w := crowdedPBXs(b, 5000)
			var direct []*caller
			for _, name := range []string{"east", "west", "north"} {
				direct = append(direct, newCaller(b, w.addrs[name], "proxy", upstreamSecret))
				prepareList(b, w.sims[name], direct[len(direct)-1], making)
			}
			merged := newCaller(b, w.addr(), "full", "full-secret")
			var alone, all time.Duration
			size := 0
			b.ResetTimer()
			for range b.N {
				var slowest time.Duration
				for _, c := range direct {
					d, _ := c.list(b)
					slowest = max(slowest, d)
				}
				d, n := merged.list(b)
				alone, all, size = alone+slowest, all+d, n
			}
			b.ReportMetric(float64(alone.Microseconds())/float64(b.N)/1000, "ms-slowest-alone")
			b.ReportMetric(float64(all.Microseconds())/float64(b.N)/1000, "ms-merged")
			b.ReportMetric(float64(all)/float64(alone), "merged/alone")
			b.ReportMetric(float64(size)/1e6, "MB")
		})
	}
}

// prepareList makes a PBX answer CoreShowChannels with what it answers now, spread
// over a time: Asterisk writes each item as soon as it is made.
func prepareList(b *testing.B, sim *simpbx.PBX, c *caller, making time.Duration) {
	b.Helper()
	c.list(b)
	text := bytes.Clone(c.last)
	sim.Handle("CoreShowChannels", func(r *simpbx.Request) {
		const steps = 20
		answer := bytes.ReplaceAll(text, []byte("ActionID: list\r\n"), []byte("ActionID: "+r.ID()+"\r\n"))
		for i := range steps {
			r.Sleep(making / steps)
			r.Write(answer[i*len(answer)/steps : (i+1)*len(answer)/steps])
		}
	})
}

// list asks for CoreShowChannels and returns how long it took to come whole. It
// does no more than read: what a client makes of 15,000 items takes its own time.
func (c *caller) list(b *testing.B) (took time.Duration, size int) {
	start := time.Now()
	if _, err := io.WriteString(c.conn, "Action: CoreShowChannels\r\nActionID: list\r\n\r\n"); err != nil {
		b.Fatal(err)
	}
	c.last = c.last[:0]
	for {
		c.last = slices.Grow(c.last, 64<<10)
		n, err := c.conn.Read(c.last[len(c.last):cap(c.last)])
		if err != nil {
			b.Fatal(err)
		}
		c.last = c.last[:len(c.last)+n]
		end := c.last[max(0, len(c.last)-300):]
		if bytes.HasSuffix(end, []byte("\r\n\r\n")) && bytes.Contains(end, []byte("EventList: Complete\r\n")) {
			return time.Since(start), len(c.last)
		}
	}
}

// BenchmarkOwner is what it costs to find out whose a channel is: the look-up
// alone, and in the round trip of an action, beside one that says Server.
func BenchmarkOwner(b *testing.B) {
	w := crowdedPBXs(b, 5000)
	for _, sim := range w.sims {
		sim.Handle("Getvar", func(r *simpbx.Request) { r.Reply("Success", "", "Variable", "a", "Value", "b") })
	}
	const channel = "PJSIP/idle-00001389" // 5001: north's only
	c := w.login("full", "Events: off")
	s := w.session(c)
	b.Run("look-up", func(b *testing.B) {
		a := ami.NewAction("Action: Getvar", "Channel: "+channel, "Variable: a")
		b.ReportAllocs()
		for b.Loop() {
			if owner, refusal := s.owner(a, "getvar"); owner == nil {
				b.Fatal(refusal)
			}
		}
	})
	for _, way := range []struct{ name, headers string }{
		{"Server", "Channel: x\r\nServer: north\r\n"}, {"Channel", "Channel: " + channel + "\r\n"},
	} {
		b.Run("action/"+way.name, func(b *testing.B) {
			c := newCaller(b, w.addr(), "full", "full-secret")
			action := []byte("Action: Getvar\r\nVariable: a\r\n" + way.headers + "\r\n")
			for b.Loop() {
				if err := c.callWith(action); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBlackHole is the round trip of an action to two PBXes before the third
// becomes a black hole to which clients go on to send, and while it is one.
func BenchmarkBlackHole(b *testing.B) {
	w := crowdedPBXs(b, 10)
	callers := map[string]*caller{}
	for _, name := range []string{"west", "north"} {
		w.sims[name].Handle("Getvar", func(r *simpbx.Request) { r.Reply("Success", "", "Variable", "a", "Value", "b") })
		callers[name] = newCaller(b, w.addr(), "full", "full-secret")
	}
	phase := func() (p50, p99 time.Duration) {
		var all []time.Duration
		for range b.N {
			for name, c := range callers {
				start := time.Now()
				if err := c.callWith([]byte("Action: Getvar\r\nActionID: 1\r\nVariable: a\r\nServer: " + name + "\r\n\r\n")); err != nil {
					b.Fatal(err)
				}
				all = append(all, time.Since(start))
			}
		}
		slices.Sort(all)
		return all[len(all)/2], all[len(all)*99/100]
	}
	phase()
	b.ResetTimer()
	before50, before99 := phase()
	w.sims["east"].Hang(true)
	defer w.sims["east"].Hang(false)
	burst := []byte(strings.Repeat("Action: Getvar\r\nActionID: hole\r\nVariable: a\r\nServer: east\r\n\r\n", 50))
	for range 20 {
		c := newCaller(b, w.addr(), "full", "full-secret")
		if _, err := c.conn.Write(burst); err != nil {
			b.Fatal(err)
		}
		go io.Copy(io.Discard, c.conn)
	}
	eventually(b, "the hole has swallowed actions", func() bool { return w.pbx("east").Pending() == 1000 })
	during50, during99 := phase()
	b.ReportMetric(float64(before50.Microseconds()), "µs-p50-before")
	b.ReportMetric(float64(during50.Microseconds()), "µs-p50-during")
	b.ReportMetric(float64(before99.Microseconds()), "µs-p99-before")
	b.ReportMetric(float64(during99.Microseconds()), "µs-p99-during")
	b.ReportMetric(float64(during99)/float64(before99), "during/before")
}
