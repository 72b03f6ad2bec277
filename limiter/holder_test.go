package limiter

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// observed is an engine with a stock of one, so that the second caller waits.
func observed() *Engine {
	e := New()
	e.Apply(&Configure{
		Generation: 1, MaxProjects: 10,
		Classes:  []ClassSpec{{Name: "standard", Weight: 1}},
		Limits:   []LimitSpec{{Name: "requests/min", Metric: Requests, Quota: 100, Window: time.Minute}},
		Projects: []ProjectSpec{{Name: "p", Weight: 1, Limits: []LimitSpec{{Name: "requests/s", Metric: Requests, Quota: 9, Window: time.Second}}}},
		Template: &ProjectSpec{Weight: 1, Limits: []LimitSpec{{Name: "requests/s", Metric: Requests, Quota: 5, Window: time.Second}}},
		Pools: []PoolSpec{{Name: "a/x", Models: []string{"m"}, StartWithin: 700 * time.Millisecond, Limits: []LimitSpec{
			{Name: "concurrency", Metric: Concurrency, Shape: Stock, Quota: 1}}}},
	}, 1, nil)
	return e
}

func asking(n uint64, project string, arrived Time) *Acquire {
	return &Acquire{Key: Key{byte(n)}, Lease: LeaseID{1, n}, Project: project, Class: "standard", Arrived: arrived,
		MaxWait: time.Hour, TTL: time.Minute, Targets: []Target{{Pool: "a/x", Model: "m", Charges: []Charge{
			{Requests, ToOwner, 1}, {Concurrency, ToPool, 1}}}}}
}

func TestGrant(t *testing.T) {
	const second = Time(time.Second)
	e := observed()
	if g, ok := e.Grant(LeaseID{1, 1}); ok {
		t.Errorf("got %+v of a lease that never was", g)
	}
	e.Apply(asking(1, "p", 10*second), 10*second, nil)
	e.Apply(asking(2, "q", 11*second), 12*second, nil)
	if g, ok := e.Grant(LeaseID{1, 2}); ok {
		t.Errorf("got %+v of one that waits", g)
	}
	e.Apply(&Release{Lease: LeaseID{1, 1}}, 15*second, nil)

	within := Time(700 * time.Millisecond)
	tests := []struct {
		lease LeaseID
		want  Grant
	}{
		{LeaseID{1, 1}, Grant{"p", 10 * second, 10*second + within, true}},
		{LeaseID{1, 2}, Grant{"q", 11 * second, 15*second + within, false}},
	}
	for _, tt := range tests {
		if got, ok := e.Grant(tt.lease); !ok || got != tt.want {
			t.Errorf("lease %v: got %+v, %v, want %+v", tt.lease, got, ok, tt.want)
		}
	}

	e.Apply(&Tick{}, 80*second, nil) // the lease has expired, and may be settled yet
	if got, ok := e.Grant(LeaseID{1, 2}); !ok || got != tests[1].want {
		t.Errorf("expired: got %+v, %v, want %+v", got, ok, tests[1].want)
	}
	e.Apply(&Configure{Generation: 2, Classes: []ClassSpec{{Name: "standard", Weight: 1}}}, 81*second, nil)
	if got, ok := e.Grant(LeaseID{1, 2}); !ok || got.StartBy != Never {
		t.Errorf("without its pool: got %+v, %v, want a start by any time", got, ok)
	}
}

// TestCounts: leases are counted while they are in force, and no longer while they are
// remembered; also by an engine that was loaded.
func TestCounts(t *testing.T) {
	e := observed()
	steps := []struct {
		name            string
		command         Command
		now             time.Duration
		leases, waiting int
	}{
		{"granted", asking(1, "p", 0), time.Second, 1, 0},
		{"queued", asking(2, "p", 0), 2 * time.Second, 1, 1},
		{"settled, so the next goes", &Release{Lease: LeaseID{1, 1}}, 3 * time.Second, 1, 0},
		{"settled again", &Release{Lease: LeaseID{1, 1}}, 4 * time.Second, 1, 0},
		{"expired", &Tick{}, 64 * time.Second, 0, 0},
		{"released late", &Release{Lease: LeaseID{1, 2}}, 65 * time.Second, 0, 0},
		{"granted, then taken back", asking(3, "p", 0), 66 * time.Second, 1, 0},
		{"taken back", &Cancel{Key: Key{3}, Lease: LeaseID{1, 3}, Departure: Gone}, 67 * time.Second, 0, 0},
		{"restored", &Restore{Leases: []LeaseState{
			{Lease: LeaseID{9, 1}, Project: "p", Class: "standard", Pool: "a/x", Model: "m", TTL: time.Minute, Left: time.Minute},
			{Lease: LeaseID{9, 2}, Project: "p", Class: "standard", Pool: "a/x", Model: "m", TTL: time.Minute, Settled: true},
		}}, 68 * time.Second, 1, 0},
	}
	for _, s := range steps {
		e.Apply(s.command, Time(s.now), nil)
		loaded, err := Load(e.Snapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []*Engine{e, loaded} {
			if leases, waiting := e.Counts(); leases != s.leases || waiting != s.waiting {
				t.Errorf("%s: %d leases and %d waiters, want %d and %d", s.name, leases, waiting, s.leases, s.waiting)
			}
		}
	}
}

func TestLimitsOf(t *testing.T) {
	e := observed()
	for i, project := range []string{"p", "q", "r"} {
		e.Apply(asking(uint64(i+1), project, 0), Time(time.Second), nil)
	}
	now := Time(2 * time.Second)
	var want []Limit
	for _, l := range e.Limits(now) {
		if l.Owner != "r" {
			want = append(want, l)
		}
	}
	got := e.LimitsOf(now, []string{"q", "unknown", "p"})
	byID := func(a, b Limit) int { return int(a.ID) - int(b.ID) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if len(got) != 4 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
