package backend

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

func TestAuthorityIsThePBXs(t *testing.T) {
	w := newWorld(t, simpbx.Options{}, Options{})
	w.pbx.SetClass("QueueStatus", ami.ClassAgent)
	w.pbx.Remove("Status")
	w.pbx.Handle("DongleReset", func(*simpbx.Request) {})
	if class, ok := w.b.Authority().Class("queuestatus"); !ok || class != ami.ClassNone {
		t.Errorf("before the PBX is there: %v, %v", class, ok)
	}
	w.start()
	authority := w.b.Authority()
	if class, ok := authority.Class("QUEUEstatus"); !ok || class != ami.ClassAgent {
		t.Errorf("QueueStatus: %v, %v", class, ok)
	}
	if _, ok := authority.Class("DongleReset"); !ok {
		t.Error("no DongleReset")
	}
	if _, ok := authority.Class("Status"); ok {
		t.Error("Status, which the PBX has not")
	}
	i := slices.IndexFunc(authority.Commands, func(c Command) bool { return c.Name == "Ping" })
	if i < 0 || authority.Commands[i].Line != "Ping: Keep the connection alive.  (Priv: <none>)" {
		t.Errorf("Ping at %d of %v", i, authority.Commands)
	}
}

// Actions are listed again a second after modules came or went, once however
// many there were.
func TestListCommandsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{})
		w.start()
		time.Sleep(5 * time.Second)
		if n := len(w.received("ListCommands")); n != 2 {
			t.Errorf("%d ListCommands after the start, want that of the login and one after FullyBooted", n)
		}
		w.pbx.Forget()
		w.pbx.Handle("Late", func(*simpbx.Request) {})
		for range 5 {
			w.pbx.Event("Load", ami.ClassSystem, "Module", "res_late.so", "Status", "0")
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := len(w.received("ListCommands")); n != 1 {
			t.Errorf("%d ListCommands after five modules, want 1", n)
		}
		if _, ok := w.b.Authority().Class("Late"); !ok {
			t.Error("the new action is not known")
		}
		w.pbx.Remove("Late")
		w.pbx.Event("Unload", ami.ClassSystem, "Module", "res_late.so", "Status", "Success")
		time.Sleep(2 * time.Second)
		if _, ok := w.b.Authority().Class("Late"); ok {
			t.Error("the action that went is still known")
		}
		w.stop()
	})
}

// A list that does not come is asked for again, and the old one stays.
func TestListCommandsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBubble(t, simpbx.Options{}, Options{ActionTimeout: 5 * time.Second})
		w.start()
		time.Sleep(5 * time.Second)
		w.pbx.Handle("Late", func(*simpbx.Request) {})
		failed := false
		w.pbx.Handle("ListCommands", func(r *simpbx.Request) {
			if failed {
				r.Default()
			}
			failed = true
		})
		w.pbx.Event("Load", ami.ClassSystem, "Module", "res_late.so", "Status", "0")
		time.Sleep(5 * time.Second)
		if _, ok := w.b.Authority().Class("Status"); !ok {
			t.Error("the old list is gone")
		}
		time.Sleep(10 * time.Second)
		if _, ok := w.b.Authority().Class("Late"); !ok {
			t.Error("the list was not asked for again")
		}
		w.stop()
	})
}

func TestParseAuthority(t *testing.T) {
	a := parseAuthority(ami.Frame(strings.ReplaceAll("Response: Success|ActionID: 1|"+
		"AbsoluteTimeout: Set (absolute) timeout.  (Priv: system,call,all)|"+
		"Ping: Keepalive: a command.  (Priv: <none>)|"+
		"Odd: No class we know.  (Priv: future,all)|"+
		"no action at all|Broken: (Priv: call||", "|", "\r\n")))
	for name, want := range map[string]ami.Class{
		"AbsoluteTimeout": ami.ClassSystem | ami.ClassCall,
		"Ping":            ami.ClassNone,
		"Odd":             ami.ClassAll,
	} {
		if class, ok := a.Class(name); !ok || class != want {
			t.Errorf("%s: %v, %v; want %v", name, class, ok, want)
		}
	}
	if len(a.Commands) != 3 {
		t.Errorf("%d commands, want 3", len(a.Commands))
	}
}

// What our user on the PBX may not do is said, with its name.
func TestUserWithFewRights(t *testing.T) {
	w := newWorld(t, simpbx.Options{Users: []simpbx.User{{
		Name: "proxy", Secret: secret, Read: ami.ClassAll, Write: ami.ClassCall | ami.ClassReporting,
	}}}, Options{})
	w.start()
	w.wantLog("warn", "few rights", "username:proxy", "what:write", "missing:[system command user config originate]")
}

const (
	oldClasses = "system,call,log,verbose,command,agent,user,config,dtmf,reporting,cdr,dialplan,originate,agi"
	allClasses = oldClasses + ",cc,aoc,test,security,message"
)

func TestRightsByCommand(t *testing.T) {
	for _, test := range []struct{ read, write, says string }{
		{allClasses + ",all", allClasses + ",all", ""},
		{oldClasses + ",cc,aoc,test", allClasses + ",all", "what:read missing:[security message]"},
		{allClasses + ",all", strings.Replace(allClasses, "log,", "", 1), "what:write missing:[log]"},
	} {
		w := newWorld(t, simpbx.Options{}, Options{})
		w.pbx.Handle("Command", func(r *simpbx.Request) {
			r.Reply("Success", "Command output follows", "Output", "",
				"Output", "          username: "+strings.TrimPrefix(r.Get("Command"), "manager show user "),
				"Output", "            secret: <Set>",
				"Output", "         read perm: "+test.read,
				"Output", "        write perm: "+test.write)
		})
		w.start()
		var said []string
		for _, e := range w.logs.FilterMessageSnippet("few rights").All() {
			m := e.ContextMap()
			said = append(said, fmt.Sprintf("what:%v missing:%v", m["what"], m["missing"]))
			if m["username"] != "proxy" {
				t.Errorf("user %v", m["username"])
			}
		}
		w.want(strings.Join(said, " "), test.says)
	}
}

func TestMissingRights(t *testing.T) {
	for perms, want := range map[string]string{
		"all":                                "",
		oldClasses + ",all":                  "", // an old release ends each list so
		"a class,of the future":              "",
		oldClasses:                           "cc aoc test security message",
		oldClasses[len("system,"):] + ",all": "system",
		"<none>":                             strings.ReplaceAll(allClasses, ",", " "),
	} {
		f := ami.Frame("Response: Success\r\nOutput:          read perm: " + perms + "\r\n\r\n")
		if got := strings.Join(missingRights(f, "read perm:"), " "); got != want {
			t.Errorf("%s: %q, want %q", perms, got, want)
		}
	}
	if missingRights(ami.Frame("Response: Error\r\nOutput: No such command\r\n\r\n"), "read perm:") != nil {
		t.Error("no output proves something")
	}
}
