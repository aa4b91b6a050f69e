package acl

import (
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Verdict is what a policy says of an action. The zero value allows it.
type Verdict struct {
	// Refusal is the text for the Message of the error: one of Asterisk's.
	// Empty: the action may be sent.
	Refusal string
	// Reason is what decided, for the operator only: a class ("write: needs
	// originate"), a test ("hardening: control character") or a line of the
	// file. That of a refusal may quote values of the action, as %q does; it is
	// not for the client, who would learn the policy by it.
	Reason string
}

// Allowed reports whether the action may be sent.
func (v Verdict) Allowed() bool { return v.Refusal == "" }

// refused is the verdict on what the sender has no right to: Asterisk's text
// says no more than that.
func refused(reason string) Verdict { return Verdict{Refusal: denied, Reason: reason} }

// needs is the reason why a user lacks the classes for an action.
func needs(authority ami.Class) string {
	if authority == ami.ClassAll {
		return "write: needs all"
	}
	return "write: needs " + strings.ReplaceAll(strings.TrimSuffix(authority.String(), ",all"), ",", " or ")
}
