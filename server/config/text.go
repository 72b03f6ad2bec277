package config

import (
	"strconv"
	"strings"

	"github.com/watermaster-project/watermaster/limiter"
)

// digits writes a whole number.
func digits(v int64) string { return strconv.FormatInt(v, 10) }

// grouped writes a whole number with a comma between thousands.
func grouped(v int64) string {
	s := digits(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// fraction writes v·10^-exponent, without zeros at its end.
func fraction(v int64, exponent int) string {
	s := strings.Repeat("0", exponent) + digits(v)
	whole, rest := s[:len(s)-exponent], s[len(s)-exponent:]
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if rest = strings.TrimRight(rest, "0"); rest == "" {
		return whole
	}
	return whole + "." + rest
}

// amountText writes an amount in the unit of its metric.
func amountText(m limiter.Metric, v int64) string {
	if m == limiter.Cost {
		return "$" + fraction(v, 6)
	}
	return grouped(v)
}
