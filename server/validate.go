package server

import (
	"math"
	"time"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// The rules of a request stand with its fields, in the .proto. Reading them from there takes
// microseconds and a dozen allocations for each request, so what is on the decision path is
// checked by hand; a request that fails here is checked again by the rules, which alone
// decide, and say what is wrong. A test compares both.

// validate gives the error of a request that breaks a rule.
func validate(m proto.Message) error {
	ok := false
	switch m := m.(type) {
	case *pb.AcquireRequest:
		ok = acquireOK(m)
	case *pb.ReleaseRequest:
		ok = releaseOK(m)
	case *pb.RenewRequest:
		ok = renewOK(m)
	case *pb.ReportRequest:
		ok = reportOK(m)
	case *rls.RateLimitRequest:
		return checkRateLimit(m)
	}
	if ok {
		return nil
	}
	return protovalidate.Validate(m)
}

const (
	maxAmount = 1_000_000_000_000
	maxSpan   = 24 * time.Hour
)

func acquireOK(m *pb.AcquireRequest) bool {
	switch d := m.Destination.(type) {
	case *pb.AcquireRequest_Route:
		if !lengthOK(d.Route, 1, 128) {
			return false
		}
	case *pb.AcquireRequest_Model:
		if !lengthOK(d.Model, 1, 128) {
			return false
		}
	default:
		return false
	}
	return lengthOK(m.RequestId, 1, 128) && m.Attempt <= 1000 &&
		lengthOK(m.Organization, 0, 128) && lengthOK(m.Project, 0, 128) && lengthOK(m.PriorityClass, 0, 128) &&
		amountOK(m.InputTokens) && optionalOK(m.MaxOutputTokens) && optionalOK(m.CachedInputTokens) &&
		unitsOK(m.Units) && spanOK(m.MaxWait, 0) && spanOK(m.Block, 0) && spanOK(m.LeaseTtl, time.Second) &&
		lengthOK(m.AffinityKey, 0, 256) && constraintsOK(m.Constraints) && textsOK(m.Labels, 16, 64, 128)
}

func constraintsOK(m *pb.Constraints) bool {
	if m == nil {
		return true
	}
	if q := m.MinQuality; q != nil && !(*q >= 0 && *q <= 1) || q != nil && math.IsNaN(*q) {
		return false
	}
	return listOK(m.Accounts, 0, 64, 128) && listOK(m.ExcludeAccounts, 0, 64, 128) &&
		listOK(m.Providers, 0, 64, 128) && listOK(m.Capabilities, 0, 64, 128)
}

func renewOK(m *pb.RenewRequest) bool { return listOK(m.LeaseIds, 1, 256, 256) }

func releaseOK(m *pb.ReleaseRequest) bool {
	if u, ok := m.Consumption.(*pb.ReleaseRequest_Usage); ok && !usageOK(u.Usage) {
		return false
	}
	return lengthOK(m.LeaseId, 1, 256) && outcomeOK(m.Outcome) && observationOK(m.Observation) && spanOK(m.StartedAfter, 0)
}

func outcomeOK(o pb.Outcome) bool { return o >= 0 && o <= pb.Outcome_OUTCOME_UNKNOWN }

func reportOK(m *pb.ReportRequest) bool {
	if u, ok := m.Consumption.(*pb.ReportRequest_Usage); ok && !usageOK(u.Usage) {
		return false
	}
	return (m.LeaseId != "" || m.Account != "" && m.Model != "") &&
		lengthOK(m.LeaseId, 0, 256) && lengthOK(m.Organization, 0, 128) && lengthOK(m.Account, 0, 128) &&
		lengthOK(m.Model, 0, 128) && observationOK(m.Observation) && spanOK(m.StartedAfter, 0)
}

func usageOK(m *pb.Usage) bool {
	return m == nil || optionalOK(m.InputTokens) && optionalOK(m.OutputTokens) &&
		optionalOK(m.CachedInputTokens) && optionalOK(m.CacheWriteInputTokens) && unitsOK(m.Units)
}

func observationOK(m *pb.Observation) bool {
	return m == nil || m.Number <= 1_000_000 &&
		(m.HttpStatus == 0 || m.HttpStatus >= 100 && m.HttpStatus <= 599) &&
		textsOK(m.Headers, 64, 128, 1024) && len(m.Body) <= 4096 && spanOK(m.Age, 0)
}

// lengthOK counts characters; most strings are short enough in bytes already.
func lengthOK(s string, least, most int) bool {
	return len(s) >= least && (len(s) <= most || utf8.RuneCountInString(s) <= most)
}

func listOK(list []string, least, most, length int) bool {
	if len(list) < least || len(list) > most {
		return false
	}
	for _, s := range list {
		if !lengthOK(s, 1, length) {
			return false
		}
	}
	return true
}

func textsOK(m map[string]string, most, key, value int) bool {
	if len(m) > most {
		return false
	}
	for k, v := range m {
		if !lengthOK(k, 1, key) || !lengthOK(v, 0, value) {
			return false
		}
	}
	return true
}

func unitsOK(m map[string]int64) bool {
	if len(m) > 16 {
		return false
	}
	for k, v := range m {
		if !lengthOK(k, 1, 64) || !amountOK(v) {
			return false
		}
	}
	return true
}

func amountOK(n int64) bool    { return n >= 0 && n <= maxAmount }
func optionalOK(n *int64) bool { return n == nil || amountOK(*n) }

// spanOK checks a duration that may be absent: from least to 24 h.
func spanOK(d *durationpb.Duration, least time.Duration) bool {
	if d == nil {
		return true
	}
	span := d.AsDuration()
	return span >= least && span <= maxSpan
}
