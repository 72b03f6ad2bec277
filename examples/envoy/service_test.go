package envoy

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/standin"
)

// atOnce is how many tests run at once: nearly all that they do is wait.
const atOnce = "4"

// TestMain removes the binary that the tests have built.
func TestMain(m *testing.M) {
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(s string) bool { return strings.HasPrefix(s, "-test.parallel") }) {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// binary gives the path of a watermaster, which is built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "watermaster")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "watermaster")
	build := exec.Command("go", "build", "-o", path, "./server/cmd/watermaster")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// run starts watermaster with some arguments and gives what it says, whether it has ended, and what
// ends it. It ends with the test at the latest.
func run(t *testing.T, args ...string) (log *transcript, ended chan struct{}, end func()) {
	t.Helper()
	path, err := binary()
	must(t, err)
	log = &transcript{}
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = log, log
	must(t, command.Start())
	ended = make(chan struct{})
	go func() { defer close(ended); _ = command.Wait() }()
	end = func() {
		_ = command.Process.Kill() // it may have ended
		<-ended
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("watermaster %s said:\n%s", strings.Join(args, " "), log)
		}
	})
	return log, ended, end
}

// A service is a watermaster that serves.
type service struct {
	grpc, http string
	limiter    pb.LimiterServiceClient
	monitor    pb.MonitorServiceClient
	end        func()
}

var serving = regexp.MustCompile(`msg=serving .* grpc=(\S+) http=(\S+)\n`)

// startService serves, with the example's configuration and limits unless others are given.
func startService(t *testing.T, args ...string) *service {
	t.Helper()
	if len(args) == 0 || !strings.HasPrefix(args[0], "--config=") {
		args = append([]string{"--config=config.yaml"}, args...)
	}
	log, ended, end := run(t, append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--envoy-limits", "limits"}, args...)...)
	s := &service{end: end}
	eventually(t, "watermaster serves", func() bool {
		select {
		case <-ended:
			t.Fatal("watermaster has ended")
		default:
		}
		if m := serving.FindStringSubmatch(log.String()); m != nil {
			s.grpc, s.http = m[1], m[2]
		}
		return s.grpc != ""
	})
	c, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	s.limiter, s.monitor = pb.NewLimiterServiceClient(c), pb.NewMonitorServiceClient(c)
	return s
}

// used gives what is in use of a limit of a pool: held, and reserved by calls that run.
func (s *service) used(t *testing.T, pool, metric string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h, err := s.monitor.GetHeadroom(ctx, &pb.GetHeadroomRequest{Pool: pool})
	must(t, err)
	for _, l := range h.Headroom.Limits {
		if l.Metric == metric {
			return l.Held + l.Reserved
		}
	}
	t.Fatalf("%s has no limit of %s", pool, metric)
	return 0
}

var standinAddress = regexp.MustCompile(`serves at (http://\S+)`)

// startProvider serves a strict stand-in for a provider, and gives its URL.
func startProvider(t *testing.T, args ...string) (url string) {
	t.Helper()
	log, _, _ := run(t, append([]string{"provider", "--listen", "127.0.0.1:0", "--latency", "1ms", "--rate", "0"}, args...)...)
	eventually(t, "the stand-in serves", func() bool {
		m := standinAddress.FindStringSubmatch(log.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url
}

// reportOf gives what a stand-in has seen.
func reportOf(t *testing.T, url string) (r standin.Report) {
	t.Helper()
	a, err := http.Get(url + "/report")
	must(t, err)
	defer a.Body.Close()
	must(t, json.NewDecoder(a.Body).Decode(&r))
	return r
}

// heavy leaves a test out with -short: it starts processes, and takes real time.
func heavy(t *testing.T) {
	t.Helper()
	findEnvoy(t)
	if testing.Short() {
		t.Skip("it starts processes and takes real time; without -short it runs")
	}
	t.Parallel()
}

// rest waits for what a limit takes to have room again: real time, for Envoy has no other.
func rest(d time.Duration) { time.Sleep(d) }
