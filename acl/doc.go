// Package acl turns a user's configured rules into an immutable verdict: may
// this client log in, may it send this action, see this event. It does no I/O.
package acl
