package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// hideInput turns the echo of a terminal off until restore is called; false if
// the file is no terminal.
func hideInput(f *os.File) (restore func(), ok bool) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, false
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(fd, unix.TCSETSF, &hidden) != nil {
		return nil, false
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETSF, before) }, true
}
