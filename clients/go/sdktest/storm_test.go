package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
	"github.com/watermaster-project/watermaster/clients/go/internal/process"
)

// The storm's limits are those of its provider, so that a call too many would be refused. The other
// account is for failures of money (429): they close all of it for a minute, as they should.
const stormConfig = `
cold_start: trust
organizations:
  acme:
    accounts:
      main: {provider: openai, pools: {all: {models: [m], limits: {requests: 300/3s, tokens: 1M/3s, concurrency: 40}}}}
      spent: {provider: openai, pools: {all: {models: [spent-m], limits: {concurrency: 40}}}}
    projects:
      "*": {weight: 1}
`

// Fifty workers end their calls in every way there is. When they are through, the service holds
// nothing for them, long before a lease expires, and the provider has had no call too many.
func TestStorm(t *testing.T) {
	s := own(t, stormConfig)
	p := must[*process.Process](t)(process.Provide("--shape", "openai", "--latency", "1ms", "--rate", "0", "--output", "12", "--requests", "300", "--tokens", "1000000", "--window", "3s"))
	t.Cleanup(p.Kill)
	const processes, each, calls = 5, 10, 8
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// What is dropped unread is held until it is found to be garbage, and workers that wait for
	// its place make none.
	go func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			runtime.GC()
		}
	}()
	var all sync.WaitGroup
	var tally storm
	var workers []*worker
	for i := range processes {
		w := newWorker(t, s.Address, p.Address, watermaster.Options{Account: "main", MaxWait: 20 * time.Second})
		spent := newWorker(t, s.Address, "", watermaster.Options{Account: "spent", MaxWait: time.Second})
		workers = append(workers, w, spent)
		for j := range each {
			random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			all.Go(func() {
				for range calls {
					tally.call(ctx, t, w, spent, random)
				}
			})
		}
	}
	all.Wait()
	t.Log(tally.String())
	for i := range tally.ended {
		if tally.ended[i].Load() == 0 {
			t.Errorf("no call %s", stormEnds[i])
		}
	}
	workers[0].idle(t, "main")
	workers[1].idle(t, "spent")
	for _, w := range workers {
		if s := w.limiter.Stats(); s.Open != 0 || s.Dropped != 0 {
			t.Errorf("left: %+v", s)
		}
	}
	resp := must[*http.Response](t)(http.Get("http://" + p.Address + "/report"))
	defer resp.Body.Close()
	var seen struct {
		Calls, Refused int
		InFlight       int `json:"in_flight"`
		Statuses       map[int]int
	}
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil || seen.Refused != 0 || seen.Calls < processes*each*calls/2 {
		t.Errorf("the provider has seen %+v, %v", seen, err)
	}
}

var stormEnds = []string{"read", "streamed", "cancelled", "closed half-way", "dropped unread", "cut", "500", "503", "429"}

// storm counts calls by how they ended.
type storm struct{ ended [9]atomic.Int64 }

func (s *storm) String() string {
	var b strings.Builder
	for i := range s.ended {
		fmt.Fprintf(&b, "%s: %d, ", stormEnds[i], s.ended[i].Load())
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// call makes one call that ends in a way by chance.
func (s *storm) call(ctx context.Context, t *testing.T, w, spent *worker, random *rand.Rand) {
	end := random.IntN(len(s.ended) + 4)
	if end >= len(s.ended) {
		end = slices.Index(stormEnds, "cancelled") // most of them while they wait, when much may go wrong
	}
	header := func(name, value string) option.RequestOption { return option.WithHeader("x-standin-"+name, value) }
	stream := func(o ...option.RequestOption) (events int, err error) {
		stream := w.openai.Chat.Completions.NewStreaming(ctx, chat("m"), o...)
		defer stream.Close()
		for stream.Next() {
			events++
		}
		return events, stream.Err()
	}
	// Overload and faults close nothing, but the wrapper repeats them after a second or more.
	failed := func(w *worker, model, status string) {
		_, err := w.openai.Chat.Completions.New(ctx, chat(model), header("status", status), option.WithHeader("x-watermaster-max-wait", "1.5s"))
		if got, resp := statusOf(t, err); fmt.Sprint(got) != status && resp.Header.Get("X-Watermaster-Reason") == "" {
			t.Errorf("asked for %s, got %v", status, err)
		}
	}
	var err error
	switch stormEnds[end] {
	case "read":
		_, err = w.openai.Chat.Completions.New(ctx, chat("m"))
	case "streamed":
		_, err = stream()
	case "cancelled":
		ctx, cancel := context.WithTimeout(ctx, time.Duration(1+random.IntN(80))*time.Millisecond)
		defer cancel()
		if _, err := w.openai.Chat.Completions.New(ctx, chat("m"), header("delay", "1m")); ctx.Err() == nil {
			t.Errorf("not cancelled: %v %s", err, wordsOf(err))
		}
	case "closed half-way":
		stream := w.openai.Chat.Completions.NewStreaming(ctx, chat("m"))
		stream.Next()
		err = stream.Err()
		stream.Close()
	case "dropped unread":
		var raw *http.Response
		_, err = w.openai.Chat.Completions.New(ctx, chat("m"), option.WithResponseBodyInto(&raw))
	case "cut":
		if events, broken := stream(header("cut", "2")); broken == nil || events != 2 {
			t.Errorf("%d events, %v", events, broken)
		}
	case "500", "503":
		failed(w, "m", stormEnds[end])
	case "429":
		failed(spent, "spent-m", "429")
	}
	if err != nil {
		t.Errorf("%s: %v", stormEnds[end], err)
	}
	s.ended[end].Add(1)
}
