package simulate

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/policy"
)

const (
	// mostAttempts is how often a call is sent before it has failed.
	mostAttempts = 5
	// leaseTTL stands for workers that renew their leases for as long as a call runs.
	leaseTTL = 24 * time.Hour
	// images is the unit in which rows with images count, where it is configured.
	images = "images"
)

// A PolicyClerk asks and settles through a policy, as the server does for its workers. A
// call that was refused with 429 is told as it was seen, and asked for again when the advice says,
// with the patience of its class anew; after five attempts it has failed.
type PolicyClerk struct {
	Policy   *policy.Policy
	Route    string    // either a route …
	Model    string    // … or a model
	Standins []Standin // the providers; they serve to tell which metric was exceeded
	Seed     uint64    // of the delay before another attempt

	request    policy.Request
	settlement policy.Settlement
	unused     limiter.Release
}

// Acquire fills in the command for a row. A prompt that no model has room for is an error.
func (c *PolicyClerk) Acquire(row *trace.Row, cmd *limiter.Acquire) error {
	c.request = policy.Request{
		RequestID:         strconv.Itoa(row.Index),
		Project:           row.Client,
		Route:             c.Route,
		Model:             c.Model,
		Class:             row.Class,
		InputTokens:       row.Input,
		CachedInputTokens: row.Cached,
		MaxOutputTokens:   policy.Some(row.MaxOutput),
		Units:             units(row),
		TTL:               policy.Some(leaseTTL),
	}
	return c.Policy.Acquire(&c.request, cmd)
}

func units(row *trace.Row) map[string]int64 {
	if row.Images == 0 {
		return nil
	}
	return map[string]int64{images: row.Images}
}

// Release fills in the command that settles a call.
func (c *PolicyClerk) Release(row *trace.Row, pool, model string, v provider.Verdict, cmd *limiter.Release) {
	c.settlement = policy.Settlement{Target: policy.TargetOf(pool, model)}
	if v.OK {
		c.settlement.Outcome = policy.Succeeded
		c.settlement.Observation.HTTPStatus = 200
		c.settlement.Usage = policy.Usage{
			Input: row.Input, CachedInput: row.Cached, Output: row.Output, Units: units(row), HasInput: true, HasOutput: true,
		}
	} else {
		c.settlement.Outcome = policy.Throttled
		c.settlement.Observation = c.observe(pool, v)
		c.settlement.Rand = trace.Hash(c.Seed, uint64(row.Index))
	}
	c.Policy.Release(&c.settlement, cmd)
}

// observe is what a worker sees of a refusal: the answer of OpenAI, which policy reads
// whatever the provider.
func (c *PolicyClerk) observe(pool string, v provider.Verdict) policy.Observation {
	metric := ""
	for i := range c.Standins {
		if s := &c.Standins[i]; s.Pool == pool && v.Limit >= 0 {
			metric = s.Metrics[v.Limit].String()
		}
	}
	o := policy.Observation{HTTPStatus: 429}
	switch v.Kind {
	case provider.TooLarge:
		o.Body = fmt.Appendf(nil, `{"error":{"type":%q,"code":"rate_limit_exceeded","message":"Request too large for the limit of %s."}}`, metric, metric)
	case provider.Concurrent:
		o.Body = []byte(`{"error":{"type":"rate_limit_error","message":"Too many concurrent requests."}}`)
	default:
		o.Body = fmt.Appendf(nil, `{"error":{"type":%q,"code":"rate_limit_exceeded","message":"Rate limit reached for %s."}}`, metric, metric)
		ms := math.Ceil(v.RetryAfter.Seconds() * 1000)
		o.Headers = []policy.Header{{Name: "retry-after-ms", Value: strconv.FormatInt(int64(ms), 10)}}
	}
	return o
}

// Retry obeys the advice about the call that was released last.
func (c *PolicyClerk) Retry(_ *trace.Row, attempt int, _ provider.Verdict) (time.Duration, bool) {
	c.settlement.Attempt = uint32(attempt)
	advice := c.Policy.Release(&c.settlement, &c.unused)
	return advice.After, advice.Retry && attempt+1 < mostAttempts
}
