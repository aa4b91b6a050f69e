package fence

import (
	"slices"

	"github.com/amiproxy/amiproxy/ami"
)

// maxEarly is how many events are kept that overtook the beginning of a channel
// they are of. OriginateResponse, ParkedCall and ConfbridgeJoin come by ways of
// their own, and on a busy PBX some hundred events earlier than Newchannel.
const maxEarly = 256

// early is an event of channels that are not known yet.
type early struct {
	unknown []string // Uniqueids; empty: there is no event
	frame   ami.Frame
	seen    Set // who has got it
}

// keepEarly keeps an event of channels that may be still to come.
func (x *Index) keepEarly(f ami.Frame, h *facts, seen Set) {
	if len(f) > maxShownSize || h.failed() {
		return
	}
	var unknown []string
	for _, id := range h.ids[:h.nIDs] {
		_, ended := x.ended[string(id)]
		if x.channels[string(id)] == nil && !ended {
			unknown = append(unknown, string(id))
		}
	}
	if len(unknown) > 0 {
		x.early[x.nextEarly] = early{unknown, f, seen}
		x.nextEarly = (x.nextEarly + 1) % maxEarly
	}
}

// takeEarly takes the events that overtook the beginning of a channel, for those
// who see it. Whatever its id comes to mean later, they are not of that.
func (x *Index) takeEarly(uniqueid string, seen Set) (all []Introduction) {
	for i := range x.early {
		e := &x.early[(x.nextEarly+i)%maxEarly]
		at := slices.Index(e.unknown, uniqueid)
		if at < 0 {
			continue
		}
		all = append(all, Introduction{e.frame, e.seen, seen})
		e.seen = union(e.seen, seen)
		if e.unknown = slices.Delete(e.unknown, at, at+1); len(e.unknown) == 0 {
			*e = early{}
		}
	}
	return all
}
