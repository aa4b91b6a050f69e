package acl

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// debian are the directories of the PBX in these tests.
var debian = Directories{Config: "/etc/asterisk", Modules: "/usr/lib/asterisk/modules"}

// A check under a name that the table of actions spells otherwise would never
// be made.
func TestChecksAreOfActions(t *testing.T) {
	for name := range checks {
		if info, ok := ami.LookupAction(name); !ok || info.Name != name {
			t.Errorf("%s: no such action", name)
		}
	}
}

func TestCommandBlacklist(t *testing.T) {
	for command, want := range map[string]bool{
		"module load":                true,
		"module load x.so":           true,
		"MODULE   Load x.so":         true,
		"  module load x.so":         true,
		"module load\t":              true,
		"\x01module \t load x":       true,
		"module \x01 \x01load x":     true,
		"module unload x":            true,
		"restart gracefully":         true,
		"Restart Gracefully now":     true,
		"":                           false,
		"  ":                         false,
		"module":                     false,
		"module ":                    false,
		"module show":                false,
		"module loadx":               false,
		"mod load x":                 false,
		"module\tload x":             false, // Asterisk lets these four through,
		`"module" load x`:            false, // and runs them
		`module "load" x`:            false,
		`mod\ule load x`:             false,
		"module lo\u017fd":           false,
		"re\u017ftart gracefully":    false,
		"core restart gracefully":    false,
		"restart":                    false,
		"gracefully restart":         false,
		"x module load":              false,
		"module reload":              false,
		"module load-x load":         false,
		"restart now gracefully":     false,
		strings.Repeat(" ", 900):     false,
		strings.Repeat("module ", 9): false,
	} {
		text := ""
		if want {
			text = "Command blacklisted"
		}
		for _, write := range []ami.Class{ami.ClassCommand, ami.ClassAll} {
			p := New(Options{Write: write})
			if got := p.May(ami.NewAction("Action: command", "Command: "+command), ami.ClassCommand, debian).Refusal; got != text {
				t.Errorf("%q with %v: %q", command, write, got)
			}
		}
	}
	// The class comes first, and the first header counts.
	a := ami.NewAction("Action: Command", "Command: module load", "Command: core show version")
	if got := New(Options{Write: ami.ClassCall}).May(a, ami.ClassCommand, debian).Refusal; got != "Permission denied" {
		t.Errorf("without the class: %q", got)
	}
	a = ami.NewAction("Action: Command", "Command: core show version", "Command: module load")
	if got := New(Options{Write: ami.ClassCommand}).May(a, ami.ClassCommand, debian).Refusal; got != "" {
		t.Errorf("a second Command: %q", got)
	}
}

// asteriskBlacklists is manager.c: check_blacklist, word for word.
func asteriskBlacklists(cmd string) bool {
	var words [2]string
	rest, more := cmd, true
	for i := 0; i < 2 && more; i++ {
		var word string
		word, rest, more = strings.Cut(rest, " ")
		for word != "" && word[0] < 33 {
			word = word[1:]
		}
		for word != "" && word[len(word)-1] < 33 {
			word = word[:len(word)-1]
		}
		if word == "" {
			i--
			continue
		}
		words[i] = strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, word)
	}
	switch words {
	case [2]string{"module", "load"}, [2]string{"module", "unload"}, [2]string{"restart", "gracefully"}:
		return true
	}
	return false
}

// asteriskPermits is manager.c: is_originate_app_permitted.
func asteriskPermits(app, data string, write ami.Class) bool {
	system := write&ami.ClassSystem != 0
	app = strings.ToLower(app)
	for _, name := range []string{"agi", "dbdeltree", "exec", "externalivr", "mixmonitor", "originate", "reload", "system"} {
		if strings.Contains(app, name) {
			return system
		}
	}
	if args := splitArguments(data, ',', true); strings.Contains(app, "queue") && len(args) > 5 && args[5] != "" {
		return system || write&ami.ClassAGI != 0
	}
	for _, word := range []string{"CURL", "DB", "EVAL", "FILE", "ODBC", "REALTIME", "SHELL"} {
		if strings.Contains(data, word) {
			return system
		}
	}
	return true
}

// FuzzChecks holds that no value panics, and that nothing is allowed which
// the newest Asterisk refuses.
func FuzzChecks(f *testing.F) {
	for _, value := range []string{
		"module load x", "module  unload", " restart\tgracefully", "../etc/http.conf", "/etc/asterisk/../passwd", "/etc/asterisk-old/x",
		"a/../../b", "/", "..", "..\x01", ".", "//", "", "SHELL(id)", "system", "queue", "a,b,c,d,e,f", "\x01\x7f\xff", "x/1",
	} {
		f.Add(value, value, uint32(ami.ClassOriginate))
		f.Add("queue", value, uint32(ami.ClassAGI))
		f.Add("there.conf", value, uint32(ami.ClassSystem))
	}
	f.Fuzz(func(t *testing.T, one, two string, bits uint32) {
		write := ami.Class(bits) & ami.ClassAll
		p := New(Options{Write: write})
		refused := func(lines ...string) (*ami.Action, bool) {
			a := ami.NewAction(lines...)
			return a, p.May(a, ami.ClassNone, debian).Refusal != ""
		}
		same := func(action string, got, want bool) {
			if got != want {
				t.Errorf("%s of %q, %q with %v: refused %v, by Asterisk %v", action, one, two, write, got, want)
			}
		}
		a, got := refused("Action: Command", "Command: "+one)
		same("Command", got, asteriskBlacklists(a.Get("Command")))
		for _, action := range []string{"GetConfig", "GetConfigJSON", "ListCategories"} {
			a, got = refused("Action: "+action, "Filename: "+one)
			same(action, got, a.Get("Filename") != "" && leaves(a.Get("Filename")))
		}
		a, got = refused("Action: UpdateConfig", "SrcFilename: "+one, "DstFilename: "+two)
		from, to := a.Get("SrcFilename"), a.Get("DstFilename")
		same("UpdateConfig", got, from != "" && to != "" && (leaves(from) || leaves(to)))
		refused("Action: CreateConfig", "Filename: "+one)
		refused("Action: ModuleLoad", "LoadType: "+one, "Module: "+two)
		a, got = refused("Action: Getvar", "Variable: "+one)
		same("Getvar", got, write&ami.ClassSystem == 0 && (strings.Contains(a.Get("Variable"), "SHELL") || strings.Contains(a.Get("Variable"), "EVAL")))
		a, got = refused("Action: Originate", "Channel: x/1", "Application: "+one, "Data: "+two)
		if app := a.Get("Application"); app != "" && !asteriskPermits(app, a.Get("Data"), write) && !got {
			t.Errorf("Originate of %q, %q with %v is allowed", one, two, write)
		}
	})
}
