package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/policy"
)

// Report implements LimiterService.
func (s *Server) Report(ctx context.Context, req *pb.ReportRequest) (*pb.ReportResponse, error) {
	return present(ctx, s, func() (*pb.ReportResponse, error) { return s.report(ctx, req) })
}

func (s *Server) report(ctx context.Context, req *pb.ReportRequest) (*pb.ReportResponse, error) {
	in := policy.Settlement{Rand: rand.Uint64()}
	var o *organization
	if req.LeaseId != "" {
		g, l, err := s.ownLease(ctx, req.LeaseId)
		if err != nil {
			return nil, err
		}
		o, in.Lease, in.Target = g, l.id, l.target
	} else {
		g, err := s.own(ctx, req.Organization)
		if err != nil {
			return nil, err
		}
		if req.Consumption != nil {
			return nil, &policy.Invalid{Field: "lease_id", Message: "usage needs a lease"}
		}
		o = g
		if in.Target, err = o.edition.Load().findTarget(req.Account, req.Model); err != nil {
			return nil, err
		}
	}
	learn(&in, req.GetUsage(), req.GetProviderUsage(), req.Observation)

	p := o.edition.Load().policy
	c := o.calls.get()
	defer c.free()
	advice := p.Report(&in, &c.report)
	c.told = toldOf(req.StartedAfter, &in)
	c.out.class = standardClass
	if t, ok := p.Target(in.Target); ok {
		c.out.pool = t.Pool
	}
	if o.propose(&c.report, c); errors.Is(c.out.err, errAway) {
		o.soloReport(c)
	}
	switch {
	case c.out.err != nil:
		return nil, c.out.err
	case c.out.event.Kind == limiter.NotFound:
		return nil, o.unknown(req.LeaseId)
	}
	return &pb.ReportResponse{Advice: adviceOf(&advice), Pressure: newPressure(&c.out.load.reading)}, nil
}

// findTarget finds a model of an account.
func (e *edition) findTarget(account, model string) (policy.TargetID, error) {
	if id, ok := e.policy.FindTarget(account, model); ok {
		return id, nil
	}
	var accounts, models []string
	for i := range e.settings.Accounts {
		a := &e.settings.Accounts[i]
		accounts = append(accounts, a.Name)
		if a.Name != account {
			continue
		}
		for _, p := range a.Pools {
			for _, m := range p.Models {
				models = append(models, m.Name)
			}
		}
	}
	if models == nil {
		return 0, policy.NewNotFound("account", account, accounts)
	}
	return 0, policy.NewNotFound("model", model, models)
}

// learn puts what a worker tells of a call, in a Release or a Report, into the policy's
// words.
func learn(to *policy.Settlement, usage *pb.Usage, sent *structpb.Struct, o *pb.Observation) {
	if usage != nil {
		to.Usage = usageOf(usage)
	}
	if sent != nil {
		to.ProviderUsage = sent.AsMap()
	}
	observe(&to.Observation, o)
}

func usageOf(u *pb.Usage) policy.Usage {
	return policy.Usage{
		Input:       u.GetInputTokens(),
		CachedInput: u.GetCachedInputTokens(),
		CacheWrite:  u.GetCacheWriteInputTokens(),
		Output:      u.GetOutputTokens(),
		Units:       u.GetUnits(),
		HasInput:    u.InputTokens != nil,
		HasOutput:   u.OutputTokens != nil,
	}
}

// observe puts an observation into the policy's words.
func observe(to *policy.Observation, o *pb.Observation) {
	if o == nil {
		return
	}
	to.HTTPStatus = int(o.HttpStatus)
	to.Age = o.Age.AsDuration()
	to.Now = time.Now()
	if o.HttpStatus >= 400 {
		to.Body = []byte(o.Body)
	}
	if len(o.Headers) > 0 {
		to.Headers = make([]policy.Header, 0, len(o.Headers))
		for name, value := range o.Headers {
			to.Headers = append(to.Headers, policy.Header{Name: name, Value: value})
		}
	}
}

var failureClasses = map[policy.FailureClass]pb.FailureClass{
	policy.FailureThrottled:      pb.FailureClass_FAILURE_CLASS_THROTTLED,
	policy.FailureOverloaded:     pb.FailureClass_FAILURE_CLASS_OVERLOADED,
	policy.FailureQuotaExhausted: pb.FailureClass_FAILURE_CLASS_QUOTA_EXHAUSTED,
	policy.FailureTooLarge:       pb.FailureClass_FAILURE_CLASS_TOO_LARGE,
	policy.FailureBilling:        pb.FailureClass_FAILURE_CLASS_BILLING,
	policy.FailureInvalid:        pb.FailureClass_FAILURE_CLASS_INVALID,
	policy.FailureTransient:      pb.FailureClass_FAILURE_CLASS_TRANSIENT,
}

// adviceOf gives nothing where nothing failed.
func adviceOf(a *policy.Advice) *pb.Advice {
	if a.Class == policy.FailureNone {
		return nil
	}
	out := &pb.Advice{Retry: a.Retry, OtherTarget: a.OtherTarget, FailureClass: failureClasses[a.Class]}
	if a.After > 0 {
		out.RetryAfter = durationpb.New(a.After)
	}
	return out
}
