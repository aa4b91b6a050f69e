package simpbx

import (
	"net"
	"sync"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

const (
	writeSize   = 64 << 10 // a write to a connection is of this size at most
	readAhead   = 64       // actions read before they are run; stands for the kernel's buffers, which a net.Pipe has not
	keepOutSize = 4 << 20  // a write buffer that grew beyond this is not kept
)

// conn is one connection and its session.
type conn struct {
	// Static after newConn and the start of run.
	p       *PBX
	id      uint64
	nc      net.Conn
	actions chan *ami.Action // from the reader; closed at the end of the input
	wake    chan struct{}    // there are events, or actions; holds one token
	eof     chan struct{}    // closed by the reader at the end of the input
	done    chan struct{}    // closed by cut
	ended   sync.Once

	// Owned by the session goroutine, which is run's.
	out       []byte // written by flush
	taken     []event
	write     ami.Class
	read      ami.Class
	challenge string
	closing   bool // after the present action

	mu       sync.Mutex // guards all below; comes after PBX.mu
	user     string
	loggedIn bool
	mask     ami.Class
	queue    []event
	queued   int  // bytes in queue
	overflow bool // the queue's limit was passed: to be cut
}

// event is a frame on its way to a session; frames are shared and never
// modified.
type event struct {
	class ami.Class
	frame []byte
}

func newConn(p *PBX, nc net.Conn) *conn {
	return &conn{
		p:       p,
		nc:      nc,
		actions: make(chan *ami.Action, readAhead),
		wake:    make(chan struct{}, 1),
		eof:     make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// cut ends the connection without a word.
func (c *conn) cut() {
	c.ended.Do(func() {
		close(c.done)
		c.nc.Close()
	})
}

// reset is cut with an RST, where the transport has one.
func (c *conn) reset() {
	nc := c.nc
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetLinger(0) // then it is a plain close
		t.Close()
	}
	c.cut()
}

func (c *conn) describe() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Session{ID: c.id, User: c.user, Mask: c.mask, Queued: c.queued}
	if a := c.nc.RemoteAddr(); a != nil {
		s.Remote = a.String()
	}
	return s
}

// gate waits while the PBX hangs. It reports whether there is still a
// connection.
func (c *conn) gate() bool {
	for {
		c.p.mu.Lock()
		hang := c.p.hang
		c.p.mu.Unlock()
		if hang == nil {
			select {
			case <-c.done:
				return false
			default:
				return true
			}
		}
		select {
		case <-hang:
		case <-c.done:
			return false
		}
	}
}

// run is the life of the connection, and its session goroutine.
func (c *conn) run() {
	var reader sync.WaitGroup
	reader.Go(c.readActions)
	defer reader.Wait()
	defer c.cut()

	if !c.gate() {
		return
	}
	c.out = append(c.out, "Asterisk Call Manager/"+c.p.opts.Version+"\r\n"...)
	login := time.NewTimer(c.p.opts.AuthTimeout)
	defer login.Stop()
	for {
		if !c.gate() || c.flush() != nil || c.closing {
			return
		}
		select {
		case a, ok := <-c.actions:
			if !ok || !c.gate() {
				return
			}
			c.dispatch(a)
			c.takeEvents()
		case <-c.wake:
			if !c.gate() {
				return
			}
			c.takeEvents()
		case <-login.C:
			if !c.loggedIn { // written by this goroutine only
				return
			}
		case <-c.done:
			return
		}
	}
}

// readActions is the reader goroutine.
func (c *conn) readActions() {
	defer close(c.actions)
	defer close(c.eof)
	r := ami.NewActionReader(c.nc)
	for c.gate() {
		a, err := r.Read()
		if err != nil || !c.gate() {
			return
		}
		c.p.record(c, a)
		select {
		case c.actions <- a:
			c.nudge()
		case <-c.done:
			return
		}
	}
}

// push queues an event if the session gets it. It does not block.
func (c *conn) push(class ami.Class, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.loggedIn || c.mask&class != class || c.overflow {
		return
	}
	c.queue = append(c.queue, event{class, frame})
	c.queued += len(frame)
	if c.queued > c.p.opts.QueueLimit {
		c.overflow, c.queue, c.queued = true, nil, 0
	}
	c.nudge()
}

func (c *conn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// takeEvents moves what is queued to the output, and writes when that is much.
// The mask is judged again, as Asterisk does at the time of sending.
func (c *conn) takeEvents() {
	c.mu.Lock()
	c.queue, c.taken = c.taken[:0], c.queue
	c.queued = 0
	mask := c.mask
	if c.overflow {
		c.closing = true
		c.out = c.out[:0]
	}
	c.mu.Unlock()
	for i, e := range c.taken {
		if mask&e.class == e.class {
			c.out = append(c.out, e.frame...)
		}
		c.taken[i] = event{}
		if len(c.out) >= writeSize && c.flush() != nil {
			clear(c.taken)
			return
		}
	}
	if cap(c.taken) > 4096 {
		c.taken = nil
	}
}

// flush writes the output. A client that takes nothing for the write timeout
// is cut (manager.c: astman_append and its write timeout).
func (c *conn) flush() error {
	for rest := c.out; len(rest) > 0; {
		part := rest[:min(len(rest), writeSize)]
		rest = rest[len(part):]
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.p.opts.WriteTimeout)); err != nil {
			c.cut()
			return err
		}
		if _, err := c.nc.Write(part); err != nil {
			c.cut()
			return err
		}
	}
	if c.out = c.out[:0]; cap(c.out) > keepOutSize {
		c.out = nil
	}
	return nil
}

// sleep waits; it reports whether there is still a connection.
func (c *conn) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}
