package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// asCommand makes the test's own binary the command, so that it can be killed.
const asCommand = "WATERMASTER_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Unsetenv(asCommand)
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashing lets two seconds' worth of calls through, which a test of a minute fills often.
const crashing = `
organizations:
  acme:
    accounts:
      a:
        margin: 0%
        start_within: 150ms
        transit: 50ms
        pools: {p: {models: [m], limits: {requests: 300/2s, tokens: 100k/2s, concurrency: 24}}}
    routes: {smart: {targets: [{account: a, model: m}]}}
`

const crashTTL = 2 * time.Second

// A doomed is a server that is killed again and again.
type doomed struct {
	t       *testing.T
	address string
	args    []string
	cmd     *exec.Cmd
	said    chan string // what it said when it began
	startup []time.Duration
}

// begin starts the process and returns when it serves.
func (d *doomed) begin() {
	d.t.Helper()
	d.cmd = exec.Command(os.Args[0], d.args...)
	d.cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := d.cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	start := time.Now()
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var before []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), "msg=serving") {
			d.startup = append(d.startup, time.Since(start))
			d.said <- lines.Text()
			go func() {
				for lines.Scan() { // so that it never waits to be read
				}
			}()
			return
		}
		before = append(before, lines.Text())
	}
	d.t.Fatalf("the server did not begin:\n%s", strings.Join(before, "\n"))
}

// kill ends the process as a crash would.
func (d *doomed) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait() // it was killed
}

// A judge is the provider: strict, and in real time.
type judge struct {
	mu       sync.Mutex
	provider *provider.Provider
	start    time.Time
	next     uint64
	refused  []provider.Verdict
}

func (j *judge) call(input, output int64, life time.Duration) (accepted bool) {
	j.mu.Lock()
	j.next++
	id := j.next
	v := j.provider.Arrive(time.Since(j.start), provider.Call{ID: id, Input: input, MaxOutput: output})
	if !v.OK {
		j.refused = append(j.refused, v)
	}
	j.mu.Unlock()
	if v.OK {
		time.Sleep(life) // the call runs
		j.mu.Lock()
		j.provider.Complete(time.Since(j.start), id, output)
		j.mu.Unlock()
	}
	return v.OK
}

// TestCrashes kills a server that keeps its state under load, again and again. What it has
// acknowledged is known to the next one: every lease can be released, every released slot is
// free, and the provider, who judges by arrival alone, never has to refuse a call.
func TestCrashes(t *testing.T) {
	crashes := 50
	if testing.Short() {
		crashes = 5
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	d := &doomed{t: t, address: address, said: make(chan string, crashes+1), args: []string{
		"serve", "--config", write(t, "config.yaml", crashing), "--grpc", address, "--http", "", "--state", t.TempDir(),
	}}
	d.begin()
	if said := <-d.said; !strings.Contains(said, "paced") {
		t.Errorf("it began with %s, want a cold start", said)
	}

	j := &judge{start: time.Now()}
	j.provider, err = provider.New(provider.Config{
		Limits: []provider.Limit{
			{Metric: provider.Requests, Quota: 300, Window: 2 * time.Second, Shape: provider.Sliding},
			{Metric: provider.Tokens, Quota: 100_000, Window: 2 * time.Second, Shape: provider.Sliding},
			{Metric: provider.Concurrency, Quota: 24, Shape: provider.Stock},
		},
		Charge: provider.Charge{Estimate: provider.EstimateSum},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := &crashWorkers{t: t, client: pb.NewLimiterServiceClient(conn), judge: j}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() { w.work(ctx, i) })
	}
	g := rand.New(rand.NewPCG(1, 1))
	for range crashes {
		time.Sleep(time.Duration(200+g.IntN(800)) * time.Millisecond) // the load goes on meanwhile
		d.kill()
		d.begin()
		if said := <-d.said; !strings.Contains(said, "cold_start=no") {
			t.Errorf("it began again with %s, want its state", said)
		}
	}
	stop()
	all.Wait()
	// Grants whose answers were lost hold their slots until the TTL ends; no other may be held.
	monitor := pb.NewMonitorServiceClient(conn)
	end := time.Now().Add(crashTTL + time.Second)
	for held := int64(1); held > 0; time.Sleep(50 * time.Millisecond) {
		h, err := monitor.GetHeadroom(t.Context(), &pb.GetHeadroomRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range h.Headroom.Limits {
			if l.Metric == "concurrency" {
				held = l.Held
			}
		}
		if time.Now().After(end) {
			t.Errorf("%d slots are held a TTL and a second after the end", held)
			break
		}
	}
	d.kill()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.refused) > 0 {
		t.Errorf("the provider refused %d calls: %+v …", len(j.refused), j.refused[0])
	}
	slices.Sort(d.startup)
	median, last := d.startup[len(d.startup)/2], d.startup[len(d.startup)-1]
	t.Logf("%d crashes, %d calls sent, %d refused by the provider, %d leases lost; start-up median %v, longest %v",
		crashes, w.sent.Load(), len(j.refused), w.lost.Load(), median, last)
	if median > time.Second {
		t.Errorf("half of the starts took more than %v", median)
	}
	if w.sent.Load() < int64(crashes)*20 {
		t.Errorf("only %d calls were sent: the load was none", w.sent.Load())
	}
}

// crashWorkers are workers that go on whatever becomes of the server.
type crashWorkers struct {
	t          *testing.T
	client     pb.LimiterServiceClient
	judge      *judge
	sent, lost atomic.Int64
}

func (w *crashWorkers) work(ctx context.Context, i int) {
	g := rand.New(rand.NewPCG(2, uint64(i)))
	for k := 0; ctx.Err() == nil; k++ {
		input := int64(100 + g.IntN(400))
		r := &pb.AcquireRequest{
			RequestId: fmt.Sprintf("%d-%d", i, k), Project: "p", Destination: &pb.AcquireRequest_Route{Route: "smart"},
			InputTokens: input, MaxOutputTokens: proto.Int64(100), Block: durationpb.New(500 * time.Millisecond), MaxWait: durationpb.New(time.Minute),
			LeaseTtl: durationpb.New(crashTTL),
		}
		granted, sentAt := w.acquire(ctx, r)
		if granted == nil {
			continue
		}
		outcome := pb.Outcome_OUTCOME_UNSENT
		if time.Since(sentAt) < granted.StartWithin.AsDuration() {
			outcome = pb.Outcome_OUTCOME_SUCCEEDED
			w.sent.Add(1)
			w.judge.call(input, 100, time.Duration(20+g.IntN(80))*time.Millisecond)
		}
		w.release(&pb.ReleaseRequest{LeaseId: granted.LeaseId, Outcome: outcome})
	}
}

// acquire asks until there is an answer, and says when the call that was answered was sent.
func (w *crashWorkers) acquire(ctx context.Context, r *pb.AcquireRequest) (*pb.Granted, time.Time) {
	for ctx.Err() == nil {
		start := time.Now()
		a, err := w.client.Acquire(context.Background(), r, grpc.WaitForReady(true))
		switch {
		case status.Code(err) == codes.Unavailable:
		case err != nil:
			w.t.Errorf("acquire: %v", err)
			return nil, start
		case a.GetGranted() != nil:
			return a.GetGranted(), start
		case a.GetRejected() != nil:
			return nil, start
		}
	}
	return nil, time.Time{}
}

// release ends a lease that was acknowledged, whatever it takes.
func (w *crashWorkers) release(r *pb.ReleaseRequest) {
	for {
		_, err := w.client.Release(context.Background(), r, grpc.WaitForReady(true))
		switch status.Code(err) {
		case codes.OK:
			return
		case codes.Unavailable:
			continue
		}
		w.lost.Add(1)
		w.t.Errorf("release: %v", err)
		return
	}
}
