package config

import (
	"errors"
	"strconv"
	"strings"
)

// A badValue says what is wrong with a piece of text.
type badValue struct {
	message, hint string
	number        bool // it is one, but not one that can be held
}

func (b *badValue) Error() string { return b.message }

// hintOf gives the hint that comes with an error, if any.
func hintOf(err error) string {
	var b *badValue
	if errors.As(err, &b) {
		return b.hint
	}
	return ""
}

func isNumber(err error) bool {
	var b *badValue
	return errors.As(err, &b) && b.number
}

// maxDigits bounds numbers to what fits 64 bits.
const maxDigits = 19

// decimal reads a number such as 2M, 10_000 or 1.25 in units of 10^-exponent, exactly:
// nothing is rounded, and what would have to be is an error.
func decimal(text string, exponent int) (int64, error) {
	bad := &badValue{message: quote(text) + " is not a number"}
	s, negative := strings.CutPrefix(text, "-")
	end := strings.LastIndexAny(s, "0123456789") + 1
	digits, suffix := s[:end], s[end:]
	switch suffix {
	case "":
	case "k":
		exponent += 3
	case "M":
		exponent += 6
	case "G":
		exponent += 9
	case "K", "m", "g": // a small m is a minute, or a thousandth, to many
		bad.hint = text[:len(text)-1] + map[string]string{"K": "k", "m": "M", "g": "G"}[suffix]
		return 0, bad
	default:
		return 0, bad
	}
	whole, fraction, pointed := strings.Cut(digits, ".")
	if !isDigits(whole) || pointed && !isDigits(fraction) {
		return 0, bad
	}
	whole = strings.TrimLeft(strings.ReplaceAll(whole, "_", ""), "0")
	fraction = strings.TrimRight(strings.ReplaceAll(fraction, "_", ""), "0")
	if len(fraction) > exponent {
		if exponent == 0 {
			return 0, &badValue{message: quote(text) + " is not a whole number", number: true}
		}
		return 0, &badValue{message: quote(text) + " has more decimals than are counted", number: true}
	}
	all := strings.TrimLeft(whole+fraction, "0")
	if all == "" {
		return 0, nil
	}
	all += strings.Repeat("0", exponent-len(fraction))
	if len(all) > maxDigits {
		return 0, &badValue{message: quote(text) + " is too large", number: true}
	}
	v, err := strconv.ParseInt(all, 10, 64)
	if err != nil {
		return 0, &badValue{message: quote(text) + " is too large", number: true}
	}
	if negative {
		v = -v
	}
	return v, nil
}

// isDigits accepts digits, with a `_` between any two.
func isDigits(s string) bool {
	for i, c := range []byte(s) {
		if c == '_' && i > 0 && i < len(s)-1 && s[i-1] != '_' {
			continue
		}
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// proportion reads a share such as 10% or 0.1, in units of 10^-exponent. exponent ≥ 2.
func proportion(text string, exponent int) (int64, error) {
	bare, percent := strings.CutSuffix(text, "%")
	if strings.ContainsAny(bare, "kMG") {
		return 0, &badValue{message: quote(text) + " is not a share such as 10% or 0.1"}
	}
	if percent {
		exponent -= 2
	}
	v, err := decimal(bare, exponent)
	if isNumber(err) {
		return 0, err
	}
	if err != nil {
		return 0, &badValue{message: quote(text) + " is not a share such as 10% or 0.1"}
	}
	if one := power(exponent); !percent && v > one && v <= 100*one {
		return 0, &badValue{message: quote(text) + " is more than the whole", hint: bare + "%"}
	}
	return v, nil
}

// dollars reads $500, 500 or 1.25 as micro-USD.
func dollars(text string) (int64, error) {
	v, err := decimal(strings.TrimPrefix(text, "$"), 6)
	if isNumber(err) {
		return 0, err
	}
	if err != nil {
		return 0, &badValue{message: quote(text) + " is not an amount of USD such as $500", hint: hintOf(err)}
	}
	return v, nil
}

func power(exponent int) int64 {
	v := int64(1)
	for range exponent {
		v *= 10
	}
	return v
}
