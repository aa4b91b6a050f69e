package acl

import (
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/amiproxy/amiproxy/ami"
)

// Options are a user's rules as they are configured. Printing or logging them
// does not show the secret; but keep them out of unexported fields, where fmt
// cannot ask them how.
type Options struct {
	// Name is the user's name as the file spells it.
	Name string
	// Secret is what the user logs in with. Without one the user can never log
	// in. (Asterisk lets anybody in as a user whose secret is empty; manager.c:
	// authenticate.)
	// It is a text or, if [IsHash], a hash; one that [CheckHash] refuses is no secret.
	Secret string `json:"-" xml:"-" yaml:"-"`
	// OldSecrets let the user in as well, as long as not everybody knows Secret.
	OldSecrets []string `json:"-" xml:"-" yaml:"-"`
	// Certificates are those of the user: a client must show one of them besides
	// the secret, or instead of it if there is no secret.
	Certificates []Certificate
	// Either lets the user in with a certificate or the secret, if it has both.
	Either bool
	// Lists are the user's own deny and permit lines and the named ACLs. Every
	// one must allow an address; with none, every address may log in.
	Lists []*List
	// Read and Write are the classes granted.
	Read, Write ami.Class
	// Hardening makes the policy stricter than the PBX; see [Policy.May].
	Hardening bool
	// Filters are the user's event filters; a session may add to them.
	Filters []Filter
	// Rules are the user's action rules; nil, or without a line: the classes
	// alone decide. They must have passed [Rules.Check] and not be changed.
	Rules *Rules
	// Fence confines the user to some tenants; nil: the user is not confined.
	Fence *Fence
}

// String describes the options without the secret.
func (o Options) String() string {
	return fmt.Sprintf("user %q: read %v, write %v", o.Name, o.Read, o.Write)
}

// Format prints [Options.String] whatever the verb, so that no %+v or %#v can
// show the secret.
func (o Options) Format(w fmt.State, _ rune) { io.WriteString(w, o.String()) }

// Policy is what one user may do and see: an immutable verdict, safe for use
// by many goroutines.
type Policy struct {
	name        string
	lists       []List
	read, write ami.Class
	hardening   bool
	filters     *Filters
	// rules must all allow an action: more than one where a reload narrowed the
	// policy.
	rules        []*ruleSet
	fence        *Fence
	certificates []Certificate
	either       bool
	hasOwn       bool // a secret was given, be it one that nothing fits
	// secrets are behind a function, which is all that fmt can show of them, even
	// where it cannot call Format: in a field that is not exported.
	secrets func() secrets
}

// New compiles a user's rules. The lists are copied.
func New(o Options) *Policy {
	own := newSecrets(o.Secret, o.OldSecrets)
	p := &Policy{
		name: o.Name, read: o.Read, write: o.Write, hardening: o.Hardening, fence: o.Fence,
		certificates: slices.Clone(o.Certificates), either: o.Either, hasOwn: o.Secret != "" || len(o.OldSecrets) > 0,
		secrets: func() secrets { return own },
	}
	if len(o.Filters) > 0 {
		p.filters = p.filters.With(o.Filters...)
	}
	if o.Rules != nil && len(o.Rules.lines) > 0 {
		p.rules = []*ruleSet{compileRules(o.Rules)}
	}
	for _, l := range o.Lists {
		if l == nil {
			l = DenyAll() // a list that is missing must not mean "everybody"
		}
		p.lists = append(p.lists, List{rules: slices.Clone(l.rules), denyAll: l.denyAll})
	}
	return p
}

var nobody = New(Options{Lists: []*List{DenyAll()}})

// Nobody is the policy of a user that does not exist: it admits no address,
// accepts no secret and grants nothing. Asking it takes as long as asking a
// real one, so that the time of an answer does not tell which users exist.
func Nobody() *Policy { return nobody }

// Name is the user's name as the file spells it.
func (p *Policy) Name() string { return p.name }

// Read are the classes of events that the user may see.
func (p *Policy) Read() ami.Class { return p.read }

// Write are the classes of actions that the user may send.
func (p *Policy) Write() ami.Class { return p.write }

// Filters are what the user's sessions start with, nil when the user has none.
// They say which of the events that a session [Policy.Sees] it gets.
func (p *Policy) Filters() *Filters { return p.filters }

// Fence is what the user is confined to, nil if to nothing. It says which of the
// events that a session [Policy.Sees] it gets, and [Policy.Confine] which actions
// it may send.
func (p *Policy) Fence() *Fence { return p.fence }

// String describes the policy without the secret.
func (p *Policy) String() string {
	return fmt.Sprintf("user %q: read %v, write %v", p.name, p.read, p.write)
}

// Format prints [Policy.String] whatever the verb.
func (p *Policy) Format(w fmt.State, _ rune) { io.WriteString(w, p.String()) }

// Admits reports whether the user may log in from an address.
func (p *Policy) Admits(addr netip.Addr) bool {
	for i := range p.lists {
		if !p.lists[i].Allows(addr) {
			return false
		}
	}
	return true
}

// Sees reports whether an event of a class is for a session with the given
// event mask: all classes of the event must be in it, and in what the user may
// read (manager.c: __manager_event_sessions_va). An event of no class is for
// everybody who has events on.
func (p *Policy) Sees(mask, class ami.Class) bool {
	mask &= p.read
	return mask != 0 && mask&class == class
}

// Narrow returns the policy less what now, a later policy of the same user,
// does not grant: p itself if that is nothing. What now grants beyond p is left
// out, so that a session can lose rights by it and never gets any. It is for
// sessions that are logged in: what counts at a login is p's.
func (p *Policy) Narrow(now *Policy) *Policy {
	n := *p
	n.read &= now.read
	n.write &= now.write
	n.hardening = p.hardening || now.hardening
	n.filters = p.filters.And(now.filters)
	n.rules = bothRules(p.rules, now.rules)
	n.fence = p.fence.And(now.fence)
	if n.read == p.read && n.write == p.write && n.hardening == p.hardening && n.filters == p.filters &&
		len(n.rules) == len(p.rules) && n.fence == p.fence {
		return p
	}
	return &n
}
