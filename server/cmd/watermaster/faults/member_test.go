package faults

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// budget lets two seconds' worth of calls through, which a test of seconds fills often. wide
// is for what is counted afterwards: it has room for everything, and forgets nothing meanwhile.
// Of narrow one call may run at a time.
const budget = `
cold_start: trust               # the stand-in is new
max_replicas: 3
priority_classes: {interactive: {weight: 16, max_wait: 1m, reserve: 5%}, standard: {weight: 4, max_wait: 1m}, batch: {weight: 1, max_wait: 1h}}
organizations:
  acme:
    accounts:
      a:
        start_within: 150ms
        transit: 100ms
        pools: {p: {models: [m], limits: {requests: 300/2s, tokens: 100k/2s, concurrency: 120}}}
      b:
        margin: 0%
        start_within: 30s
        pools:
          wide: {models: [wide], limits: {requests: 1M/h, tokens: 1G/h, concurrency: 100k}}
          narrow: {models: [narrow], limits: {concurrency: 1}}
    routes:
      smart: {targets: [{account: a, model: m}]}
`

// A member is a replica in this process.
type member struct {
	t       *testing.T
	address string
	server  *server.Server
	said    *transcript
	limiter pb.LimiterServiceClient
	monitor pb.MonitorServiceClient
	end     func()
}

// join starts a replica whose log is at a URL, until the test ends or it leaves. Something may be
// put before the log.
func join(t *testing.T, configuration, url string, before ...func(*redis.Log) store.Log) *member {
	t.Helper()
	cfg, err := config.Parse("config.yaml", []byte(configuration), time.Unix(1, 0))
	must(t, err)
	m := &member{t: t, said: &transcript{out: t.Output()}}
	logger := slog.New(slog.NewTextHandler(m.said, nil))
	log, err := redis.Open(t.Context(), url, redis.Options{Logger: logger})
	for try := 0; err != nil; try++ { // on a busy machine Redis may seem to be away
		if try == 5 || !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		log, err = redis.Open(t.Context(), url, redis.Options{Logger: logger})
	}
	var used store.Log = log
	for _, wrap := range before {
		used = wrap(log)
	}
	for try := 0; ; try++ { // likewise
		m.server, err = server.New(t.Context(), server.Options{Config: cfg, Log: used, Logger: logger, SnapshotEvery: 1 << 18})
		if err == nil {
			break
		}
		if try == 5 || !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m.address = listener.Addr().String()
	g := m.server.NewGRPC()
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(listener) }()
	conn := dial(t, m.address)
	m.limiter, m.monitor = pb.NewLimiterServiceClient(conn), pb.NewMonitorServiceClient(conn)
	m.end = sync.OnceFunc(func() {
		g.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
		m.server.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.end)
	return m
}

// counted gives a counter of the organization's, with a label of a value or without, as /metrics would.
func (m *member) counted(name, label, value string) float64 {
	m.t.Helper()
	families, err := m.server.Metrics().Gather()
	must(m.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, c := range f.Metric {
			if label == "" || slices.ContainsFunc(c.Label, func(l *dto.LabelPair) bool { return l.GetName() == label && l.GetValue() == value }) {
				return c.GetCounter().GetValue()
			}
		}
	}
	m.t.Fatalf("there is no metric %s with %s %s", name, label, value)
	return 0
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A transcript is what a replica has logged.
type transcript struct {
	mu   sync.Mutex
	out  interface{ Write([]byte) (int, error) }
	text bytes.Buffer
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	if _, err := s.out.Write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// write puts a text into a file of the test's.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
