package config

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	// maxWindow is the longest window of a limit.
	maxWindow = 400 * day
)

// A span is the window of a limit as it is written. A day, week or month that is written
// as a word is a length of time for some shapes and a stretch of the calendar for others.
type span struct {
	length time.Duration // 0 for a month
	named  bool          // day, week or month, not 24h
	period limiter.Period
}

// units are the lengths that a window may have by name; min, day and week may follow a
// number too, as what Go's durations lack.
var unitLengths = map[string]time.Duration{
	"s": time.Second, "min": time.Minute, "m": time.Minute, "h": time.Hour, "day": day, "week": week,
}

// otherNames are what people write for units.
var otherNames = map[string]string{
	"sec": "s", "second": "s", "seconds": "s", "S": "s",
	"minute": "min", "minutes": "min", "mins": "min", "M": "min",
	"hr": "h", "hour": "h", "hours": "h", "H": "h",
	"d": "day", "days": "day", "daily": "day", "w": "week", "weeks": "week", "weekly": "week",
	"mo": "month", "months": "month", "monthly": "month",
}

// window reads s, min, m, h, day, week, month or a duration.
func window(text string) (span, error) {
	switch text {
	case "day":
		return span{day, true, limiter.Day}, nil
	case "week":
		return span{week, true, limiter.Week}, nil
	case "month":
		return span{0, true, limiter.Month}, nil
	}
	if d, ok := unitLengths[text]; ok {
		return span{length: d}, nil
	}
	d, err := duration(text)
	if err != nil {
		return span{}, &badValue{
			message: quote(text) + " is not a window such as s, min, h, day, week, month or 10s",
			hint:    hintOf(err),
		}
	}
	return span{length: d}, nil
}

// duration reads a Go duration, or a number of min, day or week.
func duration(text string) (time.Duration, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := text[len(digits):]
	if length, ok := unitLengths[unit]; ok && len(unit) > 1 {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/int64(length) {
			return time.Duration(n) * length, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		bad := &badValue{message: quote(text) + " is not a duration such as 700ms, 10s or 2m"}
		switch {
		case digits != "" && unit == "": // seconds, most likely
			bad.hint = text + "s"
		case otherNames[unit] != "" && otherNames[unit] != "month":
			bad.hint = digits + otherNames[unit]
		}
		return 0, bad
	}
	return d, nil
}

// short writes a duration without its zero tail: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
