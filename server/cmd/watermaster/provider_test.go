package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A page is what a command has printed so far.
type page struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestProvider: the command serves, and tells at its end what it has seen.
func TestProvider(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out page
	root := newRoot()
	root.SetArgs([]string{"provider", "--listen", "127.0.0.1:0", "--requests", "1", "--latency", "0", "--rate", "0"})
	root.SetErr(&out)
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	address := regexp.MustCompile(`http://\S+`)
	for start := time.Now(); address.FindString(out.String()) == ""; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("it does not serve: %s", out.String())
		}
	}
	for _, want := range []int{200, 429} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, address.FindString(out.String())+"/v1/messages",
			strings.NewReader(`{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Api-Key", "any")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if w.StatusCode != want {
			t.Errorf("got %d, want %d", w.StatusCode, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "2 calls in") || !strings.Contains(out.String(), "1 refused") {
		t.Errorf("it told %s", out.String())
	}
}

// TestProviderFlags say what is wrong with them.
func TestProviderFlags(t *testing.T) {
	for _, tt := range []struct{ args, says string }{
		{"--shape round", "sliding_window, token_bucket, fixed_window"},
		{"--shape openai --input-tokens 5", "openai has no limit of input_tokens"},
		{"--requests -1", "quota -1"},
		{"--window 0s --requests 1", "--window is above 0"},
		{"--latency -1s", "not below 0"},
		{"--listen nowhere", "--listen"},
		{"--listen 0.0.0.0:0", "say --insecure"},
	} {
		root := newRoot()
		root.SetArgs(append([]string{"provider", "--listen", "127.0.0.1:0"}, strings.Fields(tt.args)...))
		root.SetErr(&page{})
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.args, err, tt.says)
		}
	}
}
