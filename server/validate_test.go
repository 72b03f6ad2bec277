package server

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// TestFastChecks compares the checks by hand with the rules of the .proto, on random
// messages whose values lie at the edges of what is allowed.
func TestFastChecks(t *testing.T) {
	g := &generator{rand.New(rand.NewPCG(1, 2))}
	kinds := []struct {
		make func() proto.Message
		ok   func(proto.Message) bool
	}{
		{func() proto.Message { return g.acquire() }, func(m proto.Message) bool { return acquireOK(m.(*pb.AcquireRequest)) }},
		{func() proto.Message { return g.release() }, func(m proto.Message) bool { return releaseOK(m.(*pb.ReleaseRequest)) }},
		{func() proto.Message { return g.report() }, func(m proto.Message) bool { return reportOK(m.(*pb.ReportRequest)) }},
		{func() proto.Message { return &pb.RenewRequest{LeaseIds: g.list(0, 257, 256)} }, func(m proto.Message) bool { return renewOK(m.(*pb.RenewRequest)) }},
	}
	for i, k := range kinds {
		good, bad := 0, 0
		for range 4000 {
			m := k.make()
			got, want := k.ok(m), protovalidate.Validate(m)
			if got != (want == nil) {
				t.Fatalf("the check by hand says %v, the rules %v, of %v", got, want, m)
			}
			if got {
				good++
			} else {
				bad++
			}
		}
		if good < 100 || bad < 100 {
			t.Errorf("kind %d: %d good and %d bad messages compare little", i, good, bad)
		}
	}
}

// A generator makes messages most of whose fields keep their rules.
type generator struct{ *rand.Rand }

func (g *generator) rarely() bool { return g.IntN(60) == 0 }

// wrong gives each of some values as seldom as rarely is true.
func wrong[T any](g *generator, values ...T) (v T, ok bool) {
	if i := g.IntN(60); i < len(values) {
		return values[i], true
	}
	return v, false
}

// text has most characters at the utmost, rarely one more, some of two bytes.
func (g *generator) text(least, most int) string {
	n := least + g.IntN(min(most-least+1, 6))
	if bad, ok := wrong(g, max(0, least-1), most+1); ok {
		n = bad
	} else if g.IntN(8) == 0 {
		n = most
	}
	letter := "a"
	if g.IntN(4) == 0 {
		letter = "é"
	}
	return strings.Repeat(letter, n)
}

func (g *generator) amount() int64 {
	if bad, ok := wrong(g, int64(-1), maxAmount+1); ok {
		return bad
	}
	if g.IntN(8) == 0 {
		return maxAmount
	}
	return g.Int64N(1000)
}

func (g *generator) maybe() *int64 {
	if g.IntN(2) == 0 {
		return nil
	}
	return proto.Int64(g.amount())
}

func (g *generator) span(least time.Duration) *durationpb.Duration {
	if g.IntN(2) == 0 {
		return nil
	}
	if bad, ok := wrong(g,
		durationpb.New(least-1),
		durationpb.New(maxSpan+1),
		&durationpb.Duration{Seconds: 1, Nanos: -1},
		&durationpb.Duration{Seconds: math.MaxInt64, Nanos: 5},
		&durationpb.Duration{Seconds: 2, Nanos: 1_000_000_000},
	); ok {
		return bad
	}
	return durationpb.New(least + time.Duration(g.Int64N(int64(maxSpan-least))))
}

func (g *generator) list(least, most, length int) []string {
	n := least + g.IntN(3)
	if g.rarely() {
		n = most
	}
	var list []string
	for range n {
		list = append(list, g.text(1, length))
	}
	return list
}

func (g *generator) texts(most, key, value int) map[string]string {
	m := map[string]string{}
	for i := range g.IntN(3) + map[bool]int{true: most}[g.rarely()] {
		m[g.text(1, key)+name("", i)] = g.text(0, value)
	}
	return m
}

func (g *generator) units() map[string]int64 {
	m := map[string]int64{}
	for i := range g.IntN(3) + map[bool]int{true: 16}[g.rarely()] {
		m[g.text(0, 62)+name("", i)] = g.amount()
	}
	return m
}

func (g *generator) acquire() *pb.AcquireRequest {
	m := &pb.AcquireRequest{
		RequestId: g.text(1, 128), Attempt: uint32(g.IntN(5)), Organization: g.text(0, 128), Project: g.text(0, 128),
		PriorityClass: g.text(0, 128), InputTokens: g.amount(), MaxOutputTokens: g.maybe(), CachedInputTokens: g.maybe(),
		Units: g.units(), MaxWait: g.span(0), Block: g.span(0), LeaseTtl: g.span(time.Second), AffinityKey: g.text(0, 256),
		Labels: g.texts(16, 60, 128),
	}
	if g.rarely() {
		m.Attempt = 1001
	}
	switch g.IntN(30) {
	case 0:
	case 1:
		m.Destination = &pb.AcquireRequest_Model{Model: g.text(1, 128)}
	default:
		m.Destination = &pb.AcquireRequest_Route{Route: g.text(1, 128)}
	}
	if g.IntN(3) == 0 {
		m.Constraints = &pb.Constraints{
			Accounts: g.list(0, 65, 128), ExcludeAccounts: g.list(0, 65, 128),
			Providers: g.list(0, 65, 128), Capabilities: g.list(0, 65, 128),
		}
		if g.IntN(2) == 0 {
			m.Constraints.MinQuality = proto.Float64([]float64{0, 0.5, 1, 1, 0.3, 1.01, -0.01, math.NaN(), math.Inf(1)}[g.IntN(9)])
		}
	}
	return m
}

func (g *generator) usage() *pb.Usage {
	return &pb.Usage{
		InputTokens: g.maybe(), OutputTokens: g.maybe(), CachedInputTokens: g.maybe(),
		CacheWriteInputTokens: g.maybe(), Units: g.units(),
	}
}

func (g *generator) observation() *pb.Observation {
	if g.IntN(2) == 0 {
		return nil
	}
	return &pb.Observation{
		Number: uint32(g.IntN(20)) * 52_632, HttpStatus: []uint32{0, 99, 100, 200, 429, 599, 600}[g.IntN(7)],
		Headers: g.texts(64, 120, 1024), Body: strings.Repeat("é", g.IntN(2060)), Age: g.span(0),
	}
}

func (g *generator) release() *pb.ReleaseRequest {
	m := &pb.ReleaseRequest{LeaseId: g.text(1, 256), Outcome: pb.Outcome(g.IntN(7)), Observation: g.observation(), StartedAfter: g.span(0)}
	if g.IntN(2) == 0 {
		m.Consumption = &pb.ReleaseRequest_Usage{Usage: g.usage()}
	}
	if g.rarely() {
		m.Outcome = -1
	}
	return m
}

func (g *generator) report() *pb.ReportRequest {
	m := &pb.ReportRequest{
		LeaseId: g.text(0, 256), Organization: g.text(0, 128), Account: g.text(0, 128), Model: g.text(0, 128),
		Observation: g.observation(), StartedAfter: g.span(0),
	}
	if g.IntN(2) == 0 {
		m.Consumption = &pb.ReportRequest_Usage{Usage: g.usage()}
	}
	return m
}

// BenchmarkValidate tells what the checks by hand save.
func BenchmarkValidate(b *testing.B) {
	m := ask("0190d1f0-7a4e-7c5b-9d55-2f7d3a1b6c01", class("interactive"), maxWait(time.Minute))
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !acquireOK(m) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("rules", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := protovalidate.Validate(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
