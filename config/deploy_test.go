package config

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDeployExample: the example loads without a word, given the variables and
// secret files that it names; so it does with the lines that are commented out.
func TestDeployExample(t *testing.T) {
	example, err := os.ReadFile("../deploy/amiproxy.conf")
	if err != nil {
		t.Fatal(err)
	}
	c := loadsSilently(t, string(example))
	if len(c.PBXs) != 2 || len(c.Users) != 3 {
		t.Errorf("%d PBXes, %d users", len(c.PBXs), len(c.Users))
	}
	if w := c.Users["wallboard"]; w.Policy.Write() != 0 || !w.DropEvents || !slices.Equal(w.PBXs, []string{"east", "west"}) {
		t.Error("the wallboard is not what its comment says")
	}
	if m := c.Users["monitoring"]; !slices.Equal(m.PBXs, []string{"west"}) || m.DefaultPBX != "" {
		t.Error("monitoring is not what its comment says")
	}
	if crm := c.Users["crm"]; crm.DefaultPBX != "east" || !crm.Policy.Names("Originate") || crm.Policy.Names("Redirect") {
		t.Error("crm is not what its comment says")
	}
	more := regexp.MustCompile(`(?m)^;(tenant|[a-su-z[])`).ReplaceAllString(string(example), "$1") // but for tls…
	if c = loadsSilently(t, more); c.Users["acme"] == nil || c.Users["acme"].Policy.Fence() == nil || c.General.Audit.Path == "" {
		t.Error("acme has no fence, or there is no audit log")
	}
}

// loadsSilently loads an example, for which its secrets are there.
func loadsSilently(t *testing.T, text string) *Config {
	t.Helper()
	files, env := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^secretfile = (\S+)`).FindAllStringSubmatch(text, -1) {
		files["etc/"+m[1]] = "secret of " + m[1] + "\n"
	}
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(text, -1) {
		env[m[1]] = "x"
	}
	c, err := world(files, env).Parse("etc/amiproxy.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings)+len(c.Risks) > 0 {
		t.Errorf("warnings: %q %q", c.Warnings, c.Risks)
	}
	return c
}

// TestReadmeShowsTheExample: what the README shows of a configuration stands in
// the example, and lets a client on the same machine in.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../deploy/amiproxy.conf")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(line string) string {
		line, _, _ = strings.Cut(line, ";")
		return strings.TrimSpace(line)
	}
	has := map[string]bool{"": true}
	for line := range strings.Lines(string(example)) {
		has[plain(line)] = true
	}
	_, block, ok := strings.Cut(string(readme), "```ini\n")
	block, _, _ = strings.Cut(block, "```")
	if !ok || strings.Count(block, "\n") < 10 {
		t.Fatalf("the README shows %q", block)
	}
	for line := range strings.Lines(block) {
		if !has[plain(line)] {
			t.Errorf("%q is not in the example", plain(line))
		}
	}
	files := map[string]string{"etc/east.secret": "x", "etc/wallboard.secret": "y"}
	c, err := world(files, nil).Parse("etc/readme.conf", []byte(strings.Replace(block, "east,west", "east", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Users["wallboard"].Policy.Admits(netip.MustParseAddr("127.0.0.1")) {
		t.Error("the README's user cannot log in from the same machine")
	}
}

// TestDeployManagerConf: the proxy's user on the PBX is a section that we read
// ourselves, as any section of a manager.conf.
func TestDeployManagerConf(t *testing.T) {
	text, err := os.ReadFile("../deploy/asterisk-manager.conf")
	if err != nil {
		t.Fatal(err)
	}
	u := drafts(t, nil, string(text))["amiproxy"]
	if u == nil {
		t.Fatal("no section amiproxy")
	}
	o := u.options
	if o.Read.String() != o.Write.String() || o.Read&1 == 0 || u.WriteTimeout != 10*time.Second || !u.AllowMultipleLogin {
		t.Error("wrong rights or writetimeout")
	}
	for addr, want := range map[string]bool{"10.0.0.2": true, "10.0.0.3": false, "2001:db8::1": false} {
		if allows(o.Lists, addr) != want {
			t.Errorf("%s is allowed: %v", addr, !want)
		}
	}
}
