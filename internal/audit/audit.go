// Package audit is a log of lines that is written for good: to a file of its own,
// which it rotates, or to what else can be written to.
//
// Who writes a line never waits, whatever the disk does: lines go through a queue
// that is bounded in bytes, and one goroutine writes them, whole. What does not
// fit, or cannot be written, is lost and counted, and a line in its place says
// how many. The package knows nothing of what the lines say.
//
//	l, err := audit.New(audit.Options{Path: "/var/log/amiproxy/audit.log", Lost: lost})
//	err = l.Start()
//	l.Write([]byte("{…}\n"))
//	l.Close()
package audit

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"

	"github.com/amiproxy/amiproxy/internal/queue"
)

const (
	// queueLimit is how many bytes may wait for the disk: about ten thousand lines.
	queueLimit = 4 << 20
	// closeLimit is how long Close lets a slow disk write what waits.
	closeLimit = 2 * time.Second
)

// Options say where the lines go.
type Options struct {
	// Path is the file, made with mode 0600 if it is not there; empty: Writer.
	Path string
	// Writer takes the lines if there is no Path. It is not closed.
	Writer io.Writer
	// Size is how many bytes a file may have before a new one is begun; 0: any
	// number.
	Size int64
	// Files is how many full files are kept beside the present one; 0: all.
	Files int
	// Age is how old a full file may be; 0: any age. With an age, a new file is
	// begun every day, so that none grows old while it is in use.
	Age time.Duration
	// Lost returns the line that tells of n lost ones. It must only build it.
	Lost func(n int) []byte
	// Trouble, if not nil, is told of an error, and of nil when writing works
	// again. It is called by the goroutine that writes.
	Trouble func(error)
}

// Log is the log. Its methods are safe for use by many goroutines; New, Start
// and Close are for its owner.
type Log struct {
	// Static after New
	o     Options
	queue *queue.Queue
	out   io.Writer
	file  *file         // nil: none
	ended chan struct{} // closed when nobody writes any more

	lost atomic.Uint64

	// Owned by the goroutine that writes
	failed  bool
	missing int // lines that could not be written, and are not told of
}

// New prepares a log. An error says why the file cannot be what it is to be;
// nothing is opened or made yet.
func New(o Options) (*Log, error) {
	l := &Log{o: o, out: o.Writer}
	if o.Path != "" {
		l.file = &file{o: o}
		l.out = l.file
		if err := l.file.check(); err != nil {
			return nil, err
		}
	}
	l.queue = queue.New(queue.Options{Events: queueLimit, Lost: func(n int) []byte {
		l.lost.Add(uint64(n))
		return o.Lost(n)
	}})
	return l, nil
}

// Start opens the file and begins to write.
func (l *Log) Start() error {
	if l.file != nil {
		if err := l.file.open(); err != nil {
			return err
		}
	}
	l.ended = make(chan struct{})
	go func() {
		defer close(l.ended)
		l.queue.Drain(writer{l}) //nolint:errcheck // it returns none
		if l.file != nil {
			l.file.close()
		}
	}()
	return nil
}

// Write queues a line, which ends in a line feed, and never waits. The line is
// copied. There is no error: what is lost is told in the log itself.
func (l *Log) Write(line []byte) (int, error) {
	l.queue.PutEvent(bytes.Clone(line)) //nolint:errcheck // it loses, and tells
	return len(line), nil
}

// Sync does nothing; with it a Log is a zapcore.WriteSyncer.
func (l *Log) Sync() error { return nil }

// Lost is the number of lines that were lost so far.
func (l *Log) Lost() uint64 { return l.lost.Load() }

// Close writes what is queued and closes the file, unless that takes too long: a
// disk that hangs holds nobody up. It may be called twice, and without Start.
func (l *Log) Close() {
	l.queue.Close()
	if l.ended == nil {
		return
	}
	select {
	case <-l.ended:
	case <-time.After(closeLimit):
		l.queue.Abort()
	}
}

// writer writes batches of whole lines, and never fails: the next batch may
// find room again.
type writer struct{ *Log }

func (w writer) Write(lines []byte) (int, error) {
	if w.missing > 0 {
		if _, err := w.out.Write(w.o.Lost(w.missing)); err != nil {
			w.fail(lines, err)
			return len(lines), nil
		}
		w.missing = 0
	}
	if _, err := w.out.Write(lines); err != nil {
		w.fail(lines, err)
		return len(lines), nil
	}
	if w.failed {
		w.failed = false
		w.trouble(nil)
	}
	return len(lines), nil
}

// fail counts lines that cannot be written. Only the first error in a row is told.
func (w writer) fail(lines []byte, err error) {
	n := bytes.Count(lines, []byte("\n"))
	w.missing += n
	w.lost.Add(uint64(n))
	if !w.failed {
		w.failed = true
		w.trouble(err)
	}
}

func (l *Log) trouble(err error) {
	if l.o.Trouble != nil {
		l.o.Trouble(err)
	}
}
