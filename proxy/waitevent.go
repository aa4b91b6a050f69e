package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// waitEvent is the action WaitEvent (manager.c: action_waitevent): the answer
// holds the first event that the session gets, and comes with it, or when the
// client sends something more, or when the time is over.
//
// As Asterisk does with every action, it waits for the answers to those before
// it, and leaves those behind it unread until its end.
func (s *wire) waitEvent(a *ami.Action) bool {
	timeout := waitTimeout(a.Get("Timeout"))
	s.awaitRoom(0)
	wait := &slot{pbx: everyPBX, named: a.ID() != ""}
	s.beginWait(wait, timeout)
	_ = s.reader.Await() // what is wrong with the connection shows again when it is read
	s.mu.Lock()
	s.waiting = false
	s.raw.SetReadDeadline(time.Time{})
	wait.done = true
	var end []byte
	wait.answer, end = waitAnswer(a)
	// The events that wait behind the first slot are queued between the two.
	complete := &slot{pbx: noPBX, named: wait.named, done: true, answer: end}
	s.slots = slices.Insert(s.slots, slices.Index(s.slots, wait)+1, complete)
	s.flushLocked()
	s.mu.Unlock()
	s.keepEnd()
	return true
}

// beginWait opens the slot of a WaitEvent, behind which events are held, and
// sets the time for the reader.
func (s *wire) beginWait(wait *slot, timeout time.Duration) {
	s.mu.Lock()
	s.slots = append(s.slots, wait)
	s.waiting = true
	if timeout >= 0 {
		s.raw.SetReadDeadline(time.Now().Add(timeout))
	}
	s.mu.Unlock()
	s.keepEnd()
}

// endWaitLocked ends a WaitEvent, if the reader is in one.
func (s *Session) endWaitLocked() {
	if s.waiting {
		s.client.endReading()
	}
}

// waitAnswer is what comes before the events and behind them.
func waitAnswer(a *ami.Action) (response, complete []byte) {
	response = ami.AppendResponse(nil, "Success", a.ID(), "Waiting for Event completed.")
	complete = ami.AppendHeader(nil, "Event", "WaitEventComplete")
	if a.ID() != "" {
		complete = ami.AppendHeader(complete, "ActionID", a.ID())
	}
	return response, ami.AppendEnd(complete)
}

// waitTimeout is how long a WaitEvent waits, -1 for ever: the whole seconds
// that the value starts with, as C's sscanf reads them with %30i, octal and
// hexadecimal ones too.
func waitTimeout(text string) time.Duration {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	text = text[:min(len(text), 30)]
	unsigned := strings.TrimLeft(text, "+-")
	if len(text)-len(unsigned) > 1 {
		return -1
	}
	digits, base := "0123456789", 10
	switch {
	case len(unsigned) > 2 && (unsigned[:2] == "0x" || unsigned[:2] == "0X") && strings.IndexByte(hexadecimal, unsigned[2]) >= 0:
		unsigned, digits, base = unsigned[2:], hexadecimal, 16
	case strings.HasPrefix(unsigned, "0"):
		digits, base = "01234567", 8
	}
	unsigned = unsigned[:len(unsigned)-len(strings.TrimLeft(unsigned, digits))]
	if unsigned == "" {
		return -1
	}
	n, _ := strconv.ParseInt(unsigned, base, 64) // of a number too large it is the largest
	if text[0] == '-' {
		n = -n
	}
	if seconds := int32(n); seconds >= 0 { // an int keeps the low half
		return time.Duration(seconds) * time.Second
	}
	return -1
}

const hexadecimal = "0123456789abcdefABCDEF"
