package backend

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"

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
	login := []string{"Action: Login", "Username: " + l.settings.Username, "Events: off"}
	if l.events {
		login[2] = "Events: on"
	}
	f, err := l.ask("Action: Challenge", "AuthType: MD5")
	if err != nil {
		return err
	}
	challenge, _ := f.Get("Challenge")
	switch {
	case f.Succeeds() && len(challenge) > 0:
		sum := md5.Sum(append(bytes.Clone(challenge), l.settings.Secret...))
		login = append(login, "AuthType: MD5", "Key: "+hex.EncodeToString(sum[:]))
	case f.Fails():
		login = append(login, "Secret: "+l.settings.Secret)
	default:
		return errors.New("no challenge in the answer to Challenge")
	}
	f, err = l.ask(login...)
	if err != nil {
		return err
	}
	if !f.Succeeds() {
		message, _ := f.Get("Message")
		return &refusedError{string(message)}
	}
	switch {
	case l.events:
		return l.learnStartup()
	case b.anyLink() && !b.lacksRights():
		return nil
	}
	return l.learnActions()
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

// ask sends an action and returns its response, valid until the next ask. The
// events that come before it are kept for the link that is to carry them;
// anything else is no business of a link that is not ready.
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
			if l.events && f.Event() != nil {
				l.early = append(l.early, bytes.Clone(f))
			}
			continue
		}
		if got, _ := f.Get("ActionID"); string(got) == id {
			return f, nil
		}
	}
}

// learnActions asks the PBX what actions we have there.
func (l *link) learnActions() error {
	f, err := l.ask("Action: ListCommands")
	if err != nil {
		return err
	}
	if !f.Succeeds() {
		return fmt.Errorf("ListCommands: %q", f.Response())
	}
	l.b.authority.Store(parseAuthority(f))
	return nil
}

// learnStartup asks when the PBX was started, in its own words, to the second.
func (l *link) learnStartup() error {
	if _, ok := l.b.Authority().Class("CoreStatus"); !ok {
		return nil
	}
	f, err := l.ask("Action: CoreStatus")
	if err != nil {
		return err
	}
	date, _ := f.Get("CoreStartupDate")
	clock, _ := f.Get("CoreStartupTime")
	if bytes.HasPrefix(date, []byte("19")) {
		return nil // old releases that boot do not know yet, and say 1970
	}
	// Another PBX in its place may have been started in the same second.
	l.startup = fmt.Sprintf("%s %s %s", l.settings.address(), date, clock)
	return nil
}
