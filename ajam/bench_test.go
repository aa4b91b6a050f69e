package ajam

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// BenchmarkWaitEvent has 1,000 sessions in WaitEvent at once; ms/last is how long after
// an event the last of their clients has it, in the median.
func BenchmarkWaitEvent(b *testing.B) {
	const sessions = 1000
	w := newWorld(b, standardUsers, func(o *Options) { o.SessionLimit = 8 * sessions })
	var written, got, ended sync.WaitGroup
	var rounds []chan struct{}
	for range sessions {
		cookie := w.browser().login("full").cookie
		conn, err := net.Dial("tcp", w.web.Addrs()[0].String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		round := make(chan struct{})
		rounds = append(rounds, round)
		ended.Go(func() {
			r := bufio.NewReader(conn)
			for range round {
				fmt.Fprintf(conn, "GET /rawman?action=waitevent HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n", cookie)
				written.Done()
				if res, err := http.ReadResponse(r, nil); err != nil {
					b.Error(err)
				} else {
					io.Copy(io.Discard, res.Body)
				}
				got.Done()
			}
		})
	}
	var took []time.Duration
	for b.Loop() {
		written.Add(sessions)
		got.Add(sessions)
		for _, round := range rounds {
			round <- struct{}{}
		}
		written.Wait()
		time.Sleep(200 * time.Millisecond) // all wait by then, mostly
		start := time.Now()
		w.sim.Event("E", ami.ClassCall)
		got.Wait()
		took = append(took, time.Since(start))
	}
	for _, round := range rounds {
		close(round)
	}
	ended.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/last")
	b.ReportMetric(0, "ns/op")
}
