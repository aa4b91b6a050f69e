package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/ajam"
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
	hup, stop := hangups()
	defer stop()
	load := func() (*config.Config, error) { return config.Load(file) }
	cfg, err := load()
	if err != nil {
		return failure{err}
	}
	for _, w := range cfg.Warnings {
		log.Warn("configuration", zap.String("warning", w))
	}
	return runServer(ctx, cfg, load, hup, log, func(*proxy.Server, *ajam.Server) {})
}

// hangups are SIGHUPs, which end the program no more. One that comes before
// anybody waits for it is kept.
func hangups() (hup chan os.Signal, stop func()) {
	hup = make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup, func() { signal.Stop(hup) }
}

// runServer runs a configured server until ctx ends; hup lets it reload with
// load, if that is not nil. started is called once it listens; its second argument
// is nil if there is no HTTP.
func runServer(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), hup <-chan os.Signal, log *zap.Logger, started func(*proxy.Server, *ajam.Server)) error {
	srv, web, err := newServers(cfg, log)
	if err != nil {
		return failure{err}
	}
	srv.Version, srv.Load = version, load
	if err := srv.Start(); err != nil {
		return failure{err}
	}
	if web != nil {
		if err := web.Start(); err != nil {
			srv.Shutdown(0)
			return failure{err}
		}
	}
	started(srv, web)
	var reloads sync.WaitGroup
	reloads.Go(func() { reloadOnHangup(ctx, srv, hup) })
	<-ctx.Done()
	log.Info("stopping")
	stopped := make(chan struct{})
	go func() {
		var stopping sync.WaitGroup
		if web != nil {
			stopping.Go(func() { web.Shutdown(stopTimeout) })
		}
		srv.Shutdown(stopTimeout)
		stopping.Wait()
		reloads.Wait()
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

// newServers prepares what a configuration asks for; web is nil if that is no HTTP.
func newServers(cfg *config.Config, log *zap.Logger) (srv *proxy.Server, web *ajam.Server, err error) {
	if srv, err = proxy.New(cfg, log); err != nil || !cfg.HTTP.Enabled {
		return srv, nil, err
	}
	c := &cfg.HTTP
	web, err = ajam.New(ajam.Options{
		BindAddr: c.BindAddr, TLSEnable: c.TLSEnable, TLSBindAddr: c.TLSBindAddr,
		TLSCertFile: c.TLSCertFile, TLSPrivateKey: c.TLSPrivateKey,
		Prefix: c.Prefix, SessionTimeout: c.SessionTimeout, SessionLimit: c.SessionLimit,
		SessionInactivity: c.SessionInactivity, SessionKeepAlive: c.SessionKeepAlive,
		EnableStatic: c.EnableStatic, Static: c.Static, Origins: c.Origins,
	}, srv, log)
	if err == nil {
		srv.URIs = web.URIs()
	}
	return srv, web, err
}

// reloadOnHangup loads the configuration anew at every SIGHUP, until ctx ends.
func reloadOnHangup(ctx context.Context, srv *proxy.Server, hup <-chan os.Signal) {
	for {
		select {
		case <-hup:
			_ = srv.Reload() // it logs what is wrong
		case <-ctx.Done():
			return
		}
	}
}

func checkCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file and print every error",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", defaultFile, "configuration file")
	return cmd
}

// check tells all that is odd about a configuration, and whether it can be used.
func check(file string, out, odd io.Writer) error {
	cfg, err := config.Load(file)
	var warnings []string
	if invalid := (*config.Invalid)(nil); errors.As(err, &invalid) {
		warnings = invalid.Warnings
	} else if err == nil {
		warnings = slices.Concat(cfg.Warnings, cfg.Risks)
	}
	for _, w := range warnings {
		fmt.Fprintln(odd, "warning:", w)
	}
	if err == nil {
		_, _, err = newServers(cfg, zap.NewNop())
	}
	if err != nil {
		return failure{err}
	}
	fmt.Fprintf(out, "%s: OK: %s, %s\n", file, amount(len(cfg.PBXs), "PBX", "PBXes"), amount(len(cfg.Users), "user", "users"))
	return nil
}

// amount is so many things, in words for one and for several.
func amount(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
