package simpbx

import (
	"context"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// action is what the PBX has under the name of an action.
type action struct {
	name     string
	class    ami.Class
	synopsis string
	run      func(*Request)
	builtin  func(*Request) // nil if only a script made it
}

// Handle makes fn the answer to an action, known or new, which is compared
// without case; nil takes a script back. The class that the action asks for
// stays what it is, for a new one it is that of the real action of that name;
// see [PBX.SetClass]. fn runs on the goroutine of the connection, after the
// tests for login and rights, and may take its time: meanwhile its connection
// does nothing else, and others go on. fn that writes nothing is an action
// without an answer.
func (p *PBX) Handle(name string, fn func(*Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.actions[ami.FoldName(name)]
	switch {
	case fn != nil && a == nil:
		a = &action{name: name, synopsis: "Scripted."}
		if info, ok := ami.LookupAction(name); ok {
			a.name, a.class = info.Name, info.Classes
		}
		a.run = fn
		p.actions[ami.FoldName(name)] = a
	case fn != nil:
		a.run = fn
	case a != nil && a.builtin != nil:
		a.run = a.builtin
	default:
		delete(p.actions, ami.FoldName(name))
	}
}

// SetClass makes class what the action asks for; any one of its bits is
// enough. An action that the PBX has not is not changed.
func (p *PBX) SetClass(name string, class ami.Class) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.actions[ami.FoldName(name)]; a != nil {
		a.class = class
	}
}

// Remove takes an action away, as the unloading of its module does. Handle
// does not bring a built-in one back.
func (p *PBX) Remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.actions, ami.FoldName(name))
}

// Request is an action that is being answered; its headers are those of the
// embedded Action. It is for the goroutine of its handler and for the time
// of the call. Output is collected and written when the handler returns, by
// Flush or by Sleep.
type Request struct {
	*ami.Action
	c *conn
}

// Session is the number of the connection, as in [PBX.Sessions].
func (r *Request) Session() uint64 { return r.c.id }

// Reply writes a response: word, the ActionID if there is one, message if it
// is not empty, further headers given as names and values in turn.
func (r *Request) Reply(word, message string, headers ...string) {
	r.c.out = ami.AppendResponseStart(r.c.out, word, r.ID())
	if message != "" {
		r.c.out = ami.AppendHeader(r.c.out, "Message", message)
	}
	r.c.out = ami.AppendEnd(appendPairs(r.c.out, headers))
}

// Write writes bytes as they are. It never fails, and takes any size; see
// Flush.
func (r *Request) Write(raw []byte) (int, error) {
	r.c.out = append(r.c.out, raw...)
	return len(raw), nil
}

// Flush sends what was written so far. It reports whether there is still a
// connection.
func (r *Request) Flush() bool { return r.c.gate() && r.c.flush() == nil }

// Sleep flushes and waits. It reports whether there is still a connection; it
// returns early when there is none.
func (r *Request) Sleep(d time.Duration) bool { return r.Flush() && r.c.sleep(d) }

// Done is closed when the connection is cut.
func (r *Request) Done() <-chan struct{} { return r.c.done }

// Close has the connection closed once all is written.
func (r *Request) Close() { r.c.closing = true }

// Default does what the PBX does with this action when there is no script.
func (r *Request) Default() {
	p := r.c.p
	p.mu.Lock()
	a := p.actions[ami.FoldName(r.Name())]
	p.mu.Unlock()
	if a == nil || a.builtin == nil {
		r.unknown()
		return
	}
	a.builtin(r)
}

// Received is an action as it arrived.
type Received struct {
	Session uint64 // number of the connection
	User    string // empty before login
	Time    time.Time
	Name    string // as written
	ID      string // ActionID, as written
	// Text is the lines as the PBX understood them (cut at a NUL, at most 128),
	// with CRLF after each.
	Text string
}

// Get is the value of the first header of that name.
func (r Received) Get(name string) string {
	a, err := ami.ParseAction(r.Text + "\r\n")
	if err != nil {
		return ""
	}
	return a.Get(name)
}

func (p *PBX) record(c *conn, a *ami.Action) {
	var text strings.Builder
	for line := range a.Lines() {
		text.WriteString(line)
		text.WriteString("\r\n")
	}
	r := Received{Session: c.id, Time: time.Now(), Name: a.Name(), ID: a.ID(), Text: text.String()}
	c.mu.Lock()
	r.User = c.user
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.log) >= 2*p.opts.Record {
		p.log = append(p.log[:0], p.log[len(p.log)-p.opts.Record:]...)
	}
	p.log = append(p.log, r)
	close(p.arrived)
	p.arrived = make(chan struct{})
}

// Received are the last actions that arrived, Options.Record at most, in the
// order of their arrival. An action counts as soon as it was read, which may
// be before the one in front of it is answered.
func (p *PBX) Received() []Received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Received(nil), p.log[max(0, len(p.log)-p.opts.Record):]...)
}

// Forget empties what Received remembers.
func (p *PBX) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = nil
}

// Await waits for an action of that name and returns the first that is
// remembered or arrives.
func (p *PBX) Await(ctx context.Context, name string) (Received, error) {
	for {
		p.mu.Lock()
		arrived := p.arrived
		p.mu.Unlock()
		for _, r := range p.Received() {
			if strings.EqualFold(r.Name, name) {
				return r, nil
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Received{}, ctx.Err()
		case <-p.done:
			return Received{}, ErrClosed
		}
	}
}
