package owned

import "github.com/amiproxy/amiproxy/ami"

// Listing is the names that the PBX has by its own account, while that is being
// given. Events that come meanwhile count more: an item may be older than they
// are.
type Listing struct {
	x *Index
	// Guarded by Index.mu
	names
	told map[string]struct{} // channels by Uniqueid, and things, of which events have told
	fits bool
}

// List begins a listing; one that is under way is given up. Until its end the
// index stays as it is.
func (x *Index) List() *Listing {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.listing = &Listing{x: x, names: newNames(), told: map[string]struct{}{}, fits: true}
	return x.listing
}

// Add takes an item of one of the lists; what is not one is ignored.
func (l *Listing) Add(item ami.Frame) {
	lesson, ok := lessons[string(item.Event())]
	if !ok {
		return
	}
	v := read(item, lesson.header)
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if _, told := l.told[key(lesson.lesson, lesson.kind, &v)]; !told {
		l.fits = l.names.learn(lesson.lesson, lesson.kind, &v, l.x.limit) && l.fits
	}
}

// Done makes the listing the index, unless it was given up meanwhile.
func (l *Listing) Done() {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if l.x.listing == l {
		l.x.names, l.x.complete, l.x.listing = l.names, l.fits, nil
	}
}

// event takes an event that comes during the listing.
func (l *Listing) event(what lesson, kind Kind, v *values) {
	if len(l.told) >= 2*l.x.limit {
		l.fits = false
		return
	}
	l.told[key(what, kind, v)] = struct{}{}
	l.fits = l.names.learn(what, kind, v, l.x.limit) && l.fits
}

// key names what a lesson is about, in Listing.told.
func key(what lesson, kind Kind, v *values) string {
	if what == thingLives || what == thingEnds {
		return string(rune('a'+kind)) + v.thing
	}
	return v.uniqueid
}
