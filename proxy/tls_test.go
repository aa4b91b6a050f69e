package proxy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/test/amiclient"
)

// writeCertificate replaces the certificate and the key by ones in that name.
func (w *world) writeCertificate(name string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.writeFile(w.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	w.writeFile(w.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// writeFile replaces a file and makes sure that its stamp is a new one.
func (w *world) writeFile(name string, data []byte) {
	before, _ := os.Stat(name)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		w.tb.Fatal(err)
	}
	if before != nil {
		later := before.ModTime().Add(time.Second)
		if err := os.Chtimes(name, later, later); err != nil {
			w.tb.Fatal(err)
		}
	}
}

// trusting takes any certificate.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// peerName is the name in the certificate that the proxy shows now.
func (w *world) peerName() string {
	w.tb.Helper()
	conn, err := w.dialTLS(trusting())
	if err != nil {
		w.tb.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSClient(t *testing.T) {
	w := newWorld(t, setup{tls: true})
	c := amiclient.DialTLS(t, w.addr(), trusting())
	if c.Banner != "Asterisk Call Manager/11.0.0" {
		t.Errorf("banner %q", c.Banner)
	}
	c.Login("full", "full-secret")
	c.Expect("Event: FullyBooted")
	w.sims["east"].Event("Reload", 1, "Module", strings.Repeat("x", 100_000))
	c.Expect("Event: Reload")
	c.Send("Action: Logoff")
	c.ExpectNext("Response: Goodbye")
	if frames := c.ExpectClosed(); len(frames) != 0 {
		t.Errorf("after Logoff: %q", frames)
	}
}

// Few TLS clients say goodbye before they close: what they asked is answered.
func TestTLSClosedWithoutGoodbye(t *testing.T) {
	w := newWorld(t, setup{tls: true})
	raw, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, trusting())
	c := amiclient.New(t, conn)
	c.ReadBanner()
	c.Login("full", "full-secret", "Events: off")
	c.Send("Action: CoreShowChannels", "ActionID: 1")
	raw.(*net.TCPConn).CloseWrite()
	c.Expect("Event: CoreShowChannelsComplete")
	c.ExpectClosed()
	w.awaitReason(reasonClientClosed)
}

func TestTLSVersions(t *testing.T) {
	w := newWorld(t, setup{tls: true})
	for version, want := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		config := trusting()
		config.MinVersion, config.MaxVersion = version, version
		conn, err := w.dialTLS(config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	w.awaitReason(reasonHandshake)
	w.awaitSessions(0)
}

func TestTLSCertificateReadAgain(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{tls: true})
	if got := w.peerName(); got != "one" {
		t.Fatalf("certificate of %q", got)
	}
	w.writeCertificate("two")
	eventually(t, "the new certificate is shown", func() bool { return w.peerName() == "two" })

	w.writeFile(w.keyFile, []byte("no key"))
	message := "TLS certificate not read again; the one before stays in use"
	eventually(t, "the bad key is noticed", func() bool {
		if got := w.peerName(); got != "two" {
			t.Fatalf("certificate of %q", got)
		}
		return w.logs.FilterMessage(message).Len() > 0
	})
	w.writeCertificate("three")
	eventually(t, "the third certificate is shown", func() bool { return w.peerName() == "three" })
	if n := w.logs.FilterMessage(message).Len(); n > 2 {
		t.Errorf("said %d times", n)
	}
}

// A handshake that does not end is one that has not logged in.
func TestTLSHalfOpenHandshake(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, setup{tls: true, general: "authtimeout = 1\nauthlimit = 1"})
	stuck, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	w.awaitSessions(1)
	if _, err := w.dialTLS(trusting()); err == nil {
		t.Error("authlimit does not count handshakes")
	}
	stuck.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := stuck.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		t.Errorf("read %d, %v", n, err)
	}
	eventually(t, "there is room again", func() bool {
		conn, err := w.dialTLS(trusting())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func parseText(text string) (*config.Config, error) {
	return config.Loader{}.Parse("test.conf", []byte(text))
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := parseText(text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := &world{tb: t, certFile: t.TempDir() + "/cert.pem", keyFile: t.TempDir() + "/key.pem"}
	w.writeCertificate("one")
	tlsLines := "tlsenable = yes\ntlscertfile = " + w.certFile + "\ntlsprivatekey = " + w.keyFile + "\n"
	pbxLines := "[pbx:east]\nhost = 127.0.0.1\nport = 9\nusername = proxy\nsecret = x\n"
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, general := range map[string]string{
		"port in use":     "port = " + port + "\n",
		"TLS port in use": "tlsbindaddr = 127.0.0.1:" + port + "\n" + tlsLines,
	} {
		cfg := parse(t, "[general]\n"+general+pbxLines)
		if cfg.General.TLSEnable {
			cfg.General.BindAddr = anyPort
		}
		srv, err := New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		err = srv.Start()
		if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), "another program") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range srv.Addrs() {
			if conn, err := net.Dial("tcp", a.String()); err == nil {
				conn.Close()
				t.Errorf("%s: still listening on %v", name, a)
			}
		}
		srv.Shutdown(time.Second)
	}

	cfg := parse(t, "[general]\n"+tlsLines+pbxLines)
	for _, file := range []string{w.certFile, w.keyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(file)
		if _, err := New(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("without %s: %v", file, err)
		}
		w.writeFile(file, bytes.ReplaceAll(text, []byte("BEGIN"), []byte("BEGONE")))
		if _, err := New(cfg, zap.NewNop()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("with a bad %s: %v", file, err)
		}
		w.writeFile(file, text)
	}
}
