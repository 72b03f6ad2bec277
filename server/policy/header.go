package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A Header is one line of a response's header. The case of its name doesn't matter.
type Header struct{ Name, Value string }

// Bounds on what is read of a header.
const (
	maxHeaders     = 128
	maxHeaderValue = 256 // bytes
)

// HeadersFrom lists a header that is a map, as net/http has it, by name.
func HeadersFrom(header map[string][]string) []Header {
	var list []Header
	for name, values := range header {
		for _, value := range values {
			list = append(list, Header{name, value})
		}
	}
	slices.SortFunc(list, func(a, b Header) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return list
}

// HeaderStyle says which rate-limit headers a provider sends, and what they mean.
type HeaderStyle uint8

const (
	HeadersAny       HeaderStyle = iota // all that are known
	HeadersNone                         // none; Retry-After is understood nevertheless
	HeadersOpenAI                       // x-ratelimit-…; Azure's too
	HeadersAnthropic                    // anthropic-…
	HeadersGroq                         // as OpenAI; requests are always those of a day, tokens of a minute
)

// A Reading is what a response's header says of one limit. It is evidence, not truth:
// some round, some lower a limit for hours, and a reset is mostly the time until the limit is
// whole again rather than until one more call fits.
type Reading struct {
	Metric limiter.Metric
	// Kind tells limits of one metric apart: "", project, priority, fast or
	// cache-adjusted.
	Kind      string
	Limit     int64         // < 0: not told
	Remaining int64         // < 0: not told
	Reset     time.Duration // from the moment that the response was sent; < 0: not told
	Per       time.Duration // the limit's window; 0: not told
}

// ReadHeaders gives what a header says of limits, in the order of its lines. sent is the wall
// time at which the response was sent, for those who tell a reset as a date; without it (zero)
// the Date header serves, and without that such a reset is left out. What can't be read is
// left out as well.
func ReadHeaders(style HeaderStyle, header []Header, sent time.Time) []Reading {
	if style == HeadersNone {
		return nil
	}
	if date, ok := findDate(header); ok {
		sent = date
	}
	var list []Reading
	for i := range header[:min(len(header), maxHeaders)] {
		h := &header[i]
		if len(h.Value) > maxHeaderValue || len(h.Name) > maxHeaderValue {
			continue
		}
		r, field, ok := readName(style, strings.ToLower(h.Name))
		if !ok {
			continue
		}
		at := slices.IndexFunc(list, func(o Reading) bool { return o.Metric == r.Metric && o.Kind == r.Kind })
		if at < 0 {
			at = len(list)
			r.Limit, r.Remaining, r.Reset = -1, -1, -1
			list = append(list, r)
		}
		list[at].set(field, h.Value, sent)
	}
	return slices.DeleteFunc(list, func(r Reading) bool { return r.Limit < 0 && r.Remaining < 0 && r.Reset < 0 })
}

// readName finds which limit a header speaks of, and which of its fields. name is in lower
// case.
func readName(style HeaderStyle, name string) (r Reading, field string, ok bool) {
	var what string
	if rest, is := strings.CutPrefix(name, "anthropic-"); is {
		if style != HeadersAny && style != HeadersAnthropic {
			return r, "", false
		}
		kind, rest, _ := strings.Cut(rest, "-")
		switch kind {
		case "ratelimit":
		case "priority", "fast":
			r.Kind = kind
		default:
			return r, "", false
		}
		end := strings.LastIndexByte(rest, '-')
		if end < 0 {
			return r, "", false
		}
		what, field = rest[:end], rest[end+1:]
	} else if style == HeadersAnthropic {
		return r, "", false
	} else if rest, is := strings.CutPrefix(name, "x-ratelimit-"); is {
		field, what, _ = strings.Cut(rest, "-")
		if what == "" {
			what = "requests" // Together, OpenRouter
		}
	} else if rest, is := strings.CutPrefix(name, "x-tokenlimit-"); is { // Together
		field, what, r.Per = rest, "tokens", time.Second
	}
	switch field {
	case "limit", "remaining", "reset":
	default:
		return r, "", false
	}
	switch what {
	case "requests":
		r.Metric = limiter.Requests
	case "tokens":
		r.Metric = limiter.Tokens
	case "input-tokens":
		r.Metric = limiter.InputTokens
	case "output-tokens":
		r.Metric = limiter.OutputTokens
	case "project-requests":
		r.Metric, r.Kind = limiter.Requests, "project"
	case "project-tokens":
		r.Metric, r.Kind = limiter.Tokens, "project"
	case "tokens-prompt": // this and the next two are Fireworks', per second
		r.Metric, r.Per = limiter.InputTokens, time.Second
	case "tokens-cache-adjusted-prompt":
		r.Metric, r.Kind, r.Per = limiter.InputTokens, "cache-adjusted", time.Second
	case "tokens-generated":
		r.Metric, r.Per = limiter.OutputTokens, time.Second
	default:
		return r, "", false
	}
	if style == HeadersGroq && r.Kind == "" {
		switch r.Metric {
		case limiter.Requests:
			r.Per = 24 * time.Hour
		case limiter.Tokens:
			r.Per = time.Minute
		}
	}
	return r, field, true
}

// set takes over a field that isn't set yet.
func (r *Reading) set(field, value string, sent time.Time) {
	switch field {
	case "limit":
		if n, ok := parseCount(value); ok && r.Limit < 0 {
			r.Limit = n
		}
	case "remaining":
		if n, ok := parseCount(value); ok && r.Remaining < 0 {
			r.Remaining = n
		}
	case "reset":
		if d, ok := parseReset(value, sent); ok && r.Reset < 0 {
			r.Reset = d
		}
	}
}

func parseCount(text string) (int64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > maxAmount {
		return 0, false
	}
	return int64(f), true
}

// Numbers as large as these aren't spans in seconds but moments, in seconds or
// milliseconds since 1970.
const (
	epochSeconds = 1e9
	epochMillis  = 1e12
)

// parseReset reads a span, a bare number of seconds, a moment since 1970, or a date.
func parseReset(text string, sent time.Time) (time.Duration, bool) {
	if f, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && f >= epochSeconds {
		switch {
		case f < epochMillis:
			return until(sent, time.Unix(int64(f), 0))
		case f < 1000*epochMillis:
			return until(sent, time.UnixMilli(int64(f)))
		}
		return 0, false
	}
	if d, ok := parseSpan(text); ok {
		return d, true
	}
	if t, ok := parseDate(text); ok {
		return until(sent, t)
	}
	return 0, false
}

func findDate(header []Header) (time.Time, bool) {
	if v := find(header, "date"); v != "" {
		return parseDate(v)
	}
	return time.Time{}, false
}

// find gives the first value of a header that isn't empty.
func find(header []Header, name string) string {
	for i := range header[:min(len(header), maxHeaders)] {
		if h := &header[i]; len(h.Value) <= maxHeaderValue && strings.EqualFold(h.Name, name) {
			if v := strings.TrimSpace(h.Value); v != "" {
				return v
			}
		}
	}
	return ""
}

// retryAfter reads how long the header asks to wait, from the moment that it was sent:
// retry-after-ms before Retry-After, which may be a number of seconds or a date. Zero, negative
// and absurd ones are as none.
func retryAfter(header []Header, sent time.Time) (time.Duration, bool) {
	if v := find(header, "retry-after-ms"); v != "" {
		if f, err := strconv.ParseFloat(v, 64); err == nil && f > 0 && f <= float64(maxSpan/time.Millisecond) {
			return time.Duration(math.Ceil(f * float64(time.Millisecond))), true
		}
	}
	v := find(header, "retry-after")
	if v == "" {
		return 0, false
	}
	if d, ok := parseSpan(v); ok {
		return d, d > 0
	}
	if date, ok := findDate(header); ok {
		sent = date
	}
	if t, ok := parseDate(v); ok {
		d, ok := until(sent, t)
		return d, ok && d > 0
	}
	return 0, false
}
