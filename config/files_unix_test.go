//go:build unix

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
)

// TestRealFiles does without a world of its own.
func TestRealFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	t.Setenv("AMIPROXY_TEST_SECRET", "one")
	write("amiproxy.conf", "#include conf.d/*.conf\n", 0o644)
	write("conf.d/a.conf", "[pbx:east]\nhost=pbx\nusername=proxy\nsecret=${AMIPROXY_TEST_SECRET}\n", 0o600)
	write("conf.d/b.conf", "[crm]\nsecretfile = ../crm.secret\n[ops]\nsecretfile = ../ops.secret\n", 0o600)
	write("conf.d/.b.conf.swp.conf", "nonsense", 0o600)
	write("crm.secret", "two", 0o640)
	write("ops.secret", "three", 0o644)

	c, err := Load(filepath.Join(dir, "amiproxy.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if c.PBXs[0].Secret != "one" || c.Users["crm"].Policy.CheckSecret("two") == acl.NoMatch || c.Users["ops"].Policy.CheckSecret("three") == acl.NoMatch {
		t.Error("wrong secrets")
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "b.conf:4: [ops] secretfile: everybody may read") {
		t.Errorf("warnings: %q", c.Warnings)
	}

	// A pipe has no writer: to wait for one would hang the start.
	if err := syscall.Mkfifo(filepath.Join(dir, "conf.d/c.conf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "amiproxy.conf")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe: got %v", err)
	}
}
