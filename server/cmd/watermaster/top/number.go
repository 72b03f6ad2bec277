package top

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// costMetric is counted in micro-USD.
const costMetric = "cost"

// amount writes an amount of a metric in at most six columns up to 10^15: three digits and
// a suffix from 10,000 on.
func amount(metric string, v int64) string {
	if metric == costMetric {
		return "$" + dollars(float64(v)/1e6)
	}
	if -10_000 < v && v < 10_000 {
		return strconv.FormatInt(v, 10)
	}
	return scaled(float64(v))
}

func dollars(v float64) string {
	switch {
	case v != 0 && math.Abs(v) < 1:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case math.Abs(v) < 1000:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00")
	}
	return scaled(v)
}

// scaled writes three digits and a suffix. It rounds towards 0: what is left is never
// shown as more than it is.
func scaled(v float64) string {
	suffixes := []string{"", "k", "M", "G", "T", "P", "E"}
	i := 0
	for ; math.Abs(v) >= 1000 && i < len(suffixes)-1; i++ {
		v /= 1000
	}
	decimals := 2
	if math.Abs(v) >= 100 {
		decimals = 0
	} else if math.Abs(v) >= 10 {
		decimals = 1
	}
	unit := math.Pow10(decimals)
	text := strconv.FormatFloat(math.Trunc(v*unit)/unit, 'f', decimals, 64)
	if decimals > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + suffixes[i]
}

// percent writes a part in whole percent. It says 0% only of nothing, and 100% only of what
// is full.
func percent(part float64) string {
	switch n := wholePercent(part); {
	case math.IsNaN(n):
		return "?"
	case n > 9999:
		return ">9999%"
	case n > 0 && n < 1:
		return "<1%"
	default:
		return strconv.FormatFloat(n, 'f', 0, 64) + "%"
	}
}

// wholePercent rounds a part: to 0 only nothing, to 100 only what is full. 0.5 stands for all
// between 0 and 1.
func wholePercent(part float64) float64 {
	switch {
	case part <= 0:
		return 0
	case part < 0.01:
		return 0.5
	case part >= 0.99 && part < 1:
		return 99
	}
	return math.Round(part * 100)
}

// slope writes a change in percent points per hour.
func slope(perHour float64) string {
	v := math.Round(perHour * 100)
	switch {
	case math.IsNaN(v), v == 0:
		return "0"
	case v > 999:
		return ">+999"
	case v < -999:
		return "<-999"
	}
	return fmt.Sprintf("%+.0f", v)
}

// duration writes a length of time in at most six columns, rounded down.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d < time.Second:
		return strconv.Itoa(int(d.Milliseconds())) + "ms"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < 10*time.Minute:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 10*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "m")
	case d < 2*day:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/day)) + "d"
}

// two writes a length of time in two units, the smaller one only if there is some of it.
func two(d, unit time.Duration, name string, smaller time.Duration, smallerName string) string {
	text := strconv.Itoa(int(d/unit)) + name
	if rest := int(d % unit / smaller); rest > 0 {
		text += strconv.Itoa(rest) + smallerName
	}
	return text
}
