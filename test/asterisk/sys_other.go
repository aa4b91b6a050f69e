//go:build !linux

package asterisk

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Root skips all tests on these systems; what follows only makes the package compile.
const (
	sigTerm = syscall.SIGTERM
	sigKill = syscall.SIGKILL
	sigStop = syscall.SIGTERM
	sigCont = syscall.SIGTERM
)

func inRoot(ctx context.Context, _, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}

func (proc *process) signal(sig syscall.Signal) { proc.cmd.Process.Signal(sig) }

func lockFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
