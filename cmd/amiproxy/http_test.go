package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/internal/simpbx"
)

const httpConfig = goodConfig + "[general](+)\nwebenabled = yes\n[http]\nbindport = %d\nprefix = pbx\n"

// port opens a port.
func port(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Addr().(*net.TCPAddr).Port
}

// With webenabled there is HTTP, where [http] says.
func TestServeHTTP(t *testing.T) {
	sim := simpbx.New(simpbx.Options{})
	defer sim.Close()
	pbx, pbxPort := port(t)
	go sim.Serve(pbx) //nolint:errcheck // Close ends it
	ami, amiPort := port(t)
	ami.Close()
	web, webPort := port(t)
	web.Close()
	file := write(t, "a.conf", fmt.Sprintf(httpConfig, amiPort, pbxPort, webPort))
	if code, _, text := runArgs(t.Context(), "check", "-c", file); code != exitDone {
		t.Fatalf("%d: %s", code, text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan string, 1)
	go func() {
		code, _, text := runArgs(ctx, "serve", "-c", file)
		ended <- fmt.Sprint(code, ": ", text)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() (string, error) {
		r, err := client.Get("http://127.0.0.1:" + strconv.Itoa(webPort) + "/pbx/rawman?action=login&username=crm&secret=crm-secret&events=off")
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		return string(body), err
	}
	got, err := get()
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); got, err = get() {
		time.Sleep(time.Millisecond)
	}
	if got != "Response: Success\r\nMessage: Authentication accepted\r\n\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	cancel()
	text := <-ended
	if !strings.HasPrefix(text, "0: ") || !strings.Contains(text, "/pbx/mxml") || !strings.Contains(text, "XML Manager Event Interface") {
		t.Errorf("got %s", text)
	}
	if strings.Contains(text, "crm-secret") {
		t.Errorf("a secret in the log: %s", text)
	}
}

func TestServeHTTPPortInUse(t *testing.T) {
	l, used := port(t)
	defer l.Close()
	free, amiPort := port(t)
	free.Close()
	code, _, text := runArgs(t.Context(), "serve", "-c", write(t, "a.conf", fmt.Sprintf(httpConfig, amiPort, 5039, used)))
	if code != exitFailed || !strings.Contains(text, "AMI over HTTP") || !strings.Contains(text, strconv.Itoa(used)) {
		t.Errorf("%d: %q", code, text)
	}
}
