package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/proxy"
)

const (
	defaultFile = "/etc/amiproxy/amiproxy.conf"
	// stopTimeout is how long clients may take to finish at the end. It leaves
	// time for the rest of the ten seconds in which the program must be gone.
	stopTimeout = 8 * time.Second
)

func serveCommand() *cobra.Command {
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := zapcore.InfoLevel
			if verbose {
				level = zapcore.DebugLevel
			}
			return serve(cmd.Context(), file, newLogger(cmd.ErrOrStderr(), level))
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", defaultFile, "configuration file")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

// serve runs until ctx ends.
func serve(ctx context.Context, file string, log *zap.Logger) error {
	defer surviveHangups(log)()
	cfg, err := config.Load(file)
	if err != nil {
		return failure{err}
	}
	for _, w := range cfg.Warnings {
		log.Warn("configuration", zap.String("warning", w))
	}
	return runServer(ctx, cfg, log, nil)
}

// runServer runs a configured server until ctx ends. started, if not nil, is
// called once it listens.
func runServer(ctx context.Context, cfg *config.Config, log *zap.Logger, started func(*proxy.Server)) error {
	srv, err := proxy.New(cfg, log)
	if err != nil {
		return failure{err}
	}
	srv.Version = version
	if err := srv.Start(); err != nil {
		return failure{err}
	}
	if started != nil {
		started(srv)
	}
	<-ctx.Done()
	log.Info("stopping")
	stopped := make(chan struct{})
	go func() {
		srv.Shutdown(stopTimeout)
		close(stopped)
	}()
	select {
	case <-stopped:
		log.Info("stopped")
		return nil
	case <-time.After(stopTimeout + time.Second):
		// Something waits for what is no client and no PBX, a file perhaps. The
		// end of the program ends it.
		return failure{errors.New("not everything ended in time")}
	}
}

// surviveHangups makes SIGHUP a line in the log instead of the end, until the
// function that it returns is called.
func surviveHangups(log *zap.Logger) (stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-hup:
				log.Warn("SIGHUP: reload is not supported yet; restart to read the configuration again")
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(hup)
		close(done)
		group.Wait()
	}
}

func checkCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file and print every error",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return failure{err}
			}
			for _, w := range cfg.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if _, err := proxy.New(cfg, zap.NewNop()); err != nil {
				return failure{err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: OK: %d PBXes, %d users\n", file, len(cfg.PBXs), len(cfg.Users))
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", defaultFile, "configuration file")
	return cmd
}
