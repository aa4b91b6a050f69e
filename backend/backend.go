package backend

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/owned"
)

// The reasons why a request is not answered by the PBX.
var (
	// ErrDown: the PBX was not connected when the action came, or went away
	// before it was sent.
	ErrDown = errors.New("is not connected")
	// ErrLost: the action was sent and its link died.
	ErrLost = errors.New("was lost before it answered")
	// ErrTimeout: the action was sent and not answered in time.
	ErrTimeout = errors.New("did not answer in time")
	// ErrBusy: the action was not sent, since no link became free in time, or as
	// many as Options.PendingLimit were pending already.
	ErrBusy = errors.New("is busy")
	// ErrWithdrawn: the action was not sent, since it was withdrawn before its turn.
	ErrWithdrawn = errors.New("withdrawn")
	// ErrTooLong: the answer broke Options.AnswerLimit and was thrown away.
	ErrTooLong = errors.New("answer too long")
)

// Handler gets what a PBX has to say. Its methods are called one at a time, by
// the goroutine that reads the events link, and must not wait for anything.
type Handler interface {
	// Event is called for every event of the PBX, in order.
	Event(b *Backend, e *Event)
	// State is called when the PBX comes and goes. The call that says Up comes
	// before the first event, the one that says Down after the last.
	State(b *Backend, s State)
}

// Event is one event of a PBX. It is valid during the call that hands it over;
// only its Frame may be kept.
type Event struct {
	// Frame is as the PBX sent it. It may be kept and shared, not modified.
	Frame ami.Frame
	// Class is what a session must be allowed to read to get it.
	Class ami.Class
	// ID is set if the event carries an ActionID of a proxy's making. If it is
	// ours and still known, Owner is the owner of the stream that sent the
	// action, and OwnerID the ActionID that the client gave it.
	ID      string
	Owner   any
	OwnerID string
}

// State is whether a PBX is there, which is: whether it sends us events. A
// first link for actions comes before that. While it is up and has no such
// link, since they were cut, actions get ErrDown and events go on.
type State struct {
	Up bool
	// Reason is one of few fixed texts, which a client may see; the log has
	// more. While the PBX is away it says why the latest attempt failed, of
	// which the Handler is not told.
	Reason string
	Since  time.Time
	// LostFrom and LostTo are set with Up if events may have been missed
	// between these times.
	LostFrom, LostTo time.Time
	// Restarted is "yes" or "no", with Up: whether the PBX has been started anew
	// since it was up before. "No" is certain; "yes" is said also in doubt, which
	// is when the PBX was lost in its first second or two. It is empty the first
	// time, and for a PBX that does not tell when it was started.
	Restarted string
}

// Backend is one PBX with all links to it. Its methods are safe for use by
// many goroutines.
type Backend struct {
	// Static after construction
	name     string
	handler  Handler
	log      *zap.Logger
	dial     func(context.Context) (net.Conn, error) // in the place of dialTCP; nil but in tests
	idPrefix string                                  // of every ActionID we send
	house    *Stream                                 // our own actions
	stats    Stats
	names    *owned.Index

	settings    atomic.Pointer[Settings]
	authority   atomic.Pointer[Authority]
	directories atomic.Pointer[Directories]
	version     atomic.Pointer[string]
	booted      atomic.Pointer[booted] // nil while the PBX is away or boots
	booting     atomic.Bool            // see Booting
	up          atomic.Bool            // copy of state.Up for readers without the lock

	// mu guards the following. Nothing is called, logged or written to a socket
	// under it; queue.Queue has a lock that comes after it.
	mu sync.Mutex
	// connected are all links that are logged in; links those for actions.
	connected []*link
	links     []*link
	// ready is closed while links is not empty, and made anew when it empties.
	ready     chan struct{}
	state     State
	stopping  bool      // no action is sent any more
	lostFrom  time.Time // events may be missed from here on; zero: none yet
	startup   string    // that of the latest events link that has one
	outlived  bool      // that run of the PBX has gone on beyond the second of its start
	exclusive int       // links taken by exclusive actions
	waiting   []*Stream // those whose next action waits for a link, in order
	crowded   bool      // one of them might do with any link
	pending   int       // accepted and not yet answered, but for our own
	late      lateIDs   // answered actions whose events are still to come
	relist    time.Time // when to ask for ListCommands again; zero: no need
	namesDue  time.Time // when to list the names again; zero: no need
	// namesDelay is how long the latest try to list the names again had to wait.
	namesDelay time.Duration
	recheck    bool    // ask for our rights with the next ListCommands
	rights     rights  // that our user lacks
	samples    samples // of the counters, for rates
	// reconnect ends all links, which are then made anew; nil before Run.
	reconnect context.CancelCauseFunc
}

// Stats are counters, all since the start.
type Stats struct {
	Logins  atomic.Uint64 // links that were logged in
	Losses  atomic.Uint64 // of these, lost
	Frames  atomic.Uint64 // read, events included
	Events  atomic.Uint64
	Actions atomic.Uint64 // sent, but for our own
	// Dropped are frames that are no event and answer nothing.
	Dropped atomic.Uint64
}

// New returns a backend for one PBX. It fails if the options cannot work,
// which includes a CA file that cannot be read.
func New(o Options, h Handler, log *zap.Logger) (*Backend, error) {
	settings, err := Prepare(o)
	if err != nil {
		return nil, err
	}
	var start [8]byte
	rand.Read(start[:]) // never fails
	b := &Backend{
		name:     o.Name,
		handler:  h,
		log:      log.With(zap.String("pbx", o.Name)),
		idPrefix: idForm + hex.EncodeToString(start[:]) + "-",
		ready:    make(chan struct{}),
		state:    State{Reason: "not connected yet", Since: time.Now()},
		late:     newLateIDs(),
	}
	b.settings.Store(settings)
	b.names = owned.New(maxNames)
	b.samples.add(sample{at: time.Now()})
	b.house = b.NewStream(nil)
	b.authority.Store(builtinAuthority())
	b.directories.Store(&unknownDirectories)
	return b, nil
}

// Run keeps the links up until ctx ends, whose cause is told as the reason. It
// returns when all goroutines of the backend have ended and every request was
// answered.
func (b *Backend) Run(ctx context.Context) {
	for ctx.Err() == nil {
		b.run(ctx)
	}
}

// run is Run until the links are to be made anew.
func (b *Backend) run(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.mu.Lock()
	b.reconnect, b.stopping = cancel, false
	links := b.settings.Load().Links
	b.mu.Unlock()
	var group sync.WaitGroup
	for i := range links {
		group.Go(func() { b.keepLink(ctx, i) })
	}
	group.Go(func() { b.keepHouse(ctx) })
	group.Wait()
}

// Name is the PBX's name in the configuration.
func (b *Backend) Name() string { return b.name }

// Up is State().Up.
func (b *Backend) Up() bool { return b.up.Load() }

// State is whether the PBX is there, why and since when.
func (b *Backend) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Version is the AMI version of the PBX's banner, such as 11.0.0; empty before
// the first connection.
func (b *Backend) Version() string {
	if v := b.version.Load(); v != nil {
		return *v
	}
	return ""
}

// Pending is the number of requests that were accepted and whose Done has not
// returned yet.
func (b *Backend) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending
}

// Stats are the counters of the backend.
func (b *Backend) Stats() *Stats { return &b.stats }
