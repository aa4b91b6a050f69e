package ajam

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// waitSessions is how many sessions are in WaitEvent at once.
const waitSessions = 1000

// flow is how many events there are in a second.
const flow = 200

// waiters are clients that are in WaitEvent whenever they can be.
type waiters struct {
	*world
	began time.Time
	ended sync.WaitGroup
	over  atomic.Bool
	// late counts deliveries by how many lateSteps after their event they were; the last
	// is for all that were later.
	late [4000]atomic.Int64
	last atomic.Int64 // clients that have the event which is the last for now
}

// lateStep is how exactly times are taken.
const lateStep = 250 * time.Microsecond

func startWaiters(b *testing.B) *waiters {
	w := &waiters{world: newWorld(b, standardUsers, func(o *Options) { o.SessionLimit = 2 * waitSessions }), began: time.Now()}
	for range waitSessions {
		c := dialKeptAlive(b, w.web.Addrs()[0].String(), "full", "full-secret")
		w.ended.Go(func() {
			request := c.request("action=waitevent")
			for !w.over.Load() {
				body, err := c.ask(request)
				if err != nil {
					b.Error(err)
					return
				}
				w.got(body)
				if cap(c.body) > 2<<10 { // of many events at once; it is not to count as growth
					c.body = nil
				}
			}
		})
	}
	w.allWait()
	return w
}

// got counts the events of an answer.
func (w *waiters) got(body []byte) {
	now := time.Since(w.began)
	for {
		_, rest, found := bytes.Cut(body, []byte("\r\nSince: "))
		if !found {
			break
		}
		text, rest, _ := bytes.Cut(rest, []byte("\r\n"))
		since, _ := strconv.ParseInt(string(text), 10, 64)
		w.late[min(int((now-time.Duration(since))/lateStep), len(w.late)-1)].Add(1)
		body = rest
	}
	if bytes.Contains(body, []byte("Last: ")) {
		w.last.Add(1)
	}
}

// event has the PBX send one that says when it was.
func (w *waiters) event(more ...string) {
	w.sim.Event("E", ami.ClassCall, append([]string{"Since", strconv.FormatInt(int64(time.Since(w.began)), 10)}, more...)...)
}

// round sends an event and returns how long it took until every client had it.
func (w *waiters) round() time.Duration {
	w.last.Store(0)
	start := time.Now()
	w.event("Last", "1")
	w.eventually("all clients have the event", func() bool { return w.last.Load() == waitSessions })
	return time.Since(start)
}

// allWait waits until all sessions are in WaitEvent.
func (w *waiters) allWait() {
	w.eventually("all sessions are in WaitEvent", func() bool { return inWaitEvent() == waitSessions })
}

// inWaitEvent is how many goroutines are.
func inWaitEvent() (n int) {
	var stacks bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&stacks, 1) //nolint:errcheck // a buffer takes all
	for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
		if strings.Contains(stack, "proxy.(*WebSession).wait+") {
			count, _, _ := strings.Cut(stack[strings.LastIndex(stack[:strings.Index(stack, " @ ")], "\n")+1:], " @ ")
			k, _ := strconv.Atoi(count)
			n += k
		}
	}
	return n
}

// stop ends the clients.
func (w *waiters) stop() {
	w.over.Store(true)
	w.event()
	w.ended.Wait()
}

// share is how late a share of all deliveries was at most.
func (w *waiters) share(share float64) time.Duration {
	all := int64(0)
	for i := range w.late {
		all += w.late[i].Load()
	}
	sum := int64(0)
	for i := range w.late {
		if sum += w.late[i].Load(); float64(sum) >= share*float64(all) {
			return time.Duration(i+1) * lateStep
		}
	}
	return 0
}

// idle is what the process holds when all sessions wait.
func (w *waiters) idle() (bytes, goroutines int) {
	w.round()
	w.allWait()
	return held()
}

// BenchmarkWaitEvent has 1,000 sessions in WaitEvent at once, whose clients get all
// events. With one event at a time ms/last is how long after it the last client has it,
// in the median; with 200 a second the others say how long after an event a client has
// it. What the process holds may not grow with the events.
func BenchmarkWaitEvent(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		w := startWaiters(b)
		var took []time.Duration
		for b.Loop() {
			w.allWait()
			took = append(took, w.round())
		}
		w.stop()
		slices.Sort(took)
		b.ReportMetric(ms(took[len(took)/2]), "ms/last")
		b.ReportMetric(0, "ns/op")
	})
	b.Run(fmt.Sprintf("%d/s", flow), func(b *testing.B) {
		w := startWaiters(b)
		bytes, goroutines := w.idle()
		for i := range w.late {
			w.late[i].Store(0)
		}
		start := time.Now()
		next := start
		for b.Loop() {
			next = next.Add(time.Second / flow)
			time.Sleep(time.Until(next))
			w.event()
		}
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
		moreBytes, moreGoroutines := w.idle()
		w.stop()
		b.ReportMetric(ms(w.share(0.5)), "ms/p50")
		b.ReportMetric(ms(w.share(0.99)), "ms/p99")
		b.ReportMetric(ms(w.share(1)), "ms/max")
		b.ReportMetric(float64(moreBytes-bytes)/waitSessions, "moreB/session")
		b.ReportMetric(float64(moreGoroutines-goroutines), "moregoroutines")
		if moreBytes-bytes > waitSessions*4096 || moreGoroutines-goroutines > 10 {
			b.Errorf("%d bytes and %d goroutines more than before", moreBytes-bytes, moreGoroutines-goroutines)
		}
		b.ReportMetric(0, "ns/op")
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
