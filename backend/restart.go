package backend

import "time"

// This file tells one run of a PBX from another. Asterisk says to the second when
// it was started (manager.c: action_corestatus), and a small one is started, killed
// and started again in less. So two equal times are those of one run only if that
// run is known to have gone on beyond the second of its start.

// restartedLocked is State.Restarted of a PBX that comes up. Its start is the one
// that is known from now on.
func (b *Backend) restartedLocked(startup string) string {
	before := b.startup
	switch {
	case startup == before && b.outlived:
		return "no"
	case startup != before:
		b.startup, b.outlived = startup, false
	}
	if before == "" {
		return ""
	}
	return "yes"
}

// provesLocked reports whether an answer on the link to what is sent now would be
// the first proof that the PBX has gone on beyond the second of its start.
func (l *link) provesLocked(now time.Time) bool {
	b := l.b
	return l.startup != "" && l.startup == b.startup && !b.outlived && b.state.Up && now.Sub(b.state.Since) > time.Second
}

// outlives is called with the proof.
func (l *link) outlives() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.outlived = l.b.outlived || l.startup == l.b.startup
}
