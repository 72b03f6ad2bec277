package server

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/policy"
)

// monitor implements MonitorService.
type monitor struct {
	pb.UnimplementedMonitorServiceServer
	server *Server
}

// GetHeadroom implements MonitorService.
func (m *monitor) GetHeadroom(ctx context.Context, req *pb.GetHeadroomRequest) (*pb.GetHeadroomResponse, error) {
	sel := selection{req.Account, req.Pool, req.Project, callerOf(ctx)}
	o, err := m.selected(ctx, req.Organization, sel)
	if err != nil {
		return nil, err
	}
	h, err := o.headroom(sel)
	if err != nil {
		return nil, err
	}
	if req.Log {
		h.Log = o.sharedLog(ctx)
	}
	return &pb.GetHeadroomResponse{Headroom: h}, nil
}

const (
	defaultInterval = time.Second
	// A reader that has not taken a message for so long is dropped.
	slowReader = 10 * time.Second
)

// WatchHeadroom implements MonitorService.
func (m *monitor) WatchHeadroom(req *pb.WatchHeadroomRequest, stream grpc.ServerStreamingServer[pb.WatchHeadroomResponse]) error {
	ctx := stream.Context()
	sel := selection{req.Account, req.Pool, req.Project, callerOf(ctx)}
	o, err := m.selected(ctx, req.Organization, sel)
	if err != nil {
		return err
	}
	interval := defaultInterval
	if req.Interval != nil {
		interval = req.Interval.AsDuration()
	}
	messages := make(chan *pb.WatchHeadroomResponse, 1)
	failed := make(chan error, 1)
	go func() { // sending blocks while the reader does not read
		for h := range messages {
			if err := stream.Send(h); err != nil {
				failed <- err
				return
			}
		}
	}()
	defer close(messages)

	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last uint64
	var stuck time.Duration
	for {
		h, err := o.headroom(sel)
		if err != nil {
			return err
		}
		if req.Log {
			h.Log = o.sharedLog(ctx)
		}
		if d := digest(h); d != last {
			select {
			case messages <- &pb.WatchHeadroomResponse{Headroom: h}:
				last, stuck = d, 0
			default:
				if stuck += interval; stuck >= slowReader {
					return errSlow
				}
			}
		}
		select {
		case <-ticker.C:
		case err := <-failed:
			return err
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-m.server.draining:
			return errDraining
		case <-o.gone:
			return errRetired
		}
	}
}

// selected finds the organization of a selection, and checks that the rest of it is there.
func (m *monitor) selected(ctx context.Context, organization string, sel selection) (*organization, error) {
	o, err := m.server.own(ctx, organization)
	if err != nil {
		return nil, err
	}
	if sel.project != "" && !sel.shows(sel.project) {
		_, err := sel.caller.Project(sel.project)
		return nil, err
	}
	settings := o.edition.Load().settings
	var accounts, pools, projects []string
	account, pool := sel.account == "", sel.pool == ""
	for i := range settings.Accounts {
		a := &settings.Accounts[i]
		accounts = append(accounts, a.Name)
		if sel.account != "" && a.Name != sel.account {
			continue
		}
		account = true
		for j := range a.Pools {
			pools = append(pools, a.Pools[j].Name)
			pool = pool || a.Pools[j].Name == sel.pool
		}
	}
	project := sel.project == "" || settings.Template != nil
	for i := range settings.Projects {
		projects = append(projects, settings.Projects[i].Name)
		project = project || settings.Projects[i].Name == sel.project
	}
	switch {
	case !account:
		return nil, policy.NewNotFound("account", sel.account, accounts)
	case !pool:
		return nil, policy.NewNotFound("pool", sel.pool, pools)
	case !project:
		return nil, policy.NewNotFound("project", sel.project, projects)
	}
	return o, nil
}

// digest tells whether anything has changed but the time.
func digest(h *pb.Headroom) uint64 {
	hash := fnv.New64a()
	options := proto.MarshalOptions{Deterministic: true}
	for _, l := range h.Limits {
		bare := &pb.LimitHeadroom{
			Scope: l.Scope, Name: l.Name, Quota: l.Quota, EffectiveQuota: l.EffectiveQuota,
			Held: l.Held, Reserved: l.Reserved, Remaining: l.Remaining, TopConsumers: l.TopConsumers,
		}
		for _, c := range l.ByClass {
			bare.ByClass = append(bare.ByClass, &pb.ClassHeadroom{Held: c.Held, Waiting: c.Waiting})
		}
		for _, g := range l.Gates {
			bare.Gates = append(bare.Gates, &pb.PoolGate{Metric: g.Metric, Blocked: g.Blocked})
		}
		b, _ := options.Marshal(bare)
		hash.Write(b)
	}
	if h.Log != nil {
		bare := &pb.SharedLog{Behaviour: h.Log.Behaviour}
		for _, r := range h.Log.Replicas {
			bare.Replicas = append(bare.Replicas, &pb.Replica{Incarnation: r.Incarnation, Behaviour: r.Behaviour, Waiting: r.Waiting})
		}
		slices.SortFunc(bare.Replicas, func(a, b *pb.Replica) int { return strings.Compare(a.Incarnation, b.Incarnation) })
		if h.Log.Away != nil {
			bare.Away = &durationpb.Duration{}
		}
		if c := h.Log.RollCall; c != nil {
			bare.RollCall = &pb.RollCall{Missing: c.Missing}
		}
		b, _ := options.Marshal(bare)
		hash.Write(b)
	}
	return hash.Sum64() ^ uint64(h.ConfigRevision)
}

// cutPool parts the engine's name of a pool.
func cutPool(name string) (account, pool string, ok bool) { return strings.Cut(name, "/") }
