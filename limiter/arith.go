package limiter

import "math/bits"

// maxAmount bounds what one charge may carry, so that sums of them fit 64 bits.
const maxAmount = int64(1) << 50

// maxSpan saturates products that would not fit; as time it is 36 years.
const maxSpan = int64(1) << 60

// mulDiv gives a·b/c rounded down, for a, b ≥ 0 and c > 0, saturated at maxSpan.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return maxSpan
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	if q > uint64(maxSpan) {
		return maxSpan
	}
	return int64(q)
}

// mulDivUp gives a·b/c rounded up, with the bounds of mulDiv.
func mulDivUp(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	lo, carry := bits.Add64(lo, uint64(c-1), 0)
	hi += carry
	if hi >= uint64(c) {
		return maxSpan
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	if q > uint64(maxSpan) {
		return maxSpan
	}
	return int64(q)
}

// root gives the square root rounded up, for x ≥ 0.
func root(x int64) int64 {
	if x <= 1 {
		return x
	}
	r := int64(1) << ((bits.Len64(uint64(x-1)) + 1) / 2) // ≥ the root
	for {
		next := (r + x/r) / 2
		if next >= r {
			break
		}
		r = next
	}
	if r*r < x {
		r++
	}
	return r
}

// perMillion gives the given parts of a, rounded down.
func perMillion(a int64, ppm uint32) int64 { return mulDiv(a, int64(min(ppm, 1_000_000)), 1_000_000) }
