package asterisk

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// The ports come from below the range that Linux gives to outgoing connections, so
// that nobody takes the port of a PBX that is stopped for a while.
const (
	firstPort = 16000
	lastPort  = 31999
	blockSize = 32 // Ports of one PBX; what is behind firstRTP is for media.
	firstRTP  = 8
)

// ports is a block of ports that one PBX owns. A locked file in the cache says so to
// other test binaries; since the number of the block also names the folder of the PBX,
// who has the lock may remove what a killed test binary left there.
type ports struct {
	base int
	lock *os.File
}

func (p *ports) ami() int    { return p.base }
func (p *ports) amiTLS() int { return p.base + 1 }
func (p *ports) http() int   { return p.base + 2 }
func (p *ports) https() int  { return p.base + 3 }
func (p *ports) sip() int    { return p.base + 4 }

// rtp returns the first and the last port for media.
func (p *ports) rtp() (first, last int) { return p.base + firstRTP, p.base + blockSize - 1 }

func (p *ports) release() { p.lock.Close() }

// claimPorts finds a block that no other PBX owns and nothing listens in.
func claimPorts(cache string) (*ports, error) {
	dir := filepath.Join(cache, "ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	blocks := rand.Perm((lastPort - firstPort + 1) / blockSize)
	for _, block := range blocks {
		base := firstPort + block*blockSize
		lock, err := lockFile(filepath.Join(dir, strconv.Itoa(base)))
		if err != nil {
			continue
		}
		p := &ports{base: base, lock: lock}
		if p.free() {
			return p, nil
		}
		p.release()
	}
	return nil, errors.New("all are taken")
}

// free reports whether the ports that a PBX listens on are free.
func (p *ports) free() bool {
	for _, port := range []int{p.ami(), p.amiTLS(), p.http(), p.https()} {
		l, err := net.Listen("tcp", addr(port))
		if err != nil {
			return false
		}
		l.Close()
	}
	c, err := net.ListenPacket("udp", addr(p.sip()))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
