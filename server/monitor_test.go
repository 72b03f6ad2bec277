package server

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

func TestHeadroom(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a", class("interactive")))
		w.release(g.LeaseId)
		w.grant(ask("b", class("batch"), func(r *pb.AcquireRequest) { r.Project, r.InputTokens = "other", 500 }))
		w.later(w.t.Context(), ask("c", class("batch")))
		time.Sleep(2 * time.Second)

		a, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{})
		if err != nil {
			t.Fatal(err)
		}
		h := a.Headroom
		if h.Organization != "acme" || h.ConfigRevision != 7 || !h.Time.AsTime().Equal(time.Now()) {
			t.Errorf("headroom of %s, revision %d, at %v", h.Organization, h.ConfigRevision, h.Time.AsTime())
		}
		var scopes []string
		for _, l := range h.Limits {
			if n := len(scopes); n == 0 || scopes[n-1] != l.Scope {
				scopes = append(scopes, l.Scope)
			}
		}
		if got, want := len(scopes), 4; got != want || scopes[0] != "organization" || scopes[3] != "project/search" {
			t.Errorf("scopes %v", scopes)
		}

		l := w.limit("pool/main/gpt", "tokens/min")
		if l.Shape != pb.LimitShape_LIMIT_SHAPE_SLIDING_WINDOW || l.Window.AsDuration() != time.Minute || l.Quota != 60_000 ||
			l.EffectiveQuota != 60_000 || l.Held != 800 || l.Reserved != 0 || l.Remaining != 59_200 || math.Abs(l.Utilization-800./60_000) > 1e-9 {
			t.Errorf("got %v", l)
		}
		byClass := map[string]*pb.ClassHeadroom{}
		for _, c := range l.ByClass {
			byClass[c.PriorityClass] = c
		}
		if l.ByClass[0].PriorityClass != "interactive" || byClass["interactive"].Held != 200 || byClass["batch"].Held != 600 {
			t.Errorf("by class %v", l.ByClass)
		}
		if c := byClass["batch"]; c.Waiting != 1 || !near(c.LongestWait.AsDuration(), 2*time.Second) {
			t.Errorf("batch: %d wait, for %v; want 1, for 2 s", c.Waiting, c.LongestWait.AsDuration())
		}
		if top := l.TopConsumers; len(top) != 2 || top[0].Project != "other" || top[0].Held != 600 || top[1].Project != "search" || top[1].Held != 200 {
			t.Errorf("top consumers %v", top)
		}

		stock := w.limit("pool/main/gpt", "concurrency")
		if stock.Shape != pb.LimitShape_LIMIT_SHAPE_STOCK || stock.Window != nil || stock.Held != 1 || len(stock.TopConsumers) != 1 || stock.TopConsumers[0].Project != "other" {
			t.Errorf("got %v", stock)
		}
		if own := w.limit("project/search", "tokens/min"); len(own.TopConsumers) != 0 || own.ByClass[2].Waiting != 1 {
			t.Errorf("got %v", own)
		}
	})
}

func TestHeadroomSelection(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		tests := []struct {
			req  *pb.GetHeadroomRequest
			want []string
		}{
			{&pb.GetHeadroomRequest{Account: "main"}, []string{"organization", "pool/main/gpt", "project/search"}},
			{&pb.GetHeadroomRequest{Pool: "sonnet", Project: "search"}, []string{"organization", "pool/claude/sonnet", "project/search"}},
			{&pb.GetHeadroomRequest{Pool: "sonnet", Project: "anybody"}, []string{"organization", "pool/claude/sonnet"}},
		}
		for _, tt := range tests {
			a, err := w.GetHeadroom(w.t.Context(), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range a.Headroom.Limits {
				if n := len(got); n == 0 || got[n-1] != l.Scope {
					got = append(got, l.Scope)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("%v: got %v, want %v", tt.req, got, tt.want)
				continue
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("%v: got %v, want %v", tt.req, got, tt.want)
				}
			}
		}
	})
}

// TestTrend: a limit that fills evenly has a slope, and a time at which it is full.
func TestTrend(t *testing.T) {
	const yaml = `
organizations:
  acme:
    limits: {requests: {quota: 1000, window: day, zone: UTC}}
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1M/min}}}}}
`
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		time.Sleep(5 * time.Second) // between two samples
		for i := range 300 {        // 6 a minute: 360 an hour of 1000
			w.grant(ask(name("r", i), func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Model{Model: "m"} }))
			time.Sleep(10 * time.Second)
		}
		l := w.limit("organization", "requests/day")
		if n := len(l.Trend.Utilization); n != 300 || l.Trend.Step.AsDuration() != 10*time.Second {
			t.Errorf("%d samples of %v", n, l.Trend.Step.AsDuration())
		}
		if math.Abs(l.Trend.SlopePerHour-.36) > .001 {
			t.Errorf("slope %v an hour, want 0.36", l.Trend.SlopePerHour)
		}
		want := time.Duration(.7 / .36 * float64(time.Hour))
		if d := l.TimeToExhaustion.AsDuration(); max(d-want, want-d) > time.Minute {
			t.Errorf("exhausted in %v, want %v", d, want)
		}
		time.Sleep(2 * time.Hour) // nothing happens: it does not rise
		l = w.limit("organization", "requests/day")
		if n := len(l.Trend.Utilization); n != trendLength || l.TimeToExhaustion != nil || math.Abs(l.Trend.SlopePerHour) > 1e-6 {
			t.Errorf("%d samples, slope %v, exhausted in %v", n, l.Trend.SlopePerHour, l.TimeToExhaustion)
		}
	})
}

func TestPressure(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		level := func(id, of string) *pb.Pressure {
			r := ask(id, class(of), func(r *pb.AcquireRequest) {
				r.Project, r.Destination = "other", &pb.AcquireRequest_Model{Model: "sonnet"}
				r.MaxOutputTokens = new(int64)
			})
			return w.acquire(r).Pressure
		}
		if p := level("a", "interactive"); p.Level != pb.PressureLevel_PRESSURE_LEVEL_NORMAL {
			t.Errorf("got %v, want normal", p)
		}
		for i := range 1500 { // paced: this takes longer than a window
			level(name("b", i), "batch")
		}
		if p := level("c", "interactive"); p.Level != pb.PressureLevel_PRESSURE_LEVEL_NORMAL || p.TotalUtilization < .8 {
			t.Errorf("got %v: batch work is no pressure on the interactive", p)
		}
		if p := level("d", "batch"); p.Level < pb.PressureLevel_PRESSURE_LEVEL_ELEVATED || p.Utilization < .8 {
			t.Errorf("got %v, want pressure on batch", p)
		}
		time.Sleep(65 * time.Second) // the window is empty, and release_after is over
		if p := level("e", "batch"); p.Level != pb.PressureLevel_PRESSURE_LEVEL_NORMAL {
			t.Errorf("got %v, want normal again", p)
		}
	})
}

func TestWatch(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		stream, err := w.WatchHeadroom(w.t.Context(), &pb.WatchHeadroomRequest{Account: "main", Interval: durationpb.New(2 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		type message struct {
			*pb.WatchHeadroomResponse
			err error
			at  time.Time
		}
		got := make(chan message, 100)
		go func() {
			for {
				m, err := stream.Recv()
				got <- message{m, err, time.Now()}
				if err != nil {
					return
				}
			}
		}()
		start := time.Now()
		if m := <-got; m.err != nil || !m.at.Equal(start) {
			t.Fatalf("got %v at %v, want a message at once", m, m.at.Sub(start))
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("%d messages where nothing has changed", len(got))
		}
		w.grant(ask("a"))
		if m := <-got; m.err != nil || m.at.Sub(start) != 10*time.Second {
			t.Errorf("got %v after %v, want a message after 10 s", m.err, m.at.Sub(start))
		}
		w.server.Drain()
		for m := range got {
			if m.err != nil {
				wantCode(t, m.err, codes.Unavailable)
				break
			}
		}
	})
}

// TestWatchSlow: a reader that takes nothing while there is much to tell is sent away.
func TestWatchSlow(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		time.Sleep(time.Hour) // the trends are long, and so are the messages
		const changes = 60
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*changes*time.Second)
		defer cancel()
		stream, err := w.WatchHeadroom(ctx, &pb.WatchHeadroomRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range changes {
			g := w.grant(ask(name("a", i)))
			time.Sleep(500 * time.Millisecond)
			w.release(g.LeaseId)
			time.Sleep(500 * time.Millisecond)
		}
		messages := -1
		for ; err == nil; messages++ { // what was on its way, and the end
			_, err = stream.Recv()
		}
		wantCode(t, err, codes.ResourceExhausted)
		if messages < 1 || messages > changes/2 {
			t.Errorf("%d messages of %d changes were kept for a reader that does not read", messages, changes)
		}
	})
}
