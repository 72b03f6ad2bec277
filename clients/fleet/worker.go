package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// A language is one of those that have a client, and the command of its workers.
type language struct {
	name    string
	command []string
	needs   string // a file that is there once `make clients` has been run
}

// languages gives the commands of the workers, in the repository at root. `make clients`
// installs what they need.
func languages(root string) []language {
	return []language{
		{"Python", []string{root + "/.bin/clients/bin/python", root + "/clients/python/tests/worker.py"}, root + "/.bin/clients/bin/python"},
		{"TypeScript", []string{"node", root + "/clients/typescript/test/worker.mjs"}, root + "/clients/typescript/node_modules/openai"},
		{"Go", []string{root + "/.bin/worker"}, root + "/.bin/worker"},
	}
}

// A call is a line that a worker writes when a call has ended.
type call struct {
	Outcome string  `json:"outcome"` // ok, refused (by the wrapper), throttled (429 of the provider after the SDK's retries) or error
	Stream  bool    `json:"stream"`
	Seconds float64 `json:"seconds"` // from asking to the first event, or to the answer
	Input   int64   `json:"input"`   // usage as the SDK shows it
	Output  int64   `json:"output"`
	Message string  `json:"message"` // of an error

	language string
	at       time.Time
}

// A crew is the workers of one process.
type crew struct {
	*process
	language string
	doomed   bool // it is killed half-way

	ready    chan struct{}
	mu       sync.Mutex
	calls    []call
	finished bool // it has ended by itself, with all of its releases delivered
}

// An order is what a crew has to do.
type order struct {
	service  string // empty: without the wrapper
	provider string
	project  string
	workers  int
	seconds  float64
	seed     int
	ttl      time.Duration
}

func (o order) flags() []string {
	return []string{
		"--service", o.service, "--provider", o.provider, "--organization", organization, "--project", o.project,
		"--workers", strconv.Itoa(o.workers), "--seconds", strconv.FormatFloat(o.seconds, 'f', -1, 64),
		"--seed", strconv.Itoa(o.seed), "--lease-ttl", strconv.FormatFloat(o.ttl.Seconds(), 'f', -1, 64),
		"--max-tokens", strconv.Itoa(maxTokens),
	}
}

// muster starts a crew and waits until it is ready. It begins at a line on its input.
func muster(ctx context.Context, l language, o order) (*crew, error) {
	c := &crew{language: l.name, ready: make(chan struct{})}
	var once sync.Once
	p, err := start(l.name, "", append(append([]string(nil), l.command...), o.flags()...), func(line string) bool {
		var said struct {
			call
			Ready bool `json:"ready"`
			Done  bool `json:"done"`
		}
		if json.Unmarshal([]byte(line), &said) != nil {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case said.Ready:
			once.Do(func() { close(c.ready) })
		case said.Done:
			c.finished = true
		case said.Outcome != "":
			said.call.language, said.call.at = l.name, time.Now()
			c.calls = append(c.calls, said.call)
		default:
			return false
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	c.process = p
	select {
	case <-c.ready:
		return c, nil
	case <-p.done:
		return nil, fmt.Errorf("a worker of %s has ended:\n%s", l.name, p.said())
	case <-ctx.Done():
		p.kill()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("a worker of %s is not ready:\n%s", l.name, p.said()))
	}
}

func (c *crew) begin() error {
	_, err := fmt.Fprintln(c.in, "go")
	return err
}

func (c *crew) told() (calls []call, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]call(nil), c.calls...), c.finished
}
