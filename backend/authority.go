package backend

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Authority is what a PBX says of its actions: an immutable snapshot, safe for
// use by many goroutines.
type Authority struct {
	byName map[string]*Command
	// Commands are in the PBX's order.
	Commands []Command
}

// Command is one action that a PBX has.
type Command struct {
	Name string
	// Class is its authority: a session needs any one of these classes.
	Class ami.Class
	// Line is how ListCommands shows it, without the line's end.
	Line string
}

// Class is the authority of the action of that name, compared without case; ok
// is false if the PBX does not have it.
func (a *Authority) Class(name string) (class ami.Class, ok bool) {
	c, ok := a.byName[ami.FoldName(name)]
	if !ok {
		return 0, false
	}
	return c.Class, true
}

// Authority is the latest that is known. Before the PBX was connected for the
// first time it is what the newest Asterisk has, so that an action can be
// refused for the right reason.
func (b *Backend) Authority() *Authority { return b.authority.Load() }

func newAuthority(commands []Command) *Authority {
	a := &Authority{Commands: commands, byName: make(map[string]*Command, len(commands))}
	for i := range commands {
		a.byName[ami.FoldName(commands[i].Name)] = &commands[i]
	}
	return a
}

func builtinAuthority() *Authority {
	var commands []Command
	for _, info := range ami.Actions() {
		commands = append(commands, Command{
			Name: info.Name, Class: info.Classes,
			Line: info.Name + ":   (Priv: " + info.Classes.String() + ")",
		})
	}
	return newAuthority(commands)
}

// parseAuthority reads a ListCommands response: lines of the form
// "Ping: Keepalive command.  (Priv: <none>)" (manager.c: action_listcommands).
func parseAuthority(f ami.Frame) *Authority {
	var commands []Command
	for line := range bytes.Lines(f) {
		line = bytes.TrimRight(line, "\r\n")
		name, _, ok := bytes.Cut(line, []byte(":"))
		at := bytes.LastIndex(line, []byte("(Priv: "))
		if !ok || at < 0 || !bytes.HasSuffix(line, []byte(")")) {
			continue
		}
		privilege := line[at+len("(Priv: ") : len(line)-1]
		commands = append(commands, Command{
			Name: string(name), Class: ami.ParsePrivilege(privilege), Line: string(line),
		})
	}
	return newAuthority(slices.Clip(commands))
}

// amiVersion is the major version of the PBX's AMI: 1 is Asterisk 1.6 to 11, 2
// is 12 and 13, 3 is 14, and so on.
func (b *Backend) amiVersion() int {
	major, _, _ := strings.Cut(b.Version(), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return math.MaxInt
	}
	return n
}

// rawCommands reports whether the PBX answers a Command with raw text and an end
// mark: Asterisk 13 and older (AMI 2) does.
func (b *Backend) rawCommands() bool { return b.amiVersion() < 3 }

// listsUnannounced reports whether the PBX is old enough (Asterisk 12 and
// older, AMI below 2.6) to send lists that do not say so.
func (b *Backend) listsUnannounced() bool {
	_, rest, _ := strings.Cut(b.Version(), ".")
	minor, _, _ := strings.Cut(rest, ".")
	major := b.amiVersion()
	return major < 2 || major == 2 && len(minor) == 1 && minor < "6"
}
