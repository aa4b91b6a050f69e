package simpbx

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// failedLoginDelay is how long a refused login waits for its answer
// (manager.c: action_login).
const failedLoginDelay = time.Second

// builtin is what the PBX can do.
func builtin() map[string]*action {
	m := make(map[string]*action)
	for _, group := range [][]action{
		sessionActions, listActions, channelActions, queueActions, systemActions,
	} {
		for _, a := range group {
			if info, ok := ami.LookupAction(a.name); ok {
				a.class = info.Classes
			}
			a.builtin = a.run
			m[ami.FoldName(a.name)] = &a
		}
	}
	return m
}

var sessionActions = []action{
	{name: "Challenge", synopsis: "Ask for a challenge to log in with MD5.", run: (*Request).challenge},
	{name: "Events", synopsis: "Choose which events to get.", run: (*Request).events},
	{name: "Filter", synopsis: "Add an event filter to this session.", run: (*Request).filter},
	{name: "ListCommands", synopsis: "List the actions there are.", run: (*Request).listCommands},
	{name: "Login", synopsis: "Log in.", run: (*Request).login},
	{name: "Logoff", synopsis: "Log off.", run: (*Request).logoff},
	{name: "Ping", synopsis: "Keep the connection alive.", run: (*Request).ping},
	{name: "WaitEvent", synopsis: "Wait for an event.", run: (*Request).waitEvent},
}

// dispatch answers one action, with the tests in the order of manager.c:
// process_message.
func (c *conn) dispatch(act *ami.Action) {
	r := &Request{act, c}
	name := ami.FoldName(act.Name())
	preLogin := name == "login" || name == "logoff" || name == "challenge"
	switch {
	case act.Fault() != ami.FaultNone:
		r.error(act.Fault().Message())
		return
	case name == "":
		r.error("Missing action in request")
		return
	case !c.loggedIn && !preLogin:
		r.error("Permission denied")
		return
	}
	c.p.mu.Lock()
	a := c.p.actions[name]
	var run func(*Request)
	var class ami.Class
	if a != nil {
		run, class = a.run, a.class
	}
	c.p.mu.Unlock()
	switch {
	case run == nil:
		r.unknown()
	case class != 0 && c.write&class == 0:
		r.error("Permission denied")
	default:
		run(r)
	}
}

func (r *Request) error(message string) { r.Reply("Error", message) }

// errorLF is an error whose text has an LF of its own, as many have by mistake.
func (r *Request) errorLF(message string) {
	r.c.out = ami.AppendResponseStart(r.c.out, "Error", r.ID())
	r.c.out = append(r.c.out, "Message: "+message+"\n\r\n\r\n"...)
}

func (r *Request) unknown() {
	text := "Invalid/unknown command: " + r.Name() + ". Use Action: ListCommands to show available commands."
	r.error(text[:min(len(text), 511)])
}

func (r *Request) challenge() {
	if !strings.EqualFold(r.Get("AuthType"), "MD5") {
		r.error("Must specify AuthType")
		return
	}
	if r.c.challenge == "" {
		r.c.p.mu.Lock()
		r.c.challenge = strconv.Itoa(r.c.p.rng.IntN(1e9))
		r.c.p.mu.Unlock()
	}
	r.Reply("Success", "", "Challenge", r.c.challenge)
}

func (r *Request) login() {
	c, p := r.c, r.c.p
	if c.loggedIn {
		r.Reply("Success", "Already authenticated")
		return
	}
	u := p.users[ami.FoldName(r.Get("Username"))]
	if u == nil || !r.mayLogin(u) {
		c.closing = true
		if c.sleep(failedLoginDelay) {
			r.error("Authentication failed")
		}
		return
	}
	wish := int32(ami.ClassAll)
	if text := r.Get("Events"); text != "" {
		wish = ami.ParseEventMask(text)
	}
	r.Reply("Success", "Authentication accepted")

	// The event of the login itself must not be overtaken by others.
	p.mu.Lock()
	defer p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = u.Read, u.Write
	c.user, c.loggedIn = r.Get("Username"), true
	c.mask = maskOf(wish, c.read)
	if p.booted && c.mask&ami.ClassSystem != 0 {
		b := append(c.out, "Event: FullyBooted\r\nPrivilege: system,all\r\n"...)
		c.out = p.fullyBootedLocked(b)
	}
}

func (r *Request) mayLogin(u *User) bool {
	if !strings.EqualFold(r.Get("AuthType"), "MD5") {
		return r.Get("Secret") == u.Secret
	}
	key := r.Get("Key")
	if key == "" || r.c.challenge == "" {
		return false
	}
	sum := md5.Sum([]byte(r.c.challenge + u.Secret))
	return key == hex.EncodeToString(sum[:])
}

func maskOf(wish int32, read ami.Class) ami.Class {
	if wish < 0 {
		return 0
	}
	return ami.Class(wish) & read
}

func (r *Request) logoff() {
	r.c.closing = true
	r.Reply("Goodbye", "Thanks for all the fish.")
}

func (r *Request) ping() {
	if r.c.p.opts.Version == "1.0" {
		r.Reply("Pong", "")
		return
	}
	r.Reply("Success", "", "Ping", "Pong", "Timestamp", stamp(time.Now()))
}

func stamp(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) }

func (r *Request) events() {
	wish := ami.ParseEventMask(r.Get("EventMask"))
	if wish < 0 {
		r.error("Invalid event mask")
		return
	}
	r.c.mu.Lock()
	r.c.mask = maskOf(wish, r.c.read)
	r.c.mu.Unlock()
	if wish > 0 {
		r.Reply("Success", "", "Events", "On")
	} else {
		r.Reply("Success", "", "Events", "Off")
	}
}

// filter takes any filter and does not filter: it is no part of what a proxy
// sends.
func (r *Request) filter() {
	switch {
	case !strings.EqualFold(r.Get("Operation"), "Add"):
		r.error("Unknown operation")
	case r.Get("Filter") == "":
		r.error("Filter was missing or invalid")
	default:
		r.Reply("Success", "Filter added successfully")
	}
}

func (r *Request) listCommands() {
	c, p := r.c, r.c.p
	type entry struct{ key, line string }
	var entries []entry
	p.mu.Lock()
	for key, a := range p.actions {
		if a.class == 0 || a.class&c.write != 0 {
			entries = append(entries, entry{key, fmt.Sprintf("%s: %s  (Priv: %s)\r\n", a.name, a.synopsis, a.class)})
		}
	}
	p.mu.Unlock()
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	c.out = ami.AppendResponseStart(c.out, "Success", r.ID())
	for _, e := range entries {
		c.out = append(c.out, e.line...)
	}
	c.out = ami.AppendEnd(c.out)
}

// waitEvent waits for any event, seen or not, or for more input (manager.c:
// action_waitevent).
func (r *Request) waitEvent() {
	c := r.c
	var timeout <-chan time.Time
	if n, err := strconv.ParseInt(r.Get("Timeout"), 0, 32); err == nil && n >= 0 {
		t := time.NewTimer(time.Duration(n) * time.Second)
		defer t.Stop()
		timeout = t.C
	}
	for len(c.actions) == 0 {
		c.mu.Lock()
		n := len(c.queue)
		c.mu.Unlock()
		if n > 0 {
			break
		}
		select {
		case <-c.wake:
			continue
		case <-c.eof:
		case <-timeout:
		case <-c.done:
			return
		}
		break
	}
	r.Reply("Success", "Waiting for Event completed.")
	c.takeEvents()
	c.out = ami.AppendHeader(c.out, "Event", "WaitEventComplete")
	if id := r.ID(); id != "" {
		c.out = ami.AppendHeader(c.out, "ActionID", id)
	}
	c.out = ami.AppendEnd(c.out)
}
