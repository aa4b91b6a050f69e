package acl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

// leaves reports whether the name of a file leads out of debian.Config. It
// walks the path step by step, as the kernel would if all of it were there.
func leaves(name string) bool {
	name = strings.TrimFunc(name, func(r rune) bool { return r < 33 })
	if !strings.HasPrefix(name, "/") {
		name = debian.Config + "/" + name
	}
	var at []string
	for _, step := range strings.Split(name, "/") {
		switch step {
		case "", ".":
		case "..":
			at = at[:max(len(at)-1, 0)]
		default:
			at = append(at, step)
		}
	}
	return !strings.HasPrefix("/"+strings.Join(at, "/"), debian.Config)
}

func mayFile(d Directories, lines ...string) string {
	return New(Options{Write: ami.ClassConfig}).May(ami.NewAction(lines...), ami.ClassConfig, d).Refusal
}

func TestConfigFiles(t *testing.T) {
	names := map[string]bool{ // whether it is inside
		"manager.conf":                      true,
		" manager.conf\t":                   true,
		"./sub/x.conf":                      true,
		"sub/../x.conf":                     true,
		"../asterisk/http.conf":             true,
		"../asterisk-old/http.conf":         true, // as Asterisk has it
		"/etc/asterisk/http.conf":           true,
		"//etc//asterisk/./http.conf":       true,
		"/../etc/asterisk/http.conf":        true,
		"/etc/asterisk.d/x":                 true,
		"\x01/etc/asterisk/x":               true,
		"~/x.conf":                          true,
		"...":                               true,
		"..x/../y":                          true,
		"../aster\x01 ":                     false,
		"../passwd":                         false,
		"../aster/x":                        false,
		"../Asterisk/x":                     false,
		"sub/../../x":                       false,
		"/etc/passwd":                       false,
		" \t/etc/passwd":                    false,
		"/etc/asterisk/../passwd":           false,
		"/etc/asterisk/sub/../../../x":      false,
		"/asterisk/x":                       false,
		"/x":                                false,
		"../../../../../../../etc/passwd":   false,
		strings.Repeat("a/", 400) + "x":     true,
		strings.Repeat("../", 300) + "etc/": false,
		"\xff\xfe":                          true,
	}
	refusal := map[bool]string{false: "File requires escalated privileges"}
	for name, in := range names {
		want := refusal[in]
		for _, action := range []string{"GetConfig", "getconfigjson", "ListCategories", "CreateConfig"} {
			if got := mayFile(debian, "Action: "+action, "Filename:"+name, "Filename: x"); got != want {
				t.Errorf("%s of %.40q: %q", action, name, got)
			}
			if got := mayFile(Directories{}, "Action: "+action, "Filename: "+name); got != refusal[false] {
				t.Errorf("%s of %.40q without a directory: %q", action, name, got)
			}
		}
		for _, lines := range [][]string{
			{"SrcFilename: " + name, "DstFilename: ok.conf"},
			{"SrcFilename: ok.conf", "DstFilename: " + name},
			{"SrcFilename: " + name, "DstFilename: " + name},
		} {
			if got := mayFile(debian, append(lines, "Action: UpdateConfig")...); got != want {
				t.Errorf("UpdateConfig %.60q: %q", lines, got)
			}
		}
		// No right does away with the test.
		a := ami.NewAction("Action: GetConfig", "Filename: "+name)
		if got := New(Options{Write: ami.ClassAll}).May(a, ami.ClassConfig, debian).Refusal; got != want {
			t.Errorf("GetConfig of %.40q with all rights: %q", name, got)
		}
	}
	// The names that only CreateConfig takes otherwise: it looks at their
	// directory.
	for name, want := range map[string]string{"..": "", "sub/../..": "", ".": "", "/etc/asterisk": refusal[false], "/": refusal[false]} {
		if got := mayFile(debian, "Action: CreateConfig", "Filename: "+name); got != want {
			t.Errorf("CreateConfig of %q: %q", name, got)
		}
	}
	for _, name := range []string{"..", "..\x01", "sub/../..", "/"} {
		if got := mayFile(debian, "Action: GetConfig", "Filename: "+name); got != refusal[false] {
			t.Errorf("GetConfig of %q: %q", name, got)
		}
	}
	// What lacks a name is for the PBX to refuse.
	for _, lines := range [][]string{
		{"Action: GetConfig"}, {"Action: GetConfigJSON", "Filename: "}, {"Action: ListCategories", "Filename: \t "},
		{"Action: CreateConfig", "Filename : /x"}, {"Action: CreateConfig", "Filename:", "Filename: /x"},
		{"Action: UpdateConfig", "SrcFilename: /x"}, {"Action: UpdateConfig", "DstFilename: /x", "SrcFilename: "},
	} {
		if got := mayFile(debian, lines...); got != "" {
			t.Errorf("%q: %q", lines, got)
		}
	}
}

// Asterisk compares with the name of the directory as its configuration spells
// it, so that one spelled badly has no files.
func TestConfigDirectoryAsSpelled(t *testing.T) {
	for _, dir := range []string{"/etc/../etc/asterisk", "//etc/asterisk", "etc/asterisk"} {
		if got := mayFile(Directories{Config: dir}, "Action: GetConfig", "Filename: x.conf"); got == "" {
			t.Errorf("%s: allowed", dir)
		}
	}
	if got := mayFile(Directories{Config: "/etc/asterisk/"}, "Action: GetConfig", "Filename: x.conf"); got != "" {
		t.Errorf("with a slash: %q", got)
	}
}

func TestModuleLoad(t *testing.T) {
	const foreign = "Module must be in the configured modules directory."
	tests := []struct{ kind, module, want string }{
		{"load", "res_agi.so", ""},
		{"load", "res_agi", ""},
		{"unload", " res_agi.so ", ""},
		{"reload", "", ""},
		{"load", "", ""},
		{"load", "../modules/res_agi.so", ""},
		{"load", "/tmp/x.so", ""}, // in the directory, whatever it looks like
		{"load", "../x.so", foreign},
		{"LOAD", "../../../../tmp/x.so", foreign},
		{"unload", "..", foreign},
		{"reload", "sub/../../x", foreign},
		{"refresh", "../x.so", foreign},
		{"bogus", "../x.so", foreign},
		{"", "../x.so", ""}, // nothing is loaded
	}
	for _, test := range tests {
		a := ami.NewAction("Action: ModuleLoad", "LoadType: "+test.kind, "Module: "+test.module, "Module: ../x.so")
		for _, write := range []ami.Class{ami.ClassSystem, ami.ClassAll} {
			if got := New(Options{Write: write}).May(a, ami.ClassSystem, debian).Refusal; got != test.want {
				t.Errorf("%s %q: %q", test.kind, test.module, got)
			}
		}
		if got := New(Options{Write: ami.ClassSystem}).May(a, ami.ClassSystem, Directories{Config: "/"}).Refusal; (got == "") != (test.kind == "") {
			t.Errorf("%s %q without a directory: %q", test.kind, test.module, got)
		}
	}
}

// A path is judged as the kernel resolves it, as long as no link is in it.
func TestInsideIsRealpath(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/asterisk/a/b", "etc/asterisk-old/a", "etc/a", "a/asterisk"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := top + "/etc/asterisk"
	steps := rapid.SliceOfN(rapid.SampledFrom([]string{"..", "..", "a", "b", "", ".", "etc", "asterisk", "asterisk-old"}), 0, 8)
	starts := rapid.SampledFrom([]string{dir + "/", top + "/", dir + "/a/../"})
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		file := starts.Draw(t, "start") + strings.Join(steps.Draw(t, "steps"), "/")
		real, err := filepath.EvalSymlinks(file)
		if err != nil {
			return
		}
		want := strings.HasPrefix(real, dir)
		seen[want]++
		if got := inside(dir, file); got != want {
			t.Fatalf("%s: %v, but it is %s", file, got, real)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("saw %v", seen)
	}
}

// Of a PBX whose directories are not known, only relative names are inside.
func TestDirectoriesNotKnown(t *testing.T) {
	unknown := Directories{Config: "/\x00", Modules: "/\x00"}
	for name, want := range map[string]string{
		"queues.conf": "", "a/b.conf": "", "/etc/asterisk/queues.conf": outside.Refusal, "../queues.conf": outside.Refusal, "/": outside.Refusal, "//": outside.Refusal, "a/../../x": outside.Refusal,
	} {
		if got := checkConfigFile(ami.NewAction("Action: GetConfig", "Filename: "+name), 0, unknown).Refusal; got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
