package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/server/standin"
)

const providerHelp = `Serves a strict stand-in for an LLM provider over HTTP, with an account's rate limits: OpenAI's chat
completions and responses, Anthropic's messages, plain and streamed, with their headers, usage and errors. For tests,
demonstrations, and fleets that want to see how they do at a limit without a bill. Any key and any model will do.

--shape says how the limits count: sliding_window (the strictest: no window, wherever it begins, holds more),
token_bucket or fixed_window; or it is a provider's name, whose shapes and ways to count are taken:
` + "%s.\n" + `
GET / and GET /report say what was seen. Headers of a request make its answer go wrong: x-standin-status (an error),
x-standin-cut (the connection breaks after so many events), x-standin-delay, x-standin-output, x-standin-cached,
x-standin-split.`

const providerExamples = `  watermaster provider --requests 600 --tokens 200000
  watermaster provider --shape anthropic --requests 50 --input-tokens 30000 --output-tokens 8000 --concurrency 20
  curl -sS http://127.0.0.1:8090/v1/chat/completions -H 'authorization: Bearer any' \
       --json '{"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}'`

// providerFlags are the flags of `watermaster provider`.
type providerFlags struct {
	listen        string
	shape         string
	quotas        provider.Quotas
	window        time.Duration
	latency       time.Duration
	rate          float64
	output        int64
	countRejected bool
	insecure      bool
}

func newProvider() *cobra.Command {
	var f providerFlags
	c := &cobra.Command{
		Use:     "provider",
		Short:   "Serves a strict stand-in for an LLM provider",
		Long:    fmt.Sprintf(providerHelp, strings.Join(provider.Presets(), ", ")),
		Example: providerExamples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return f.serve(ctx, c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8090", "`ADDRESS` to serve HTTP on")
	flags.BoolVar(&f.insecure, "insecure", false, "serve beyond this machine, to whoever asks")
	flags.StringVar(&f.shape, "shape", "sliding_window", "how limits count: sliding_window, token_bucket, fixed_window, or a provider's `NAME`")
	flags.Int64Var(&f.quotas.Requests, "requests", 0, "requests in a window; 0: no limit, as for the others")
	flags.Int64Var(&f.quotas.Tokens, "tokens", 0, "tokens in a window, of input and output together")
	flags.Int64Var(&f.quotas.InputTokens, "input-tokens", 0, "input tokens in a window")
	flags.Int64Var(&f.quotas.OutputTokens, "output-tokens", 0, "output tokens in a window")
	flags.Int64Var(&f.quotas.Concurrency, "concurrency", 0, "calls at a time")
	flags.DurationVar(&f.window, "window", time.Minute, "how long a window is")
	flags.DurationVar(&f.latency, "latency", 100*time.Millisecond, "until the first byte of a reply")
	flags.Float64Var(&f.rate, "rate", 100, "tokens of a reply a second; 0: all at once")
	flags.Int64Var(&f.output, "output", 50, "tokens of a reply, where the request does not allow less")
	flags.BoolVar(&f.countRejected, "count-rejected", false, "refused requests count as requests; a provider's NAME says so itself")
	return c
}

// config gives the account that the flags describe.
func (f *providerFlags) config() (c provider.Config, err error) {
	if f.window <= 0 {
		return c, errors.New("--window is above 0")
	}
	shape, ok := standin.ParseShape(f.shape)
	if !ok {
		if c, err = provider.Preset(f.shape, f.quotas); err != nil {
			return c, fmt.Errorf("--shape %s: sliding_window, token_bucket, fixed_window, or with its limits one of %s: %w",
				f.shape, strings.Join(provider.Presets(), ", "), err)
		}
		for i := range c.Limits {
			if l := &c.Limits[i]; l.Window == time.Minute {
				l.Window = f.window
			}
		}
		c.CountRejected = c.CountRejected || f.countRejected
		return c, nil
	}
	c = provider.Config{Charge: provider.Charge{CachedPerMille: 1000}, CountRejected: f.countRejected}
	for _, x := range []struct {
		metric provider.Metric
		quota  int64
	}{
		{provider.Requests, f.quotas.Requests}, {provider.Tokens, f.quotas.Tokens},
		{provider.InputTokens, f.quotas.InputTokens}, {provider.OutputTokens, f.quotas.OutputTokens},
	} {
		if x.quota != 0 {
			c.Limits = append(c.Limits, provider.Limit{Metric: x.metric, Quota: x.quota, Window: f.window, Shape: shape})
		}
	}
	if f.quotas.Concurrency != 0 {
		c.Limits = append(c.Limits, provider.Limit{Metric: provider.Concurrency, Quota: f.quotas.Concurrency, Shape: provider.Stock})
	}
	return c, nil
}

// summaryEvery is how often it is told what was seen, while calls come.
const summaryEvery = 10 * time.Second

// serve serves until the context ends, and then prints what was seen.
func (f *providerFlags) serve(ctx context.Context, w io.Writer) error {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return fmt.Errorf("provider: --listen: %w", err)
	}
	if !isLoopback(f.listen) && !f.insecure {
		return fmt.Errorf("provider: --listen %s can be reached from other machines, and any key will do: bind a loopback address, or say --insecure", f.listen)
	}
	config, err := f.config()
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	s, err := standin.New(standin.Options{Provider: config, Latency: f.latency, Rate: f.rate, Output: f.output})
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("provider: --listen: %w", err)
	}
	// There is no WriteTimeout: a stream takes as long as its reply.
	h := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(listener) }()
	say(w, "a stand-in for a provider serves at http://%s\n%s", listener.Addr(), s.Report())
	if len(config.Limits) == 0 {
		say(w, "it has no limits: --requests, --tokens and others give it some\n")
	}
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	told := int64(0)
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("provider: %w", err)
		case <-tick.C:
			if r := s.Report(); r.Calls != told {
				told = r.Calls
				say(w, "%s  %d calls, %d refused, %d in flight\n", time.Now().Format(time.TimeOnly), r.Calls, r.Refused, r.InFlight)
			}
		case <-ctx.Done():
			stopServing(h)
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("provider: %w", err)
			}
			say(w, "%s", s.Report())
			return nil
		}
	}
}

// stopServing lets replies end for a second.
func stopServing(h *http.Server) {
	over, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := h.Shutdown(over); err != nil {
		_ = h.Close() // its time is over
	}
}

// say writes to people; whether they read it is theirs.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
