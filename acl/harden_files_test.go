package acl

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

func TestHardeningOfFiles(t *testing.T) {
	for _, action := range []string{"GetConfig", "GetConfigJSON", "ListCategories"} {
		for name, reason := range map[string]string{
			"":                            "",
			"queues.conf":                 "",
			"pjsip.conf":                  "",
			"sub/extensions.conf":         "",
			"/etc/asterisk/sip.conf":      "",
			"variables.conf":              "",
			"/etc/asterisk.old/sip.conf":  "!Filename is outside of the PBX's configuration directory",
			"../asterisk-old/sip.conf":    "!Filename is outside of the PBX's configuration directory",
			"manager.conf":                "Filename with passwords of the PBX needs system",
			"./sub/../Manager.conf":       "Filename with passwords of the PBX needs system",
			"/etc/asterisk//manager.conf": "Filename with passwords of the PBX needs system",
			"manager.conf.bak":            "Filename with passwords of the PBX needs system",
			"manager.d/x.conf":            "Filename with passwords of the PBX needs system",
			"ari.conf":                    "Filename with passwords of the PBX needs system",
			"users.conf":                  "Filename with passwords of the PBX needs system",
			"res_odbc.conf":               "Filename with passwords of the PBX needs system",
			"cdr_mysql.conf":              "Filename with passwords of the PBX needs system",
		} {
			hardened{action, []string{"Filename: " + name}, reason}.test(t)
		}
	}
	for name, reason := range map[string]string{
		"queues.conf":                 "",
		"./queues.conf":               "",
		"/etc/asterisk/agents.conf":   "",
		"sub/queues.conf":             "writing queues.conf needs system",
		"Queues.conf":                 "writing Queues.conf needs system",
		"extensions.conf":             "writing extensions.conf needs system",
		"manager.conf":                "with passwords of the PBX needs system",
		"../asterisk-old/queues.conf": "!is outside of the PBX's configuration directory",
	} {
		header := func(name string) string {
			if strings.HasPrefix(reason, "writing") || reason == "" {
				return reason
			}
			if rest, always := strings.CutPrefix(reason, "!"); always {
				return "!" + name + " " + rest
			}
			return name + " " + reason
		}
		hardened{"CreateConfig", []string{"Filename: " + name}, header("Filename")}.test(t)
		hardened{"UpdateConfig", []string{"SrcFilename: queues.conf", "DstFilename: " + name}, header("DstFilename")}.test(t)
	}
	update := []string{"SrcFilename: queues.conf", "DstFilename: queues.conf", "Action-000000: Append", "Cat-000000: a"}
	for lines, reason := range map[string]string{
		"Var-000000: member|Value-000000: >Local/1@x": "",
		"Var-000000: x|Value-000000: #include y":      "",
		"Var-000000: #exec /bin/sh|Value-000000: x":   "Var-000000, which includes a file, needs system",
		"vAR-000001: \t#include /etc/passwd;":         "vAR-000001, which includes a file, needs system",
		"SrcFilename: manager.conf":                   "", // the second
	} {
		hardened{"UpdateConfig", append(update[:4:4], strings.Split(lines, "|")...), reason}.test(t)
	}
	hardened{"UpdateConfig", []string{"SrcFilename: manager.conf", "DstFilename: queues.conf"}, "SrcFilename with passwords of the PBX needs system"}.test(t)
	hardened{"UpdateConfig", []string{"SrcFilename: pjsip.conf", "DstFilename: queues.conf"}, ""}.test(t)
}

func TestHardeningOfModules(t *testing.T) {
	a := func(name string) *ami.Action {
		return ami.NewAction("Action: ModuleLoad", "LoadType: load", "Module: "+name)
	}
	for name, want := range map[string]bool{"": true, "res_agi": true, "res_agi.so": true, "sub/x.so": false, "/x.so": false, "./x.so": false} {
		for _, write := range []ami.Class{ami.ClassSystem, ami.ClassAll} {
			if v := New(Options{Write: write, Hardening: true}).May(a(name), ami.ClassSystem, debian); v.Allowed() != want {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
}

// Of a PBX whose directories are not known, only relative names are inside.
func TestHardeningWithoutDirectories(t *testing.T) {
	unknown := Directories{Config: "/\x00", Modules: "/\x00"}
	p := New(Options{Write: ami.ClassConfig, Hardening: true})
	for name, want := range map[string]bool{"queues.conf": true, "manager.conf": false, "sub/manager.conf": false, "/etc/asterisk/queues.conf": false, "../queues.conf": false} {
		if v := p.May(ami.NewAction("Action: GetConfig", "Filename: "+name), ami.ClassConfig, unknown); v.Allowed() != want {
			t.Errorf("%s: %+v", name, v)
		}
		if v := p.May(ami.NewAction("Action: CreateConfig", "Filename: "+name), ami.ClassConfig, unknown); v.Allowed() != (name == "queues.conf") {
			t.Errorf("CreateConfig %s: %+v", name, v)
		}
	}
}
