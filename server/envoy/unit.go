package envoy

import (
	"strings"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
)

const day = 24 * time.Hour

// units are those of a limit, by their number on the wire. Their lengths are exact.
var units = [...]struct {
	name   string
	window time.Duration
}{
	rls.RateLimitResponse_RateLimit_SECOND: {"second", time.Second},
	rls.RateLimitResponse_RateLimit_MINUTE: {"minute", time.Minute},
	rls.RateLimitResponse_RateLimit_HOUR:   {"hour", time.Hour},
	rls.RateLimitResponse_RateLimit_DAY:    {"day", day},
	rls.RateLimitResponse_RateLimit_WEEK:   {"week", 7 * day},
	rls.RateLimitResponse_RateLimit_MONTH:  {"month", 30 * day},
	rls.RateLimitResponse_RateLimit_YEAR:   {"year", 365 * day},
}

// windowOf gives the length of a unit, or 0 for one that is not known.
func windowOf(unit rls.RateLimitResponse_RateLimit_Unit) time.Duration {
	if unit < 0 || int(unit) >= len(units) {
		return 0
	}
	return units[unit].window
}

// unitNamed reads a unit's name, in capitals or not.
func unitNamed(name string) (unit rls.RateLimitResponse_RateLimit_Unit, ok bool) {
	for i := range units {
		if units[i].window > 0 && strings.EqualFold(units[i].name, name) {
			return rls.RateLimitResponse_RateLimit_Unit(i), true
		}
	}
	return 0, false
}

// unitNames are the names of units, from the shortest.
var unitNames = []string{"second", "minute", "hour", "day", "week", "month", "year"}
