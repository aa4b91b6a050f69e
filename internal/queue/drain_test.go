package queue_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/internal/queue"
)

// recorder is a writer that remembers the length of each write.
type recorder struct {
	bytes.Buffer
	writes []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, len(p))
	return r.Buffer.Write(p)
}

// However frames are sized and queued, they come out whole, in order, and in
// writes that are as large as they can be.
func TestDrainCoalesces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOf(rapid.OneOf(
			rapid.IntRange(0, 100), rapid.IntRange(0, 5000),
			rapid.IntRange(32<<10-2, 32<<10+2), rapid.IntRange(0, 200<<10),
		)).Draw(t, "sizes")
		q := queue.New(queue.Options{})
		var want bytes.Buffer
		for i, size := range sizes {
			frame := bytes.Repeat([]byte{byte(i)}, size)
			want.Write(frame)
			q.PutEvent(frame)
		}
		q.Close()
		var got recorder
		if err := q.Drain(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%d bytes came out wrong", want.Len())
		}
		// Two neighbouring writes together never fit into one.
		for i := 1; i < len(got.writes); i++ {
			if got.writes[i-1]+got.writes[i] < 32<<10 && got.writes[i-1] > 0 {
				t.Errorf("writes of %v: %d and %d could be one", got.writes, got.writes[i-1], got.writes[i])
			}
		}
		if e, a := q.Size(); e != 0 || a != 0 {
			t.Errorf("%d and %d bytes left", e, a)
		}
	})
}

func TestDrainWhileFilled(t *testing.T) {
	q := queue.New(queue.Options{})
	near, far := net.Pipe()
	var group sync.WaitGroup
	group.Go(func() {
		if err := q.Drain(near); err != nil {
			t.Error(err)
		}
		near.Close()
	})
	var want bytes.Buffer
	for i := range 5000 {
		want.WriteString(strconv.Itoa(i) + "\n")
	}
	group.Go(func() {
		for i := range 5000 {
			q.PutEvent([]byte(strconv.Itoa(i) + "\n"))
		}
		q.Close()
	})
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes came, %v; want %d", len(got), err, want.Len())
	}
	group.Wait()
}

func TestDrainFails(t *testing.T) {
	broken := errors.New("broken")
	for _, frames := range []int{1, 3} {
		total := &queue.Total{}
		q := queue.New(queue.Options{Total: total})
		for range frames {
			q.PutEvent([]byte("frame"))
		}
		if err := q.Drain(failing{broken}); !errors.Is(err, broken) {
			t.Errorf("Drain: %v", err)
		}
		wantError(t, q.PutEvent(nil), queue.ErrClosed)
		if total.Used() != 0 {
			t.Errorf("total %d after a failed write", total.Used())
		}
	}
}

type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

func TestAbortEndsDrain(t *testing.T) {
	q := queue.New(queue.Options{})
	near, far := net.Pipe()
	done := make(chan error)
	go func() { done <- q.Drain(near) }()
	q.PutEvent([]byte("never read"))
	q.Abort()
	far.Close() // the write under way ends with its connection
	if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Drain: %v", err)
	}
	near.Close()
}
