package backend

import (
	"errors"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// Request is an action to be sent to a PBX.
type Request struct {
	// Action is sent under an ActionID of our own; its own comes back in the
	// answer.
	Action *ami.Action
	// Headers are lines to add to it, ready and without line ends.
	Headers []string
	// Server, if not empty, is added to the frames of the answer.
	Server string
	// Progress, if not nil, is kept up to date.
	Progress *Progress
	// Done gets the answer, once; never, if the stream is closed before the
	// action was sent. It is called from any goroutine, possibly
	// before Do has returned, and must not wait for anything.
	Done func(Answer)
}

// Progress is how far a request has come. It is safe for use by many
// goroutines.
type Progress struct {
	sent, list atomic.Bool
}

// Sent reports whether the action was handed to a link: from then on its
// effects may show.
func (p *Progress) Sent() bool { return p.sent.Load() }

// List reports whether the answer has announced a list.
func (p *Progress) List() bool { return p.list.Load() }

// Answer is what came of a request.
type Answer struct {
	// Bytes are the frames of the answer in order, as the client is to get
	// them. They belong to the receiver of the answer.
	Bytes []byte
	// More are the frames that a long list goes on with, in pieces of whole
	// frames, none of them empty. They belong to the receiver too.
	More [][]byte
	// Err is one of ErrDown, ErrLost, ErrTimeout, ErrBusy, ErrWithdrawn and
	// ErrTooLong if there is no answer.
	Err error
	// ID is the ActionID that the action had at the PBX, or was to have.
	ID string
}

// Frames are all frames of the answer.
func (a Answer) Frames() iter.Seq[ami.Frame] {
	return func(yield func(ami.Frame) bool) {
		for i := -1; i < len(a.More); i++ {
			piece := a.Bytes
			if i >= 0 {
				piece = a.More[i]
			}
			for f := range ami.Frames(piece) {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// FaultError is returned for an action that would break Asterisk's limits
// after its ActionID was replaced.
type FaultError struct{ Fault ami.Fault }

func (e *FaultError) Error() string { return e.Fault.Message() }

// pending is a request that was accepted and not yet answered.
type pending struct {
	// Static after newPending
	stream    *Stream // nil: a Ping of ours
	request   Request
	id        string
	number    uint64
	name      string // of the action, for logs
	frame     []byte // with the fence
	fence     string // ActionID of the Ping behind it; empty: its end is certain
	fenced    bool   // has one
	single    bool   // opens no list
	unsaid    bool   // opens a list without saying so
	exclusive bool   // alone on its link
	timeout   time.Duration
	late      time.Duration // how long its id may come back in an event; 0: it does not

	// Owned by the reader of the link that it is sent on
	replied bool // a response came
	failed  bool // and it was an Error
	list    bool // and it, or a later one, announced a list
	answer  [][]byte
	size    int // of the answer in bytes
	tooLong bool

	// Guarded by Backend.mu
	expires  time.Time // while it waits for a link: when to give up
	reserved *link     // the link that it waits for, if exclusive
	link     *link     // once it is sent
	deadline time.Time // once it is the oldest on its link
	timedOut bool      // the link was cut because of it
	// withdrawn: not to be sent any more.
	withdrawn bool
}

// newPending prepares a request; nothing knows of it yet.
func (b *Backend) newPending(s *Stream, r Request) (*pending, error) {
	id, number := b.newID()
	p := &pending{
		stream: s, request: r, id: id, number: number,
		name: r.Action.Name(), timeout: b.settings.Load().ActionTimeout,
	}
	info, known := ami.LookupAction(p.name)
	p.unsaid = known && info.Kind == ami.KindList && b.listsUnannounced()
	uncertain := !known || info.Kind == ami.KindUncertain || p.unsaid
	p.exclusive, p.fenced = uncertain, uncertain
	if known {
		p.single = info.Kind == ami.KindSingle
		p.judge(info.Name, b.rawCommands())
	}
	frame, fault := r.Action.AppendForward(nil, id, r.Headers...)
	if fault != ami.FaultNone {
		return nil, &FaultError{fault}
	}
	if p.fenced {
		p.fence, _ = b.newID()
		frame = ami.AppendHeader(frame, "Action", "Ping")
		frame = ami.AppendHeader(frame, "ActionID", p.fence)
		frame = ami.AppendEnd(frame)
	}
	p.frame = frame
	return p, nil
}

// judge knows the actions that block, those that come back in events, those
// whose answers can hold whatever their client likes, empty lines and end marks
// included, and those that break off when asked in one way: a fence gives what
// came back to him, as Asterisk would.
func (p *pending) judge(name string, rawCommands bool) {
	switch name {
	case "Command":
		p.exclusive, p.fenced = true, rawCommands
	case "Reload":
		p.exclusive = true
	case "Originate":
		ring := originateTimeout(p.request.Action)
		if async, _ := ami.ParseBool(p.request.Action.Get("Async")); async {
			p.late = ring + time.Minute
		} else {
			p.exclusive = true
			p.timeout = ring + 5*time.Second
		}
	case "Getvar", "DBGet", "DBGetTree", "PresenceState":
		p.fenced = true
	case "ShowDialPlan":
		// An Error and no completion behind a context's switches and ignored
		// patterns if it lacks the extension (pbx.c: manager_show_dialplan).
		p.fenced = p.fenced || p.request.Action.Get("Extension") != ""
	case "Status":
		p.fenced = p.fenced || p.request.Action.Get("Variables") != "" || p.request.Action.Get("AllVariables") != ""
	case "UserEvent":
		p.late = time.Minute
	}
}

const (
	defaultRing = 30 * time.Second
	maxRing     = 24 * time.Hour
)

// originateTimeout is how long the PBX lets the call ring: the number of
// milliseconds that the value starts with (manager.c: action_originate reads
// it with %30d). A negative one means for ever; that is a day here.
func originateTimeout(a *ami.Action) time.Duration {
	text := a.Get("Timeout")
	digits := 0
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		digits = 1
	}
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		digits++
	}
	ms, err := strconv.ParseInt(text[:digits], 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && ms < 0:
		return maxRing
	case err != nil: // the PBX refuses it, or there is none
		return defaultRing
	}
	return min(time.Duration(ms)*time.Millisecond, maxRing)
}
