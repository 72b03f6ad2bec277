package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store"
)

// sharedLog tells of the log that replicas share, and who they are; nil where nobody else can
// have it. Of a store that does not answer its size is left out.
func (o *organization) sharedLog(ctx context.Context) *pb.SharedLog {
	if !o.replica.Shared() {
		return nil
	}
	since, away := o.isAway()
	var size store.Size
	if !away {
		size = o.sizes.ask(ctx, o)
	}
	o.replica.Lock()
	defer o.replica.Unlock()
	if o.replica.Lost() {
		return nil
	}
	now := max(o.now(), o.engine().Now())
	at, _, _ := o.replica.Position()
	l := &pb.SharedLog{
		Position:      positionText(at),
		Age:           durationpb.New(max(0, o.replica.Age())),
		Entries:       size.Entries,
		LogBytes:      size.LogBytes,
		SnapshotBytes: size.SnapshotBytes,
		Behaviour:     o.engine().Behaviour(),
	}
	if away {
		l.Away = durationpb.New(max(0, time.Since(since)))
	}
	if size.Last != (store.Position{}) {
		last := size.Last
		if last.Compare(at) < 0 {
			last = at // it was asked before
		}
		l.End = positionText(last)
	}
	peers := o.engine().Peers(nil)
	slices.SortFunc(peers, func(a, b limiter.Peer) int {
		return cmp.Or(cmp.Compare(b.Heard, a.Heard), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	for i := range peers {
		p := &peers[i]
		l.Replicas = append(l.Replicas, &pb.Replica{
			Incarnation: fmt.Sprintf("%016x", p.Incarnation),
			Self:        p.Incarnation == o.incarnation,
			Heard:       durationpb.New(max(0, now.Sub(p.Heard))),
			Behaviour:   p.Behaviour,
			Waiting:     int64(p.Waiting),
		})
	}
	if since, missing, calling := o.engine().RollCall(); calling {
		l.RollCall = &pb.RollCall{Since: durationpb.New(max(0, now.Sub(since))), Missing: uint32(max(0, missing))}
	}
	return l
}

// positionText writes a position as people know it from Redis.
func positionText(p store.Position) string { return fmt.Sprintf("%d-%d", p.Major, p.Minor) }

// sizes remember how large a log is, so that many who look ask the store once.
type sizes struct {
	mu    sync.Mutex
	at    time.Time // zero: never
	known store.Size
}

// sizeFor is how long a size is told again.
const sizeFor = time.Second

func (s *sizes) ask(ctx context.Context, o *organization) store.Size {
	gauge, ok := o.log.(store.Gauge)
	if !ok {
		return store.Size{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= sizeFor {
		s.known = store.Size{}
		if size, err := gauge.Size(ctx, o.name); err == nil {
			s.known = size
		}
		s.at = time.Now()
	}
	return s.known
}

// Replicas counts the processes besides this one that were heard of of late in the logs that
// it shares: the most of any organization. false: it shares none. Just after New it is exact,
// for whoever is there answers a process that joins.
func (s *Server) Replicas() (others int, shared bool) {
	for _, o := range s.directory.Load().all() {
		if !o.replica.Shared() {
			continue
		}
		shared = true
		o.replica.Lock()
		if !o.replica.Lost() {
			now := max(o.now(), o.engine().Now())
			others = max(others, heard(o.engine().Peers(nil), now)-1)
		}
		o.replica.Unlock()
	}
	return others, shared
}

// Logs writes the log of each organization that is shared, as JSON: SharedLog by its name.
func (s *Server) Logs(ctx context.Context) ([]byte, error) {
	all := map[string]json.RawMessage{}
	for _, o := range s.directory.Load().all() {
		o.refresh()
		l := o.sharedLog(ctx)
		if l == nil {
			continue
		}
		text, err := protojson.MarshalOptions{EmitUnpopulated: true, UseProtoNames: true}.Marshal(l)
		if err != nil {
			return nil, fmt.Errorf("the log of %s: %w", o.name, err)
		}
		all[o.name] = text
	}
	return json.MarshalIndent(all, "", "  ")
}
