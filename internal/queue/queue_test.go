package queue_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/amiproxy/amiproxy/internal/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notice(n int) []byte { return []byte("lost " + strconv.Itoa(n)) }

// text is a batch in one line.
func text(batch [][]byte) string {
	var all []string
	for _, frame := range batch {
		all = append(all, string(frame))
	}
	return strings.Join(all, "|")
}

func wantTake(t *testing.T, q *queue.Queue, want string) {
	t.Helper()
	if got := text(q.Take(nil)); got != want {
		t.Errorf("Take: %q, want %q", got, want)
	}
}

func wantSize(t *testing.T, q *queue.Queue, events, answers int64) {
	t.Helper()
	if e, a := q.Size(); e != events || a != answers {
		t.Errorf("Size: %d events, %d answers; want %d, %d", e, a, events, answers)
	}
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

func TestOrderIsKept(t *testing.T) {
	q := queue.New(queue.Options{})
	q.PutEvent([]byte("a"))
	q.PutAnswer([]byte("b"))
	q.PutEvent([]byte("c"))
	wantTake(t, q, "a|b|c")
	q.PutAnswer([]byte("d"))
	wantTake(t, q, "d")
}

func TestBytesCountUntilWritten(t *testing.T) {
	q := queue.New(queue.Options{Events: 4, Answers: 3})
	wantError(t, q.PutEvent([]byte("1234")), nil)
	wantError(t, q.PutEvent([]byte("5")), queue.ErrOverflow)
	wantError(t, q.PutAnswer([]byte("abc")), nil) // a bound of its own
	wantError(t, q.PutAnswer([]byte("d")), queue.ErrOverflow)
	wantTake(t, q, "1234|abc")
	wantSize(t, q, 4, 3) // taken, but not written yet
	wantError(t, q.PutEvent([]byte("5")), queue.ErrOverflow)
	q.Close()
	wantTake(t, q, "") // now they are
	wantSize(t, q, 0, 0)
}

func TestNextTakeMakesRoom(t *testing.T) {
	q := queue.New(queue.Options{Events: 4})
	q.PutEvent([]byte("12"))
	wantTake(t, q, "12")
	wantError(t, q.PutEvent([]byte("34")), nil)
	wantError(t, q.PutEvent([]byte("5")), queue.ErrOverflow)
	wantTake(t, q, "34")
	wantError(t, q.PutEvent([]byte("56")), nil)
	wantSize(t, q, 4, 0)
}

func TestLostIsToldInPlace(t *testing.T) {
	q := queue.New(queue.Options{Events: 2, Lost: notice})
	q.PutEvent([]byte("a"))
	q.PutEvent([]byte("b"))
	q.PutEvent([]byte("c")) // lost
	q.PutEvent([]byte("d")) // lost
	q.PutAnswer([]byte("answer"))
	wantTake(t, q, "a|b|lost 2|answer")
	q.PutAnswer([]byte("next"))
	wantTake(t, q, "next") // what was lost is told once
}

func putting(q *queue.Queue, events ...string) *queue.Queue {
	for _, e := range events {
		q.PutEvent([]byte(e))
	}
	return q
}

func TestLostIsToldBeforeTheNextEvent(t *testing.T) {
	q := queue.New(queue.Options{Events: 2, Lost: notice})
	putting(q, "ab", "c")
	wantTake(t, q, "ab|lost 1")
	putting(q, "d", "e") // "ab" is not written: d and e do not fit
	wantTake(t, q, "lost 2")
	putting(q, "f")
	wantTake(t, q, "f")
}

func TestSmallerEventBehindLostOne(t *testing.T) {
	q := queue.New(queue.Options{Events: 3, Lost: notice})
	putting(q, "aa", "bb", "c") // bb does not fit, c does
	wantTake(t, q, "aa|lost 1|c")
}

func TestLose(t *testing.T) {
	q := queue.New(queue.Options{Events: 100, Lost: notice})
	wantError(t, q.Lose(3), nil)
	wantTake(t, putting(q, "a"), "lost 3|a")
	wantError(t, queue.New(queue.Options{}).Lose(1), queue.ErrOverflow)
}

func TestLoseAfterAbort(t *testing.T) {
	q := queue.New(queue.Options{Lost: notice})
	q.Abort()
	wantError(t, q.Lose(1), nil)
	wantTake(t, q, "")
	wantSize(t, q, 0, 0)
}

func TestSetBounds(t *testing.T) {
	total := &queue.Total{}
	q := queue.New(queue.Options{Events: 2, Lost: notice, Total: total})
	putting(q, "ab", "c")
	q.SetBounds(queue.Options{Events: 3}) // refuses from now on
	wantError(t, q.PutEvent([]byte("d")), nil)
	wantError(t, q.PutEvent([]byte("e")), queue.ErrOverflow)
	if total.Used() != int64(len("ablost 1d")) {
		t.Errorf("total %d", total.Used())
	}
	wantTake(t, q, "ab|lost 1|d")
}

func TestCloseDrains(t *testing.T) {
	q := queue.New(queue.Options{Events: 1, Lost: notice})
	putting(q, "a", "b")
	q.Close()
	wantError(t, q.PutEvent([]byte("c")), queue.ErrClosed)
	wantError(t, q.PutAnswer([]byte("c")), queue.ErrClosed)
	wantTake(t, q, "a|lost 1")
	wantTake(t, q, "")
	wantTake(t, q, "")
}

func TestAbortDrops(t *testing.T) {
	total := &queue.Total{}
	q := queue.New(queue.Options{Total: total})
	putting(q, "a")
	wantTake(t, q, "a")
	putting(q, "b")
	q.Abort()
	q.Abort()
	q.Close()
	wantError(t, q.PutEvent([]byte("c")), queue.ErrClosed)
	wantTake(t, q, "")
	wantSize(t, q, 0, 0)
	if total.Used() != 0 {
		t.Errorf("total %d after Abort", total.Used())
	}
}

func TestTotalIsShared(t *testing.T) {
	total := &queue.Total{Limit: 10}
	a := queue.New(queue.Options{Total: total})
	b := queue.New(queue.Options{Total: total, Lost: notice})
	wantError(t, a.PutAnswer([]byte("12345678")), nil)
	wantError(t, a.PutAnswer([]byte("901")), queue.ErrOverflow)
	// b has room of its own: that a took all is no reason for b to lose events.
	wantError(t, b.PutEvent([]byte("901")), queue.ErrOverflow)
	wantError(t, b.PutEvent([]byte("90")), nil)
	total.Add(3)
	if total.Used() != 13 {
		t.Errorf("total %d, want 8 + 2 + 3", total.Used())
	}
	total.Add(-3)
	wantTake(t, b, "90")
	a.Abort()
	b.Close()
	wantTake(t, b, "")
	if total.Used() != 0 {
		t.Errorf("total %d at the end", total.Used())
	}
}

// The limit of a total holds however many queues are filled at once.
func TestTotalLimitIsExact(t *testing.T) {
	total := &queue.Total{Limit: 1000}
	var group sync.WaitGroup
	accepted := make([]int64, 8)
	for i := range accepted {
		group.Go(func() {
			q := queue.New(queue.Options{Total: total})
			for range 1000 {
				if q.PutEvent([]byte("abc")) == nil {
					accepted[i] += 3
				}
			}
		})
	}
	group.Wait()
	sum := int64(0)
	for _, n := range accepted {
		sum += n
	}
	if sum != total.Used() || sum > 1000 || sum < 1000-3*8 {
		t.Errorf("accepted %d, total %d, limit 1000", sum, total.Used())
	}
}

func TestTakeWaits(t *testing.T) {
	for name, wake := range map[string]func(*queue.Queue){
		"a":      func(q *queue.Queue) { q.PutEvent([]byte("a")) },
		"lost 1": func(q *queue.Queue) { q.Lose(1) },
		"":       (*queue.Queue).Close,
	} {
		synctest.Test(t, func(t *testing.T) {
			q := queue.New(queue.Options{Lost: notice})
			got := make(chan string, 1)
			go func() { got <- text(q.Take(nil)) }()
			synctest.Wait()
			if len(got) > 0 {
				t.Fatalf("Take returned %q from an empty queue", <-got)
			}
			wake(q)
			if text := <-got; text != name {
				t.Errorf("Take: %q, want %q", text, name)
			}
		})
	}
}

func TestConcurrentProducers(t *testing.T) {
	const producers, each = 8, 2000
	q := queue.New(queue.Options{})
	var group sync.WaitGroup
	for p := range producers {
		group.Go(func() {
			for i := range each {
				frame := []byte(fmt.Sprintf("%d %d", p, i))
				if i%2 == 0 {
					q.PutEvent(frame)
				} else {
					q.PutAnswer(frame)
				}
			}
		})
	}
	go func() {
		group.Wait()
		q.Close()
	}()
	next := make([]int, producers)
	var batch [][]byte
	for {
		if batch = q.Take(batch); batch == nil {
			break
		}
		for _, frame := range batch {
			var p, i int
			fmt.Sscan(string(frame), &p, &i)
			if i != next[p] {
				t.Fatalf("producer %d: got %d, want %d", p, i, next[p])
			}
			next[p]++
		}
	}
	for p, n := range next {
		if n != each {
			t.Errorf("producer %d: %d of %d frames came", p, n, each)
		}
	}
}

func TestPutAndTakeAllocateNothing(t *testing.T) {
	q := queue.New(queue.Options{Events: 1 << 20, Total: &queue.Total{Limit: 1 << 20}})
	frame := make([]byte, 600)
	var batch [][]byte
	cycle := func() {
		for range 10 {
			if err := q.PutEvent(frame); err != nil {
				t.Fatal(err)
			}
		}
		batch = q.Take(batch)
	}
	cycle()
	cycle()
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("%v allocations a cycle", n)
	}
}
