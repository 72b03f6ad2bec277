package envoy

import "github.com/watermaster-project/watermaster/limiter"

// The engine's, under shorter names.
type (
	CounterID  = limiter.CounterID
	CounterHit = limiter.CounterHit
	Hit        = limiter.Hit
	HitMode    = limiter.HitMode
	Event      = limiter.Event
)

// What it means for the other counters of a request that one is over.
const (
	Enforced  = limiter.Enforced
	Shadow    = limiter.Shadow
	QuotaMode = limiter.Quota
)
