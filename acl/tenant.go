package acl

import (
	"errors"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Mark is what a tenant's calls, and the things that are the tenant's, are told
// by: a key of its section.
type Mark uint8

const (
	// ByContext is the dialplan context that a call is in.
	ByContext Mark = iota
	// ByChannel is the name of a channel less what Asterisk puts behind it to
	// make it unique: PJSIP/100 for PJSIP/100-0000002a, Local/100@office for
	// Local/100@office-0000002a;1.
	ByChannel
	// ByAccountCode is the account code of a channel.
	ByAccountCode
	// ByDID is the extension that a call first arrives at.
	ByDID
	// ByQueue is the name of a queue.
	ByQueue
	// ByConference is the name of a ConfBridge or MeetMe conference.
	ByConference
	// ByParkingLot is the name of a parking lot.
	ByParkingLot
	// ByMailbox is a mailbox, as in 100@default.
	ByMailbox
	// ByDevice is a device, peer or endpoint with its technology, as in PJSIP/100.
	ByDevice

	marks
)

// String is the key.
func (m Mark) String() string {
	return [marks]string{"context", "channel", "accountcode", "did", "queue", "conference", "parkinglot", "mailbox", "device"}[m]
}

// Tenant says which calls and things are one tenant's. It is safe for use by
// many goroutines once its lines are added.
type Tenant struct {
	name  string
	pbxs  []string // in lower case; none: all
	lines [marks][]Pattern
}

// NewTenant returns a tenant without lines, which has nothing on the PBXes
// given, of all if there are none given. Names of tenants and PBXes are compared without case.
func NewTenant(name string, pbxs ...string) *Tenant {
	t := &Tenant{name: ami.FoldName(name)}
	for _, pbx := range pbxs {
		t.pbxs = append(t.pbxs, ami.FoldName(pbx))
	}
	return t
}

// Name is the tenant's name in lower case.
func (t *Tenant) Name() string { return t.name }

// Add adds a line: patterns parted by commas, of which any one is to match. An
// error says what is wrong with it, and nothing was added.
func (t *Tenant) Add(m Mark, line string) error {
	var patterns []Pattern
	for item := range strings.SplitSeq(line, ",") {
		p, err := NewPattern(item)
		switch {
		case err != nil:
			return err
		case p.none:
			return errors.New(`"none" says nothing of whose it is: write what has the tenant's own name`)
		}
		patterns = append(patterns, p)
	}
	t.lines[m] = append(t.lines[m], patterns...)
	return nil
}

// On reports whether the tenant can have anything on a PBX.
func (t *Tenant) On(pbx string) bool {
	for _, name := range t.pbxs {
		if name == ami.FoldName(pbx) {
			return true
		}
	}
	return len(t.pbxs) == 0
}

// Has reports whether what has such a value is the tenant's. What has none is
// nobody's.
func (t *Tenant) Has(m Mark, value string) bool {
	if value == "" {
		return false
	}
	for i := range t.lines[m] {
		if t.lines[m][i].Match(value) {
			return true
		}
	}
	return false
}

// MayDial reports whether a dial string ("PJSIP/100", "Local/100@office/n") leads
// to the tenant: a Local channel by its context, any other by a line for channels.
func (t *Tenant) MayDial(dial string) bool {
	const local = "local/"
	if len(dial) < len(local) || !ami.EqualFold(dial[:len(local)], local) {
		return t.Has(ByChannel, dial)
	}
	// core_local.c: local_alloc cuts at the first slash, then at the first @.
	number, _, _ := strings.Cut(dial[len(local):], "/")
	extension, context, ok := strings.Cut(number, "@")
	if !ok {
		context = "default"
	}
	return extension != "" && t.Has(ByContext, context)
}
