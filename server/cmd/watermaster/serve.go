package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/store/memory"
)

// serveFlags are the flags of `watermaster serve`.
type serveFlags struct {
	config    string
	grpc      string
	insecure  bool
	logLevel  string
	logFormat string
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serves a configuration",
		Long: "Serves a configuration. Every flag may also be given as an environment variable:\n" +
			"--log-level is WATERMASTER_LOG_LEVEL.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return serve(ctx, f, c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE` (required)")
	flags.StringVar(&f.grpc, "grpc", "127.0.0.1:8081", "`ADDRESS` to serve gRPC on")
	flags.BoolVar(&f.insecure, "insecure", false, "serve beyond this machine without encryption and keys")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	return c
}

// drainTime is how long calls have to end when the process is told to.
const drainTime = 25 * time.Second

// gcPercent lets the heap grow to five times what is in use, unless GOGC says otherwise. That
// is little (some hundred bytes for each lease), while a call allocates some kilobytes.
const gcPercent = 400

// serve runs until the context ends, and then lets calls end.
func serve(ctx context.Context, f serveFlags, stderr io.Writer) (err error) {
	if f.config == "" {
		return errors.New("serve: --config FILE is needed")
	}
	logger, err := newLogger(f.logLevel, f.logFormat, stderr)
	if err != nil {
		return err
	}
	if err := checkBind(f.grpc, f.insecure); err != nil {
		return err
	}
	cfg, err := loadConfig(f.config, stderr)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := memory.Open(memory.Options{})
	defer func() { err = errors.Join(err, log.Close()) }()
	s, err := server.New(ctx, server.Options{Config: cfg, Log: log, Logger: logger})
	if err != nil {
		return err
	}
	defer s.Close()
	listener, err := net.Listen("tcp", f.grpc)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	g := s.NewGRPC()
	cold := "no"
	if false {
		cold = "yes: what was used before is not known, and is trusted to have been nothing"
	}
	logger.Info("serving", "grpc", listener.Addr().String(), "organizations", s.Organizations(),
		"store", "memory", "cold_start", cold, "version", version())
	failed := make(chan error, 1)
	go func() { failed <- g.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	logger.Info("draining")
	s.Drain()
	stopWithin(g, drainTime)
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
		return fmt.Errorf("serve: %w", err)
	}
	logger.Info("stopped")
	return nil
}

// stopWithin lets calls end, for a while.
func stopWithin(g *grpc.Server, d time.Duration) {
	t := time.AfterFunc(d, g.Stop)
	defer t.Stop()
	g.GracefulStop()
}

// checkBind refuses an address that others can reach, unless it is wanted.
func checkBind(address string, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--grpc: %w", err)
	}
	ip := net.ParseIP(host)
	if insecure || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--grpc %s can be reached from other machines, and nothing is encrypted or asks for keys: "+
		"bind a loopback address, or say --insecure", address)
}

func newLogger(level, format string, w io.Writer) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: text or json", format)
}
