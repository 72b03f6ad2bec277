package envoy

import (
	"errors"
	"fmt"
	"math"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
)

const (
	// MaxDescriptors is how many descriptors a request may have.
	MaxDescriptors = 64
	// MaxEntries is how many entries one of them may have.
	MaxEntries = 64
	// maxValue bounds a key or a value of a request, in bytes: a header's, generously.
	maxValue = 64 << 10
	// maxAmount bounds what one descriptor draws. It is far above every quota, so that what
	// is more is refused alike, and far below what sums of it could overflow.
	maxAmount = int64(1) << 48
)

// Check says what is wrong with a request, whatever its domain.
func Check(req *rls.RateLimitRequest) error {
	switch n := len(req.GetDescriptors()); {
	case req.GetDomain() == "":
		return errors.New("the domain is empty: set `domain` in the filter's configuration")
	case n == 0:
		return errors.New("there are no descriptors: a request needs one at least")
	case n > MaxDescriptors:
		return fmt.Errorf("%d descriptors are more than %d", n, MaxDescriptors)
	}
	for i, d := range req.GetDescriptors() {
		if n := len(d.GetEntries()); n > MaxEntries {
			return fmt.Errorf("descriptor %d has %d entries, which are more than %d", i, n, MaxEntries)
		}
		for _, e := range d.GetEntries() {
			if len(e.GetKey()) > maxValue || len(e.GetValue()) > maxValue {
				return fmt.Errorf("descriptor %d has an entry of more than %d bytes", i, maxValue)
			}
		}
	}
	return nil
}

// unitOf gives an override's unit. The two enumerations agree in their numbers.
func unitOf(o *common.RateLimitDescriptor_RateLimitOverride) rls.RateLimitResponse_RateLimit_Unit {
	return rls.RateLimitResponse_RateLimit_Unit(o.GetUnit())
}

// amount gives the hits of a descriptor: its own, where an explicit 0 only looks, or the
// request's, where 0 is 1.
func amount(req *rls.RateLimitRequest, descriptor *common.RateLimitDescriptor) int64 {
	hits := max(1, uint64(req.GetHitsAddend()))
	if own := descriptor.GetHitsAddend(); own != nil {
		hits = own.GetValue()
	}
	n := maxAmount
	if hits < math.MaxInt64 {
		n = min(int64(hits), maxAmount)
	}
	if descriptor.GetIsNegativeHits() {
		return -n
	}
	return n
}
