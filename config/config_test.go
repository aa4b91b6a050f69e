package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/backend"
)

const minimal = "[pbx:east]\nhost = pbx\nusername = proxy\nsecret = x\n[crm]\nsecret = y\n"

func TestDefaults(t *testing.T) {
	c := mustParse(t, minimal)
	if !c.Users["crm"].Policy.Admits(netip.MustParseAddr("2001:db8::1")) {
		t.Error("an address is refused")
	}
	c.Users["crm"].Policy = nil
	loop := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	}
	want := &Config{
		General: General{
			Enabled:      true,
			BindAddr:     loop(5038),
			TLSBindAddr:  loop(5039),
			AuthTimeout:  30 * time.Second,
			AuthLimit:    50,
			AuthFailures: 10, AuthWindow: time.Minute, AuthLockout: time.Minute,
			Challenge:    true,
			QueueLimit:   4 << 20,
			AnswerLimit:  64 << 20,
			TotalLimit:   1 << 30,
			PendingLimit: 64, MergeTimeout: 5 * time.Second,
			Audit: Audit{Size: 100 << 20, Files: 10},
		},
		HTTP: HTTP{
			BindAddr:          loop(8088),
			TLSBindAddr:       loop(8089),
			SessionTimeout:    time.Minute,
			SessionLimit:      100,
			SessionInactivity: 30 * time.Second,
			SessionKeepAlive:  15 * time.Second,
		},
		PBXs: []backend.Options{{
			Name: "east", Host: "pbx", Port: 5038, Username: "proxy", Secret: "x", Links: 4,
			ConnectTimeout: 3 * time.Second,
			ActionTimeout:  30 * time.Second,
			AnswerLimit:    64 << 20,
			PendingLimit:   1000,
		}},
		Users: map[string]*User{"crm": {
			PBXs:               []string{"east"},
			AllowMultipleLogin: true,
			DisplayConnects:    true,
			QueueLimit:         4 << 20,
			PendingLimit:       64,
			FullyBooted:        true,
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestEverythingSet(t *testing.T) {
	const text = `
[general]
enabled = no
bindaddr = [::]
port = 1
tlsbindaddr = 10.0.0.1:2
authtimeout = 3s
authlimit = 4
httptimeout = 5
authfailures = 5
authwindow = 6
authlockout = 7s
allowmultiplelogin = no
displayconnects = no
brokeneventsaction = yes
timestampevents = yes
disabledevents = Newexten,  VarSet
defaultpbx = WEST
banner = Asterisk Call Manager/9.9.9
challenge = no
actiontimeout = 1500ms
connecttimeout = 6
mergetimeout = 700ms
queuelimit = 64K
answerlimit = 2m
totallimit = 3G
pendinglimit = 8
maxsessions = 20
actionrate = 30
hardening = no
audit = log/audit.log
auditreads = yes
auditsize = 2G
auditfiles = 3
auditdays = 90
webenabled = yes
[http]
bindaddr = ::1
bindport = 9
tlsbindaddr = ::2
prefix = asterisk/
sessionlimit = 10
session_inactivity = 11
session_keep_alive = 12s
enable_static = yes
static = web
origins = https://a.example, http://b.example:8080
[pbx:East]
host = [2001:db8::1]
port = 13
username = ${EAST_SECRET}-user
secret = a${EAST_SECRET}b
links = 64
pendinglimit = 9
tls = yes
tlspin = 00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF
[pbx:west]
host = west.example.com
username = p
secret = # ; not this
tls = yes
tlsservername = other.example.com
[one]
secret = x
[Two]
secretfile = west.secret
allowmultiplelogin = yes
displayconnects = yes
pbx = west, EAST
defaultpbx = east
slowclient = drop
queuelimit = 100000
fullybooted = no
pbxlost = close
sharedids = yes
proxyadmin = yes
hardening = yes
writetimeout = 1500
setvar = A=b,"c\d(e
setvar = CHANNEL(language)=de
setvar = A=
actionrate = 31
pendinglimit = 32
maxsessions = 0
compat = Command-Follows
`
	c, err := world(testFiles(), testEnv).Parse("etc/a.conf", []byte(strings.Replace(text, "west.secret", "../west.secret", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range c.Users {
		if u.Policy.Name() != map[string]string{"one": "one", "two": "Two"}[name] {
			t.Errorf("user %s is called %s", name, u.Policy.Name())
		}
		u.Policy = nil
	}
	c.Warnings = nil
	want := &Config{
		General: General{
			BindAddr:           netip.MustParseAddrPort("[::]:1"),
			TLSBindAddr:        netip.MustParseAddrPort("10.0.0.1:2"),
			AuthTimeout:        3 * time.Second,
			AuthLimit:          4,
			AuthFailures:       5,
			AuthWindow:         6 * time.Second,
			AuthLockout:        7 * time.Second,
			DefaultPBX:         "west",
			Banner:             "Asterisk Call Manager/9.9.9",
			BrokenEventsAction: true,
			TimestampEvents:    true,
			DisabledEvents:     []string{"Newexten", "VarSet"},
			QueueLimit:         64 << 10,
			AnswerLimit:        2 << 20,
			TotalLimit:         3 << 30,
			PendingLimit:       8,
			MergeTimeout:       700 * time.Millisecond,
			Audit:              Audit{Path: "etc/log/audit.log", Reads: true, Size: 2 << 30, Files: 3, Days: 90},
		},
		HTTP: HTTP{
			Enabled:           true,
			BindAddr:          netip.MustParseAddrPort("[::1]:9"),
			TLSBindAddr:       netip.MustParseAddrPort("[::2]:8089"),
			Prefix:            "/asterisk",
			SessionTimeout:    5 * time.Second,
			SessionLimit:      10,
			SessionInactivity: 11 * time.Millisecond,
			SessionKeepAlive:  12 * time.Second,
			EnableStatic:      true,
			Static:            "etc/web",
			Origins:           []string{"https://a.example", "http://b.example:8080"},
		},
		PBXs: []backend.Options{{
			Name: "East", Host: "2001:db8::1", Port: 13, Links: 64, TLS: true,
			Username: "MARKER-east-user", Secret: "aMARKER-eastb",
			TLSPin:         "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF",
			ConnectTimeout: 6 * time.Second,
			ActionTimeout:  1500 * time.Millisecond,
			AnswerLimit:    2 << 20,
			PendingLimit:   9,
		}, {
			Name: "west", Host: "west.example.com", Port: 5038, Links: 4, TLS: true,
			Username: "p", Secret: "#",
			TLSServerName:  "other.example.com",
			ConnectTimeout: 6 * time.Second,
			ActionTimeout:  1500 * time.Millisecond,
			AnswerLimit:    2 << 20,
			PendingLimit:   1000,
		}},
		Users: map[string]*User{
			"one": {
				PBXs: []string{"East", "west"}, DefaultPBX: "west",
				QueueLimit: 64 << 10, FullyBooted: true,
				MaxSessions: 20, ActionRate: 30, PendingLimit: 8,
			},
			"two": {
				PBXs: []string{"East", "west"}, DefaultPBX: "East",
				AllowMultipleLogin: true, DisplayConnects: true, DropEvents: true,
				QueueLimit: 100000, CloseWhenPBXLost: true, SharedIDs: true, ProxyAdmin: true,
				WriteTimeout:   1500 * time.Millisecond,
				ActionRate:     31,
				PendingLimit:   32,
				SetVars:        []string{`A=b,"c\d(e`, "CHANNEL(language)=de", "A="},
				CommandFollows: true,
			},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// drafts loads a text and returns the users as they go to package acl.
func drafts(t *testing.T, files map[string]string, text string) map[string]*userDraft {
	t.Helper()
	l := world(files, testEnv)
	g := &loading{loader: &l, report: newReport(), file: "test.conf"}
	g.compile(g.sections("test.conf", []byte(text)))
	if err := g.report.err(); err != nil {
		t.Fatal(err)
	}
	users := map[string]*userDraft{}
	for _, u := range g.users {
		users[u.options.Name] = u
	}
	return users
}

func TestUserOptions(t *testing.T) {
	users := drafts(t, map[string]string{"s": " a b \r\n", "acl.conf": "[homes]\ndeny=0.0.0.0/0\npermit=10.1.0.0/16\n"}, `
[general]
aclfile = acl.conf
[acl:office]
deny = 0.0.0.0/0
permit = 192.168.0.0/24
[pbx:east]
host = pbx
username = proxy
secret = x
[none]
[empty]
secret =
[one]
secret = a=b;comment
deny = 0.0.0.0/0
permit = 192.168.0.0/16
deny = 192.168.0.9
acl = Office
read = system,call
write = all
write = none
hardening = no
[two]
secretfile = s
acl = homes, office
`)
	if u := users["none"]; u.options.Secret != "" || !u.options.Hardening {
		t.Error("none: wrong options")
	}
	if u := users["empty"]; u.options.Secret != "" {
		t.Error("empty: wrong options")
	}
	if u := users["two"]; u.options.Secret != " a b " || len(u.options.Lists) != 2 {
		t.Error("two: wrong options")
	}
	one := users["one"].options
	if one.Secret != "a=b" || one.Hardening {
		t.Error("one: wrong options")
	}
	if one.Read.String() != "system,call,all" || one.Write != 0 {
		t.Errorf("one: read %s, write %s", one.Read, one.Write)
	}
	for addr, want := range map[string]bool{
		"192.168.0.8": true, "192.168.0.9": false, "192.168.1.1": false, "10.1.0.1": false,
	} {
		if allows(one.Lists, addr) != want {
			t.Errorf("one: %s is allowed: %v", addr, !want)
		}
	}
}

func TestTemplates(t *testing.T) {
	users := drafts(t, nil, string(testFiles()["templates.conf"]))
	crm, dialler := users["crm"].options, users["dialler"].options
	if crm.Read.String() == dialler.Read.String() && crm.Secret == "x" && dialler.Secret == "y" {
		// dialler inherits from crm, whose read is all.
	} else {
		t.Error("wrong inheritance")
	}
	for addr, want := range map[string][2]bool{
		"10.1.0.1": {true, true},   // its own rule, and inherited by dialler
		"10.2.0.1": {false, false}, // denied again by the rules of crm
		"10.3.0.1": {true, false},  // added to crm after dialler inherited
		"10.4.0.1": {false, false},
	} {
		if got := [2]bool{allows(crm.Lists, addr), allows(dialler.Lists, addr)}; got != want {
			t.Errorf("%s: crm and dialler allow %v, want %v", addr, got, want)
		}
	}
	if got := users["dialler"].PBXs; !slices.Equal(got, []string{"east"}) {
		t.Errorf("dialler may use %v", got)
	}
}

func TestIncludes(t *testing.T) {
	users := drafts(t, testFiles(), testFiles()["includes.conf"])
	for name, want := range map[string]string{"crm": "<none>", "alice": "call,all", "bob": "agent,all"} {
		u := users[name]
		if u == nil {
			t.Fatalf("no user %s", name)
		}
		if got := u.options.Read.String(); got != want {
			t.Errorf("%s reads %s", name, got)
		}
		if u.options.Write.String() != "call,all" {
			t.Errorf("%s: the line after the #include is not of [crm]", name)
		}
		if allows(u.options.Lists, "192.0.2.1") || !allows(u.options.Lists, "10.0.0.1") {
			t.Errorf("%s: wrong rules", name)
		}
	}
}

func TestDefaultPBXOfOthers(t *testing.T) {
	c := mustParse(t, "[general]\ndefaultpbx = east\n[pbx:west]\nhost = w\nusername = u\nsecret = x\n"+minimal+"pbx = west\n")
	if c.General.DefaultPBX != "east" || c.Users["crm"].DefaultPBX != "" {
		t.Errorf("got %q and %q", c.General.DefaultPBX, c.Users["crm"].DefaultPBX)
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load(t.TempDir() + "/none.conf")
	if err == nil || !strings.HasSuffix(err.Error(), "/none.conf: no such file") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.HasSuffix(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}

func TestAuditPlace(t *testing.T) {
	for text, want := range map[string]Audit{
		"none": {}, "None": {}, "stderr": {Stderr: true}, "/var/log/a b.log": {Path: "/var/log/a b.log"}, "stderr.log": {Path: "etc/stderr.log"},
		"stderr\naudit = none": {},
	} {
		c, err := Loader{}.Parse("etc/amiproxy.conf", []byte("[general]\naudit = "+text+"\n[pbx:east]\nhost = x\nusername = p\nsecret = x\n"))
		if err != nil {
			t.Fatal(err)
		}
		want.Size, want.Files = 100<<20, 10
		if c.General.Audit != want {
			t.Errorf("%q: %+v, want %+v", text, c.General.Audit, want)
		}
	}
	for _, line := range []string{"audit =", "auditsize = 1", "auditfiles = 0", "auditdays = -1"} {
		if _, err := (Loader{}).Parse("etc/amiproxy.conf", []byte("[general]\n"+line+"\n[pbx:east]\nhost = x\nusername = p\nsecret = x\n")); err == nil {
			t.Errorf("%q is no error", line)
		}
	}
}
