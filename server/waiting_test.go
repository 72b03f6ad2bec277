package server

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// few lets one call run in each of two organizations; %s bounds who waits in the first.
const few = `
cold_start: trust
priority_classes:
  interactive: {weight: 16, max_wait: 1h}
  standard: {weight: 4, max_wait: 1h%s}
organizations:
  acme:
    accounts: {a: {provider: openai, margin: 0%%, pools: {p: {models: [m], limits: {concurrency: 1}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
    max_projects: 3
    max_waiting: %s
  other:
    accounts: {a: {provider: openai, margin: 0%%, pools: {p: {models: [m], limits: {concurrency: 1}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

func of(organization string) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.Organization = organization }
}

// TestMostWaiting: as many wait as the class, the organization and the server allow. One more
// is refused at once, whoever waits already is not, and what is bounded elsewhere waits.
func TestMostWaiting(t *testing.T) {
	const most = 5
	tests := []struct {
		what          string
		class, org    string
		all           int
		others, heavy bool // whether the other organization, the other class can still wait
	}{
		{"of a class", ", max_waiting: 5", "100", 100, true, true},
		{"in an organization", "", "5", 100, true, false},
		{"in all", "", "100", most, false, false},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			w := newWorldOf(t, Options{
				Config: parse(t, fmt.Sprintf(few, tt.class, tt.org)), Log: memory.Open(memory.Options{}), MaxWaiting: tt.all,
			})
			defer w.close()
			w.grant(ask("held", of("acme")))
			w.grant(ask("held", of("other")))
			var waiters []<-chan answered
			for i := range most {
				waiters = append(waiters, w.later(w.t.Context(), ask(name("r", i), of("acme"))))
			}
			try := func(r *pb.AcquireRequest) bool {
				t.Helper()
				start := time.Now()
				a := w.acquire(r)
				if d := a.GetRejected(); d != nil && (d.Reason != pb.Reason_REASON_QUEUE_FULL || time.Since(start) != 0) {
					t.Errorf("%s: got %v after %v, want QUEUE_FULL at once", tt.what, d, time.Since(start))
				}
				return a.GetWait() != nil
			}
			if try(ask("more", of("acme"), block(0))) {
				t.Errorf("%s: more than %d wait", tt.what, most)
			}
			if !try(ask(name("r", 0), of("acme"), block(0))) {
				t.Errorf("%s: who waits was refused", tt.what)
			}
			if got := try(ask("heavy", of("acme"), class("interactive"), block(0))); got != tt.heavy {
				t.Errorf("%s: another class waits: %v, want %v", tt.what, got, tt.heavy)
			}
			if got := try(ask("other", of("other"), block(0))); got != tt.others {
				t.Errorf("%s: another organization waits: %v, want %v", tt.what, got, tt.others)
			}
			for i, c := range waiters {
				if a := <-c; a.err != nil || a.GetWait() == nil {
					t.Errorf("%s: waiter %d got %v, %v", tt.what, i, a.AcquireResponse, a.err)
				}
			}
		})
	}
}

// TestMostWaitingAtOnce: those who come at the same time, over a log that takes its time, are
// not more than the bound either.
func TestMostWaitingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, come = 10, 200
		log := &slowLog{Log: memory.Open(memory.Options{}), delay: 10 * time.Millisecond}
		w := newWorldOf(t, Options{Config: parse(t, fmt.Sprintf(few, "", "100")), Log: log, MaxWaiting: most})
		defer w.close()
		w.grant(ask("held", of("acme")))
		w.grant(ask("held", of("other")))
		var all []<-chan answered
		for i := range come {
			all = append(all, w.later(w.t.Context(), ask(name("r", i), of([]string{"acme", "other"}[i%2]))))
		}
		time.Sleep(time.Second)
		n := w.server.waiting.Load()
		if n > most || n == 0 {
			t.Errorf("%d wait, want at most %d", n, most)
		}
		waited := 0
		for _, c := range all {
			a := <-c
			switch {
			case a.err != nil:
				t.Error(a.err)
			case a.GetWait() != nil:
				waited++
			case a.GetRejected().GetReason() != pb.Reason_REASON_QUEUE_FULL:
				t.Errorf("got %v, want wait or QUEUE_FULL", a.AcquireResponse)
			}
		}
		if waited != int(n) {
			t.Errorf("%d have waited, want %d", waited, n)
		}
	})
}

// TestMostProjects: an organization has as many projects as it may, and is not filled up by
// names that callers make up.
func TestMostProjects(t *testing.T) {
	inWorld(t, fmt.Sprintf(few, "", "100"), memory.Options{}, func(w *world) {
		project := func(p string) func(*pb.AcquireRequest) {
			return func(r *pb.AcquireRequest) { r.Project = p }
		}
		w.grant(ask("a", of("acme"), project("a")))
		for _, p := range []string{"b", "c"} {
			w.later(w.t.Context(), ask(p, of("acme"), project(p)))
		}
		_, err := w.Acquire(w.t.Context(), ask("d", of("acme"), project("d"), block(0)))
		wantCode(t, err, codes.ResourceExhausted)
		if a := w.acquire(ask("b2", of("acme"), project("b"), block(0))); a.GetWait() == nil {
			t.Errorf("got %v, want wait", a)
		}
		time.Sleep(25 * time.Hour) // nobody asks for them any more
		w.grant(ask("d", of("acme"), project("d")))
	})
}
