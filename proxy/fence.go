package proxy

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/internal/fence"
	"github.com/amiproxy/amiproxy/internal/owned"
)

const (
	// maxCalls bounds how many channels of a PBX the fence knows, and how many
	// bridges: some kilobytes each.
	maxCalls = 50_000
	// learnCallsAgain is when a listing that failed is tried again.
	learnCallsAgain = 5 * time.Second
)

// This file confines the sessions of users with a fence: what they see is judged
// in audience.go.

// setTenants says whose calls the PBX has. It returns what is to be done when
// the configuration that says so is in use.
func (p *pbx) setTenants(tenants []*acl.Tenant) (then func()) {
	here := slices.DeleteFunc(slices.Clone(tenants), func(t *acl.Tenant) bool { return !t.On(p.Name()) })
	if p.calls.SetTenants(here) && p.Up() {
		return p.learnCalls
	}
	return func() {}
}

// learnCalls asks the PBX which calls there are. Until it has said so, those that
// began before are nobody's.
func (p *pbx) learnCalls() {
	listing := p.calls.List()
	if !p.calls.Learns() {
		return
	}
	actions := []string{"BridgeList", "CoreShowChannels"}
	authority := p.Authority()
	if _, ok := authority.Class(actions[0]); !ok {
		actions = actions[1:]
	}
	if _, ok := authority.Class("CoreShowChannels"); !ok {
		actions[len(actions)-1] = "Status" // Asterisk 1.4
	}
	failed := false
	for i, name := range actions {
		err := p.house.Do(backend.Request{
			Action: ami.NewAction("Action: " + name),
			Done: func(a backend.Answer) { // one after the other, in their order
				for f := range a.Frames() {
					listing.Add(f)
				}
				if a.Err != nil && !failed {
					failed = true
					p.learnCallsLater(name, a.Err)
				}
				if i == len(actions)-1 && !failed {
					listing.Done()
				}
			},
		})
		if err != nil {
			p.learnCallsLater(name, err)
			return
		}
	}
}

func (p *pbx) learnCallsLater(action string, err error) {
	if p.removed.Load() || p.srv.isClosing() || !p.Up() {
		return // when it is up again it is asked anew
	}
	p.srv.log.Warn("the calls on the PBX are not known: users with a tenant do not see those that began before; trying again",
		zap.String("pbx", p.Name()), zap.String("action", action), zap.Error(err))
	time.AfterFunc(learnCallsAgain, func() {
		if p.Up() {
			p.learnCalls()
		}
	})
}

// learn takes what an event tells of calls. It hands out what those have to know
// before it who come to see something by it, and returns who sees it.
func (p *pbx) learn(e *backend.Event) fence.Sight {
	var causedBy []string
	frame := e.Frame
	if owner, ok := e.Owner.(*Session); ok {
		// What a fenced user's action brought about is of his tenants.
		causedBy = owner.policy().Fence().Tenants()
	}
	if e.ID != "" { // which nobody is to see who is told of it later
		frame = ami.Rewrite{ID: e.ID}.Append(nil, frame)
	}
	sight, introductions := p.calls.Learn(frame, causedBy)
	for i := range introductions {
		in := &introductions[i]
		past := &backend.Event{Frame: in.Frame, Class: in.Frame.Class()}
		p.handOut(past, p.Name(), fence.Sight{Tenants: in.Now, Named: true}, in)
	}
	return sight
}

// knowsName reports whether a session may know that a PBX has something of that
// name.
func (s *Session) knowsName(p *pbx, kind owned.Kind, name string) bool {
	f := s.policy().Fence()
	switch {
	case f == nil:
		return true
	case kind == owned.Bridge:
		return f.Within(p.calls.Bridge(name))
	case kind == owned.Conference:
		return f.Within(p.calls.Thing(acl.ByConference, name))
	}
	return f.Within(p.calls.Channel(name))
}

// nothing is what nothing on any PBX is called.
var nothing = "nosuch-" + rand.Text()

// hiding is a name that was sent to a PBX in the place of one outside of a fence.
type hiding struct{ name, of string }

// hide puts names of nothing in the place of those that the user of a policy may
// not know of.
func hide(policy *acl.Policy, p *pbx, a *ami.Action) (*ami.Action, []hiding) {
	if policy.Fence() == nil {
		return a, nil
	}
	_, headers := policy.Confine(a, p.calls)
	var hidden []hiding
	for i, header := range headers {
		h := hiding{nothing + strconv.Itoa(i), a.Get(header)}
		a = a.With(header, h.name)
		hidden = append(hidden, h)
	}
	return a, hidden
}

// leads reports whether an action that waits to be sent is about what the user
// of a policy may not know of by now.
func leads(policy *acl.Policy, p *pbx, a *ami.Action) bool {
	if policy.Fence() == nil {
		return false
	}
	_, headers := policy.Confine(a, p.calls)
	return slices.ContainsFunc(headers, func(header string) bool { return !strings.HasPrefix(a.Get(header), nothing) })
}

// confine takes from the answer to an action what is outside the session's
// fence, and gives names back that were hidden from the PBX.
func (s *Session) confine(p *pbx, action, id string, hidden []hiding, a backend.Answer) backend.Answer {
	f := s.policy().Fence()
	if f == nil || a.Err != nil {
		return a
	}
	for _, h := range hidden {
		a.Bytes = bytes.ReplaceAll(a.Bytes, []byte(h.name), []byte(h.of))
		for i := range a.More {
			a.More[i] = bytes.ReplaceAll(a.More[i], []byte(h.name), []byte(h.of))
		}
	}
	if !f.Lists(action) {
		return a
	}
	c := confinedList{fence: f, calls: p.calls}
	b := backend.Answer{Bytes: c.piece(a.Bytes)}
	for _, piece := range a.More {
		if piece = c.piece(piece); len(piece) > 0 {
			b.More = append(b.More, piece)
		}
	}
	switch text := noneTexts[action]; {
	case c.left == 0:
		return a
	case c.kept == 0 && text != "":
		none := ami.AppendResponseStart(nil, "Error", id)
		none = ami.AppendHeader(none, "Message", text)
		if s.tagged {
			none = ami.AppendHeader(none, "Server", p.Name())
		}
		return backend.Answer{Bytes: ami.AppendEnd(none)}
	}
	return b
}

// noneTexts are Asterisk's errors in the place of a list without items, by the
// action in lower case; see also emptyTexts.
var noneTexts = map[string]string{
	"confbridgelist":      "No Conference by that name found.",
	"confbridgelistrooms": "No active conferences.",
	"meetmelist":          "No active conferences.",
	"meetmelistrooms":     "No active conferences.",
	"pjsipshowaors":       "No AORs found",
	"pjsipshowcontacts":   "No Contacts found",
	"pjsipshowendpoints":  "No endpoints found",
}

// confinedList is a list on its way through a fence.
type confinedList struct {
	fence      *acl.Fence
	calls      *fence.Index
	begun      bool // the response was there
	kept, left int  // items
}

// piece returns the frames of a piece that come through.
func (c *confinedList) piece(frames []byte) []byte {
	var dst []byte
	for f := range ami.Frames(frames) {
		name := f.Event()
		switch {
		case f.EndsList() || bytes.HasSuffix(name, []byte("Complete")):
			dst = c.appendEnd(dst, f)
		case name == nil: // the response, or else the rest of an item with an empty line in it
			if !c.begun {
				dst = append(dst, f...)
			}
		case c.lets(f):
			c.kept++
			dst = append(dst, f...)
		default:
			c.left++
		}
		c.begun = true
	}
	return dst
}

func (c *confinedList) lets(f ami.Frame) bool {
	sight := c.calls.Look(f)
	return c.fence.Within(sight.Tenants) || !sight.Named && c.fence.Lets(f)
}

// appendEnd appends the end of the list, which counts what was kept.
func (c *confinedList) appendEnd(dst []byte, f ami.Frame) []byte {
	for line := range bytes.Lines(f) {
		head, _, _ := bytes.Cut(line, []byte(":"))
		if _, n, ok := count(line); ok {
			dst = ami.AppendHeader(dst, string(head), strconv.Itoa(max(0, n-c.left)))
		} else {
			dst = append(dst, line...)
		}
	}
	return dst
}
