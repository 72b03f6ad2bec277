package top

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// limit makes a limit of a minute that is used to some part, with a trend up to there.
func limit(scope, metric string, quota, held int64) *pb.LimitHeadroom {
	use := float64(held) / float64(quota)
	l := &pb.LimitHeadroom{
		Scope: scope, Name: metric + "/min", Metric: metric, Shape: pb.LimitShape_LIMIT_SHAPE_SLIDING_WINDOW,
		Window: durationpb.New(time.Minute), Quota: quota, EffectiveQuota: quota, Held: held,
		Remaining: max(0, quota-held), Utilization: use,
		Trend: &pb.Trend{Step: durationpb.New(time.Minute), SlopePerHour: use},
		ByClass: []*pb.ClassHeadroom{
			{PriorityClass: "interactive", Held: held / 4, Utilization: use / 4},
			{PriorityClass: "batch", Held: held - held/4, Utilization: use * 3 / 4},
		},
	}
	for i := range 60 {
		l.Trend.Utilization = append(l.Trend.Utilization, use*float64(i+1)/60)
	}
	return l
}

func headroom(limits ...*pb.LimitHeadroom) *pb.Headroom {
	return &pb.Headroom{
		Organization: "acme", ConfigRevision: 3, Limits: limits,
		Time: timestamppb.New(time.Date(2026, 11, 25, 14, 3, 5, 0, time.UTC)),
	}
}

// busy is an organization in trouble: a debt, a pool that is closed, one that is blocked,
// and callers that wait.
func busy() *pb.Headroom {
	cost := limit("organization", "cost", 500_000_000, 12_345_678)
	cost.Name, cost.Window, cost.Shape = "cost/day", durationpb.New(24*time.Hour), pb.LimitShape_LIMIT_SHAPE_CALENDAR

	requests := limit("pool/azure-east/gpt-5", "requests", 100, 95)
	requests.Gates = []*pb.PoolGate{{Remaining: durationpb.New(12 * time.Second)}}
	requests.TimeToExhaustion = durationpb.New(190 * time.Second)

	debt := limit("pool/openai-main/gpt-5", "tokens", 200_000, 252_000)
	debt.EffectiveQuota, debt.Remaining, debt.Utilization = 180_000, 0, 1.4
	debt.ByClass[0].Waiting, debt.ByClass[0].LongestWait = 3, durationpb.New(1500*time.Millisecond)
	debt.ByClass[1].Waiting, debt.ByClass[1].LongestWait = 1234, durationpb.New(95*time.Second)
	debt.TopConsumers = []*pb.Consumer{
		{Project: "search", Held: 151_200, Utilization: 0.84},
		{Project: "reports", Held: 90_000, Utilization: 0.5},
		{Project: "チャット", Held: 10_800, Utilization: 0.06},
	}

	stock := limit("pool/openai-main/gpt-5", "concurrency", 40, 33)
	stock.Name, stock.Window, stock.Shape = "concurrency", nil, pb.LimitShape_LIMIT_SHAPE_STOCK
	stock.Reserved, stock.Remaining = 1, 6
	stock.Gates = []*pb.PoolGate{
		{Remaining: durationpb.New(4 * time.Second), Metric: "tokens"},
		{Remaining: durationpb.New(15 * time.Minute), Blocked: true},
	}
	idle := limit("project/nightly", "tokens", 4_000_000, 0)
	idle.Trend, idle.Name = nil, "burst"
	return headroom(cost, requests, stock, debt, idle)
}

// shared is an organization with three replicas, of which one has been silent for a while, and
// another is waited for.
func shared() *pb.Headroom {
	h := headroom(limit("pool/openai-main/gpt-5", "tokens", 200_000, 120_000))
	h.Log = &pb.SharedLog{
		Position: "1795636202123-0", End: "1795636202123-1", Age: durationpb.New(40 * time.Millisecond),
		Entries: 1234, LogBytes: 345_678, SnapshotBytes: 98_765, Behaviour: 2,
		RollCall: &pb.RollCall{Since: durationpb.New(1200 * time.Millisecond), Missing: 1},
		Replicas: []*pb.Replica{
			{Incarnation: "00ff3a5c11223344", Self: true, Heard: durationpb.New(40 * time.Millisecond), Behaviour: 3, Waiting: 12},
			{Incarnation: "a1b2c3d4e5f60718", Heard: durationpb.New(900 * time.Millisecond), Behaviour: 2},
			{Incarnation: "ffffffff\x1b[31m", Heard: durationpb.New(200 * time.Second), Behaviour: 2, Waiting: 20_000},
		},
	}
	return h
}

// away is an organization whose store cannot be reached by the replica that answers.
func away() *pb.Headroom {
	h := shared()
	h.Log.End, h.Log.Entries, h.Log.RollCall, h.Log.Away = "", 0, nil, durationpb.New(75*time.Second)
	return h
}

// wide has names as long as they may be, of letters of every width, and with signs that
// would take over the terminal.
func wide() *pb.Headroom {
	projects := []string{
		strings.Repeat("調", 128), strings.Repeat("é", 128), strings.Repeat("e\u0301", 64),
		strings.Repeat("조사", 64), "red\x1b[31m\u202egnol\u200b" + strings.Repeat("x", 100), strings.Repeat("🙂", 128),
	}
	h := headroom()
	h.Organization = strings.Repeat("組", 128)
	for i, p := range projects {
		l := limit("project/"+p, "tokens", 1000, int64(100*i))
		l.TopConsumers = []*pb.Consumer{{Project: p, Held: 100, Utilization: 0.1}}
		h.Limits = append(h.Limits, l)
	}
	long := strings.Repeat("a", 127)
	h.Limits = append(h.Limits, limit("pool/"+long+"1/"+long+"2", strings.Repeat("b", 64), 1_000_000_000_000_000, 999_999_999_999_999))
	return h
}

// many are 500 limits.
func many() *pb.Headroom {
	h := headroom()
	for i := range 500 {
		h.Limits = append(h.Limits, limit(fmt.Sprintf("pool/account-%02d/model-%d", i/20, i%20), "requests", 1000, int64(i*2)))
	}
	return h
}

// scenes are the screens of the golden files.
func scenes() map[string]State {
	marked := many()
	key := keyOf(marked.Limits[100])
	connected := func(s State) State {
		s.Address, s.Connected = "127.0.0.1:8081", true
		return s
	}
	return map[string]State{
		"connecting": {Address: "127.0.0.1:8081"},
		"refused":    {Address: "127.0.0.1:8081", Trouble: "dial tcp 127.0.0.1:8081: connect: connection refused"},
		"empty":      connected(State{Headroom: headroom()}),
		"busy":       connected(State{Headroom: busy()}),
		"details":    connected(State{Headroom: busy(), Details: true, Age: 2 * time.Second}),
		"lost":       {Address: "127.0.0.1:8081", Headroom: busy(), Trouble: "the server is shutting down", Age: 20 * time.Second},
		"wide":       connected(State{Headroom: wide(), Order: ByName, Details: true}),
		"many":       connected(State{Headroom: many()}),
		"scrolled":   connected(State{Headroom: marked, Marked: key, Order: ByName}),
		"filtered":   connected(State{Headroom: marked, Filter: "ACCOUNT-07", Order: ByName}),
		"typing":     connected(State{Headroom: marked, Filter: "no such", Typing: true}),
		"shared":     connected(State{Headroom: shared()}),
		"replicas":   connected(State{Headroom: shared(), Replicas: true, Age: time.Second}),
		"away":       connected(State{Headroom: away(), Replicas: true}),
		"alone":      connected(State{Headroom: headroom(), Replicas: true}),
		"help":       connected(State{Headroom: busy(), Help: true}),
	}
}
