package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/amiproxy/amiproxy/acl"
)

// terminal opens a new terminal: what is typed goes into keyboard, and what is
// shown comes out of it.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// On a terminal the secret is asked for twice and never shown; and the terminal is
// left as it was, also by who breaks off.
func TestHashOnATerminal(t *testing.T) {
	for _, test := range []struct {
		name  string
		typed []string // nil: broken off
		code  int
	}{
		{"the same twice", []string{"s3cret\n", "s3cret\n"}, exitDone},
		{"two different", []string{"s3cret\n", "s3crets\n"}, exitFailed},
		{"broken off", nil, exitFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			keyboard, tty := terminal(t)
			ctx, interrupt := context.WithCancel(context.Background())
			defer interrupt()
			var out bytes.Buffer
			cmd := rootCommand(&out, tty)
			cmd.SetArgs([]string{"hash", "--bcrypt"})
			cmd.SetIn(tty)
			done := make(chan int, 1)
			go func() { done <- execute(ctx, cmd, tty) }()
			shown := make([]byte, 0, 4096)
			await := func(text string) {
				for !strings.Contains(string(shown), text) {
					keyboard.SetReadDeadline(time.Now().Add(20 * time.Second))
					n, err := keyboard.Read(shown[len(shown):cap(shown)])
					if err != nil {
						t.Fatalf("%v; shown: %q", err, shown)
					}
					shown = shown[:len(shown)+n]
				}
			}
			await("Secret: ")
			if echoes(t, tty) {
				t.Error("the terminal shows what is typed")
			}
			for i, line := range test.typed {
				await([]string{"Secret: ", "Again: "}[i])
				keyboard.WriteString(line)
			}
			if test.typed == nil {
				interrupt()
			}
			if code := <-done; code != test.code {
				t.Errorf("code %d", code)
			}
			if test.code != exitDone {
				await(map[bool]string{true: "interrupted", false: "differ"}[test.typed == nil])
			} else if acl.New(acl.Options{Secret: strings.TrimSuffix(out.String(), "\n")}).CheckSecret("s3cret") != acl.Matches {
				t.Errorf("%q does not fit", &out)
			}
			if strings.Contains(string(shown), "s3cret") {
				t.Errorf("shown: %q", shown)
			}
			if !echoes(t, tty) {
				t.Error("the terminal stays silent")
			}
		})
	}
}
