package watermaster

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// firstPause is how long a failure waits whose repetition nobody advises on; each further one
// doubles it.
const (
	firstPause = 500 * time.Millisecond
	mostPause  = 8 * time.Second
)

// again says whether another attempt is made, and after how long. What broke after the
// request left may have run, and is never repeated.
func (c *call) again(resp *http.Response, err error) (wait time.Duration, ok bool) {
	var unsent *unsentError
	switch {
	case c.left <= 0:
		return 0, false
	case err != nil:
		wait, ok = c.growing(), errors.As(err, &unsent) && c.req.Context().Err() == nil
	case resp.StatusCode < 400:
		return 0, false
	default:
		wait, ok = c.advised(resp)
	}
	if !ok || wait > c.patience() {
		return 0, false
	}
	c.left--
	c.repeated++
	return wait, true
}

// advised says what the service advises, or what is usual if it does not.
func (c *call) advised(resp *http.Response) (wait time.Duration, ok bool) {
	if f, is := resp.Body.(*failedBody); is && f.advice != nil {
		if wait, ok = f.advice.RetryAfter, f.advice.Retry; ok && f.account != "" && c.others() {
			c.exclude(f.account)
			c.detour, wait = &detour{f.account, time.Now().Add(wait)}, 0
		}
		return wait, ok
	}
	switch s := resp.StatusCode; {
	case resp.Header.Get("X-Should-Retry") == "false":
		return 0, false
	case s != 408 && s != 409 && s != 429 && s < 500:
		return 0, false
	}
	if after, ok := retryAfter(resp.Header, time.Now()); ok {
		return after, true
	}
	return c.growing(), true
}

// detour is an attempt that keeps away from the account that failed. Another account need not be
// spared for as long as that one; where there is none, the call goes back to it in time.
type detour struct {
	around string
	until  time.Time
}

// others says whether there may be another account to go to.
func (c *call) others() bool { return c.transport.keys.account == "" || len(c.ask.Accounts) > 1 }

// back ends a detour that found no other target, if the patience allows for the way back.
func (c *call) back(refusal error) (wait time.Duration, ok bool) {
	var rejected *Rejected
	d := c.detour
	if d == nil || !errors.As(refusal, &rejected) || rejected.Reason != NoTarget {
		return 0, false
	}
	c.detour = nil
	c.ask.ExcludeAccounts = slices.DeleteFunc(c.ask.ExcludeAccounts, func(name string) bool { return name == d.around })
	wait = max(time.Until(d.until), 0)
	return wait, wait <= c.patience()
}

// growing is firstPause, doubled for each repetition so far.
func (c *call) growing() time.Duration {
	return min(firstPause<<min(c.repeated, 8), mostPause)
}

// patience is what is left of the caller's; of one who has set none that with which a service is
// awaited that is away.
func (c *call) patience() time.Duration {
	end := c.deadline
	if end.IsZero() {
		end = c.begun.Add(awayPatience)
	}
	return max(time.Until(end), 0)
}

// retryAfter reads when a provider wants to be asked again.
func retryAfter(h http.Header, now time.Time) (after time.Duration, ok bool) {
	for _, x := range []struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		value := h.Get(x.name)
		if n, err := strconv.ParseFloat(value, 64); err == nil && n >= 0 && !math.IsInf(n, 0) {
			return time.Duration(min(n*float64(x.unit), float64(24*time.Hour))), true
		}
		if at, err := http.ParseTime(value); err == nil {
			return max(at.Sub(now), 0), true
		}
	}
	return 0, false
}

// last makes a failure the one that is handed on: the SDK must not multiply our attempts. Where
// we make none, that is its own affair.
func (c *call) last(resp *http.Response) *http.Response {
	if resp != nil && resp.StatusCode >= 400 && c.transport.retries > 0 {
		resp.Header.Set("X-Should-Retry", "false")
	}
	return resp
}
