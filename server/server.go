package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/policy"
	"github.com/watermaster-project/watermaster/store"
)

// Options say what a server serves. Config and Log are required.
type Options struct {
	Config *config.Config
	// Log orders the commands of every organization. The server does not close it.
	Log store.Log
	// Logger takes what people should know; nil: nowhere.
	Logger *slog.Logger
	// SnapshotEvery is how many bytes an organization's log may grow before a snapshot is
	// put into it (or the size of the snapshot, if that is more). 0: never, for a log that
	// keeps no entries.
	SnapshotEvery int
	// StoreTimeout is how long a log that is shared with other processes may take for a batch
	// before it counts as away, and this one goes on alone. It is the log's own timeout.
	// 0: 100 ms.
	StoreTimeout time.Duration
	// Envoy says how Envoy's rate-limit service answers.
	Envoy EnvoyOptions
	// Peer says who is at the other end of a call; nil: as gRPC says. A gateway in this process
	// calls for others.
	Peer func(context.Context) (*peer.Peer, bool)
	// MaxWaiting bounds the requests that wait in all organizations together, as a bound on
	// memory; beyond it they are refused as QUEUE_FULL. 0: 100,000.
	MaxWaiting int
}

// A Server decides for the organizations of a configuration.
type Server struct {
	pb.UnimplementedLimiterServiceServer
	monitor
	rateLimit rateLimit
	envoy     EnvoyOptions
	hits      hits

	logger        *slog.Logger
	debug         bool // each decision is logged
	log           store.Log
	snapshotEvery int
	timeout       time.Duration // of a shared log
	metrics       *metrics.Set
	directory     atomic.Pointer[directory]
	maxWaiting    int64
	waiting       atomic.Int64  // requests, in all organizations
	asking        atomic.Int64  // requests that may join them, and are being decided
	reloading     chan struct{} // of capacity 1: full while a configuration is being put in force

	unauthenticated atomic.Int64 // calls without a key that is known
	denied          atomic.Int64 // calls for what their credential is not for
	peer            func(context.Context) (*peer.Peer, bool)

	health     *health.Server
	healthLock sync.Mutex
	serving    bool // it has begun, and does not drain
	lost       int  // the organizations whose state is lost
	away       int  // the organizations whose log is away, and not just for a moment

	drainOnce sync.Once
	draining  chan struct{} // closed: whoever waits is sent away
	closing   chan struct{}
	closeOnce sync.Once
	sampler   sync.WaitGroup
}

// New loads the organizations' logs, or begins them, and puts the configuration in force.
// Errors are those of policy.Compile and of the log.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Config == nil || o.Log == nil {
		return nil, errors.New("server: a configuration and a log are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	s := &Server{
		logger:        o.Logger,
		debug:         o.Logger.Enabled(ctx, slog.LevelDebug),
		log:           o.Log,
		snapshotEvery: o.SnapshotEvery,
		peer:          o.Peer,
		maxWaiting:    int64(cmp.Or(o.MaxWaiting, defaultMaxWaiting)),
		timeout:       cmp.Or(o.StoreTimeout, defaultTimeout),
		reloading:     make(chan struct{}, 1),
		health:        health.NewServer(),
		draining:      make(chan struct{}),
		closing:       make(chan struct{}),
	}
	if s.peer == nil {
		s.peer = peer.FromContext
	}
	s.monitor.server, s.rateLimit.server, s.envoy = s, s, o.Envoy
	s.metrics = metrics.New(s.stand)
	s.directory.Store(&directory{config: &config.Config{}})
	err := s.Reload(ctx, o.Config)
	if err == nil && o.Envoy.Limits != nil {
		err = s.ReloadLimits(ctx, o.Envoy.Limits)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.metrics.Loaded()
	s.changeHealth(func() { s.serving = true })
	s.sampler.Go(s.sample)
	if n, ok := s.log.(store.Nudger); ok {
		s.sampler.Go(func() { s.follow(n.Nudged()) })
	}
	return s, nil
}

const defaultMaxWaiting = 100_000

// newOrganization makes an organization that has to be opened.
func (s *Server) newOrganization(e *edition) *organization {
	o := newOrganization(e, s.log, s.logger)
	o.waitingInAll = &s.waiting
	o.timeout = s.timeout
	o.onAway = func() { s.awayChanged(o) }
	o.solo.granted = func(p config.AwayPolicy) { o.edition.Load().counts.Replica.Alone(p) }
	o.onLost = func(n int) { s.changeHealth(func() { s.lost += n }) }
	return o
}

// follow lets organizations read their logs when other processes say that there is something.
func (s *Server) follow(nudged <-chan string) {
	for {
		select {
		case name, ok := <-nudged:
			if !ok {
				return
			}
			d := s.directory.Load()
			if o := d.find(name); o != nil {
				o.read()
			} else if domain, ok := strings.CutPrefix(name, domainPrefix); ok && d.domains[domain] != nil {
				d.domains[domain].home.read()
			}
		case <-s.closing:
			return
		}
	}
}

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pb.RegisterLimiterServiceServer(r, s)
	pb.RegisterMonitorServiceServer(r, &s.monitor)
	rls.RegisterRateLimitServiceServer(r, &s.rateLimit)
	healthpb.RegisterHealthServer(r, s.health)
}

// Drain sends away whoever waits, with their places kept, and lets nobody wait any more.
// Health says NOT_SERVING. Calls that need not wait are still decided.
func (s *Server) Drain() {
	s.drainOnce.Do(func() {
		s.changeHealth(func() { s.serving = false })
		close(s.draining)
	})
}

// Close drains and ends what runs in the background. The log is the caller's.
func (s *Server) Close() {
	s.Drain()
	s.closeOnce.Do(func() { close(s.closing) })
	s.sampler.Wait()
	for _, o := range s.directory.Load().all() {
		o.close()
	}
	s.health.Shutdown()
}

// servedNames are those under which the health is told.
var servedNames = []string{
	"", pb.LimiterService_ServiceDesc.ServiceName, pb.MonitorService_ServiceDesc.ServiceName, rls.RateLimitService_ServiceDesc.ServiceName,
}

// changeHealth changes what the health depends on, and tells it.
func (s *Server) changeHealth(change func()) {
	s.healthLock.Lock()
	defer s.healthLock.Unlock()
	change()
	to := healthpb.HealthCheckResponse_NOT_SERVING
	if s.serving && s.lost == 0 && !s.isAway() {
		to = healthpb.HealthCheckResponse_SERVING
	}
	for _, name := range servedNames {
		s.health.SetServingStatus(name, to)
	}
}

// Ready says why no calls should be sent here; nil: they should.
func (s *Server) Ready() error {
	s.healthLock.Lock()
	defer s.healthLock.Unlock()
	switch {
	case s.isDraining():
		return errDraining
	case !s.serving:
		return errors.New("the server has not begun")
	case s.isAway():
		return fmt.Errorf("the log of %d organizations cannot be reached: what is asked here is decided alone, as when_away says", s.away)
	case s.lost > 0:
		return fmt.Errorf("the state of %d organizations is lost to a fault; the log says why", s.lost)
	}
	return nil
}

// awayChanged notes that an organization's log has gone away, or is back.
func (s *Server) awayChanged(o *organization) {
	s.lookAway(o)
	if since, away := o.isAway(); away {
		time.AfterFunc(notServingAfter-time.Since(since), func() { s.lookAway(o) })
	}
}

// isAway says whether the logs of all organizations are away: where some can be reached, others
// are no better off. The caller holds healthLock.
func (s *Server) isAway() bool { return s.away > 0 && s.away >= len(s.directory.Load().all()) }

// lookAway looks whether an organization's log is away for so long that clients are better
// sent to other processes.
func (s *Server) lookAway(o *organization) {
	s.changeHealth(func() {
		since, away := o.isAway()
		late := away && time.Since(since) >= notServingAfter
		switch {
		case late && !o.late:
			s.away++
		case !late && o.late:
			s.away--
		}
		o.late = late
	})
}

// Config gives the configuration in force. It must not be changed.
func (s *Server) Config() *config.Config { return s.directory.Load().config }

// Organizations lists the names of the organizations, in the order of the configuration.
func (s *Server) Organizations() []string {
	list := s.directory.Load().list
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.name
	}
	return names
}

// A Beginning is what an organization began with when it was opened.
type Beginning struct {
	Organization string
	// Cold: nothing was known of the use before, which may matter for limits of windows up to
	// ten minutes.
	Cold bool
	// Assumed is what was taken for it then, and Hold for how long that makes a difference.
	Assumed limiter.ColdStart
	Hold    time.Duration
}

// Beginnings tells how each organization began.
func (s *Server) Beginnings() (list []Beginning) {
	for _, o := range s.directory.Load().list {
		list = append(list, o.began)
	}
	return list
}

// Panics counts the panics of the engines that were survived.
func (s *Server) Panics() (n int64) {
	for _, o := range s.directory.Load().all() {
		n += o.replica.Panics()
	}
	return n
}

// find gives an organization by its name; "" is the only one.
func (s *Server) find(name string) (*organization, error) {
	d := s.directory.Load()
	if o := d.byName[name]; o != nil {
		return o, nil
	}
	if name == "" {
		if len(d.list) == 1 {
			return d.list[0], nil
		}
		return nil, &policy.Invalid{Field: "organization", Message: "there are several: say which"}
	}
	return nil, policy.NewNotFound("organization", name, s.Organizations())
}

// newIncarnation gives an organization of this process its name in the log: random, not 0.
// One that is served again later has another, for it counts its batches and leases anew.
func newIncarnation() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.LittleEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// isDraining says whether nobody may wait any more.
func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// sampleEvery is how often trends are measured.
const sampleEvery = 10 * time.Second
