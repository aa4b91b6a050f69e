package backend

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// refusedError is a login that the PBX refused: trying again at once would
// only fill its security log.
type refusedError struct{ message string }

func (e *refusedError) Error() string {
	return fmt.Sprintf("refused: %s (check username, secret, permit and allowmultiplelogin of the proxy's user in the PBX's manager.conf)", e.message)
}

// login gets a new connection ready. It runs before the link has a writer, so
// it reads and writes in turn.
func (l *link) login() error {
	b := l.b
	if err := l.readBanner(); err != nil {
		return err
	}
	login := []string{"Action: Login", "Username: " + b.options.Username, "Events: off"}
	if l.events {
		login[2] = "Events: on"
	}
	f, err := l.ask("Action: Challenge", "AuthType: MD5")
	if err != nil {
		return err
	}
	challenge, _ := f.Get("Challenge")
	switch {
	case isSuccess(f) && len(challenge) > 0:
		sum := md5.Sum(append(bytes.Clone(challenge), b.options.Secret...))
		login = append(login, "AuthType: MD5", "Key: "+hex.EncodeToString(sum[:]))
	case isError(f):
		login = append(login, "Secret: "+b.options.Secret)
	default:
		return errors.New("no challenge in the answer to Challenge")
	}
	f, err = l.ask(login...)
	if err != nil {
		return err
	}
	if !isSuccess(f) {
		message, _ := f.Get("Message")
		return &refusedError{string(message)}
	}
	if l.events || b.anyLink() {
		return nil
	}
	return l.learnRights()
}

func (b *Backend) anyLink() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.links) > 0
}

// readBanner takes the greeting "Asterisk Call Manager/<version>".
func (l *link) readBanner() error {
	line, err := l.reader.ReadLine()
	if err != nil {
		return fmt.Errorf("no greeting: %w (authlimit reached on the PBX, or not an AMI port)", cause(err))
	}
	version, ok := bytes.CutPrefix(line, []byte("Asterisk Call Manager/"))
	if !ok || !isVersion(version) {
		return fmt.Errorf("greeting %.60q is not Asterisk's", line)
	}
	v := string(version)
	l.b.version.Store(&v)
	return nil
}

// isVersion is lax, but what it lets through can stand in our own banner.
func isVersion(v []byte) bool {
	for _, c := range v {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(v) > 0 && len(v) <= 32
}

// ask sends an action and returns its response, valid until the next ask.
// Anything else that comes is no business of a link that is not ready.
func (l *link) ask(lines ...string) (ami.Frame, error) {
	id, _ := l.b.newID()
	frame, fault := ami.NewAction(lines...).AppendForward(nil, id)
	if fault != ami.FaultNone {
		return nil, &FaultError{fault}
	}
	if _, err := l.conn.Write(frame); err != nil {
		return nil, cause(err)
	}
	for {
		f, err := l.reader.ReadFrame()
		if err != nil {
			return nil, cause(err)
		}
		if f.Response() == nil {
			continue
		}
		if got, _ := f.Get("ActionID"); string(got) == id {
			return f, nil
		}
	}
}

func isSuccess(f ami.Frame) bool { return strings.EqualFold(string(f.Response()), "Success") }

// learnRights asks the PBX what it lets us do, and says so if that is too
// little.
func (l *link) learnRights() error {
	f, err := l.ask("Action: ListCommands")
	if err != nil {
		return err
	}
	if !isSuccess(f) {
		return fmt.Errorf("ListCommands: %q", f.Response())
	}
	authority := parseAuthority(f)
	l.b.authority.Store(authority)
	username := l.b.options.Username
	if _, ok := authority.Class("Command"); !ok {
		l.warnOfRights("write", authority.missingWrite())
		return nil
	}
	if strings.ContainsAny(username, " \t\"\\") {
		return nil // it cannot stand in a command as it is
	}
	f, err = l.ask("Action: Command", "Command: manager show user "+username)
	if err != nil {
		return err
	}
	l.warnOfRights("write", missingRights(f, "write perm:"))
	l.warnOfRights("read", missingRights(f, "read perm:"))
	return nil
}

func (l *link) warnOfRights(what string, missing []string) {
	if len(missing) > 0 {
		l.log.Warn("the proxy's user on the PBX has few rights: give it read = all and write = all in manager.conf, or clients miss events and actions",
			zap.String("username", l.b.options.Username), zap.String("what", what), zap.Strings("missing", missing))
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
