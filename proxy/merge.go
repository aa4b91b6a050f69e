package proxy

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
)

// mergeView is a PBX that a list is of.
type mergeView struct {
	*view
	// booting: it does not have the action, and may have it when it has booted.
	booting bool
}

// mayAtAny leaves of some PBXes those that have the action and may be sent it,
// and those that boot. The verdict is that on the first that may; if none may, that
// on the first that has the action.
func mayAtAny(policy *acl.Policy, views []*view, a *ami.Action, name string) (of []mergeView, verdict acl.Verdict) {
	may, refused := false, false
	verdict.Refusal = unknownAction(a.Name())
	for _, v := range views {
		_, has := v.Authority().Class(name)
		at := mayAt(policy, v, a, name)
		switch {
		case at.Allowed():
			if !may {
				may, verdict = true, at
			}
			of = append(of, mergeView{v, false})
		case !has && v.Booting():
			of = append(of, mergeView{v, true})
		case has && !may && !refused:
			refused, verdict = true, at
		}
	}
	return of, verdict
}

// merge is a list action that several PBXes are answering.
type merge struct {
	s      *Session
	slot   *slot
	action string // in lower case
	id     string
	fence  *acl.Fence // that answers are confined to as they come

	mu    sync.Mutex // guards the following
	parts []mergePart
	open  int // PBXes that have not answered
	// tooLong: an answer was thrown away. It is missing like others that did not
	// come; a PBX without bounds is not to end the sessions of all.
	tooLong bool
	done    bool
	timer   *time.Timer
}

// mergePart is what one PBX answered to a list action that went to several.
type mergePart struct {
	name string // of the PBX
	pbx  *pbx
	// answer holds the frames of the answer, ActionID restored and Server
	// added, in pieces; nil: it could not answer, and failure is the text for that.
	answer  [][]byte
	failure string
}

// forwardToAll asks several PBXes for a list and makes one of what they answer
// within mergetimeout.
func (s *Session) forwardToAll(policy *acl.Policy, views []mergeView, a *ami.Action, name string, verdict acl.Verdict) {
	m := &merge{s: s, action: name, id: a.ID(), fence: policy.Fence()}
	m.slot = &slot{pbx: severalPBXs, named: a.ID() != "", counted: 2 * int64(a.Size()), merge: m}
	for _, v := range views {
		p := mergePart{name: v.Name(), pbx: v.pbx, failure: unknownAction(a.Name())}
		if !v.booting {
			p.failure = pbxError(v.Name(), backend.ErrTimeout)
			m.open++
		}
		m.parts = append(m.parts, p)
		m.slot.parts = append(m.slot.parts, part{v.index, new(backend.Progress)})
	}
	m.mu.Lock()
	m.timer = time.AfterFunc(s.srv.general().MergeTimeout, m.finish)
	m.mu.Unlock()
	s.add(m.slot)
	for i, v := range views {
		if v.booting {
			continue
		}
		inside, hidden := hide(policy, v.pbx, a)
		err := s.client.send(v.view, backend.Request{
			Action: inside, Server: v.Name(), Progress: m.slot.parts[i].progress.(*backend.Progress),
			Done: s.audited(v.pbx, a, verdict, hidden, func(answer backend.Answer) {
				m.answered(i, v.pbx, s.confine(v.pbx, name, a.ID(), hidden, answer))
			}),
		})
		if err != nil {
			s.auditRefused(a, v.pbx, s.refusalOf(v.pbx, err))
			m.answered(i, v.pbx, backend.Answer{Err: err})
		}
	}
}

// answered takes the answer of one PBX.
func (m *merge) answered(i int, p *pbx, answer backend.Answer) {
	tooLong := errors.Is(answer.Err, backend.ErrTooLong)
	if tooLong {
		m.s.logThrownAway(p, answer.Err)
	}
	m.mu.Lock()
	if m.done {
		m.mu.Unlock()
		return // too late
	}
	size := len(answer.Bytes)
	if size > 0 {
		m.parts[i].answer = append([][]byte{answer.Bytes}, answer.More...)
		for _, piece := range answer.More {
			size += len(piece)
		}
	}
	if answer.Err != nil {
		m.parts[i].failure = m.s.refusalOf(p, answer.Err)
	}
	m.tooLong = m.tooLong || tooLong
	m.open--
	last := m.open == 0
	m.mu.Unlock()
	m.s.countPart(m.slot, size)
	if last {
		m.finish()
	}
}

// hurry has the list end now if a PBX has answered: it waits for others only.
func (m *merge) hurry(pbx int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range m.parts { // there are none once it is done
		if m.slot.parts[i].pbx == pbx && p.answer != nil {
			m.timer.Reset(0)
		}
	}
}

// finish answers with what there is.
func (m *merge) finish() {
	m.mu.Lock()
	if m.done {
		m.mu.Unlock()
		return
	}
	m.done = true
	m.timer.Stop()
	parts := m.parts
	m.parts = nil // one that has still to answer keeps m for as long
	m.mu.Unlock()
	m.narrow(parts)
	answer := mergeAnswers(m.action, parts)
	switch {
	case answer == nil && m.tooLong:
		m.s.abort(reasonAnswerLimit) // as for the answer of one PBX
		return
	case answer == nil:
		answer = [][]byte{ami.AppendResponse(nil, "Error", m.id, parts[0].failure)}
	}
	m.s.fill(m.slot, answer[0], answer[1:]...)
}

// narrow takes from the answers what reloads have taken from the user since
// they came.
func (m *merge) narrow(parts []mergePart) {
	m.s.mu.Lock()
	taken := m.s.taken
	m.s.mu.Unlock()
	for i := range parts {
		p := &parts[i]
		switch {
		case p.answer == nil:
		case slices.Contains(taken, p.pbx.index):
			p.answer, p.failure = nil, m.s.refusalOf(p.pbx, backend.ErrWithdrawn)
		case m.s.policy().Fence() != m.fence:
			a := m.s.confine(p.pbx, m.action, m.id, nil, backend.Answer{Bytes: p.answer[0], More: p.answer[1:]})
			p.answer = append([][]byte{a.Bytes}, a.More...)
		}
	}
}

// emptyTexts are the errors by which Asterisk says that a list has no items,
// by the action in lower case. "*" ends a text that goes on with what was asked
// for. The texts are those of the files that protocol actions live in
// (app_confbridge.c, app_meetme.c, res_pjsip*.c, pbx.c, db.c, app_voicemail.c).
var emptyTexts = map[string][]string{
	"confbridgelist":         {"No active conferences.", "No Conference by that name found."},
	"confbridgelistrooms":    {"No active conferences."},
	"meetmelist":             {"No active conferences.", "No Meetme user in that conference."},
	"meetmelistrooms":        {"No active conferences."},
	"pjsipshowendpoints":     {"No endpoints found"},
	"pjsipshowaors":          {"No AORs found", "No Aors found"},
	"pjsipshowauths":         {"No Auths found"},
	"pjsipshowcontacts":      {"No Contacts found"},
	"pjsipshowresourcelists": {"No resource lists found"},
	"showdialplan":           {"Did not find context *", "Did not find extension *"},
	"dbget":                  {"Database entry not found"},
	"dbgettree":              {"Database entry not found", "Database entries not found"},
	"dahdishowchannels":      {"No such channel"},
	"status":                 {"No such channel"},
	"hangup":                 {"No such channel"},
	"pjsiphangup":            {"No such channel"},
	"bridgeinfo":             {"Specified BridgeUniqueid not found"},
}

// isEmpty reports whether an Error of an action means a list without items.
func isEmpty(action string, response ami.Frame) bool {
	text, _ := response.Get("Message")
	for _, empty := range emptyTexts[action] {
		if start, ok := strings.CutSuffix(empty, "*"); ok {
			if bytes.HasPrefix(text, []byte(start)) {
				return true
			}
		} else if string(text) == empty {
			return true
		}
	}
	return false
}

// summed are the headers of the last event of a list that merge by adding up.
var summed = map[string]bool{
	"listitems": true, "items": true, "total": true, "registered": true, "notregistered": true,
	"listextensions": true, "listpriorities": true, "listcontexts": true,
}

// mergeAnswers makes one list of the answers of several PBXes, which are in
// file order: the acknowledgement and the completion of the first that has a
// list, all items, counts added up. PBXes that could not answer are named in the
// completion. action is the name of the action in lower case. The list comes in
// pieces, of which the items are those of the answers themselves.
//
// Where nobody has a list, the answer is that of the first who answered: an
// empty list, with those that are missing, before an error, nil if nobody
// answered.
func mergeAnswers(action string, parts []mergePart) [][]byte {
	var lists []list
	var missing []string
	var first, empty []byte // answers that are no list
	for _, p := range parts {
		l, isList := splitList(p.answer)
		switch {
		case p.answer == nil:
			missing = append(missing, p.name)
		case isList:
			lists = append(lists, l)
		case l.start.Fails() && !isEmpty(action, l.start), !l.start.Fails() && l.end != nil: // it broke off
			missing = append(missing, p.name)
			if first == nil {
				first = bytes.Join(p.answer, nil)
			}
		case empty == nil:
			empty = bytes.Join(p.answer, nil)
		}
	}
	switch {
	case len(lists) > 0:
	case empty != nil:
		return [][]byte{withMissing(withoutServer(nil, empty), missing)}
	case first != nil:
		return [][]byte{withoutServer(nil, first)}
	default:
		return nil
	}
	answer := [][]byte{withoutServer(nil, lists[0].start)}
	for _, l := range lists {
		answer = append(answer, l.items...)
	}
	return append(answer, completion(lists, missing))
}

// list is the answer of one PBX in its parts: acknowledgement, items, completion.
type list struct {
	start ami.Frame
	items [][]byte // in pieces
	end   ami.Frame
}

// splitList takes an answer apart; ok is false if it is no list: start is then its
// first frame, and end its last if it has more.
func splitList(answer [][]byte) (l list, ok bool) {
	if len(answer) == 0 {
		return list{}, false
	}
	l.items = slices.Clone(answer)
	l.start = firstFrame(answer[0])
	l.items[0] = answer[0][len(l.start):]
	last := len(answer) - 1
	if len(l.items[last]) == 0 {
		return l, false
	}
	l.end = lastFrame(l.items[last])
	l.items[last] = l.items[last][:len(l.items[last])-len(l.end)]
	l.items = slices.DeleteFunc(l.items, func(piece []byte) bool { return len(piece) == 0 })
	return l, l.start.Succeeds() &&
		(l.end.EndsList() || bytes.HasSuffix(l.end.Event(), []byte("Complete")))
}

// completion is the end of a merged list: what the first list's end has, less what
// is true of that PBX only, with all counts added up.
func completion(lists []list, missing []string) []byte {
	sums := make(map[string]int)
	for _, l := range lists {
		for line := range bytes.Lines(l.end) {
			if name, value, ok := count(line); ok {
				sums[name] += value
			}
		}
	}
	var dst []byte
	for line := range bytes.Lines(lists[0].end) {
		head, _, _ := bytes.Cut(line, []byte(":"))
		name := ami.FoldName(string(head))
		switch _, _, ok := count(line); {
		case ok:
			dst = ami.AppendHeader(dst, string(head), strconv.Itoa(sums[name]))
		case name == "event" || name == "actionid" || name == "eventlist":
			dst = append(dst, line...)
		}
	}
	return withMissing(ami.AppendEnd(dst), missing)
}

// withMissing adds to the last of some frames which PBXes it says nothing of.
func withMissing(frames []byte, missing []string) []byte {
	if len(missing) == 0 {
		return frames
	}
	frames = bytes.TrimSuffix(frames, []byte("\r\n"))
	return ami.AppendEnd(ami.AppendHeader(frames, "Missing", strings.Join(missing, ",")))
}

// count reads a line of a completion that counts something.
func count(line []byte) (name string, value int, ok bool) {
	head, tail, _ := bytes.Cut(line, []byte(":"))
	if name = ami.FoldName(string(head)); !summed[name] {
		return "", 0, false
	}
	value, err := strconv.Atoi(string(bytes.TrimSpace(tail)))
	return name, value, err == nil
}

var frameEnd = []byte("\r\n\r\n")

// firstFrame is the first of some frames, nil if there is none.
func firstFrame(b []byte) ami.Frame {
	for f := range ami.Frames(b) {
		return f
	}
	return nil
}

// lastFrame is the last of some frames.
func lastFrame(b []byte) ami.Frame {
	if i := bytes.LastIndex(bytes.TrimSuffix(b, frameEnd), frameEnd); i >= 0 {
		return ami.Frame(b[i+len(frameEnd):])
	}
	return ami.Frame(b)
}

// withoutServer appends frames less the Server headers of their PBX.
func withoutServer(dst, frames []byte) []byte {
	for line := range bytes.Lines(frames) {
		if !bytes.HasPrefix(line, []byte("Server: ")) {
			dst = append(dst, line...)
		}
	}
	return dst
}
