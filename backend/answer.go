package backend

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// read hands on what the PBX sends until the connection ends. It always
// returns an error.
func (l *link) read() error {
	for {
		f, err := l.reader.ReadFrame()
		if err != nil {
			return fmt.Errorf("read from %s: %w", l.b.address(), err)
		}
		l.lastRead.Store(time.Now().UnixNano())
		l.b.stats.Frames.Add(1)
		if l.events && f.Event() != nil {
			l.handOn(f)
		} else if done, answer := l.match(f); done != nil {
			done.request.Done(answer)
		}
	}
}

// handOn gives an event to the handler.
func (l *link) handOn(f ami.Frame) {
	b := l.b
	b.stats.Events.Add(1)
	e := &l.event
	*e = Event{Frame: bytes.Clone(f), Class: f.Class()}
	if bytes.Contains(f, []byte(idForm)) {
		if id, ok := f.Get("ActionID"); ok && isProxyID(id) {
			e.ID = string(id)
			e.Owner, e.OwnerID = b.lookUp(e.ID)
		}
	}
	switch string(f.Event()) {
	case "FullyBooted":
		b.booted.Store(newBooted(e.Frame, time.Now()))
		b.listAgain()
	case "Load", "Unload", "Reload":
		b.listAgain()
	}
	b.handler.Event(b, e)
}

// match finds the action that f answers: Asterisk runs the actions of one
// connection one after the other, so it is the oldest that is not finished. It
// returns that action if f finishes it.
func (l *link) match(f ami.Frame) (*pending, Answer) {
	b := l.b
	id, hasID := f.Get("ActionID")
	response := f.Response() != nil

	b.mu.Lock()
	if len(l.inflight) == 0 {
		b.mu.Unlock()
		l.drop(f, "nothing was asked")
		return nil, Answer{}
	}
	p := l.inflight[0]
	if hasID && isProxyID(id) && string(id) != p.id && string(id) != p.fence {
		skipped := slices.ContainsFunc(l.inflight, func(q *pending) bool { return string(id) == q.id })
		b.mu.Unlock()
		l.drop(f, "ActionID is not of the action whose turn it is")
		if skipped {
			// Its answer never came and never will: nothing on this link can be
			// trusted to be matched any more.
			l.kill(fmt.Errorf("no answer to %s, but one to a later action", p.name))
		}
		return nil, Answer{}
	}
	finished := false
	switch {
	case p.fence != "":
		finished = response && string(id) == p.fence
		p.failed = p.failed || !finished && !p.replied && isError(f)
	case response:
		p.failed = p.failed || !p.replied && isError(f)
		p.list = p.list || f.OpensList()
		finished = !p.list
	default:
		finished = p.list && f.EndsList()
	}
	unasked := !p.replied && !response && p.fence == ""
	if !unasked {
		p.replied = p.replied || response
		if p.request.Progress != nil && f.OpensList() {
			p.request.Progress.list.Store(true)
		}
	}
	b.mu.Unlock()

	if unasked {
		l.drop(f, "an answer starts with a response")
		return nil, Answer{}
	}
	if fence := finished && p.fence != ""; !fence {
		l.keep(p, f)
	}
	if !finished {
		return nil, Answer{}
	}
	answer := Answer{Bytes: p.answer}
	if p.tooLong {
		answer = Answer{Err: ErrTooLong}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l.inflight = slices.Delete(l.inflight, 0, 1)
	b.finishLocked(l, p)
	return p, answer
}

// keep adds a frame to the answer of p.
func (l *link) keep(p *pending, f ami.Frame) {
	if len(p.answer)+len(f) > l.b.options.AnswerLimit {
		p.tooLong, p.answer = true, nil
	}
	if p.tooLong {
		return
	}
	p.answer = ami.Rewrite{
		ID: p.id, NewID: p.request.Action.ID(), Server: p.request.Server,
	}.Append(p.answer, f)
}

// drop counts a frame that belongs to nobody. A stray empty line, which some
// producers write, is not worth a log line.
func (l *link) drop(f ami.Frame, why string) {
	if f.Stray() {
		return
	}
	l.b.stats.Unmatched.Add(1)
	l.log.Warn("frame from the PBX dropped", zap.String("why", why), zap.ByteString("line", firstLine(f)))
}

// firstLine is what can be logged of a frame: it names the message and holds
// no data of it.
func firstLine(f ami.Frame) []byte {
	line, _, _ := bytes.Cut(f, []byte("\r\n"))
	return line[:min(len(line), 80)]
}

func isError(f ami.Frame) bool { return bytes.EqualFold(f.Response(), []byte("Error")) }
