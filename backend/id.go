package backend

import (
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

func (b *Backend) newID() (string, uint64) {
	n := b.nextID.Add(1)
	return b.idPrefix + strconv.FormatUint(n, 10), n
}

// lateIDs remembers actions whose ActionID still comes back in an event after
// their answer: an asynchronous Originate in its OriginateResponse, a UserEvent
// in itself.
type lateIDs struct {
	byNumber map[uint64]lateID
	// order is the numbers as they came; those forgotten are skipped.
	order []uint64
}

type lateID struct {
	owner   any
	ownerID string
	until   time.Time
}

// maxLateIDs bounds what actions whose events never come can hold (about
// 200 bytes each). The oldest go first; their events then show no ActionID.
const maxLateIDs = 1 << 16

func newLateIDs() lateIDs { return lateIDs{byNumber: make(map[uint64]lateID)} }

func (t *lateIDs) add(n uint64, id lateID) {
	t.byNumber[n] = id
	t.order = append(t.order, n)
	for len(t.byNumber) > maxLateIDs {
		t.dropOldest()
	}
}

func (t *lateIDs) dropOldest() {
	delete(t.byNumber, t.order[0])
	t.order = t.order[1:]
}

// expire forgets what is too old. Times differ from action to action, so the
// order is only compacted at its head.
func (t *lateIDs) expire(now time.Time) {
	for n, id := range t.byNumber {
		if now.After(id.until) {
			delete(t.byNumber, n)
		}
	}
	for len(t.order) > 0 {
		if _, ok := t.byNumber[t.order[0]]; ok {
			break
		}
		t.order = t.order[1:]
	}
}

// lookUp finds who sent the action with the ActionID id. An
// ActionID comes back in one event, so it is forgotten with that.
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
	late, ok := b.late.byNumber[n]
	if !ok {
		return nil, ""
	}
	delete(b.late.byNumber, n)
	return late.owner, late.ownerID
}
