package provider

import (
	"math"
	"math/bits"
)

// A bucket is empty of debt at first, takes what is charged, and loses quota/window per
// nanosecond until nothing is left. A charge fits while used + amount ≤ burst.
//
// What is used is exact: used + part/window tokens. Charges beyond the burst raise it
// further; that is the debt of a provider that cannot refuse.
type bucket struct {
	quota, window, burst uint64

	at   int64  // the time that used and part are of
	used uint64 // whole tokens
	part uint64 // and window-ths of one, < window
}

// drained is what is used at now.
func (b *bucket) drained(now int64) (used, part uint64) {
	hi, lo := bits.Mul64(uint64(now-b.at), b.quota)
	if hi >= b.window {
		return 0, 0 // 2⁶⁴ tokens and more have drained
	}
	whole, rest := bits.Div64(hi, lo, b.window)
	if whole > b.used || whole == b.used && rest >= b.part {
		return 0, 0
	}
	used, part = b.used-whole, b.part
	if part < rest {
		used, part = used-1, part+b.window
	}
	return used, part - rest
}

// wait is (used + amount − burst) · window / quota, rounded up.
func (b *bucket) wait(now, amount int64) int64 {
	used, part := b.drained(now)
	used += uint64(amount)
	switch {
	case uint64(amount) > b.burst:
		return never
	case used < b.burst || used == b.burst && part == 0:
		return 0
	}
	hi, lo := bits.Mul64(used-b.burst, b.window)
	lo, carry := bits.Add64(lo, part, 0)
	hi += carry
	if hi >= b.quota {
		return math.MaxInt64 // centuries
	}
	ns, rest := bits.Div64(hi, lo, b.quota)
	if rest > 0 {
		ns++
	}
	return int64(min(ns, math.MaxInt64))
}

func (b *bucket) charge(now, amount int64) int64 {
	b.used, b.part = b.drained(now)
	b.used += uint64(amount)
	b.at = now
	return 0
}

// credit fills the bucket up to its burst at most, and counts whole tokens only.
func (b *bucket) credit(now, _, amount int64) int64 {
	b.used, b.part = b.drained(now)
	b.at = now
	if uint64(amount) > b.used {
		taken := b.used
		b.used, b.part = 0, 0
		return int64(taken)
	}
	b.used -= uint64(amount)
	return amount
}

func (b *bucket) level() int64 {
	if b.part > 0 {
		return int64(b.used) + 1
	}
	return int64(b.used)
}
