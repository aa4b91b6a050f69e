package acl

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// List is an ordered list of deny and permit rules. An address starts out
// allowed, every rule that contains it changes the verdict, and so the last
// such rule decides (acl.c: ast_apply_ha). The zero value allows everybody.
//
// A rule is for one family: IPv4 rules judge IPv4 and IPv4-mapped addresses,
// IPv6 rules all other IPv6 addresses. To deny everybody takes 0.0.0.0/0 and
// ::/0.
type List struct {
	rules   []rule
	denyAll bool
}

// rule is a network that is permitted or denied. The mask need not be a
// prefix: 255.0.255.0 is one that Asterisk takes.
type rule struct {
	network, mask [16]byte // of an IPv4 network in their mapped form
	v4, permit    bool
}

// DenyAll returns a list that denies every address, whatever is added to it.
func DenyAll() *List { return &List{denyAll: true} }

// Add appends the rules of one deny or permit line: items separated by commas,
// each an address, optionally with a mask behind a slash (a number of bits, or
// written like an address) and with a "!" in front that turns its sense round.
// Without a mask the item is that one address. As in Asterisk an address is a
// literal one without a port, and nothing but the item may stand between the
// commas.
//
// An error names the item, and nothing of the line was added.
func (l *List) Add(permit bool, value string) error {
	var rules []rule
	for item := range strings.SplitSeq(value, ",") {
		r, err := parseRule(item)
		if err != nil {
			return fmt.Errorf("%q: %w", item, err)
		}
		r.permit = r.permit == permit
		rules = append(rules, r)
	}
	l.rules = append(l.rules, rules...)
	return nil
}

// Allows reports the verdict of the list on an address. What is no address is
// allowed only by a list without rules.
func (l *List) Allows(addr netip.Addr) bool {
	if l.denyAll {
		return false
	}
	if !addr.IsValid() {
		return len(l.rules) == 0
	}
	v4 := addr.Is4() || addr.Is4In6()
	ip := addr.As16()
	allowed := true
	for i := range l.rules {
		if r := &l.rules[i]; r.v4 == v4 && masked(ip, r.mask) == r.network {
			allowed = r.permit
		}
	}
	return allowed
}

// parseRule reads one item, as if it stood in a permit line.
func parseRule(item string) (rule, error) {
	text, mask, hasMask := strings.Cut(item, "/")
	text, inverted := strings.CutPrefix(text, "!")
	addr, err := parseAddr(text)
	if err != nil {
		return rule{}, err
	}
	r := rule{v4: addr.Is4(), permit: !inverted}
	bits := addr.BitLen()
	switch {
	case strings.ContainsAny(mask, ".:"):
		m, err := parseAddr(mask)
		if err != nil {
			return rule{}, fmt.Errorf("bad mask: %w", err)
		}
		if m.Is4() != r.v4 {
			return rule{}, errors.New("address and mask are of different families")
		}
		r.mask = m.As16()
	case hasMask:
		n, err := strconv.ParseUint(mask, 10, 8)
		if err != nil || int(n) > bits {
			return rule{}, fmt.Errorf("bad mask %q: not a number from 0 to %d", mask, bits)
		}
		r.mask = prefixMask(int(n) + 128 - bits)
	default:
		r.mask = prefixMask(128)
	}
	if r.v4 {
		// The first 12 bytes are alike in all mapped addresses.
		copy(r.mask[:12], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	r.network = masked(addr.As16(), r.mask)
	return r, nil
}

// parseAddr reads a literal address. One that is IPv4-mapped counts as IPv4,
// and an IPv6 one may stand in brackets.
func parseAddr(text string) (netip.Addr, error) {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		text = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case text == "":
		return addr, errors.New("the address is missing")
	case err != nil:
		return addr, fmt.Errorf("%q is no IP address", text)
	case addr.Zone() != "":
		return addr, fmt.Errorf("%q has a zone", text)
	}
	return addr.Unmap(), nil
}

func prefixMask(bits int) (mask [16]byte) {
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

func masked(ip, mask [16]byte) [16]byte {
	for i := range ip {
		ip[i] &= mask[i]
	}
	return ip
}
