package backend

import (
	"bytes"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
)

// Directories are where a PBX keeps its files, just as it spells them.
type Directories struct {
	Config  string // configuration, such as /etc/asterisk
	Modules string
}

// unknownDirectories stand for those of a PBX that has not told. Nobody can name
// a file in them by its whole path, since a NUL ends a line: only relative names
// are known to be inside.
var unknownDirectories = Directories{Config: "/\x00", Modules: "/\x00"}

// Directories are the latest that is known. Before the PBX has told they hold
// no file but those of relative names.
func (b *Backend) Directories() Directories { return *b.directories.Load() }

// learnDirectories asks the PBX for its directories. It tells them by a command
// only, since 1.6.2.
func (b *Backend) learnDirectories() {
	if _, ok := b.Authority().Class("Command"); !ok {
		return // our user may not give one, which checkRights says
	}
	err := b.house.Do(Request{
		Action: ami.NewAction("Action: Command", "Command: core show settings"),
		Done: func(a Answer) {
			switch d, ok := parseDirectories(a.Bytes); {
			case ok:
				b.directories.Store(&d)
			case a.Err == nil:
				b.log.Info("the PBX does not tell its directories: clients may use files in those that it told before, if any, and relative names")
			}
		},
	})
	if err != nil {
		b.log.Debug("directories not asked for", zap.Error(err))
	}
}

// parseDirectories finds the directories in the output of "core show settings"
// (asterisk.c: handle_show_settings). ok is false unless both are there.
func parseDirectories(f ami.Frame) (d Directories, ok bool) {
	for line := range bytes.Lines(f) {
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("Output:")))
		if value, ok := bytes.CutPrefix(line, []byte("Configuration directory:")); ok {
			d.Config = string(bytes.TrimSpace(value))
		}
		if value, ok := bytes.CutPrefix(line, []byte("Module directory:")); ok {
			d.Modules = string(bytes.TrimSpace(value))
		}
	}
	return d, d.Config != "" && d.Modules != ""
}
