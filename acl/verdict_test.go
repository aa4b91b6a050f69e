package acl

import (
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// Every verdict has a reason that names what decided.
func TestReasons(t *testing.T) {
	p := New(Options{Write: ami.ClassCall | ami.ClassReporting | ami.ClassCommand | ami.ClassOriginate | ami.ClassConfig, Hardening: true})
	tests := []struct {
		lines     []string
		authority ami.Class
		want      string
	}{
		{[]string{"Action: QueueStatus"}, ami.ClassNone, "write: needs nothing"},
		{[]string{"Action: Getvar", "Variable: X"}, ami.ClassCall | ami.ClassReporting, "write"},
		{[]string{"Action: QueueAdd"}, ami.ClassAgent, "write: needs agent"},
		{[]string{"Action: AbsoluteTimeout"}, ami.ClassSystem | ami.ClassAgent, "write: needs system"},
		{[]string{"Action: Unheard"}, ami.ClassSystem | ami.ClassAgent, "write: needs system or agent"},
		{[]string{"Action: Unheard"}, ami.ClassAll, "write: needs all"},
		{[]string{"Action: Getvar", "Variable: X\x01"}, ami.ClassCall, "hardening: control character"},
		{[]string{"Action: Getvar", "Variable: SHELL(x)"}, ami.ClassCall, "write: needs system for SHELL or EVAL in Variable"},
		{[]string{"Action: Command", "Command: module load x"}, ami.ClassCommand, "Asterisk: no user may send this Command"},
		{[]string{"Action: GetConfig", "Filename: /etc/passwd"}, ami.ClassConfig, "the file is outside of the PBX's configuration directory"},
	}
	for _, test := range tests {
		if got := p.May(ami.NewAction(test.lines...), test.authority, debian); got.Reason != test.want {
			t.Errorf("%q: %+v, want %q", test.lines, got, test.want)
		}
	}
}
