package backend

import (
	"bytes"
	"strings"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// checkRights warns if our user on the PBX may not do everything, or is gone
// from its configuration. The PBX shows his rights by a command; if he may not
// give one, what he may not write shows in ListCommands.
func (b *Backend) checkRights() {
	authority := b.Authority()
	if _, ok := authority.Class("Command"); !ok {
		b.warnOfRights("write", authority.missingWrite())
		return
	}
	if strings.ContainsAny(b.settings.Load().Username, " \t\"\\") {
		return // it cannot stand in a command as it is
	}
	err := b.house.Do(Request{
		Action: ami.NewAction("Action: Command", "Command: manager show user "+b.settings.Load().Username),
		Done: func(a Answer) {
			if bytes.Contains(a.Bytes, []byte("There is no manager called ")) { // manager.c: handle_showmanager
				b.log.Error("the PBX has no such user any more: it will refuse the proxy's next login; put the user back into manager.conf",
					zap.String("username", b.settings.Load().Username))
				return
			}
			b.warnOfRights("write", missingRights(a.Bytes, "write perm:"))
			b.warnOfRights("read", missingRights(a.Bytes, "read perm:"))
		},
	})
	if err != nil {
		b.log.Debug("rights not asked for", zap.Error(err))
	}
}

// recheckRights checks them with the next ListCommands: who reloads one thing after
// the other is not to make us ask each time.
func (b *Backend) recheckRights() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recheck = true
}

func (b *Backend) warnOfRights(what string, missing []string) {
	if len(missing) > 0 {
		b.log.Warn("the proxy's user on the PBX has few rights: give it read = all and write = all in manager.conf, or clients miss events and actions",
			zap.String("username", b.settings.Load().Username), zap.String("what", what), zap.Strings("missing", missing))
	}
}

// missingRights names the classes that "manager show user" does not list in
// one of its lines. An output that cannot be read proves nothing.
func missingRights(f ami.Frame, label string) []string {
	var perms []byte
	for line := range bytes.Lines(f) {
		if _, value, ok := bytes.Cut(line, []byte(label)); ok {
			perms = bytes.TrimSpace(value)
		}
	}
	if perms == nil {
		return nil
	}
	have := ami.ParsePrivilege(perms)
	if bytes.HasSuffix(perms, []byte("all")) {
		// Everything (manager.c: user_authority_to_str), or an old release that
		// closes each list so and does not know the newest classes.
		have |= ami.ClassCC | ami.ClassAOC | ami.ClassTest | ami.ClassSecurity | ami.ClassMessage
	}
	return classNames(everyClass &^ have)
}

// everyClass is each class that has a name.
const everyClass = ami.ClassSystem | ami.ClassCall | ami.ClassLog | ami.ClassVerbose |
	ami.ClassCommand | ami.ClassAgent | ami.ClassUser | ami.ClassConfig |
	ami.ClassDTMF | ami.ClassReporting | ami.ClassCDR | ami.ClassDialplan |
	ami.ClassOriginate | ami.ClassAGI | ami.ClassCC | ami.ClassAOC |
	ami.ClassTest | ami.ClassSecurity | ami.ClassMessage

// classNames is nil for no class.
func classNames(c ami.Class) []string {
	if c == ami.ClassNone {
		return nil
	}
	return strings.Split(strings.TrimSuffix(c.String(), ",all"), ",")
}

// missingWrite names the classes that our user on the PBX was not granted:
// ListCommands leaves out what we may not run, so a class is missing if the
// PBX shows none of the actions that need just that class. Classes that only
// optional modules use prove nothing.
func (a *Authority) missingWrite() []string {
	const core = ami.ClassSystem | ami.ClassCall | ami.ClassCommand |
		ami.ClassUser | ami.ClassConfig | ami.ClassOriginate
	have := ami.ClassNone
	for _, info := range ami.Actions() {
		single := info.Classes&(info.Classes-1) == 0
		if _, ok := a.Class(info.Name); ok && single {
			have |= info.Classes
		}
	}
	return classNames(core &^ have)
}
