package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const riskless = `[general]
%GENERAL
[pbx:east]
host = 10.0.0.5
username = proxy
secret = MARKER-1
[crm]
secret = MARKER-2
%USER
[tenant:acme]
context = acme
`

func TestRisks(t *testing.T) {
	const pinned = "allowheader(Originate) = Channel: PJSIP/1??\nallowheader(Originate) = Context: from-crm\nallowheader(Originate) = Exten: *\nallowheader(Originate) = Priority: 1\n"
	files := maps.Clone(testFiles())
	files["public.pem"] = files["both.pem"]
	files["public-key.pem"] = files["key.pem"]
	for _, test := range []struct {
		name, general, user string
		want                []string // parts of the risks, one each
	}{
		{"nothing", "", "read = all\nwrite = call,agent,user", nil},
		{"originate without rules", "", "write = call,originate", []string{"a.conf:9: [crm] write: without allowaction and allowheader lines this gives the user nearly all of the PBX, by Originate"}},
		{"everything without rules", "", "write = all", []string{"by Originate, Command, UpdateConfig, GetConfig, GetConfigJSON, ModuleLoad, MixMonitor, DialplanExtensionAdd, AGI"}},
		{"originate with a context, and no channel", "", "write = originate\nallowaction = Originate\nallowheader(Originate) = Context: from-crm\nallowheader(Originate) = Channel: *", []string{"[crm] allowaction: Originate may have anything for Channel: add allowheader(Originate) = Channel: …"}},
		{"originate with patterns", "", "write = originate\nallowaction = Originate\n" + pinned, nil},
		{"originate with applications", "", "write = originate\nallowaction = Originate\n" + pinned + "allowheader(Originate) = Application: *", []string{"anything for Application"}},
		{"originate that sets all", "", "write = originate\nallowaction = Originate\nallowheader(Originate) = Channel: PJSIP/1??\nsetheader(Originate) = Context: from-crm", nil},
		{"originate without a line", "", "write = originate\nallowaction = Orig*", []string{"anything for Channel, Context, Application"}},
		{"denied", "", "write = all\nallowaction = *\ndenyaction = Originate, Command, UpdateConfig, GetConfig*, ModuleLoad, MixMonitor, Dialplan*, AGI", nil},
		{"no class for it", "", "write = call\nallowaction = *", nil},
		{"commands", "", "write = command\nallowaction = Command", []string{"Command may have anything for Command"}},
		{"commands with a list", "", "write = command\nallowaction = Command\nallowheader(Command) = Command: core show channels", nil},
		{"all but system, confined to a tenant", "", "write = originate,command,config,agi\ntenant = acme", nil},
		{"all, confined to a tenant", "", "write = all\ntenant = acme", []string{"a.conf:9: [crm] write: system does away with most of hardening"}},
		{"a tenant's, and named", "", "write = command,config\ntenant = acme\nallowaction = *, Command", []string{"[crm] allowaction: Command cannot be confined to a tenant", "Command may have anything for Command"}},
		{"a tenant's, who may kick all", "", "write = call\ntenant = acme\nproxyadmin = yes", []string{"a.conf:11: [crm] proxyadmin: the user's actions"}},
		{"a tenant of all", "", "[tenant:all]\ncontext = a, *\ndid = *1", []string{"a.conf:10: [tenant:all] context: any: everything with a context is this tenant's"}},
		{"all addresses", "bindaddr = 192.168.0.1", "write = call", []string{"a.conf:7: [crm] deny: none, and no permit or acl"}},
		{"some addresses", "bindaddr = 192.168.0.1", "deny = 0.0.0.0/0\npermit = 192.168.0.0/24", nil},
		{"a public address", "bindaddr = 198.51.100.1", "deny = 0.0.0.0/0", []string{"a.conf:2: [general] bindaddr: clients may log in from public addresses without TLS"}},
		{"a public address that is off", "bindaddr = 198.51.100.1\nenabled = no", "", nil},
		{"HTTP on all addresses", "webenabled = yes\n[http]\nbindaddr = 192.168.0.1", "write = call", []string{"a.conf:9: [crm] deny: none, and no permit or acl"}},
		{"HTTPS on all addresses", "webenabled = yes\n[http]\ntlsenable = yes\ntlsbindaddr = 192.168.0.1\ntlscertfile = /both.pem", "write = call", []string{"a.conf:11: [crm] deny: none, and no permit or acl"}},
		{"HTTP on a public address", "webenabled = yes\n[http]\nbindaddr = 198.51.100.1", "deny = 0.0.0.0/0", []string{"a.conf:4: [http] bindaddr: clients may log in from public addresses without TLS"}},
		{"HTTP beside HTTPS", "webenabled = yes\n[http]\nbindaddr = 0.0.0.0\ntlsenable = yes\ntlscertfile = /both.pem", "deny = 0.0.0.0/0", []string{"a.conf:4: [http] bindaddr: clients may log in from public addresses without TLS"}},
		{"HTTP on a public address that is off", "[http]\nbindaddr = 198.51.100.1", "", nil},
		{"a key that everybody may read", "tlsenable = yes\ntlscertfile = /cert.pem\ntlsprivatekey = /public-key.pem", "", []string{"a.conf:4: [general] tlsprivatekey: everybody may read \"/public-key.pem\""}},
		{"a key of HTTP with its certificate", "webenabled = yes\n[http]\ntlsenable = yes\ntlscertfile = /public.pem", "", []string{"a.conf:5: [http] tlscertfile: everybody may read \"/public.pem\""}},
		{"all addresses, told already", "bindaddr = 0.0.0.0", "deny = 0.0.0.0/0", nil},
	} {
		text := strings.NewReplacer("%GENERAL", test.general, "%USER", test.user).Replace(riskless)
		c, err := world(files, nil).Parse("a.conf", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if len(c.Risks) != len(test.want) {
			t.Errorf("%s: %q", test.name, c.Risks)
			continue
		}
		for i, want := range test.want {
			if !strings.Contains(c.Risks[i], want) || strings.Contains(c.Risks[i], "MARKER") {
				t.Errorf("%s: %q", test.name, c.Risks[i])
			}
		}
	}
}

// Files that everybody may read are told of, if there is a secret in them.
func TestExposedFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AMIPROXY_TEST_SECRET", "x")
	write("amiproxy.conf", "#include pbx.conf\n#include users.conf\n#include more.conf\n", 0o644)
	write("pbx.conf", "[pbx:east]\nhost = a\nusername = proxy\nsecret = ${AMIPROXY_TEST_SECRET}\n", 0o644)
	write("users.conf", "[crm]\nread = all\nsecret = MARKER-1\n[shop]\nsecret = MARKER-2\n", 0o644)
	write("more.conf", "[ops]\nsecret = MARKER-3\n", 0o640)
	c, err := Load(filepath.Join(dir, "amiproxy.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Risks, []string{filepath.Join(dir, "users.conf") + ":3: [crm] secret: everybody may read this file: chmod o= it, or use secretfile"}) {
		t.Errorf("%q", c.Risks)
	}
}

// Names that look misspelled are told of: a rule that denies what is not there denies
// nothing.
func TestMisspelledRules(t *testing.T) {
	text := strings.NewReplacer("%GENERAL", "", "%USER", "allowaction = Orignate, Nosuch, Originate, Getvar\ndenyaction = Unheard, Queue*\n"+
		"allowheader(Originate) = Contxt: x\nallowheader(Originate) = Application: x\nallowheader(Originate) = Channel: x/y\nsetheader(Getvar) = Varable: y").Replace(riskless)
	c, err := world(nil, nil).Parse("a.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a.conf:9: [crm] allowaction: Asterisk has no action orignate (did you mean Originate?)",
		"a.conf:10: [crm] denyaction: Asterisk has no action unheard",
		"a.conf:11: [crm] allowheader(Originate): no action of Asterisk reads a header contxt (did you mean context?)",
		"a.conf:14: [crm] setheader(Getvar): no action of Asterisk reads a header varable (did you mean variable?)",
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("%s", strings.Join(c.Warnings, "\n"))
	}
	text = strings.Replace(text, "denyaction = Unheard", "denyaction = Comand", 1)
	if _, err := world(nil, nil).Parse("a.conf", []byte(text)); err == nil || !strings.Contains(err.Error(), "a.conf:10: [crm] denyaction: Asterisk has no action comand (did you mean Command?") {
		t.Errorf("a denyaction that denies nothing: %v", err)
	}
}
