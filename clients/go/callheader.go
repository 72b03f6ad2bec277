package watermaster

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// headerPrefix begins the names of the headers by which a request says how it wants to be
// treated. None of them reaches a provider.
const headerPrefix = "X-Watermaster-"

// Headers of requests, which go before a context's Call, and of answers.
const (
	headerProject       = headerPrefix + "Project"
	headerPriorityClass = headerPrefix + "Priority-Class"
	headerRoute         = headerPrefix + "Route"
	headerRequestID     = headerPrefix + "Request-Id"
	headerMaxWait       = headerPrefix + "Max-Wait"
	headerMinQuality    = headerPrefix + "Min-Quality"
	headerAffinityKey   = headerPrefix + "Affinity-Key"

	headerAccount      = headerPrefix + "Account"
	headerModel        = headerPrefix + "Model"
	headerWaited       = headerPrefix + "Waited"
	headerPressure     = headerPrefix + "Pressure"
	headerMaxToolCalls = headerPrefix + "Max-Tool-Calls"
	headerAgentProfile = headerPrefix + "Agent-Profile"
	headerReason       = headerPrefix + "Reason"
	headerBinding      = headerPrefix + "Binding"
)

// callOfHeaders reads what a request's headers say of its call. The error names the header
// and what it should have been.
func callOfHeaders(h http.Header) (c Call, err error) {
	c = Call{
		Project: h.Get(headerProject), PriorityClass: h.Get(headerPriorityClass), Route: h.Get(headerRoute),
		RequestID: h.Get(headerRequestID), AffinityKey: h.Get(headerAffinityKey),
	}
	if s := h.Get(headerMaxWait); s != "" {
		wait, ok := parseWait(s)
		if !ok {
			return c, fmt.Errorf("%s: %q is no time of 0 to 24 h: say seconds such as 2.5, or a duration such as 500ms or 2m", headerMaxWait, s)
		}
		if c.MaxWait = wait; wait == 0 {
			c.MaxWait = NoWait
		}
	}
	if s := h.Get(headerMinQuality); s != "" {
		quality, err := strconv.ParseFloat(s, 64)
		if err != nil || !(quality >= 0 && quality <= 1) {
			return c, fmt.Errorf("%s: %q is no number of 0 to 1", headerMinQuality, s)
		}
		if c.MinQuality = quality; quality == 0 {
			c.MinQuality = AnyQuality
		}
	}
	return c, nil
}

func parseWait(s string) (wait time.Duration, ok bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if !(n >= 0 && n <= 24*3600) {
			return 0, false
		}
		return time.Duration(math.Round(n * float64(time.Second))), true
	}
	wait, err := time.ParseDuration(s)
	return wait, err == nil && wait >= 0 && wait <= 24*time.Hour
}

// withoutCallHeaders gives the headers that a provider may see; the same ones if that is all
// of them.
func withoutCallHeaders(h http.Header) http.Header {
	found := false
	for name := range h {
		found = found || isCallHeader(name)
	}
	if !found {
		return h
	}
	out := make(http.Header, len(h))
	for name, values := range h {
		if !isCallHeader(name) {
			out[name] = values
		}
	}
	return out
}

func isCallHeader(name string) bool {
	return len(name) >= len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix)
}
