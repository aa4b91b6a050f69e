package backend

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// settings are lines of "core show settings" in front of which label stands.
func settings(label string, directories ...string) string {
	lines := []string{
		label, label + "PBX Core settings", label + "-----------------",
		label + "  System name:                 Module directory: /wrong",
		label + "  Configuration file:          /wrong/asterisk.conf",
	}
	for i, d := range directories {
		lines = append(lines, label+[]string{"  Configuration directory:     ", "  Module directory:            "}[i]+d)
	}
	return strings.Join(append(lines, label+"  Spool directory:             /var/spool", label), "|")
}

func TestParseDirectories(t *testing.T) {
	usual := Directories{"/opt/pbx etc", "/opt/modules"}
	for text, want := range map[string]Directories{
		"Response: Success|ActionID: 1|Message: Command output follows|" + settings("Output: ", usual.Config, usual.Modules) + "||":                          usual,
		"Response: Follows|Privilege: Command|ActionID: 1|" + strings.ReplaceAll(settings("", usual.Config, usual.Modules), "|", "\n") + "--END COMMAND--||": usual,
		"Response: Success|" + settings("Output: ", "/opt/etc") + "||":                                                                                       {},
		"Response: Success|" + settings("Output: ", "/opt/etc", " ") + "||":                                                                                  {},
		"Response: Error|Output: No such command 'core show settings'||":                                                                                     {},
		"Response: Error|Message: Permission denied||":                                                                                                       {},
		"": {},
	} {
		got, ok := parseDirectories(ami.Frame(strings.ReplaceAll(text, "|", "\r\n")))
		if ok != (want != Directories{}) || ok && got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
}

// The PBX is asked for its directories whenever it comes up, and what it does
// not tell is unknown, or what it told before.
func TestDirectoriesAreThePBXs(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	tell := func(output string) {
		w.raw("Command", "Response: Success|ActionID: $ID|Message: Command output follows|"+output+"||")
	}
	if d := w.b.Directories(); d != unknownDirectories {
		t.Errorf("before the PBX is there: %+v", d)
	}
	want := Directories{"/opt/etc", "/opt/modules"}
	tell(settings("Output: ", want.Config, want.Modules))
	w.start()
	if d := w.b.Directories(); d != want {
		t.Errorf("told, but %+v", d)
	}
	comesBack := func() {
		ups := w.told.count("Up")
		w.pbx.Kick(w.eventsSession())
		w.await("the PBX to come back", func() bool { return w.told.count("Up") > ups && w.houseIsQuiet() })
	}
	tell("Output: No such command")
	comesBack()
	if d := w.b.Directories(); d != want {
		t.Errorf("no longer told: %+v", d)
	}
	w.wantLog("info", "does not tell its directories")
	want = Directories{"/srv/etc", "/srv/modules"}
	tell(settings("Output: ", want.Config, want.Modules))
	comesBack()
	if d := w.b.Directories(); d != want {
		t.Errorf("told anew, but %+v", d)
	}
}

// Who may not give a Command is asked for nothing that he could not answer.
func TestDirectoriesOfUserWithFewRights(t *testing.T) {
	w := newWorld(t, simpbx.Options{Users: []simpbx.User{{
		Name: "proxy", Secret: secret, Read: ami.ClassAll, Write: ami.ClassCall,
	}}}, Options{})
	w.start()
	if n := len(w.received("Command")); n != 0 {
		t.Errorf("%d Commands", n)
	}
	if w.b.Directories() != unknownDirectories {
		t.Errorf("%+v", w.b.Directories())
	}
}
