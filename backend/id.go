package backend

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
)

// idForm starts every ActionID that a proxy of this kind sends upstream:
// amiproxy-<16 hex digits of one start>-<number>. It stays below 60 bytes,
// since Asterisk copies ActionIDs into buffers as small as 80 bytes
// (app_confbridge.c) and cuts what does not fit.
const idForm = "amiproxy-"

// isProxyID reports whether id was made by this or another proxy.
func isProxyID(id []byte) bool {
	rest, ok := strings.CutPrefix(string(id), idForm)
	if !ok || len(rest) < 18 || rest[16] != '-' {
		return false
	}
	for _, c := range rest[:16] {
		if !strings.ContainsRune("0123456789abcdef", c) {
			return false
		}
	}
	for _, c := range rest[17:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// newID makes an ActionID. Its number is random: some see ids of ours in
// events, and nobody is to know that of another's action from them, since what
// a client can make the PBX write could then pass for its answer.
func (b *Backend) newID() (string, uint64) {
	var number [8]byte
	rand.Read(number[:]) // never fails
	n := binary.LittleEndian.Uint64(number[:])
	return b.idPrefix + strconv.FormatUint(n, 10), n
}

// lateIDs remembers actions whose ActionID still comes back in an event after
// their answer: an asynchronous Originate in its OriginateResponse, a UserEvent
// in itself.
type lateIDs struct {
	byNumber map[uint64]lateID
	order    []uint64 // the numbers as they came, and some forgotten ones
	swept    time.Time
}

type lateID struct {
	owner   any
	ownerID string
	until   time.Time
}

const (
	// maxLateIDs bounds what actions whose events never come can hold (about
	// 200 bytes each). The oldest go first; their events then show no ActionID.
	maxLateIDs = 1 << 16
	// lateSweep is how often those that are too old are looked for.
	lateSweep = 10 * time.Second
)

func newLateIDs() lateIDs { return lateIDs{byNumber: make(map[uint64]lateID)} }

func (t *lateIDs) add(n uint64, id lateID) {
	t.byNumber[n] = id
	t.order = append(t.order, n)
	for len(t.byNumber) > maxLateIDs {
		delete(t.byNumber, t.order[0])
		t.order = t.order[1:]
	}
	if len(t.order) > 2*len(t.byNumber)+64 {
		t.compact()
	}
}

func (t *lateIDs) forget(n uint64) { delete(t.byNumber, n) }

// take returns what is known of n, once.
func (t *lateIDs) take(n uint64, now time.Time) (lateID, bool) {
	id, ok := t.byNumber[n]
	delete(t.byNumber, n)
	return id, ok && !now.After(id.until)
}

// sweep forgets what is too old.
func (t *lateIDs) sweep(now time.Time) {
	if now.Sub(t.swept) < lateSweep {
		return
	}
	t.swept = now
	for n, id := range t.byNumber {
		if now.After(id.until) {
			delete(t.byNumber, n)
		}
	}
	t.compact()
}

func (t *lateIDs) compact() {
	t.order = slices.DeleteFunc(t.order, func(n uint64) bool {
		_, ok := t.byNumber[n]
		return !ok
	})
}

// lookUp finds who sent the action with the ActionID id, which comes back in
// one event only and is forgotten with that.
func (b *Backend) lookUp(id string) (owner any, ownerID string) {
	rest, ok := strings.CutPrefix(id, b.idPrefix)
	if !ok {
		return nil, ""
	}
	n, err := strconv.ParseUint(rest, 10, 64)
	if err != nil {
		return nil, ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	late, ok := b.late.take(n, time.Now())
	if !ok {
		return nil, ""
	}
	return late.owner, late.ownerID
}
