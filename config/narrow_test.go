package config

import (
	"slices"
	"testing"
)

func TestNarrow(t *testing.T) {
	users := func(lines string) *User {
		t.Helper()
		cfg, err := Loader{}.Parse("a.conf", []byte("[pbx:a]\nhost = a\nusername = u\nsecret = s\n[pbx:b]\nhost = b\nusername = u\nsecret = s\n[u]\nsecret = x\n"+lines))
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Users["u"]
	}
	all := users("read = all\nwrite = all\nsharedids = yes\n")
	if n := all.Narrow(users("read = all\nwrite = all\nsharedids = yes\nsecret = y\nqueuelimit = 1M\ndeny = 0.0.0.0/0\n")); n != all {
		t.Errorf("lost something: %v", n)
	}
	n := all.Narrow(users("read = call\nwrite = all\npbx = b\n"))
	if n.Policy.Read() == all.Policy.Read() || n.Policy.Write() != all.Policy.Write() || n.SharedIDs || !slices.Equal(n.PBXs, []string{"b"}) {
		t.Errorf("%v %v %v", n.Policy, n.SharedIDs, n.PBXs)
	}
	if again := n.Narrow(all); again != n || len(all.PBXs) != 2 || !all.SharedIDs {
		t.Errorf("won something: %v", again)
	}
}
