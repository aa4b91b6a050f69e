package queue_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/amiproxy/amiproxy/internal/queue"
)

func BenchmarkPut(b *testing.B) {
	q := queue.New(queue.Options{Total: &queue.Total{}})
	frame := make([]byte, 600)
	var batch [][]byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.PutEvent(frame)
		if i%32 == 31 {
			batch = q.Take(batch)
		}
	}
}

// BenchmarkFanout puts shared frames into the queues of many consumers, as
// events are. One operation is one frame to all of them.
func BenchmarkFanout(b *testing.B) {
	for _, consumers := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("consumers=%d", consumers), func(b *testing.B) {
			total := &queue.Total{}
			queues := make([]*queue.Queue, consumers)
			var group sync.WaitGroup
			for i := range queues {
				queues[i] = queue.New(queue.Options{Total: total})
				group.Go(func() { queues[i].Drain(io.Discard) })
			}
			frame := make([]byte, 600)
			b.ReportAllocs()
			for b.Loop() {
				for _, q := range queues {
					q.PutEvent(frame)
				}
			}
			for _, q := range queues {
				q.Close()
			}
			group.Wait()
			b.ReportMetric(float64(b.N*consumers)/b.Elapsed().Seconds()/1e6, "Mdeliv/s")
		})
	}
}
