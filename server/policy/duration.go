package policy

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// maxSpan is the longest time that a provider may tell; what is longer is absurd.
const maxSpan = 400 * 24 * time.Hour

// unitsOfTime are what spans are written in, a longer name before its beginning.
var unitsOfTime = []struct {
	name string
	is   time.Duration
}{
	{"milliseconds", time.Millisecond}, {"millisecond", time.Millisecond}, {"ms", time.Millisecond},
	{"microseconds", time.Microsecond}, {"µs", time.Microsecond}, {"μs", time.Microsecond}, {"us", time.Microsecond},
	{"nanoseconds", time.Nanosecond}, {"ns", time.Nanosecond},
	{"minutes", time.Minute}, {"minute", time.Minute}, {"mins", time.Minute}, {"min", time.Minute}, {"m", time.Minute},
	{"seconds", time.Second}, {"second", time.Second}, {"secs", time.Second}, {"sec", time.Second}, {"s", time.Second},
	{"hours", time.Hour}, {"hour", time.Hour}, {"h", time.Hour},
	{"days", 24 * time.Hour}, {"day", 24 * time.Hour}, {"d", 24 * time.Hour},
}

// leadingSpan reads a span at the beginning of a text: 1.146s, 7m12s, 84 ms, 7 seconds. A
// number without a unit is in seconds. rest is what follows. ok is false if the text begins
// otherwise, or with a span that is absurd.
func leadingSpan(text string) (d time.Duration, rest string, ok bool) {
	var sum float64 // nanoseconds
	rest = text
	for first := true; ; first = false {
		next := rest
		if !first {
			next = strings.TrimLeft(rest, " ")
		}
		n := 0
		for n < len(next) && (next[n] >= '0' && next[n] <= '9' || next[n] == '.') {
			n++
		}
		digits := strings.TrimRight(next[:n], ".")
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			if first {
				return 0, text, false
			}
			break
		}
		after := next[len(digits):]
		unit, behind := unitOfTime(strings.TrimLeft(after, " "))
		if unit == 0 {
			if first {
				sum, rest = v*float64(time.Second), after
			}
			break
		}
		sum += v * float64(unit)
		rest = behind
	}
	if !(sum >= 0 && sum <= float64(maxSpan)) {
		return 0, text, false
	}
	return time.Duration(math.Ceil(sum)), rest, true
}

// unitOfTime reads a unit at the beginning of a text; 0: there is none.
func unitOfTime(text string) (time.Duration, string) {
	for i := range unitsOfTime {
		u := &unitsOfTime[i]
		if len(text) < len(u.name) || !strings.EqualFold(text[:len(u.name)], u.name) {
			continue
		}
		rest := text[len(u.name):]
		if rest == "" || !letter(rest[0]) {
			return u.is, rest
		}
	}
	return 0, text
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// parseSpan reads a whole text as a span.
func parseSpan(text string) (time.Duration, bool) {
	d, rest, ok := leadingSpan(strings.TrimSpace(text))
	return d, ok && strings.TrimSpace(rest) == ""
}

// dateLayouts are those of HTTP, and RFC 3339.
var dateLayouts = []string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	time.RFC3339Nano,
	"Monday, 02-Jan-06 15:04:05 GMT",
	time.ANSIC,
}

func parseDate(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// until gives the span from one moment to another, at least 0. It fails if either is
// unknown or the span is absurd.
func until(from, to time.Time) (time.Duration, bool) {
	if from.IsZero() || to.IsZero() {
		return 0, false
	}
	d := to.Sub(from)
	if d > maxSpan || d < -maxSpan {
		return 0, false
	}
	return max(0, d), true
}
