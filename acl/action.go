package acl

import (
	"slices"

	"github.com/amiproxy/amiproxy/ami"
)

// denied is Asterisk's text for an action that the user lacks the classes for
// (manager.c: process_message).
const denied = "Permission denied"

// May says whether the user may send the action a, which the PBX gives the
// given authority, and why. It allocates nothing for an action that it allows.
//
// The user needs any one class of [Policy.Authority]. Then come the tests that
// the newest Asterisk makes inside of some actions, on the values that Asterisk
// will read, whether the PBX makes them too or not: d is where it keeps its
// files. With hardening, control characters are refused as well: what is data
// to one parser may be syntax to the next; and so is what gives more than the
// user's classes say (docs/manual/hardening.md). Last come the user's rules, which no
// action that is the session's own needs.
//
// May does not look at faults ([ami.Action.Fault]), nor whether the action
// exists.
func (p *Policy) May(a *ami.Action, authority ami.Class, d Directories) Verdict {
	info, _ := ami.LookupAction(a.Name())
	needed := p.authority(info, authority)
	if !p.holdsOne(needed) {
		return refused(needs(needed))
	}
	if p.hardening && a.HasControl() {
		return refused("hardening: control character")
	}
	if info != nil {
		if check, ok := checks[info.Name]; ok {
			if v := check(a, p.write, d); !v.Allowed() {
				return v
			}
		}
		if p.hardening {
			if v := harden(info.Name, a, p.write, d); !v.Allowed() {
				return v
			}
		}
	}
	return p.judge(a, info, needed)
}

// judge asks the rules about an action that the user has the class for.
func (p *Policy) judge(a *ami.Action, info *ami.ActionInfo, needed ami.Class) (verdict Verdict) {
	verdict.Reason = "write"
	if needed == ami.ClassNone {
		verdict.Reason = "write: needs nothing"
	}
	if ownAction(info) {
		return verdict
	}
	for i, r := range p.rules {
		switch v := r.judge(a, info); {
		case !v.Allowed():
			return v
		case i == 0:
			verdict = v
		}
	}
	return verdict
}

// Set returns the action with the headers that the user's rules set: a itself
// if it has them already, or they set none. It is what [Policy.May] is to be asked about, and what is to
// be sent.
func (p *Policy) Set(a *ami.Action) *ami.Action {
	info, _ := ami.LookupAction(a.Name())
	for _, r := range p.rules {
		a = r.set(a, info)
	}
	return a
}

// Names reports whether the user's rules name an action in full among those
// that they allow, wildcards not being enough. Without rules nothing is named.
func (p *Policy) Names(action string) bool {
	info, _ := ami.LookupAction(action)
	for _, r := range p.rules {
		if v := r.view(action, info); !v.named || !v.verdict.Allowed() {
			return false
		}
	}
	return len(p.rules) > 0
}

// chooses reports whether a line of the user's rules says which values a header of
// an action may have, and not just that it may have any.
func (p *Policy) chooses(action, header string) bool {
	info, _ := ami.LookupAction(action)
	return slices.ContainsFunc(p.rules, func(r *ruleSet) bool {
		v := r.view(action, info)
		return v.isSet(header) || slices.ContainsFunc(v.headers, func(h viewedHeader) bool {
			return ami.EqualFold(h.header, header) && !h.values.all
		})
	})
}

// MayList reports whether ListCommands shows the user an action, which the PBX
// gives the given authority.
func (p *Policy) MayList(name string, pbx ami.Class) bool {
	info, _ := ami.LookupAction(name)
	if !p.holdsOne(p.authority(info, pbx)) || p.confines(name) {
		return false
	}
	if ownAction(info) {
		return true
	}
	for _, r := range p.rules {
		if !r.view(name, info).verdict.Allowed() {
			return false
		}
	}
	return true
}

// Authority is the classes of which the user needs any one for an action that
// the PBX gives the authority pbx: [ami.ClassNone] lets everybody send it,
// [ami.ClassAll] only those who may write everything.
//
// Without hardening that is what the PBX says. With it, a class counts only
// where the newest Asterisk grants it too; one of the two that asks for no
// class does not weaken the other. Where they have no class in common, nothing
// short of every right satisfies both, so that it takes. An action that the
// newest Asterisk does not know is left to the PBX, unless that asks for no class
// and the last Asterisk to have it did. What changes something and yet needs no
// class by any needs the one that its kin need.
func (p *Policy) Authority(name string, pbx ami.Class) ami.Class {
	info, _ := ami.LookupAction(name)
	return p.authority(info, pbx)
}

func (p *Policy) authority(info *ami.ActionInfo, pbx ami.Class) ami.Class {
	// ClassAll is what an authority with classes unknown to us is read as; no
	// knowledge of the newest Asterisk makes up for that.
	if !p.hardening || info == nil || pbx == ami.ClassAll || info.Legacy && pbx != ami.ClassNone {
		return pbx
	}
	newest := info.Classes
	if newest == ami.ClassNone {
		newest = missingClass(info.Name)
		if pbx != ami.ClassNone {
			return pbx
		}
	}
	switch {
	case pbx == ami.ClassNone:
		return newest
	case pbx&newest == ami.ClassNone:
		return ami.ClassAll
	}
	return pbx & newest
}

// missingClass is the class that an action should need and does not in any
// Asterisk, although it changes something.
func missingClass(name string) ami.Class {
	switch name {
	case "QueueChangePriorityCaller", "QueueReload", "QueueReset", "QueueWithdrawCaller":
		return ami.ClassAgent
	case "BridgeDestroy", "BridgeKick",
		"DAHDIDialOffhook", "DAHDIDNDoff", "DAHDIDNDon", "DAHDIHangup", "DAHDITransfer",
		"ZapDialOffhook", "ZapDNDoff", "ZapDNDon", "ZapHangup", "ZapTransfer":
		return ami.ClassCall
	case "BridgeTechnologySuspend", "BridgeTechnologyUnsuspend",
		"DAHDIRestart", "PRIDebugFileUnset", "PRIDebugSet", "ZapRestart":
		return ami.ClassSystem
	}
	return ami.ClassNone
}

// holdsOne reports whether the user has any one class of an authority.
func (p *Policy) holdsOne(authority ami.Class) bool {
	switch authority {
	case ami.ClassNone:
		return true
	case ami.ClassAll:
		return p.write == ami.ClassAll
	}
	return p.write&authority != 0
}
