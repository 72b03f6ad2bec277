package config

import "github.com/watermaster-project/watermaster/limiter"

// An Amount is so much of a limit: of its quota and, of a token bucket, of its burst.
type Amount struct{ Quota, Burst int64 }

// Unlimited is more than any call takes.
var Unlimited = Amount{maxQuota, maxQuota}

// Free is what a limit has free if nothing is held: the quota less the margin.
func Free(l *limiter.LimitSpec) Amount {
	return Amount{effective(l), l.Burst - part(l.Burst, l.Margin)}
}

// PoolPart gives what one replica may grant of the limit of a pool while the log is away, if
// so much was free of it when the log was last read. Zero: nothing. The parts of all
// MaxReplicas are together never more than the margin, or than the share of what was free.
func (o *Organization) PoolPart(a *Account, l *limiter.LimitSpec, free Amount) Amount {
	all := Amount{}
	switch a.Away.Policy {
	case AwayOpen:
		return Unlimited
	case AwayMargin:
		all = Amount{part(l.Quota, l.Margin), part(l.Burst, l.Margin)}
	case AwayShare:
		all = Amount{part(max(0, free.Quota), a.Away.Share), part(max(0, free.Burst), a.Away.Share)}
	}
	n := int64(o.MaxReplicas)
	p := Amount{all.Quota / n, all.Burst / n}
	switch {
	case l.Shape != limiter.TokenBucket:
		p.Burst = 0
	case p.Quota == 0 || p.Burst <= inflow(p.Quota, l): // of which what flows in during D is kept free
		return Amount{}
	}
	return p
}

// OwnPart gives the same of a limit of the organization or a project: the most that any of
// its accounts' policies gives. No margin is kept free of such a limit; its part is that of
// the account that keeps most. It is rounded up: no provider enforces it, and a part of
// nothing would stop a project whose limits are small for as long as the log is away.
func (o *Organization) OwnPart(l *limiter.LimitSpec, free Amount) Amount {
	var most Amount
	for i := range o.Accounts {
		a := &o.Accounts[i]
		var p Amount
		switch a.Away.Policy {
		case AwayOpen:
			return Unlimited
		case AwayMargin:
			p = Amount{o.roundUp(l.Quota, a.Margin), o.roundUp(l.Burst, a.Margin)}
		case AwayShare:
			p = Amount{o.roundUp(max(0, free.Quota), a.Away.Share), o.roundUp(max(0, free.Burst), a.Away.Share)}
		}
		most = Amount{max(most.Quota, p.Quota), max(most.Burst, p.Burst)}
	}
	if l.Shape != limiter.TokenBucket {
		most.Burst = 0
	} else if most.Quota > 0 {
		most.Burst = max(most.Burst, inflow(most.Quota, l)+1)
	}
	return most
}

// roundUp gives a replica's part of parts per million of an amount.
func (o *Organization) roundUp(amount int64, ppm uint32) int64 {
	p := part(amount, ppm)
	if p == 0 && amount > 0 && ppm > 0 {
		return 1
	}
	n := int64(o.MaxReplicas)
	return (p + n - 1) / n
}
