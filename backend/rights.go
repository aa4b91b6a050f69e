package backend

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// rights are those that our user on the PBX lacks, as far as is known.
type rights struct {
	write, read []string
	fullAt      time.Time // when he had all; zero: never yet
	due         time.Time // when to look again; zero: no need
}

func (r *rights) lacking() bool { return len(r.write)+len(r.read) > 0 }

// checkRights warns if our user on the PBX may not do everything, or is gone
// from its configuration. The PBX shows his rights by a command; if he may not
// give one, what he may not write shows in ListCommands.
//
// Who is logged in keeps the rights that he had then (manager.c: authenticate). So
// links that were made while our user had few are made anew once he has more. Nobody
// tells us when that is: without class system we get no Reload.
func (b *Backend) checkRights() {
	asked := time.Now()
	authority := b.Authority()
	if _, ok := authority.Class("Command"); !ok {
		b.mu.Lock()
		read := b.rights.read // nothing new of that
		b.mu.Unlock()
		b.noteRights(asked, authority.missingWrite(), read)
		b.renewOldest(asked)
		return
	}
	if strings.ContainsAny(b.settings.Load().Username, " \t\"\\") {
		return // it cannot stand in a command as it is
	}
	err := b.house.Do(Request{
		Action: ami.NewAction("Action: Command", "Command: manager show user "+b.settings.Load().Username),
		Done: func(a Answer) {
			switch {
			case a.Err != nil:
				b.checkAgain(asked.Add(quiet))
			case bytes.Contains(a.Bytes, []byte("There is no manager called ")): // manager.c: handle_showmanager
				b.log.Error("the PBX has no such user any more: it will refuse the proxy's next login; put the user back into manager.conf",
					zap.String("username", b.settings.Load().Username))
			case bytes.Contains(a.Bytes, []byte("write perm:")):
				b.noteRights(asked, missingRights(a.Bytes, "write perm:"), missingRights(a.Bytes, "read perm:"))
			case bytes.Contains(a.Bytes, []byte("Message: Permission denied")): // no commands any more, at least on that link
				b.listAgain()
				b.checkAgain(asked.Add(refusedDelay))
				b.renewOldest(asked)
			}
		},
	})
	if err != nil { // the link for that may be about to come
		b.log.Debug("rights not asked for", zap.Error(err))
		b.checkAgain(asked.Add(quiet))
	}
}

func (b *Backend) checkAgain(due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rights.due = due
}

// recheckRights checks them with the next ListCommands: who reloads one thing after
// the other is not to make us ask each time.
func (b *Backend) recheckRights() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recheck = true
}

// noteRights says what our user lacks, if that has changed, and has the links that may
// lack what he got back made anew.
func (b *Backend) noteRights(asked time.Time, write, read []string) {
	b.mu.Lock()
	before := b.rights
	b.rights = rights{write: write, read: read, fullAt: before.fullAt}
	if b.rights.lacking() {
		b.rights.due = asked.Add(refusedDelay)
	} else {
		b.rights.fullAt = asked
	}
	if gains(before.write, write) || gains(before.read, read) {
		for _, l := range b.connected {
			l.renew = l.renew || l.since.After(before.fullAt)
		}
	}
	b.mu.Unlock()
	b.warnOfRights("write", before.write, write)
	b.warnOfRights("read", before.read, read)
}

// gains reports whether something is not missing any more.
func gains(before, missing []string) bool {
	return slices.ContainsFunc(before, func(class string) bool { return !slices.Contains(missing, class) })
}

func (b *Backend) warnOfRights(what string, before, missing []string) {
	user := zap.String("username", b.settings.Load().Username)
	switch {
	case slices.Equal(before, missing):
	case len(missing) == 0:
		b.log.Info("the proxy's user on the PBX has all rights again", user, zap.String("what", what))
	default:
		b.log.Warn("the proxy's user on the PBX has few rights: give it read = all and write = all in manager.conf, or clients miss events and actions",
			user, zap.String("what", what), zap.Strings("missing", missing))
	}
}

// lacksRights reports whether our user is known to lack some.
func (b *Backend) lacksRights() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rights.lacking()
}

// renewOldest makes the action link anew that has been logged in for longest, if the
// user has lost rights and could not ask for them: another login shows what he may do.
func (b *Backend) renewOldest(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.links) > 0 && !b.rights.fullAt.IsZero() && now.Sub(b.links[0].since) >= refusedDelay {
		b.links[0].renew = true // they are in the order in which they came
	}
}

// renewLocked is a link that is to be made anew and has nothing pending, nil if there
// is none. They are taken one after the other, so that others can be used.
func (b *Backend) renewLocked(now time.Time) *link {
	for _, l := range b.connected {
		if l.renew && len(l.inflight) == 0 {
			b.relist = now.Add(quiet)
			return l
		}
	}
	return nil
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
