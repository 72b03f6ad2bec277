package limiter

import "time"

// A calendar counts from one local midnight to another. A charge so near the edge that
// the provider may count it on either side counts on both.
type calendar struct {
	number        uint32 // of the period: where it begins, in units of periodUnit
	begins, ends  Time
	current, next int64 // charged to this period, and already to the one behind it
}

// periodUnit divides all offsets of zones, and so all times at which a period begins.
const periodUnit = Time(15 * time.Minute)

func periodNumber(begins Time) uint32 { return uint32(begins / periodUnit) }

// roll moves on to the period that holds now.
func (c *calendar) roll(now Time, period Period, zone []ZoneOffset) {
	if now < c.ends {
		return
	}
	before := c.ends
	c.begins, c.ends = periodAround(now, period, zone)
	if c.begins == before {
		c.current, c.next = c.next, 0
	} else {
		c.current, c.next = 0, 0 // a period was skipped: nothing charged before is held any more
	}
	c.number = periodNumber(c.begins)
}

// rebase goes over to other periods. All that was counted in the former one counts in the
// one that holds now; which part of it that really was is not known any more.
func (c *calendar) rebase(now Time, period Period, zone []ZoneOffset) {
	c.begins, c.ends = periodAround(now, period, zone)
	c.number = periodNumber(c.begins)
}

// near says that a charge granted now may be counted in the next period.
func (c *calendar) near(at Time, jitter time.Duration) bool { return at.Add(jitter) >= c.ends }

func (c *calendar) used(now Time, jitter time.Duration) int64 {
	if c.near(now, jitter) {
		return max(c.current, c.next)
	}
	return c.current
}

func (c *calendar) charge(now Time, amount int64, jitter time.Duration) uint32 {
	c.current += amount
	if c.near(now, jitter) {
		c.next += amount
	}
	return c.number
}

// chargeBefore holds an amount that was granted before the period that holds now: it counts
// there if it was so near the edge.
func (l *limit) chargeBefore(granted Time, amount int64) (number uint32) {
	c := &l.calendar
	begins, ends := periodAround(granted, l.Period, l.Zone)
	if ends >= c.begins && granted.Add(l.Jitter) >= c.begins {
		c.current += amount
	}
	return periodNumber(begins)
}

// refundPeriod takes amount out of the period or periods that hold a charge of granted.
func (l *limit) refundPeriod(number uint32, granted Time, amount int64) bool {
	c := &l.calendar
	if number == c.number {
		c.current -= min(amount, c.current)
		if c.near(granted, l.Jitter) {
			c.next -= min(amount, c.next)
		}
		return true
	}
	if granted.Add(l.Jitter) < c.begins {
		return false
	}
	if before, _ := periodAround(c.begins-1, l.Period, l.Zone); number != periodNumber(before) {
		return false
	}
	c.current -= min(amount, c.current)
	return true
}

// periodAround gives the period that holds t.
func periodAround(t Time, period Period, zone []ZoneOffset) (begins, ends Time) {
	local := time.Unix(int64(t)/1e9, int64(t)%1e9).UTC().Add(offsetAt(t, zone))
	y, m, d := local.Date()
	days := 1
	switch period {
	case Week: // from Monday
		d -= (int(local.Weekday()) + 6) % 7
		days = 7
	case Month:
		d = 1
	}
	from := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 0, days)
	if period == Month {
		to = from.AddDate(0, 1, 0)
	}
	begins, ends = toLogTime(from, zone), toLogTime(to, zone)
	if ends <= t { // a zone that is set back at midnight
		ends = t + 1
	}
	return min(begins, t), ends
}

// toLogTime gives the time at which clocks of the zone show a local time.
func toLogTime(local time.Time, zone []ZoneOffset) Time {
	t := Time(local.UnixNano())
	guess := t.Add(-offsetAt(t, zone))
	return t.Add(-offsetAt(guess, zone))
}

// offsetAt gives local time minus UTC at t.
func offsetAt(t Time, zone []ZoneOffset) time.Duration {
	if len(zone) == 0 {
		return 0
	}
	o := zone[0]
	for _, z := range zone[1:] {
		if z.From > t {
			break
		}
		o = z
	}
	return time.Duration(o.Seconds) * time.Second
}
