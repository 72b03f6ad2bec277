package policy

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// Outcome is how a call ended, as a worker tells it.
type Outcome uint8

const (
	Unspecified Outcome = iota // derived from what was seen
	Succeeded
	Failed
	Throttled // refused with 429
	Unsent    // it never left
	Unknown   // it may have run: a broken stream, a crash
)

var outcomeNames = []string{"unspecified", "succeeded", "failed", "throttled", "unsent", "unknown"}

func (o Outcome) String() string { return nameOf(outcomeNames, int(o)) }

// An Observation is what a worker saw of a provider's answer.
type Observation struct {
	HTTPStatus int           // 0: there was no answer, or it isn't told
	Headers    []Header      // at most 128 are read
	Body       []byte        // of an error; at most 4 KiB are read
	Age        time.Duration // since it arrived at the worker; negative is as 0
	// Now is the wall time at which this is judged. It serves only to understand times that
	// are told as dates, where there is no Date header.
	Now time.Time
}

func (o *Observation) age() time.Duration { return max(0, o.Age) }

// sent estimates when the answer was sent; zero: unknown.
func (o *Observation) sent() time.Time {
	if o.Now.IsZero() {
		return time.Time{}
	}
	return o.Now.Add(-o.age())
}

// A Settlement is what a worker tells at the end of a call, or while it runs.
type Settlement struct {
	Lease   limiter.LeaseID
	Target  TargetID // unknown ones are allowed: the configuration may have changed
	Outcome Outcome  // of a Release

	Usage         Usage          // cumulative
	ProviderUsage map[string]any // read if Usage tells nothing: see NormalizeUsage

	Observation Observation
	Attempt     uint32 // HTTP attempts before this one
	Rand        uint64 // any value; spreads the delay
}

func (in *Settlement) usage() Usage {
	if in.Usage.known() || in.ProviderUsage == nil {
		return in.Usage
	}
	u, _ := NormalizeUsage(in.ProviderUsage)
	return u
}

// outcome derives what the worker left open. A call that was answered was sent.
func (in *Settlement) outcome(f *failure, used bool) Outcome {
	status := in.Observation.HTTPStatus
	if o := in.Outcome; o != Unspecified && o <= Unknown && (o != Unsent || status == 0) {
		return o
	}
	switch {
	case status == 429 || status < 400 && f.class == FailureThrottled:
		return Throttled
	case f.class != FailureNone:
		return Failed
	case status >= 200 || used:
		return Succeeded
	}
	return Unknown
}

// Release fills the command that ends a lease, reusing its lists, and gives advice. Of a
// success nothing is allocated.
//
// What was used is told in the provider's measure for the pool, and plainly for the owner. A
// count that isn't known is left out, which settles it as it was estimated; so is everything
// if the target is unknown.
//
// A call that was answered with an error (a status of 400 or more, or the outcome THROTTLED)
// has produced nothing: the owner's limits get back everything but the request itself, unless
// usage says otherwise. To the pool it counts as estimated if the provider counts failed
// calls (Profile.FailedCount; all presets do, for none documents otherwise), but for what
// counts on completion; else as nothing but a request. This holds for a 429 as well: that
// providers leave refused calls out of their count of tokens is likely, but not promised.
// A call that failed otherwise, in the middle of a stream, is settled by its usage.
func (p *Policy) Release(in *Settlement, cmd *limiter.Release) Advice {
	t := p.byID[in.Target]
	f := judge(&in.Observation)
	usage := in.usage()
	outcome := in.outcome(&f, usage.known())
	f.explain(in.Outcome)

	cmd.Lease = in.Lease
	cmd.Actual, cmd.Gates = cmd.Actual[:0], cmd.Gates[:0]
	switch outcome {
	case Unsent:
		cmd.Outcome = limiter.Unsent
		return Advice{Outcome: outcome}
	case Unknown:
		cmd.Outcome = limiter.Unknown
	default:
		cmd.Outcome = limiter.Used
	}
	if t != nil {
		void := outcome == Throttled && in.Observation.HTTPStatus == 0 ||
			outcome != Succeeded && outcome != Unknown && in.Observation.HTTPStatus >= 400
		cmd.Actual = t.appendActual(cmd.Actual, &usage, void)
		cmd.Gates = p.appendGates(cmd.Gates, t, &f, &in.Observation)
	}
	return in.advise(&f, outcome)
}

// Report fills the command that tells what a running call has used so far, or what was seen of
// a pool without a lease, and gives advice. The usage is cumulative; an observation closes
// gates as it does in Release.
func (p *Policy) Report(in *Settlement, cmd *limiter.Report) Advice {
	t := p.byID[in.Target]
	f := judge(&in.Observation)
	usage := in.usage()
	outcome := Unspecified
	if f.class != FailureNone {
		outcome = in.outcome(&f, usage.known())
	}

	cmd.Lease = in.Lease
	cmd.Actual, cmd.Gates = cmd.Actual[:0], cmd.Gates[:0]
	if t != nil {
		if in.Lease != (limiter.LeaseID{}) {
			cmd.Actual = t.appendActual(cmd.Actual, &usage, false)
		}
		cmd.Gates = p.appendGates(cmd.Gates, t, &f, &in.Observation)
	}
	return in.advise(&f, outcome)
}

// appendActual adds what was used: by metric, then by scope, ascending. The flags of a charge
// are its scopes alone. Requests and stocks are left out, for they are as estimated.
func (t *target) appendActual(to []limiter.Charge, usage *Usage, void bool) []limiter.Charge {
	u := usage.use()
	for i := range t.plan {
		it := &t.plan[i]
		switch it.metric {
		case limiter.Requests, limiter.Concurrency, limiter.EnqueuedTokens:
			continue
		}
		var pool, owner int64
		hasPool, hasOwner := false, false
		if it.unit != "" {
			n, ok := usage.Units[it.unit]
			pool = min(max(n, 0), maxAmount)
			owner, hasPool, hasOwner = pool, ok, ok
		} else {
			if hasPool = it.pool != 0 && t.knowsPool(it.metric, usage); hasPool {
				pool = t.poolAmount(it.metric, &u)
			}
			if hasOwner = it.owner != 0 && knowsOwner(it.metric, usage); hasOwner {
				owner = t.ownerAmount(it.metric, &u)
			}
		}
		if void {
			if it.pool&limiter.OnCompletion == 0 && t.profile.FailedCount {
				hasPool = false // as estimated
			} else if it.pool&limiter.OnCompletion == 0 || !hasPool {
				pool, hasPool = 0, true
			}
			if !hasOwner {
				owner, hasOwner = 0, true
			}
		}
		poolScope, ownerScope := it.pool&limiter.ToPool, it.owner&limiter.ToOwner
		if !hasPool {
			poolScope = 0
		}
		if !hasOwner {
			ownerScope = 0
		}
		to = appendBoth(to, it.metric, poolScope, pool, ownerScope, owner)
	}
	return to
}

// knowsPool says whether the usage tells enough for what the provider counts in a metric.
func (t *target) knowsPool(m limiter.Metric, u *Usage) bool {
	switch {
	case m == limiter.InputTokens && t.profile.CapInInput:
		return u.HasInput && u.HasOutput
	case m == limiter.Tokens && t.profile.Admission == AdmissionInput:
		return u.HasInput
	}
	return knowsOwner(m, u)
}

func knowsOwner(m limiter.Metric, u *Usage) bool {
	switch m {
	case limiter.InputTokens:
		return u.HasInput
	case limiter.OutputTokens:
		return u.HasOutput
	}
	return u.HasInput && u.HasOutput
}
