// Package owned knows the names that a PBX has given out, as far as actions name
// them: of its channels, bridges and conferences. It learns them from the PBX's events
// and from a listing, and forgets them with the things themselves:
//
//	x := owned.New(100_000)
//	x.Learn(event)                       // every event of the PBX, in order
//	l := x.List()                        // the link is up: what is there already?
//	l.Add(item) …; l.Done()              // the items of CoreShowChannels and others
//	x.Has(owned.Channel, "PJSIP/alice-00000001")
//
// Nothing is learned from what a client can write at will, such as UserEvent.
package owned

import (
	"sync"

	"github.com/amiproxy/amiproxy/ami"
)

// Kind is a kind of name. Those that no action has for what it is about are not
// kept: a Linkedid, and the space of a parked call (that of Park is to be a free one).
type Kind uint8

const (
	// Channel is a channel by its name, or by its Uniqueid, which Asterisk takes
	// in the place of a name (channel.c: ast_channel_get_by_name).
	Channel Kind = iota
	Uniqueid
	// Bridge is a BridgeUniqueid.
	Bridge
	// Conference is the name of a ConfBridge or MeetMe conference.
	Conference
)

// Index is what is known of one PBX. Its methods are safe for use by many
// goroutines.
type Index struct {
	limit int

	mu sync.RWMutex // guards the following
	names
	listing *Listing // the one under way, nil if there is none
	// complete: all that the PBX has is in the index. It is not before the
	// first listing, nor after a name had to be left out.
	complete bool
}

// names are the names by kind, in lower case, as Asterisk compares them: those of
// channels (channel.c: ast_channel_by_name_cb, ast_channel_by_uniqueid_cb) and of
// conferences (app_confbridge.c: conference_bridge_cmp_cb). Those of bridges it
// compares as they are; no two of them differ by that alone.
type names struct {
	channels  map[string]*channel // by name
	uniqueids map[string]*channel
	others    map[other]struct{}
}

type channel struct{ name, uniqueid string }

type other struct {
	kind Kind
	name string
}

// New returns an index of at most limit channels and as many other names.
// Beyond that it learns no more, and is not complete.
func New(limit int) *Index { return &Index{limit: limit, names: newNames()} }

func newNames() names {
	return names{channels: map[string]*channel{}, uniqueids: map[string]*channel{}, others: map[other]struct{}{}}
}

// Has reports whether the PBX is known to have a name. That it has not is
// certain only if the index is complete.
func (x *Index) Has(kind Kind, name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.names.has(kind, name)
}

// Complete reports whether the index holds all names of the PBX.
func (x *Index) Complete() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.complete
}

// Len is the number of channels.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.channels)
}

// Lose says that events may be missed from now on: the names stay, and the
// index is not complete until the next listing.
func (x *Index) Lose() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.complete, x.listing = false, nil
}

// Forget empties the index, for a PBX that is gone for good.
func (x *Index) Forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.names, x.complete, x.listing = newNames(), false, nil
}

func (n *names) has(kind Kind, name string) bool {
	name = ami.FoldName(name)
	switch kind {
	case Channel:
		if _, ok := n.channels[name]; ok {
			return true
		}
		fallthrough
	case Uniqueid:
		_, ok := n.uniqueids[name]
		return ok
	}
	_, ok := n.others[other{kind, name}]
	return ok
}

// add puts a channel in, or brings it up to date.
func (n *names) add(name, uniqueid string) {
	if c := n.channels[name]; c != nil {
		if c.uniqueid == uniqueid || uniqueid == "" {
			return
		}
		n.remove(c) // a channel of that name that we did not see end
	}
	if c := n.uniqueids[uniqueid]; c != nil {
		n.remove(c)
	}
	c := &channel{name: name, uniqueid: uniqueid}
	n.channels[name] = c
	if uniqueid != "" {
		n.uniqueids[uniqueid] = c
	}
}

func (n *names) remove(c *channel) {
	if n.channels[c.name] == c {
		delete(n.channels, c.name)
	}
	if n.uniqueids[c.uniqueid] == c {
		delete(n.uniqueids, c.uniqueid)
	}
}

// rename gives a channel another name.
func (n *names) rename(from, to, uniqueid string) {
	c := n.channels[from]
	if c == nil {
		c = n.uniqueids[uniqueid]
	}
	if c == nil {
		n.add(to, uniqueid)
		return
	}
	if uniqueid == "" {
		uniqueid = c.uniqueid
	}
	n.remove(c)
	n.add(to, uniqueid)
}
