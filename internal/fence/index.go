package fence

import (
	"slices"
	"strings"
	"sync"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

// maxEnded is how many channels are remembered beyond their end: what tells of
// them, such as Cdr, may come later.
const maxEnded = 16_384

// maxShownSize is how large an event may be that is kept, in bytes. Most are below
// one thousand.
const maxShownSize = 16 << 10

// Index is what is known of the calls on one PBX. Its methods are safe for use
// by many goroutines; events and listings are to come in order.
//
// Without tenants it learns nothing, and all is nobody's.
type Index struct {
	limit int

	mu       sync.RWMutex // guards the following
	tenants  []*acl.Tenant
	each     []Set               // one of them, by their index
	channels map[string]*channel // by Uniqueid
	names    map[string]*channel // by name in lower case
	linked   map[string][]linked // by Linkedid: the calls that have channels with it
	bridges  map[string]*bridge
	ended    map[string]Set // by Uniqueid of channels that are gone
	endings  []string       // the keys of ended, a ring
	oldest   int            // in endings
	// before is what was known of calls when events were missed, until a listing
	// says which of them there are still.
	before  map[string]Set // tenants of their own, by Uniqueid of a channel
	listing *Listing       // the one under way, nil if there is none

	early     [maxEarly]early // a ring
	nextEarly int             // in early

	round uint64 // of gather
	// By the event that is being learned.
	moves    []moved
	overtook []Introduction // by the events that are early
}

// channel is a channel that there is.
type channel struct {
	name, uniqueid, linkedid string // name in lower case
	context, accountcode     string // as last seen
	call                     *call
	bridge                   *bridge // it is in; nil: none
	shown                    [shows]ami.Frame
}

// call is some channels that were born of each other.
type call struct {
	own      Set // tenants that have it
	seen     Set // tenants that see it
	channels []*channel
	// orphan: it is not known who dialled its first channel, and somebody did.
	orphan bool
	round  uint64
}

// linked says how many channels of a call have a Linkedid. Bridges make
// channels of several calls have one.
type linked struct {
	call *call
	n    int
}

// bridge is a bridge that there is.
type bridge struct {
	id      string
	waiting bool // its channels do not hear each other
	own     Set  // tenants whose conference, or parking lot, it is
	seen    Set  // tenants that see it; when it is empty, those that saw it last
	members []*channel
	shown   [shows]ami.Frame
	round   uint64
}

// Of what is shown of a channel or bridge that comes into a fence, in this
// order: where it came from, what it is called, how it is, where it is.
const (
	showBirth  = iota // Newchannel, BridgeCreate
	showName          // Rename, ConfbridgeStart
	showState         // Newstate
	showBridge        // BridgeEnter
	shows
)

// moved is a channel or bridge that tenants see who did not see it.
type moved struct {
	shown       *[shows]ami.Frame
	before, now Set
}

// Sight says who may see an event, or an item of a list.
type Sight struct {
	// Tenants are those that it belongs to.
	Tenants Set
	// Named: it is of calls, and only those that they belong to may see it,
	// whatever rules name it.
	Named bool
}

// Introduction is an event of the past, to those who come to see what it is
// about: the tenants of Now, less who is of Before too.
type Introduction struct {
	Frame       ami.Frame
	Before, Now Set
}

// New returns an index of at most limit channels and as many bridges. Those beyond
// it are nobody's.
func New(limit int) *Index { return (&Index{limit: limit}).forget() }

func (x *Index) forget() *Index {
	x.channels, x.names, x.linked = map[string]*channel{}, map[string]*channel{}, map[string][]linked{}
	x.bridges, x.ended, x.endings, x.oldest = map[string]*bridge{}, map[string]Set{}, nil, 0
	x.early = [maxEarly]early{}
	return x
}

// SetTenants says which tenants there are on the PBX. Calls that there are
// already get those of them whose marks they bear, and lose none. It reports whether the
// index begins to learn by that: only a listing tells it then what there is.
func (x *Index) SetTenants(tenants []*acl.Tenant) (begins bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	begins = len(x.tenants) == 0 && len(tenants) > 0
	x.tenants, x.each = tenants, nil
	for _, t := range tenants {
		x.each = append(x.each, Set{t.Name()})
	}
	if len(tenants) == 0 {
		x.forget()
	}
	for _, c := range x.channels {
		c.call.own = union(c.call.own, union(x.having(acl.ByChannel, markedName(c.name)),
			union(x.having(acl.ByContext, c.context), x.having(acl.ByAccountCode, c.accountcode))))
	}
	for _, c := range x.channels {
		x.settle(c.call, true)
	}
	x.moves = nil
	return begins
}

// Learns reports whether the index learns: there are tenants.
func (x *Index) Learns() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.tenants) > 0
}

// Listing is what there is on the PBX by its own account, while that is being
// given. Events that come meanwhile count more.
type Listing struct{ x *Index }

// List says that events may have been missed, and begins a listing; one that is
// under way is given up. Nothing is known until then but what comes after.
func (x *Index) List() *Listing {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.listing = &Listing{x}
	before := map[string]Set{}
	for id, c := range x.channels {
		if len(c.call.own) > 0 {
			before[id] = c.call.own
		}
	}
	for id, own := range x.before { // no listing since
		before[id] = union(before[id], own)
	}
	x.forget()
	x.before = before
	return x.listing
}

// Add takes an item of BridgeList, and after all of those one of CoreShowChannels
// (Status, on old PBXes); what is neither is ignored.
func (l *Listing) Add(f ami.Frame) {
	x := l.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.tenants) == 0 || x.listing != l {
		return
	}
	h := read(f)
	switch string(h.event) {
	case "BridgeListItem":
		x.bridge(&h)
	case "CoreShowChannel", "Status":
		if _, ended := x.ended[string(h.uniqueid)]; ended || x.channels[string(h.uniqueid)] != nil {
			return
		}
		if c := x.born(&h); c != nil && h.nBridges > 0 {
			x.enter(c, x.bridges[string(h.bridges[0])])
		}
	}
	x.moves, x.overtook = nil, nil
}

// Done says that the listing is complete.
func (l *Listing) Done() {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if l.x.listing == l {
		l.x.before, l.x.listing = nil, nil
	}
}

// Look says who may see an item of a list.
func (x *Index) Look(f ami.Frame) Sight {
	h := read(f)
	x.mu.RLock()
	defer x.mu.RUnlock()
	return Sight{Tenants: x.whose(&h), Named: h.named()}
}

// Channel says which tenants see a channel, by its name or Uniqueid.
func (x *Index) Channel(name string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := byName(x, name)
	if c == nil {
		c = x.channels[name]
	}
	if c == nil {
		return nil
	}
	return c.call.seen
}

// Bridge says which tenants see a bridge, by its BridgeUniqueid.
func (x *Index) Bridge(id string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if b := x.bridges[id]; b != nil {
		return b.seen
	}
	return nil
}

// Thing says which tenants a thing belongs to by its name.
func (x *Index) Thing(m acl.Mark, name string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.having(m, name)
}

// MayDial reports whether a dial string leads to any of some tenants.
func (x *Index) MayDial(dial string, tenants []string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(x.tenants, func(t *acl.Tenant) bool {
		return slices.Contains(tenants, t.Name()) && t.MayDial(dial)
	})
}

// Linked reports whether there are channels that have an id as their Linkedid: a
// new channel with that for its Uniqueid could be taken for the first of their
// call.
func (x *Index) Linked(id string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.linked[id]) > 0
}

// Len is the number of channels and bridges.
func (x *Index) Len() (channels, bridges int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.channels), len(x.bridges)
}

// byName is the channel of a name, whatever its case; nil if there is none.
func byName[T string | []byte](x *Index, name T) *channel {
	var buf [128]byte // on the stack, if it is no longer: this is asked of every action
	if len(name) > len(buf) {
		return x.names[ami.FoldName(string(name))]
	}
	for i := range len(name) {
		buf[i] = name[i]
		if 'A' <= name[i] && name[i] <= 'Z' {
			buf[i] += 'a' - 'A'
		}
	}
	return x.names[string(buf[:len(name)])]
}

// having are the tenants that a mark tells of.
func (x *Index) having(m acl.Mark, value string) (s Set) {
	for i, t := range x.tenants {
		if t.Has(m, value) {
			s = union(s, x.each[i])
		}
	}
	return s
}

// whose are the tenants that see what is in an event, or item.
func (x *Index) whose(h *facts) (s Set) {
	if h.failed() {
		return nil
	}
	for _, id := range h.ids[:h.nIDs] {
		s = union(s, x.whoseID(h, id))
	}
	for _, id := range h.bridges[:h.nBridges] {
		if b := x.bridges[string(id)]; b != nil {
			s = union(s, b.seen)
		}
	}
	if h.nIDs == 0 && len(h.channel) > 0 {
		if c := byName(x, h.channel); c != nil {
			s = union(s, c.call.seen)
		}
	}
	if h.thing != nil {
		s = union(s, x.having(h.mark, string(h.thing)))
	}
	return s
}

// whoseID are the tenants that see what an event tells of a channel. A Cdr or a
// CEL may come after the end of the channel, and be of one before that had the
// same id: it is for who saw both.
func (x *Index) whoseID(h *facts, id []byte) Set {
	c := x.channels[string(id)]
	if c != nil && string(h.event) != "Cdr" && string(h.event) != "CEL" {
		return c.call.seen
	}
	ended, again := x.ended[string(id)]
	switch {
	case c == nil:
		return ended
	case again:
		return both(ended, c.call.seen)
	}
	return c.call.seen
}

// parent is the channel of which one was made that bears its name, to carry it
// elsewhere (pbx.c: ast_async_goto, bridge_basic.c).
func (x *Index) parent(name string) *channel {
	for _, prefix := range []string{"asyncgoto/", "surrogate/"} {
		if of, ok := strings.CutPrefix(name, prefix); ok {
			return x.names[of]
		}
	}
	return nil
}
