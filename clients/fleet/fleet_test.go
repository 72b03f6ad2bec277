package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The fleet is what the issue of all clients is about: three languages, one budget, real
// SDKs, and a third of the workers killed half-way.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about processes that have no race detector")
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	var ready []language
	for _, l := range languages(root) {
		if missing := missing(l); missing != "" {
			t.Logf("without workers in %s: there is no %s; make clients installs it", l.name, missing)
			continue
		}
		ready = append(ready, l)
	}
	if len(ready) == 0 {
		t.Skip("no client is installed; make clients does it")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "watermaster")
	build := exec.Command("go", "build", "-o", binary, "../../server/cmd/watermaster")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	p := plan{
		root: root, binary: binary, dir: dir, languages: ready,
		workers: 200, crews: 3, budget: standard, warm: 2 * standard.hold(), measured: 2 * standard.hold(),
		ttl: 3 * time.Second, wrapped: true,
	}
	r, err := p.run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.late {
		t.Error(err)
	}

	// No 429, and no window over.
	if r.end.Refused > 0 {
		t.Errorf("the provider refused %d calls: %v", r.end.Refused, r.end.Statuses)
	}
	if full := r.end.fullest(); full > 1 {
		t.Errorf("the fullest window held %.4f of its quota", full)
	}
	if got := r.workers; got != 200 {
		t.Errorf("%d workers, want 200", got)
	}
	if r.killed*3 < r.workers-3 {
		t.Errorf("%d of %d workers were killed, want a third", r.killed, r.workers)
	}

	// Used: at least W/(W+D) less 2.5 points, the figure of the windows by themselves.
	if least := float64(p.budget.window)/float64(p.budget.hold()) - .025; r.used < least {
		t.Errorf("used %.3f of the quota of requests, want ≥ %.3f", r.used, least)
	}

	// The dead hold nothing past their leases.
	if most := p.ttl + time.Second; r.heldByDead > most || r.heldByDead < p.ttl/2 {
		t.Errorf("slots were held for %v after the death of their workers, want at most %v, and that there were some", r.heldByDead, most)
	}

	// What the service booked for those that live is what the provider told them; for the
	// dead it is at least what was counted.
	var told int64
	streamed, failed := 0, 0
	for _, c := range r.survivors {
		told += c.Input + c.Output
		if c.Stream {
			streamed++
		}
		if c.Outcome != "ok" {
			if failed++; failed < 5 {
				t.Errorf("%s: %s: %s", c.language, c.Outcome, c.Message)
			}
		}
	}
	if r.booked != told {
		t.Errorf("%d tokens are booked for those that live, and %d were told to them", r.booked, told)
	}
	if used := r.end.Input + r.end.Output - told; r.bookedDead < used {
		t.Errorf("%d tokens are booked for the dead, and they used %d", r.bookedDead, used)
	}
	var victims int64
	for _, c := range r.victims {
		victims += c.Input + c.Output
	}
	if used := r.end.Input + r.end.Output - told; used < victims {
		t.Errorf("the provider has seen %d tokens used by the dead, who were told of %d: those that live were told too much", used, victims)
	}
	if n := len(r.survivors); streamed < n*4/10 || streamed > n*6/10 {
		t.Errorf("%d of %d calls were streamed, want half", streamed, n)
	}
	for _, l := range ready {
		w := waits(r.calls[l.name])
		if len(w) == 0 {
			t.Errorf("no call of %s succeeded", l.name)
		}
		t.Logf("%-10s %4d calls, wait p50 %v, p99 %v", l.name, len(w), quantile(w, .5).Round(time.Millisecond), quantile(w, .99).Round(time.Millisecond))
	}
	t.Logf("used %.3f; fullest window %.4f; slots held for the dead %v; %d tokens booked and told, %d for %d calls of the dead",
		r.used, r.end.fullest(), r.heldByDead.Round(10*time.Millisecond), r.booked, r.bookedDead, len(r.victims))
}

// missing gives what a language's workers need and is not there.
func missing(l language) string {
	if _, err := exec.LookPath(l.command[0]); err != nil {
		return l.command[0]
	}
	if _, err := os.Stat(l.needs); err != nil {
		return l.needs
	}
	return ""
}
