// Worker is the workers of the fleet (clients/fleet) in Go: calls through the official SDK,
// one after the other. A line of JSON tells of each call; the flags are the same in all
// languages.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
)

// A call is what a line tells of it.
type call struct {
	Outcome string  `json:"outcome"`
	Stream  bool    `json:"stream"`
	Seconds float64 `json:"seconds"`
	Input   int64   `json:"input"`
	Output  int64   `json:"output"`
	Message string  `json:"message,omitempty"`
}

type worker struct {
	client    openai.Client
	maxTokens int64
	tell      func(any)
}

func (w worker) work(ctx context.Context, seed uint64, end time.Time) {
	chance := rand.New(rand.NewPCG(seed, 1))
	time.Sleep(time.Duration(chance.Int64N(int64(time.Second))))
	for time.Now().Before(end) {
		stream := chance.Float64() < .5
		words := make([]string, 20+chance.IntN(101))
		for i := range words {
			words[i] = []string{"river", "lock", "weir", "gauge", "sluice"}[chance.IntN(5)]
		}
		ask := openai.ChatCompletionNewParams{
			Model: "m", MaxTokens: openai.Int(w.maxTokens),
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(strings.Join(words, " "))},
		}
		output := option.WithHeader("x-standin-output", strconv.Itoa(20+chance.IntN(61)))
		began := time.Now()
		c, err := w.ask(ctx, ask, stream, output)
		if err != nil {
			c.Seconds, c.Outcome, c.Message = time.Since(began).Seconds(), "error", err.Error()
			if apiError := (*openai.Error)(nil); errors.As(err, &apiError) && apiError.StatusCode == http.StatusTooManyRequests {
				c.Outcome = "throttled"
				if apiError.Response.Header.Get("x-watermaster-reason") != "" {
					c.Outcome = "refused"
				}
			}
		}
		w.tell(c)
	}
}

func (w worker) ask(ctx context.Context, ask openai.ChatCompletionNewParams, stream bool, output option.RequestOption) (call, error) {
	c := call{Outcome: "ok", Stream: stream}
	began := time.Now()
	if !stream {
		answer, err := w.client.Chat.Completions.New(ctx, ask, output)
		if err != nil {
			return c, err
		}
		c.Seconds, c.Input, c.Output = time.Since(began).Seconds(), answer.Usage.PromptTokens, answer.Usage.CompletionTokens
		return c, nil
	}
	ask.StreamOptions.IncludeUsage = openai.Bool(true)
	events := w.client.Chat.Completions.NewStreaming(ctx, ask, output)
	defer func() { _ = events.Close() }()
	for events.Next() {
		if c.Seconds == 0 {
			c.Seconds = time.Since(began).Seconds()
		}
		if u := events.Current().Usage; u.TotalTokens > 0 {
			c.Input, c.Output = u.PromptTokens, u.CompletionTokens
		}
	}
	return c, events.Err()
}

func main() {
	var (
		service      = flag.String("service", "", "")
		provider     = flag.String("provider", "", "")
		organization = flag.String("organization", "", "")
		project      = flag.String("project", "", "")
		workers      = flag.Int("workers", 1, "")
		seconds      = flag.Float64("seconds", 10, "")
		seed         = flag.Uint64("seed", 1, "")
		ttl          = flag.Float64("lease-ttl", 30, "")
		maxTokens    = flag.Int64("max-tokens", 200, "")
	)
	flag.Parse()
	var mu sync.Mutex
	lines := json.NewEncoder(os.Stdout)
	tell := func(what any) {
		mu.Lock()
		defer mu.Unlock()
		_ = lines.Encode(what)
	}
	options := []option.RequestOption{option.WithBaseURL(*provider + "/v1/"), option.WithAPIKey("any")}
	var limiter *watermaster.Limiter
	if *service != "" {
		var err error
		limiter, err = watermaster.New(*service, watermaster.Options{
			Organization: *organization, Project: *project, LeaseTTL: time.Duration(*ttl * float64(time.Second)),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		options = append(options, option.WithHTTPClient(&http.Client{Transport: watermaster.NewTransport(limiter, nil)}))
	}
	w := worker{openai.NewClient(options...), *maxTokens, tell}
	tell(map[string]bool{"ready": true})
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	var all sync.WaitGroup
	for i := range *workers {
		all.Go(func() { w.work(context.Background(), *seed*1000+uint64(i), end) })
	}
	all.Wait()
	if limiter != nil {
		if err := limiter.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	tell(map[string]bool{"done": true})
}
