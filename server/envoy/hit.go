package envoy

import "time"

// What follows stands for the engine's types of the same names until they are there.

type CounterID [16]byte

type HitMode uint8

const (
	Enforced HitMode = iota
	Shadow
	QuotaMode
)

type Hit struct {
	Always   bool
	Counters []CounterHit
}

type CounterHit struct {
	Counter CounterID
	Quota   int64
	Window  time.Duration
	Amount  int64
	Mode    HitMode
}

type Event struct {
	Over, Charged          bool
	Remaining              int64
	RetryAfter, ResetAfter time.Duration
}
