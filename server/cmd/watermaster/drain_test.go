package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// draining lets four calls of one model run at once, and any number of the other.
const draining = `
cold_start: trust
priority_classes: {standard: {weight: 1, max_wait: 1h}}
organizations:
  acme:
    accounts:
      a:
        provider: openai
        margin: 0%
        pools:
          narrow: {models: [narrow], limits: {concurrency: 4}}
          wide: {models: [wide], limits: {requests: 1G/min, concurrency: 1000}}
`

// A drained is a server that ends under load, with those who call it.
type drained struct {
	t          *testing.T
	cmd        *exec.Cmd
	grpc, http string
	ended      atomic.Bool // SIGTERM has been sent
	calls      atomic.Int64
	turned     atomic.Int64 // calls that found no server any more
	at         time.Time    // of SIGTERM

	mu      sync.Mutex
	waiters int           // that have been sent away
	late    time.Duration // after SIGTERM, of the last of them
}

// TestDrains: SIGTERM under load. No call fails that a server has seen, whoever waits is told to
// ask again at once, and the process ends well within its grace with code 0.
func TestDrains(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes real time and both processors; without -short it runs")
	}
	config := write(t, "config.yaml", draining)
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) { drainOnce(t, config, rand.New(rand.NewPCG(12, uint64(i)))) })
	}
}

var addresses = regexp.MustCompile(` (grpc|http)=(\S+)`)

func drainOnce(t *testing.T, config string, g *rand.Rand) {
	const grace, waiting, working = 10 * time.Second, 60, 24
	d := &drained{t: t}
	d.cmd = exec.Command(os.Args[0], "serve", "--config", config, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grace", grace.String())
	d.cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	logged := make(chan struct{})
	lines := bufio.NewScanner(io.TeeReader(out, &said))
	for d.http == "" && lines.Scan() {
		for _, m := range addresses.FindAllStringSubmatch(lines.Text(), -1) {
			*map[string]*string{"grpc": &d.grpc, "http": &d.http}[m[1]] = m[2]
		}
	}
	go func() {
		defer close(logged)
		for lines.Scan() { // the rest
		}
	}()

	var conns []*grpc.ClientConn
	for range 6 {
		c, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c)
	}
	client := func(i int) pb.LimiterServiceClient { return pb.NewLimiterServiceClient(conns[i%len(conns)]) }
	for i := range 4 {
		a, err := client(i).Acquire(t.Context(), drainAsk("held", i, "narrow", 0))
		if err != nil || a.GetGranted() == nil {
			t.Fatalf("got %v, %v, want a grant", a, err)
		}
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range waiting {
		all.Go(func() { d.wait(ctx, client(i), i) })
	}
	all.Go(func() { d.waitHTTP(ctx) })
	all.Go(func() { d.watch(ctx, conns[0]) })
	for i := range working {
		all.Go(func() { d.work(ctx, client(i), i) })
	}
	for d.waitingNow(ctx, conns[0]) < waiting+1 {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(time.Duration(100+g.IntN(400)) * time.Millisecond) // the load goes on meanwhile
	before := d.calls.Load()
	d.at = time.Now()
	d.ended.Store(true)
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	<-logged
	err = d.cmd.Wait()
	took := time.Since(d.at)
	t.Logf("%d calls, %d of them after SIGTERM, %d found no server; %d waiters were sent away within %v; the process ended after %v",
		d.calls.Load(), d.calls.Load()-before, d.turned.Load(), d.waiters, d.late.Round(time.Millisecond), took.Round(time.Millisecond))
	if err != nil || took > grace || strings.Contains(said.String(), "cut off") {
		t.Errorf("it ended with %v after %v, want code 0 within %v:\n%s", err, took, grace, &said)
	}
	if d.waiters != waiting+1 {
		t.Errorf("%d waiters were sent away, want %d", d.waiters, waiting+1)
	}
}

func drainAsk(prefix string, i int, model string, block time.Duration) *pb.AcquireRequest {
	return &pb.AcquireRequest{
		RequestId: fmt.Sprintf("%s-%d", prefix, i), Project: "p", Destination: &pb.AcquireRequest_Model{Model: model},
		InputTokens: 10, MaxOutputTokens: proto.Int64(10), Block: durationpb.New(block),
	}
}

// over says whether a call has found no server any more: it was never sent. Everything else
// that goes wrong is an error.
func (d *drained) over(what string, err error) bool {
	if err == nil {
		d.calls.Add(1)
		return false
	}
	s := status.Convert(err)
	if s.Code() != codes.Unavailable || !strings.HasPrefix(s.Message(), "connection error:") || !d.ended.Load() {
		d.t.Errorf("%s: %v (%v after SIGTERM)", what, err, time.Since(d.at))
	}
	d.turned.Add(1)
	return true
}

// work takes and gives back a lease, again and again, until there is no server.
func (d *drained) work(ctx context.Context, c pb.LimiterServiceClient, worker int) {
	for i := 0; ; i++ {
		a, err := c.Acquire(ctx, drainAsk(fmt.Sprint("w", worker), i, "wide", 20*time.Second))
		if d.over("acquire", err) {
			return
		}
		if a.GetGranted() == nil {
			d.t.Errorf("got %v, want a grant", a)
			return
		}
		_, err = c.Release(ctx, &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId, Outcome: pb.Outcome_OUTCOME_SUCCEEDED})
		if d.over("release", err) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (d *drained) sentAway() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiters++
	d.late = max(d.late, time.Since(d.at))
}

// wait blocks until it is sent away.
func (d *drained) wait(ctx context.Context, c pb.LimiterServiceClient, i int) {
	a, err := c.Acquire(ctx, drainAsk("waiter", i, "narrow", 20*time.Second))
	switch {
	case err != nil:
		d.t.Errorf("a waiter: %v", err)
	case a.GetWait() == nil || a.GetWait().RetryAfter.AsDuration() != 0 || !d.ended.Load():
		d.t.Errorf("a waiter got %v, want wait with retry_after 0, behind SIGTERM", a)
	default:
		d.sentAway()
	}
}

func (d *drained) waitHTTP(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.http+"/v1/acquire",
		strings.NewReader(`{"request_id": "http", "project": "p", "model": "narrow", "block": "20s"}`))
	if err != nil {
		d.t.Error(err)
		return
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Errorf("a waiter over HTTP: %v", err)
		return
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK || !strings.Contains(string(b), `"wait"`) || !d.ended.Load() {
		d.t.Errorf("a waiter over HTTP got %s %s %v, want wait, behind SIGTERM", a.Status, b, err)
		return
	}
	d.sentAway()
}

// watch is told that the server ends.
func (d *drained) watch(ctx context.Context, c *grpc.ClientConn) {
	stream, err := pb.NewMonitorServiceClient(c).WatchHeadroom(ctx, &pb.WatchHeadroomRequest{Interval: durationpb.New(100 * time.Millisecond)})
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "shutting down") {
		d.t.Errorf("who watches got %v, want to hear that the server is shutting down", err)
	}
}

// waitingNow counts who waits.
func (d *drained) waitingNow(ctx context.Context, c *grpc.ClientConn) (n int64) {
	h, err := pb.NewMonitorServiceClient(c).GetHeadroom(ctx, &pb.GetHeadroomRequest{Pool: "narrow"})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, l := range h.Headroom.Limits {
		for _, class := range l.ByClass {
			n = max(n, class.Waiting)
		}
	}
	return n
}
