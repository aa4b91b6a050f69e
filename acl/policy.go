package acl

import (
	"net/netip"

	"github.com/amiproxy/amiproxy/ami"
)

// Options are a user's rules as they are configured.
type Options struct {
	// Name is the user's name as the file spells it.
	Name string
	// Secret is what the user logs in with. A user without any secret line
	// (NoSecret) can never log in; an empty secret is one that matches an
	// empty or missing Secret header (manager.c: authenticate).
	Secret   string
	NoSecret bool
	// Lists are the user's own deny and permit lines and the named ACLs. Every
	// one must allow an address; with none, every address may log in.
	Lists []*List
	// Read and Write are the classes granted.
	Read, Write ami.Class
	// Hardening makes the policy stricter than the PBX; see [Policy.May].
	Hardening bool
}

// Policy is what one user may do and see: an immutable verdict, safe for use
// by many goroutines.
type Policy struct {
	options Options
}

// New compiles a user's rules.
func New(o Options) *Policy { return &Policy{options: o} }

// List is an ordered list of deny and permit rules.
type List struct{}

// Allows reports the verdict of the list on an address.
func (l *List) Allows(addr netip.Addr) bool { return true }
