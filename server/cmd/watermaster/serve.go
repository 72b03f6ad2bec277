package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// serveFlags are the flags of `watermaster serve`.
type serveFlags struct {
	config     string
	grpc       string
	http       string
	pprof      string
	state      string
	fsync      string
	store      storeFlags
	envoy      envoyFlags
	storeWait  time.Duration
	tlsCert    string
	tlsKey     string
	tlsClients string
	insecure   bool
	grace      time.Duration
	drainDelay time.Duration
	maxWaiting int
	logLevel   string
	logFormat  string
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serves a configuration",
		Long: "Serves a configuration: gRPC at --grpc, JSON, /metrics, /healthz and /readyz at --http. A change of the\n" +
			"file, of the certificates, or SIGHUP takes hold without a restart; a file that is wrong is told and changes\n" +
			"nothing. SIGTERM sends away who waits, lets calls end for --grace, and stops.\n\n" +
			"Envoy's rate-limit service is at --grpc, and at /json of --http: a domain draws on the budgets of the\n" +
			"organization of its name, or has limits of its own in --envoy-limits.\n\n" +
			"Any number of processes that have the same --store and the same configuration decide as one.\n\n" +
			"Every flag may also be given as an environment variable: --log-level is WATERMASTER_LOG_LEVEL.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			return serve(ctx, f, c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`; without one only --envoy-limits are served")
	flags.StringVar(&f.grpc, "grpc", "127.0.0.1:8081", "`ADDRESS` to serve gRPC on")
	flags.StringVar(&f.http, "http", "127.0.0.1:8080", "`ADDRESS` to serve HTTP on; empty: none")
	flags.StringVar(&f.pprof, "pprof", "", "loopback `ADDRESS` to serve Go's profiles on; empty: none")
	flags.StringVar(&f.state, "state", "", "`DIR` to keep the state in, so that it survives a restart and a crash; empty: in memory alone")
	flags.StringVar(&f.fsync, "fsync", "100ms", "when --state is on the disk itself: always (before each answer), never, or at least every `TIME`;\n"+
		"what the process itself loses by a crash is nothing in any case")
	f.store.register(flags, "the `URL` of a Redis 7 to share the state with any number of other processes")
	flags.DurationVar(&f.storeWait, "store-wait", time.Minute, "how long a start waits for a store that is away, before the process ends with an error")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "`FILE` of the server's certificate and its chain, PEM; read again when it changes")
	flags.StringVar(&f.tlsKey, "tls-key", "", "`FILE` of its private key, PEM")
	flags.StringVar(&f.tlsClients, "tls-client-ca", "", "`FILE` of the authorities whose client certificates are asked for, PEM")
	flags.BoolVar(&f.insecure, "insecure", false, "serve beyond this machine without encryption or without keys")
	flags.DurationVar(&f.grace, "grace", 25*time.Second, "how long calls have to end after SIGTERM")
	flags.DurationVar(&f.drainDelay, "drain-delay", 0, "how long to go on taking calls after SIGTERM, while balancers notice that health is NOT_SERVING; part of --grace")
	f.envoy.register(flags)
	flags.IntVar(&f.maxWaiting, "max-waiting", 100_000, "requests that may wait in all organizations together")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug (every decision), info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	return c
}

// validate says what is wrong with the flags, all at once.
func (f *serveFlags) validate() error {
	var all []error
	fail := func(text string) { all = append(all, errors.New(text)) }
	if f.config == "" && f.envoy.limits == "" {
		fail("--config FILE is needed, or --envoy-limits DIR")
	}
	if (f.tlsCert == "") != (f.tlsKey == "") {
		fail("--tls-cert and --tls-key go together")
	}
	if f.tlsClients != "" && f.tlsCert == "" {
		fail("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if f.grace < 0 || f.drainDelay < 0 || f.drainDelay > f.grace {
		fail("--grace and --drain-delay are not below 0, and the delay is part of the grace")
	}
	if f.maxWaiting < 1 {
		fail("--max-waiting must be at least 1")
	}
	if f.state == "" && f.fsync != "100ms" {
		fail("--fsync says how --state is kept: give that too")
	}
	if f.state != "" && f.store.url != "" {
		fail("--state and --store are two places for one state: give one of them")
	}
	if f.storeWait < 0 {
		fail("--store-wait is not below 0")
	}
	return errors.Join(append(all, f.store.validate(), f.envoy.validate())...)
}

// gcPercent lets the heap grow to five times what is in use, unless GOGC says otherwise. That
// is little (some hundred bytes for each lease), while a call allocates some kilobytes.
const gcPercent = 400

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

// serve runs until the context ends, and then lets calls end.
func serve(ctx context.Context, f serveFlags, stderr io.Writer) (err error) {
	if err := f.validate(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	logger, err := newLogger(f.logLevel, f.logFormat, stderr)
	if err != nil {
		return err
	}
	s, err := newService(ctx, f, logger, stderr)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // it was told to end before it served
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.run(ctx)
}
