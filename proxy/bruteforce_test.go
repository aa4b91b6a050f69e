package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// dialFrom connects from one of the addresses of this machine.
func dialFrom(address, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return d.Dial("tcp", to)
}

// gauge remembers how large the program was.
type gauge struct {
	goroutines int
	heap, sys  uint64
}

func (g *gauge) read() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	g.goroutines = max(g.goroutines, runtime.NumGoroutine())
	g.heap, g.sys = max(g.heap, m.HeapAlloc), max(g.sys, m.Sys)
}

// logInFrom logs in and off again, and returns all that the proxy says; nothing if
// it does not even greet.
func logInFrom(address, to, user, secret string) (string, error) {
	c, err := dialFrom(address, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "Action: Login\r\nUsername: %s\r\nSecret: %s\r\nEvents: off\r\n\r\nAction: Logoff\r\n\r\n", user, secret)
	answer, err := io.ReadAll(c)
	if len(answer) == 0 || errors.Is(err, syscall.ECONNRESET) { // closed before it was read
		err = nil
	}
	return string(answer), err
}

// attack guesses secrets from an address until it has tried so often. Each tenth
// connection says nothing for a while and keeps its place.
func attack(address, to string, tries int) (guesses int64, err error) {
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for i := range tries {
		if i%10 == 9 {
			c, err := dialFrom(address, to)
			if err != nil {
				return guesses, err
			}
			if idle = append(idle, c); len(idle) > 3 {
				idle[0].Close()
				idle = idle[1:]
			}
			continue
		}
		user := []string{"argon", "full", "root", "stars"}[i%4]
		answer, err := logInFrom(address, to, user, fmt.Sprint("guess", i))
		if err == nil && strings.Contains(answer, "accepted") {
			err = fmt.Errorf("%s is in as %s", address, user)
		}
		if err != nil {
			return guesses, err
		}
		guesses++
	}
	return guesses, nil
}

// 50 addresses guess secrets: nobody gets in, those who know theirs do and in time,
// also from one of these addresses, and neither memory nor goroutines grow with it.
// make soak makes 10,000 guesses.
func TestBruteForce(t *testing.T) {
	tries, general := 600, "authfailures = 3"
	if os.Getenv("AMIPROXY_SOAK") == "1" {
		tries, general = 10_000, ""
	}
	const addresses = 50
	w := newWorld(t, setup{users: standardUsers + "[argon]\nsecret = " + argon2Password + "\n", general: general})
	shared := "127.0.1.1"
	// As real clients do, one that is not let in comes again.
	retries := 0
	legitimate := func(address, user, secret string) time.Duration {
		start := time.Now()
		for {
			answer, err := logInFrom(address, w.addr(), user, secret)
			switch {
			case err == nil && strings.Contains(answer, "Message: Authentication accepted"):
				return time.Since(start)
			case err != nil || answer != "" || time.Since(start) > time.Minute:
				t.Fatalf("%s from %s: %q, %v, after %v", user, address, answer, err, time.Since(start))
			}
			retries++
			time.Sleep(100 * time.Millisecond)
		}
	}
	legitimate(shared, "full", "full-secret")

	var before, peak gauge
	runtime.GC()
	before.read()
	var attackers sync.WaitGroup
	var guessed atomic.Int64
	start := time.Now()
	for i := range addresses {
		attackers.Go(func() {
			n, err := attack(fmt.Sprintf("127.0.1.%d", i+1), w.addr(), tries/addresses)
			if guessed.Add(n); err != nil {
				t.Error(err)
			}
		})
	}
	over := make(chan struct{})
	go func() { attackers.Wait(); close(over) }()
	var took []time.Duration
	for i := 0; ; i++ {
		took = append(took,
			legitimate(fmt.Sprintf("127.0.2.%d", i%200+1), "argon", "password"),
			legitimate(fmt.Sprintf("127.0.2.%d", i%200+1), "eastonly", "eastonly-secret"),
			legitimate(shared, "full", "full-secret"))
		peak.read()
		select {
		case <-over:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	slices.Sort(took)
	if slowest := took[len(took)-1]; slowest > 20*time.Second {
		t.Errorf("the slowest login took %v", slowest)
	}
	refused := w.logs.FilterMessage("login refused").FilterLevelExact(zap.WarnLevel).Len()
	if most := addresses * w.srv.general().AuthFailures * 3; refused > most {
		t.Errorf("%d guesses were judged, at most %d should be", refused, most)
	}
	if grown := int64(peak.heap) - int64(before.heap); grown > 200<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if grown := peak.goroutines - before.goroutines; grown > 10*addresses {
		t.Errorf("%d goroutines more", grown)
	}
	t.Logf("%d guesses from %d addresses in %v, %d of them judged; %d logins of legitimate users, %d of them not at once, median %v, slowest %v; heap %d to %d MiB at most, %d MiB from the system, %d to %d goroutines",
		guessed.Load(), addresses, time.Since(start).Round(time.Millisecond), refused,
		len(took), retries, took[len(took)/2].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond),
		before.heap>>20, peak.heap>>20, peak.sys>>20, before.goroutines, peak.goroutines)
}

// In a flood of clients that do not log in, who has been there before is let in every time:
// the place that is given up for it is not for another one.
func TestFloodKeepsOutNobodyKnown(t *testing.T) {
	w := newWorld(t, setup{users: standardUsers, general: "authlimit = 2"})
	known := func() string {
		t.Helper()
		answer, err := logInFrom("127.0.2.1", w.addr(), "full", "full-secret")
		if err != nil {
			return err.Error()
		}
		return answer
	}
	known()
	over := make(chan struct{})
	var flood sync.WaitGroup
	for i := range 8 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		flood.Go(func() {
			var last net.Conn
			for {
				conn, err := d.Dial("tcp", w.addr())
				if last != nil {
					last.Close()
				}
				if last = conn; err != nil {
					t.Error(err)
					return
				}
				select {
				case <-over:
					conn.Close()
					return
				default:
				}
			}
		})
	}
	for range 50 {
		if answer := known(); !strings.Contains(answer, "Message: Authentication accepted") {
			for _, e := range w.logs.All() {
				if r, _ := e.ContextMap()["remote"].(string); strings.HasPrefix(r, "127.0.2.1:") && e.Message != "logged in" && e.ContextMap()["reason"] != "logoff" {
					t.Log(e.Message, e.ContextMap())
				}
			}
			t.Errorf("got %q", answer)
			break
		}
	}
	close(over)
	flood.Wait()
}
