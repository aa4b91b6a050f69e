package config

import (
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// A user section gives no more rights here than in a manager.conf.
func TestBlanksInClasses(t *testing.T) {
	for list, want := range map[string]ami.Class{
		"system,call":         ami.ClassSystem | ami.ClassCall,
		"system, call":        ami.ClassSystem,
		"system ,call":        ami.ClassCall,
		"system,\tcall,agent": ami.ClassSystem | ami.ClassAgent,
		"call, all":           ami.ClassCall,
	} {
		cfg, err := Loader{}.Parse("test.conf", []byte("[pbx:east]\nhost = h\nusername = u\nsecret = s\n[crm]\nsecret = s\nread = "+list+"\nwrite = "+list+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if p := cfg.Users["crm"].Policy; p.Read() != want || p.Write() != want {
			t.Errorf("%q: %v, %v", list, p.Read(), p.Write())
		}
		warned := false
		for _, w := range cfg.Warnings {
			warned = warned || strings.Contains(w, "remove the blanks")
		}
		if warned == (list == "system,call") {
			t.Errorf("%q: warnings %v", list, cfg.Warnings)
		}
	}
}
