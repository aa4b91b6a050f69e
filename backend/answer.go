package backend

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// maxDropped is how many useless frames in a row make a link useless: it has
// lost the thread, or the PBX is none.
const maxDropped = 100

// read hands on what the PBX sends until the connection ends or makes no
// sense. It always returns an error.
func (l *link) read() error {
	b := l.b
	l.reader.SetLimit(b.settings.Load().AnswerLimit)
	l.reader.Follows = l.expectsRaw
	for _, f := range l.early {
		l.handOn(f)
	}
	l.early = nil
	for {
		f, err := l.reader.ReadFrame()
		event := l.events && f.Event() != nil
		tooLong := f != nil && err != nil // and f is its beginning
		if err != nil && (!tooLong || event) {
			err = fmt.Errorf("read from %s: %w", l.settings.address(), cause(err))
			if l.goodbye {
				err = &stageError{errShutdown, err}
			}
			return err
		}
		l.lastRead.Store(time.Now().UnixNano())
		b.stats.Frames.Add(1)
		if event {
			l.dropped = 0
			l.handOn(f)
		} else if err := l.match(f, tooLong); err != nil {
			return err
		}
	}
}

// expectsRaw reports whether the PBX can be sending raw Command output.
func (l *link) expectsRaw() bool {
	p := l.oldest()
	return p != nil && strings.EqualFold(p.name, "Command") && l.b.rawCommands()
}

// handOn gives an event to the handler.
func (l *link) handOn(f ami.Frame) {
	b := l.b
	e := &l.event
	*e = Event{Frame: bytes.Clone(f), Class: f.Class()}
	if bytes.Contains(f, []byte(idForm)) {
		if id, ok := f.Get("ActionID"); ok && isProxyID(id) {
			e.ID = string(id)
			e.Owner, e.OwnerID = b.lookUp(e.ID)
		}
	}
	switch string(f.Event()) {
	case "Shutdown": // asterisk.c: really_quit, before it closes anything
		l.goodbye = true
	case "FullyBooted":
		now := time.Now()
		booted := newBooted(e.Frame, now)
		b.booted.Store(booted)
		if booted.running(now) >= time.Second {
			l.outlives()
		}
		b.listAgain()
	case "Load", "Unload":
		b.listAgain()
	case "Reload":
		if module, _ := f.Get("Module"); string(module) == "All" {
			b.reload(time.Now())
		}
		b.listAgain()
		b.recheckRights() // it may be our user that has changed
	}
	b.names.Learn(e.Frame)
	b.handler.Event(b, e)
	b.stats.Events.Add(1)
}

// match gives f to the action that it answers. Asterisk runs the actions of
// one connection one after the other, so that is the oldest one. tooLong says
// that f is the beginning of a frame that was too long to be kept.
func (l *link) match(f ami.Frame, tooLong bool) error {
	p := l.oldest()
	if p == nil {
		return l.drop(f, "nothing was asked")
	}
	id, hasID := f.Get("ActionID")
	own := hasID && string(id) == p.id
	response := f.Response() != nil
	opens := response && (!p.single && f.OpensList() || p.unsaid && !f.Fails())
	finished := false
	switch {
	case p.fence != "" && response && string(id) == p.fence:
		l.finish(p)
		return nil
	case p.fence != "" || p.list:
		// Whatever comes before the end, unless it says it is another's. The end
		// of a list says it is ours: a value that holds what looks like one, and
		// comes from who knows whom, ends nothing.
		if hasID && !own && isProxyID(id) {
			return l.stranger(f, p, id)
		}
		finished = p.fence == "" && own && f.EndsList()
	case hasID && !own:
		return l.stranger(f, p, id)
	case response && !hasID:
		return l.drop(f, "response without ActionID")
	case !response:
		return l.drop(f, "an answer starts with a response")
	default:
		finished = !opens
	}
	if response {
		p.failed = p.failed || !p.replied && f.Fails()
		p.replied = true
		if opens {
			p.list = true
			if p.request.Progress != nil {
				p.request.Progress.list.Store(true)
			}
		}
	}
	l.keep(p, f, tooLong)
	if finished {
		l.finish(p)
	}
	return nil
}

// oldest is the action whose turn it is to be answered, nil if none is.
func (l *link) oldest() *pending {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if len(l.inflight) == 0 {
		return nil
	}
	return l.inflight[0]
}

// pieceSize is how many bytes of a long answer are kept in one piece: growing one
// slice to the length of a list costs more than all else that is done to its items.
const pieceSize = 256 << 10

// keep adds a frame to the answer of p.
func (l *link) keep(p *pending, f ami.Frame, tooLong bool) {
	l.dropped = 0
	if tooLong || p.size+len(f) > l.b.settings.Load().AnswerLimit {
		p.tooLong, p.answer = true, nil
	}
	if p.tooLong {
		return
	}
	last := len(p.answer) - 1
	if last < 0 || len(p.answer[last])+len(f) > pieceSize {
		var piece []byte
		if last >= 0 {
			piece = make([]byte, 0, pieceSize)
		}
		p.answer = append(p.answer, piece)
		last++
	}
	piece := ami.Rewrite{
		ID: p.id, NewID: p.request.Action.ID(), Server: p.request.Server,
	}.Append(p.answer[last], f)
	p.size += len(piece) - len(p.answer[last])
	p.answer[last] = piece
}

// finish answers p.
func (l *link) finish(p *pending) {
	l.dropped = 0
	var answer Answer
	switch {
	case p.tooLong:
		answer.Err = ErrTooLong
	case len(p.answer) > 0:
		answer.Bytes, answer.More = p.answer[0], p.answer[1:]
	}
	l.b.settle([]result{{p, answer}})
}

// stranger drops a frame that does not belong to p, whose turn it is. If it
// belongs to a later action, the answer to p will not come any more, and
// nothing on this link can be trusted to be matched.
func (l *link) stranger(f ami.Frame, p *pending, id []byte) error {
	b := l.b
	b.mu.Lock()
	skipped := slices.ContainsFunc(l.inflight, func(q *pending) bool {
		return q != p && len(id) > 0 && (string(id) == q.id || string(id) == q.fence)
	})
	b.mu.Unlock()
	if err := l.drop(f, "ActionID is not that of the action whose turn it is"); err != nil {
		return err
	}
	if skipped {
		return fmt.Errorf("%w: no answer to %s, but one to a later action", errMalformed, p.name)
	}
	return nil
}

// drop counts a frame that is of no use, which is an error if there were many
// in a row. A stray empty line, which some producers write, is none.
func (l *link) drop(f ami.Frame, why string) error {
	if f.Stray() {
		return nil
	}
	l.b.stats.Dropped.Add(1)
	l.log.Warn("frame from the PBX dropped",
		zap.String("why", why), zap.String("frame", title(f)), zap.Int("bytes", len(f)))
	if l.dropped++; l.dropped >= maxDropped {
		return fmt.Errorf("%w: %d frames dropped in a row", errMalformed, l.dropped)
	}
	return nil
}

// title is what can be logged of a frame: its first line if that names it, and
// nothing that may hold data.
func title(f ami.Frame) string {
	for _, name := range []string{"Event: ", "Response: "} {
		if line, _, _ := strings.Cut(string(f[:min(len(f), 80)]), "\n"); strings.HasPrefix(line, name) {
			return strings.TrimSpace(line)
		}
	}
	return "no response and no event"
}
