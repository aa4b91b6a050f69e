package proxy

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// commandOutput is what a command prints in these tests: at least size bytes,
// with all that could be taken for the end of an answer.
func commandOutput(command string, size int) string {
	var b strings.Builder
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, "%s %d %s\n", command, n, strings.Repeat("x", n%200))
		if n%10 == 0 {
			b.WriteString("\n\n  --END COMMAND-- \nResponse: Success\nActionID: none\n\nEvent: Hangup\r\nPrivilege: call,all\n\x00\n")
		}
	}
	return b.String() + "the end" // without an LF
}

// commandAnswer is how a PBX of that AMI version answers a Command.
func commandAnswer(version, id, output string) string {
	var b strings.Builder
	if (producer{era: raw}).on(version) {
		fmt.Fprintf(&b, "Response: Follows\r\nPrivilege: Command\r\nActionID: %s\r\n%s--END COMMAND--\r\n\r\n", id, output)
		return b.String()
	}
	fmt.Fprintf(&b, "Response: Success\r\nActionID: %s\r\nMessage: Command output follows\r\n", id)
	for line := range strings.SplitSeq(strings.TrimSuffix(output, "\n"), "\n") {
		fmt.Fprintf(&b, "Output: %s\r\n", line)
	}
	return b.String() + "\r\n"
}

// commands makes the PBX print size bytes for the command "NAME size".
func commands(version string) func(*simpbx.PBX) {
	return func(sim *simpbx.PBX) {
		sim.Handle("Command", func(r *simpbx.Request) {
			var name string
			var size int
			fmt.Sscan(r.Get("Command"), &name, &size)
			r.Write([]byte(commandAnswer(version, r.ID(), commandOutput(name, size))))
		})
	}
}

// askCommand is what a client writes for a command, and told what it gets.
func askCommand(version, name string, size int) (text, told string) {
	text = fmt.Sprintf("Action: Command\r\nActionID: id of %s\r\nCommand: %s %d\r\n\r\n", name, name, size)
	return text, commandAnswer(version, "id of "+name, commandOutput(name, size))
}

var commandVersions = []string{"1.1", "2.10.6", "11.0.0"}

// Output of megabytes comes whole, and what is asked behind it is answered.
func TestLongCommands(t *testing.T) {
	for _, version := range commandVersions {
		t.Run(version, func(t *testing.T) {
			w := newAnswers(t, version, 2, "", commands(version))
			text, told := askCommand(version, "one", 4<<20)
			short, toldShort := askCommand(version, "two", 0)
			w.check(t, text+short, told+toldShort, nil)
		})
	}
}

// Clients that run commands at the same time get their own output, however few
// the links are.
func TestCommandsAtOnce(t *testing.T) {
	for _, version := range commandVersions {
		for links := 2; links <= 5; links++ {
			t.Run(fmt.Sprintf("%s, %d links", version, links), func(t *testing.T) {
				w := newAnswers(t, version, links, "", commands(version))
				var clients sync.WaitGroup
				for i := range 8 {
					clients.Go(func() {
						var text, want strings.Builder
						for n := range 6 {
							ask, told := askCommand(version, fmt.Sprintf("c%dn%d", i, n), 1000*i*n)
							text.WriteString(ask)
							want.WriteString(told)
						}
						w.check(t, text.String(), want.String(), nil)
					})
				}
				clients.Wait()
			})
		}
	}
}

// A client that takes its time gets all of it, and nobody waits for that client.
func TestCommandForSlowClient(t *testing.T) {
	const version = "11.0.0"
	w := newAnswers(t, version, 2, "", commands(version))
	text, told := askCommand(version, "slow", 4<<20)
	started, others := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(others)
		<-started
		text, told := askCommand(version, "other", 100)
		w.check(t, text, told, nil)
	}()
	w.check(t, text, told, func(conn net.Conn) []byte {
		conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		var got []byte
		buf := make([]byte, 32<<10)
		for {
			n, err := conn.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				return got
			}
			if len(got) > 64<<10 && others != nil {
				close(started)
				<-others // served while most is still to come
				others = nil
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// An answer beyond answerlimit costs its client the session, as that of a slow
// one does, and neither the link nor those who wait there.
func TestCommandBeyondTheLimit(t *testing.T) {
	const limit = 1 << 20
	for _, version := range commandVersions {
		t.Run(version, func(t *testing.T) {
			w := newAnswers(t, version, 2, fmt.Sprintf("answerlimit = %d", limit), commands(version))
			size := limit // of the output of the longest answer that fits
			for len(commandAnswer(version, strings.Repeat("i", 60), commandOutput("fits", size))) >= limit {
				size -= size / 50
			}
			text, told := askCommand(version, "fits", size)
			if len(told) < limit*9/10 {
				t.Fatalf("%d bytes are no test of the limit", len(told))
			}
			w.check(t, text, told, nil)

			long, _ := askCommand(version, "long", limit)
			closed := make(chan error)
			go func() {
				got, err := w.converse(long, func(conn net.Conn) []byte {
					var b bytes.Buffer
					b.ReadFrom(conn) // to an end or a reset
					return b.Bytes()
				})
				if err == nil && got != accepted {
					err = fmt.Errorf("got %d bytes: %.200q", len(got), got)
				}
				closed <- err
			}()
			for n := range 5 {
				text, told := askCommand(version, fmt.Sprintf("other%d", n), 1000)
				w.check(t, text, told, nil)
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
			w.awaitReason(reasonAnswerLimit)
			if n := w.logs.FilterField(zap.String("reason", string(reasonAnswerLimit))).Len(); n != 1 {
				t.Errorf("%d sessions closed", n)
			}
		})
	}
}
