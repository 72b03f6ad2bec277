package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/certificate"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/web"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
	"github.com/watermaster-project/watermaster/store/memory"
)

// A service is all that `watermaster serve` runs.
type service struct {
	flags  serveFlags
	logger *slog.Logger
	stderr io.Writer
	loaded stamp  // of the configuration's file
	limits stamp  // of the directory of Envoy's limits
	store  string // what it is called
	closer io.Closer
	server *server.Server
	tls    *certificate.Files // nil: nothing is encrypted
	grpc   *grpc.Server
	web    *web.Server // nil: no HTTP
	http   []*http.Server
	lines  []listening
	failed chan error
}

// A listening is a listener and what serves it.
type listening struct {
	name     string
	listener net.Listener
	serve    func(net.Listener) error
}

// newService opens and binds everything; nothing is served yet.
func newService(ctx context.Context, f serveFlags, logger *slog.Logger, stderr io.Writer) (_ *service, err error) {
	s := &service{flags: f, logger: logger, stderr: stderr, failed: make(chan error, 3)}
	defer func() {
		if err != nil {
			_ = s.close() // the first error is what matters
		}
	}()
	s.loaded = stampOf(f.config) // before it is read: a change meanwhile must not be missed
	cfg := &config.Config{}
	if f.config != "" {
		if cfg, err = loadConfig(f.config, stderr); err != nil {
			return nil, err
		}
	}
	options, err := f.envoy.options()
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	if f.envoy.limits != "" {
		s.limits = stampOf(f.envoy.limits)
	}
	if options.Limits, err = f.envoy.load(stderr); err != nil {
		return nil, err
	}
	if err := checkBinds(&f, cfg); err != nil {
		return nil, err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if f.tlsCert != "" {
		if s.tls, err = certificate.Open(f.tlsCert, f.tlsKey, f.tlsClients, logger); err != nil {
			return nil, fmt.Errorf("serve: %w", err)
		}
	}
	if err := s.await(ctx, func() error { return s.begin(ctx, cfg, options) }); err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	if options.Limits != nil {
		s.server.LimitsLoaded(nil)
	}
	if s.tls != nil {
		s.server.SetCertificate(s.tls)
	}
	if err := s.bind(); err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	return s, nil
}

// begin opens the log and loads the organizations' states. What it has opened it closes if it
// fails.
func (s *service) begin(ctx context.Context, cfg *config.Config, o server.EnvoyOptions) error {
	log, every, err := s.openStore(ctx)
	if err != nil {
		return err
	}
	s.server, err = server.New(ctx, server.Options{
		Config: cfg, Log: log, Logger: s.logger, SnapshotEvery: every, Peer: web.PeerOf, MaxWaiting: s.flags.maxWaiting,
		StoreTimeout: s.flags.store.timeout, Envoy: o,
	})
	if err != nil {
		err = errors.Join(err, s.closer.Close())
		s.server, s.closer = nil, nil
	}
	return err
}

// How many bytes of a log call for a snapshot.
const (
	fileSnapshotEvery  = 1 << 20   // what is replayed in some tens of milliseconds
	redisSnapshotEvery = 256 << 10 // Redis has it in memory, and each replica that joins reads it
)

// openStore opens the log, and says how many bytes of it call for a snapshot.
func (s *service) openStore(ctx context.Context) (log store.Log, every int, err error) {
	switch {
	case s.flags.store.url != "":
		l, err := s.flags.store.open(ctx, s.logger)
		if err != nil {
			return nil, 0, err
		}
		s.store, s.closer = "redis", l
		return l, redisSnapshotEvery, nil
	case s.flags.state == "":
		m := memory.Open(memory.Options{})
		s.store, s.closer = "memory", m
		return m, 0, nil
	}
	sync, err := file.ParseSync(s.flags.fsync)
	if err != nil {
		return nil, 0, fmt.Errorf("--fsync %w", err)
	}
	f, err := file.Open(s.flags.state, file.Options{Sync: sync, Logger: s.logger})
	if err != nil {
		return nil, 0, fmt.Errorf("--state: %w", err)
	}
	s.store, s.closer = "file", f
	return f, fileSnapshotEvery, nil
}

// bind listens wherever it was asked for.
func (s *service) bind() (err error) {
	var options []grpc.ServerOption
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls.TLSConfig("h2"))))
	}
	s.grpc = s.server.NewGRPC(options...)
	if err := s.listen("grpc", s.flags.grpc, s.grpc.Serve); err != nil {
		return err
	}
	if s.flags.http != "" {
		s.web, err = web.New(web.Options{
			NewGRPC: s.server.NewGRPC, Ready: s.server.Ready, Authorize: s.server.AuthorizeHTTP, Logger: s.logger,
			Config: s.configPage, Logs: s.server.Logs,
			Metrics: promhttp.HandlerFor(s.server.Metrics(), promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}),
		})
		if err != nil {
			return err
		}
		h := s.web.HTTPServer(s.flags.http)
		serve := h.Serve
		if s.tls != nil {
			h.TLSConfig = s.tls.TLSConfig("h2", "http/1.1")
			serve = func(l net.Listener) error { return h.ServeTLS(l, "", "") }
		}
		s.http = append(s.http, h)
		if err := s.listen("http", s.flags.http, serve); err != nil {
			return err
		}
	}
	if s.flags.pprof != "" {
		h := &http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second}
		s.http = append(s.http, h)
		return s.listen("pprof", s.flags.pprof, h.Serve)
	}
	return nil
}

// configPage shows the configuration in force.
func (s *service) configPage() ([]byte, error) {
	if s.flags.config == "" {
		return []byte("# there is none: --envoy-limits alone are served\n"), nil
	}
	return s.server.Config().Redacted()
}

// maxScrapes bounds the scrapes of /metrics at a time; further ones are answered 503.
const maxScrapes = 4

func (s *service) listen(name, address string, serve func(net.Listener) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--%s: %w", name, err)
	}
	s.lines = append(s.lines, listening{name, l, serve})
	return nil
}

// profiles serves Go's profiles, and nothing that another package has registered.
func profiles() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/debug/pprof/", pprof.Index)
	m.HandleFunc("/debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		hidePassword(w, os.Args)
	})
	m.HandleFunc("/debug/pprof/profile", pprof.Profile)
	m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return m
}

// run serves until the context ends or a listener fails, and then drains.
func (s *service) run(ctx context.Context) error {
	attrs := []any{"organizations", s.server.Organizations(), "store", s.store}
	if s.flags.store.url != "" {
		attrs = append(attrs, "at", s.flags.store.name())
		if n, shared := s.server.Replicas(); shared {
			attrs = append(attrs, "other_replicas", n)
		}
	}
	if f := &s.flags.envoy; f.limits != "" {
		attrs = append(attrs, "envoy_limits", f.limits)
	}
	attrs = append(attrs, "cold_start", s.coldStart(), "version", version())
	for _, l := range s.lines {
		attrs = append(attrs, l.name, l.listener.Addr().String())
		go func() { s.failed <- s.ended(l.name, l.serve(l.listener)) }()
	}
	s.logger.Info("serving", attrs...)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := s.watchFiles(watching)
	examined := make(chan struct{})
	go func() {
		defer close(examined)
		if s.flags.store.url != "" {
			s.flags.store.warn(watching, s.logger)
		}
	}()
	defer func() { stop(); watched.Wait(); <-examined }()

	running := len(s.lines)
	select {
	case err := <-s.failed:
		return errors.Join(err, s.drain(running-1))
	case <-ctx.Done():
		return s.drain(running)
	}
}

// watchFiles puts in force what changes in the configuration's file and in the directory of
// Envoy's limits, and all of it when it is asked to by SIGHUP.
func (s *service) watchFiles(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	follow := func(path string, last stamp, changed func(context.Context)) {
		if path == "" {
			return
		}
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		all.Go(func() {
			defer signal.Stop(hangups)
			watch(ctx, path, last, lookEvery, hangups, func() { changed(ctx) })
		})
	}
	follow(s.flags.config, s.loaded, s.reload)
	follow(s.flags.envoy.limits, s.limits, s.reloadLimits)
	return &all
}

// lookEvery is how often the configuration's file and the directory of limits are looked at.
const lookEvery = time.Second

// ended gives the error of a listener that has ended, unless it was told to.
func (s *service) ended(name string, err error) error {
	if err == nil || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %s: %w", name, err)
}

// reload reads the configuration's file again and puts it in force.
func (s *service) reload(ctx context.Context) {
	var problems strings.Builder
	cfg, err := loadConfig(s.flags.config, &problems)
	if err == nil {
		err = checkBinds(&s.flags, cfg)
	}
	if err == nil {
		err = s.server.Reload(ctx, cfg)
	}
	s.server.Reloaded(err)
	for line := range strings.Lines(problems.String()) {
		s.logger.Warn("configuration", "problem", strings.TrimSpace(line))
	}
	if err != nil {
		if errors.Is(err, errReported) {
			err = errors.New("it is wrong")
		}
		s.logger.Error("the configuration was not reloaded: the one before stays in force", "file", s.flags.config, "error", err)
		return
	}
	s.logger.Info("the configuration is in force", "file", s.flags.config, "revision", cfg.Revision, "organizations", s.server.Organizations())
}

// coldStart says what was known of the use before this process.
func (s *service) coldStart() string {
	var cold []string
	for _, b := range s.server.Beginnings() {
		if !b.Cold {
			continue
		}
		switch b.Assumed {
		case limiter.Pace:
			cold = append(cold, fmt.Sprintf("%s: paced for %v, as if the quota had been used evenly", b.Organization, b.Hold))
		case limiter.Wait:
			cold = append(cold, fmt.Sprintf("%s: no grant for %v, as if the quota had been used just now", b.Organization, b.Hold))
		default:
			cold = append(cold, fmt.Sprintf("%s: trusted that nothing was used before", b.Organization))
		}
	}
	if len(cold) == 0 {
		return "no"
	}
	return "yes; " + strings.Join(cold, "; ")
}

// drain sends away who waits, and lets the other calls end for the grace period.
func (s *service) drain(running int) error {
	s.logger.Info("draining", "grace", s.flags.grace)
	over, cancel := context.WithTimeout(context.Background(), s.flags.grace)
	defer cancel()
	s.server.Drain()
	if s.flags.drainDelay > 0 {
		t := time.NewTimer(s.flags.drainDelay)
		<-t.C
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	for _, h := range s.http {
		if err := h.Shutdown(over); err != nil {
			_ = h.Close() // its time is over
		}
	}
	select {
	case <-stopped:
	case <-over.Done():
		s.logger.Warn("calls were cut off at the end of the grace period")
		s.grpc.Stop()
		<-stopped
	}
	var err error
	for range running {
		err = errors.Join(err, <-s.failed)
	}
	s.logger.Info("stopped")
	return err
}

// close ends everything. It may be called at any stage.
func (s *service) close() error {
	if s.web != nil {
		s.web.Close()
	}
	if s.grpc != nil {
		s.grpc.Stop()
	}
	for _, l := range s.lines {
		_ = l.listener.Close() // it may have been closed by its server
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.closer != nil {
		return s.closer.Close()
	}
	return nil
}
