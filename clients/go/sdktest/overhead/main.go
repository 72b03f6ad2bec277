// Overhead measures what the wrapper costs over a bare call; the benchmarks of clients/fleet
// run it. It prints a line of JSON: seconds and seconds of this process's CPU a call, bare
// and wrapped, in rounds that take turns; or, with --streams, the bytes of memory that each
// open stream takes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
)

var (
	service      = flag.String("service", "", "")
	provider     = flag.String("provider", "", "")
	organization = flag.String("organization", "", "")
	project      = flag.String("project", "", "")
	inFlight     = flag.Int("in-flight", 1, "")
	number       = flag.Int("calls", 200, "")
	rounds       = flag.Int("rounds", 5, "")
	streams      = flag.Int("streams", 0, "")
)

var ask = openai.ChatCompletionNewParams{
	Model: "m", MaxTokens: openai.Int(20),
	Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(strings.Repeat("What does a call cost? ", 20))},
}

func main() {
	flag.Parse()
	var result any
	err := error(nil)
	if *streams > 0 {
		result, err = open()
	} else {
		result, err = measure()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

// sdk gives a client of its own connections, wrapped if it is said so.
func sdk(wrapped bool) (openai.Client, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 1000
	var transport http.RoundTripper = base
	if wrapped {
		limiter, err := watermaster.New(*service, watermaster.Options{Organization: *organization, Project: *project})
		if err != nil {
			return openai.Client{}, err
		}
		transport = watermaster.NewTransport(limiter, base)
	}
	return openai.NewClient(
		option.WithBaseURL(*provider+"/v1/"), option.WithAPIKey("any"), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: transport}),
	), nil
}

func measure() (any, error) {
	var took [2][2][]float64 // bare and wrapped; wall and CPU
	for round := range *rounds + 1 {
		for which := range 2 {
			client, err := pair(which == 1)
			if err != nil {
				return nil, err
			}
			wall, used := time.Now(), cpu()
			if err := calls(client); err != nil {
				return nil, err
			}
			if round == 0 {
				continue // it warms up
			}
			took[which][0] = append(took[which][0], time.Since(wall).Seconds()/float64(*number))
			took[which][1] = append(took[which][1], (cpu()-used)/float64(*number))
		}
	}
	return map[string]float64{
		"bare": median(took[0][0]), "bare_cpu": median(took[0][1]),
		"wrapped": median(took[1][0]), "wrapped_cpu": median(took[1][1]),
	}, nil
}

var clients [2]*openai.Client

func pair(wrapped bool) (openai.Client, error) {
	i := 0
	if wrapped {
		i = 1
	}
	if clients[i] == nil {
		c, err := sdk(wrapped)
		if err != nil {
			return c, err
		}
		clients[i] = &c
	}
	return *clients[i], nil
}

func calls(client openai.Client) error {
	var (
		done   atomic.Int64
		all    sync.WaitGroup
		mu     sync.Mutex
		failed []error
	)
	for range *inFlight {
		all.Go(func() {
			for done.Add(1) <= int64(*number) {
				if _, err := client.Chat.Completions.New(context.Background(), ask); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func open() (any, error) {
	client, err := sdk(*service != "")
	if err != nil {
		return nil, err
	}
	var held []any // what is dropped is closed
	begin := func() error {
		stream := client.Chat.Completions.NewStreaming(context.Background(), ask)
		if !stream.Next() {
			return stream.Err()
		}
		held = append(held, stream)
		return nil
	}
	if err := begin(); err != nil {
		return nil, err
	}
	before := resident()
	for range *streams {
		if err := begin(); err != nil {
			return nil, err
		}
	}
	took := resident() - before
	runtime.KeepAlive(held)
	return map[string]float64{"stream": float64(took) / float64(*streams)}, nil
}

// resident is what is in use of the heap and of stacks: what the process has of the system
// changes in steps.
func resident() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // far below
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
