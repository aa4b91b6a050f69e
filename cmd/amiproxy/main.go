// Amiproxy shares Asterisk manager links among many clients, each with rights
// of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// version and commit are set when a release is built.
var version, commit = "devel", ""

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// failure is an error of the work itself, as opposed to one in the use of the
// command.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run is the program: everything but its signals and its exit.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	root.SetArgs(longFlags(root, args))
	return execute(ctx, root, stderr)
}

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "amiproxy",
		Short:         "One AMI for many clients and many Asterisk PBXes",
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(), checkCommand(), explainCommand(), hashCommand(), demoCommand(), versionCommand())
	return root
}

// execute runs a command and returns the exit code.
func execute(ctx context.Context, root *cobra.Command, stderr io.Writer) int {
	err := root.ExecuteContext(ctx)
	var failed failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		if text := failed.Error(); text != "" {
			fmt.Fprintln(stderr, text)
		}
		return exitFailed
	}
	fmt.Fprintf(stderr, "%v\nTry: amiproxy help\n", err)
	return exitUsage
}

// longFlags lets a flag with a long name have one dash, as well as two: -user
// means --user and not the flags u, s, e and r.
func longFlags(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		switch {
		case arg == "--":
			return args
		case len(name) > 1 && strings.HasPrefix(arg, "-") && cmd.Flags().Lookup(name) != nil:
			args[i] = "-" + arg
		}
	}
	return args
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
				commit = "unknown"
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						commit = s.Value
					}
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "amiproxy %s\ncommit %s\n%s %s/%s\n",
				version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// newLogger logs to w in a form for people and for grep.
func newLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.ISO8601TimeEncoder
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = " "
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(zapcore.AddSync(w)), level))
}
