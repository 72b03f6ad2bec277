package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	watermasterv1 "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

const (
	organization = "acme"
	steady       = "steady" // the project of those that live
	doomed       = "doomed" // of those that are killed
	maxTokens    = 200      // what each call allows; it produces 20 to 80

	// How the provider answers in a run of the fleet.
	latency = 100 * time.Millisecond
	rate    = 100 // tokens of a reply a second
)

// A budget is what the account allows, and how fast the provider answers.
type budget struct {
	window                        time.Duration
	requests, tokens, concurrency int64
	latency                       time.Duration
	rate                          int // tokens of a reply a second; 0: all at once
}

// delay is D: the longest time from a grant to where the provider counts the call. The
// processes share their machine with those that they call, so it is generous.
const delay = startWithin + transit

const (
	startWithin = 500 * time.Millisecond
	transit     = 1500 * time.Millisecond
)

// hold is how long a call counts here: until no window at the provider can hold it.
func (b budget) hold() time.Duration { return b.window + delay }

// configuration is that of the service: the account's quotas with no margin, since nobody
// else draws on it, and sliding windows, as the stand-in is stricter than OpenAI's buckets. The projects' limits bind nobody: they keep the sums of an hour.
func (b budget) configuration() string {
	return fmt.Sprintf(`cold_start: trust               # the stand-in is new: nothing was used before
organizations:
  %s:
    accounts:
      main:
        provider: openai
        margin: 0%%
        start_within: %v
        transit: %v
        charge: {refund: true}     # so that what is booked in the end is what was used
        pools:
          m:
            models: [m]
            limits:
              requests: {quota: %d, window: %v, shape: sliding_window}
              tokens: {quota: %d, window: %v, shape: sliding_window}
              concurrency: %d
    projects:
      %s: {limits: {tokens: 1G/1h, concurrency: 1000}}
      %s: {limits: {tokens: 1G/1h, concurrency: 1000}}
priority_classes:
  standard: {}                   # all calls are of one class, so nothing is kept for another
`, organization, startWithin, transit, b.requests, b.window, b.tokens, b.window, b.concurrency, steady, doomed)
}

// A stage is a service and a provider.
type stage struct {
	budget            budget
	service, provider string // addresses
	processes         []*process
	monitor           watermasterv1.MonitorServiceClient
	connection        *grpc.ClientConn
}

var (
	servesGRPC = regexp.MustCompile(`msg=serving .* grpc=(\S+)`)
	servesHTTP = regexp.MustCompile(`serves at (http://\S+)`)
)

// build starts the provider and, if it is wanted, the service.
func build(ctx context.Context, binary, dir string, b budget, wrapped bool) (s *stage, err error) {
	s = &stage{budget: b}
	defer func() {
		if err != nil {
			s.strike()
		}
	}()
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	p, address, err := serve(ctx, "the provider", []string{
		binary, "provider", "--listen", "127.0.0.1:0", "--window", b.window.String(),
		"--requests", n(b.requests), "--tokens", n(b.tokens), "--concurrency", n(b.concurrency),
		"--latency", b.latency.String(), "--rate", strconv.Itoa(b.rate), "--count-rejected", // as OpenAI does
	}, servesHTTP)
	if err != nil {
		return s, err
	}
	s.provider, s.processes = address, append(s.processes, p)
	if !wrapped {
		return s, nil
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(b.configuration()), 0o600); err != nil {
		return s, err
	}
	if p, s.service, err = serve(ctx, "the service", []string{
		binary, "serve", "--config", file, "--grpc", "127.0.0.1:0", "--http", "",
	}, servesGRPC); err != nil {
		return s, err
	}
	s.processes = append(s.processes, p)
	if s.connection, err = grpc.NewClient(s.service, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return s, err
	}
	s.monitor = watermasterv1.NewMonitorServiceClient(s.connection)
	return s, nil
}

// strike ends what build started.
func (s *stage) strike() {
	if s.connection != nil {
		_ = s.connection.Close()
	}
	for _, p := range s.processes {
		p.kill()
	}
}

// A report is what the provider has seen.
type report struct {
	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`
	Statuses map[string]int64 `json:"statuses"`
	Input    int64            `json:"input_tokens"` // as usage says, of those that were cut short, too
	Output   int64            `json:"output_tokens"`
	Limits   []struct {
		Metric   string  `json:"metric"`
		Accepted int64   `json:"accepted"`
		Fullest  float64 `json:"fullest"` // the fullest window there was, of the quota
	} `json:"limits"`
	at time.Time
}

// counted is the sum of what was accepted in a metric.
func (r report) counted(metric string) int64 {
	for _, l := range r.Limits {
		if l.Metric == metric {
			return l.Accepted
		}
	}
	return 0
}

func (r report) fullest() (part float64) {
	for _, l := range r.Limits {
		part = max(part, l.Fullest)
	}
	return part
}

func (s *stage) report(ctx context.Context) (r report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.provider+"/report", nil)
	if err != nil {
		return r, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	r.at = time.Now()
	return r, json.NewDecoder(answer.Body).Decode(&r)
}

// held tells what a project holds of a metric.
func (s *stage) held(ctx context.Context, project, metric string) (int64, error) {
	answer, err := s.monitor.GetHeadroom(ctx, &watermasterv1.GetHeadroomRequest{Organization: organization, Project: project})
	if err != nil {
		return 0, err
	}
	for _, l := range answer.GetHeadroom().GetLimits() {
		if l.GetScope() == "project/"+project && l.GetMetric() == metric {
			return l.GetHeld() + l.GetReserved(), nil
		}
	}
	return 0, fmt.Errorf("project %s has no limit of %s", project, metric)
}
