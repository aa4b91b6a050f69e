package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/go-multierror"
)

// world is a Loader whose files and environment are those of a test.
func world(files map[string]string, env map[string]string) Loader {
	fsys := fstest.MapFS{}
	for name, content := range files {
		mode := fs.FileMode(0o600)
		if strings.Contains(name, "public") {
			mode = 0o644
		}
		fsys[name] = &fstest.MapFile{Data: []byte(content), Mode: mode}
	}
	inside := func(path string) string {
		return filepath.Clean(strings.TrimPrefix(path, "/"))
	}
	return Loader{
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Open:      func(path string) (fs.File, error) { return fsys.Open(inside(path)) },
		Glob:      func(pattern string) ([]string, error) { return fs.Glob(fsys, inside(pattern)) },
	}
}

// testEnv is the environment of the golden cases.
var testEnv = map[string]string{
	"EAST_SECRET":  "MARKER-east",
	"MARKER_VALUE": "MARKER-value",
	"TWO_LINES":    "MARKER-a\nMARKER-b",
	"EMPTY":        "",
}

// testFiles are the files of testdata, secrets and certificates.
var testFiles = sync.OnceValue(func() map[string]string {
	cert, key := certificate()
	_, other := certificate()
	files := map[string]string{
		"west.secret":     "MARKER-west\n",
		"public.secret":   "MARKER-public\r\n",
		"empty.secret":    "\n",
		"twolines.secret": "MARKER-a\nMARKER-b\n",
		"cert.pem":        cert,
		"key.pem":         key,
		"other-key.pem":   other,
		"both.pem":        cert + key,
	}
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, "testdata/")] = string(text)
		return err
	})
	if err != nil {
		panic(err)
	}
	return files
})

// certificate makes one with its key.
func certificate() (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER)
}

// parse reads a text as the file test.conf of a world with testEnv.
func parse(text string) (*Config, error) {
	return world(nil, testEnv).Parse("test.conf", []byte(text))
}

// mustParse is parse of a text that is right.
func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// findings are the members of a load error; the test fails on any other error.
func findings(t testing.TB, err error) []*Error {
	t.Helper()
	if err == nil {
		return nil
	}
	var all *multierror.Error
	if !errors.As(err, &all) {
		t.Fatalf("%T is no *multierror.Error", err)
	}
	var list []*Error
	for _, err := range all.Errors {
		e, ok := err.(*Error)
		if !ok {
			t.Fatalf("%T is no *config.Error", err)
		}
		list = append(list, e)
	}
	return list
}
