//go:build unix

package test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestRelay tries each of what the relay does, between a client and a server that sends
// back what it gets. Nothing of it stays.
func TestRelay(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	served := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			served <- conn
			go func() {
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	r := startRelay(t, server.Addr().String())
	dial := func() (client, pbx net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		client.SetDeadline(time.Now().Add(patience))
		return client, <-served
	}
	lots := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	comes := func(client net.Conn, b []byte) {
		t.Helper()
		got := make([]byte, len(b))
		if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d of %d bytes came: %v", n, len(b), err)
		}
	}
	comesBack := func(client net.Conn, b []byte) {
		t.Helper()
		go client.Write(b)
		comes(client, b)
	}
	nothingComes := func(client net.Conn) {
		t.Helper()
		client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes came: %v", n, err)
		}
		client.SetReadDeadline(time.Now().Add(patience))
	}
	isReset := func(client net.Conn, after int64) {
		t.Helper()
		if n, err := io.Copy(io.Discard, client); n != after || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes came, and %v; want %d and a reset", n, err, after)
		}
	}

	client, _ := dial()
	comesBack(client, lots)

	r.Delay(50 * time.Millisecond)
	start := time.Now()
	comesBack(client, []byte("later"))
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("there and back in %v", d)
	}
	r.NoDelay()

	r.Slice()
	go client.Write(lots[:100])
	pieces := 0
	for got := 0; got < 100; pieces++ {
		n, err := client.Read(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if pieces < 10 { // each byte, but for a reader that comes late
		t.Errorf("100 bytes came in %d pieces", pieces)
	}
	r.NoSlice()

	r.Hold()
	client.Write([]byte("held"))
	late, _ := dial() // the system takes it
	nothingComes(client)
	gone, _ := dial()
	go gone.Write(lots)
	nothingComes(gone)
	gone.Close()
	r.Release()
	comes(client, []byte("held"))
	comesBack(client, lots)
	comesBack(late, lots)

	r.CutAfter(300)
	go client.Write(lots)
	isReset(client, 300)
	late.Write(lots[:299])
	late.Write(lots[:2])
	isReset(late, 300)
	client, pbx := dial()
	comesBack(client, lots)

	r.Abandon()
	client.Write([]byte("nobody hears"))
	nothingComes(client)
	pbx.Close()
	nothingComes(client)
	client.Close()

	client, pbx = dial()
	comesBack(client, lots)
	r.Inject([]byte("injected"))
	comes(client, []byte("injected"))
	pbx.Write([]byte("bye"))
	pbx.Close()
	if got, err := io.ReadAll(client); string(got) != "bye" || err != nil {
		t.Errorf("at the end came %q, %v", got, err)
	}

	client, _ = dial()
	comesBack(client, lots)
	r.Reset()
	isReset(client, 0)

	client, _ = dial()
	comesBack(client, lots)
	r.Down()
	isReset(client, 0)
	if _, err := net.Dial("tcp", r.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the relay is down: %v", err)
	}
	r.Up()
	client, _ = dial()
	comesBack(client, lots)

	// The release of much that nobody takes any more.
	r.Hold()
	go client.Write(lots)
	nothingComes(client)
	client.Close()
	r.Release()
}
