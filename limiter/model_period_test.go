package limiter

import "time"

// period finds the local day, week or month that holds a time.
func (l *mLimit) period(t Time) (begins, ends Time) {
	for _, p := range l.periods {
		if p[0] <= t && t < p[1] {
			return p[0], p[1]
		}
	}
	begins, ends = mPeriod(t, l.Period, l.Zone)
	l.periods = append(l.periods, [2]Time{begins, ends})
	return begins, ends
}

// mPeriod finds the local day, week or month that holds a time by trying every hour's
// quarter that may begin one.
func mPeriod(t Time, p Period, zone []ZoneOffset) (begins, ends Time) {
	offset := func(t Time) Time {
		o := Time(0)
		for i, z := range zone {
			if i == 0 || z.From <= t {
				o = Time(z.Seconds) * 1e9
			}
		}
		return o
	}
	starts := func(t Time) bool {
		local := time.Unix(0, int64(t+offset(t))).UTC()
		h, mi, s := local.Clock()
		if h != 0 || mi != 0 || s != 0 || local.Nanosecond() != 0 {
			return false
		}
		return p == Day || p == Week && local.Weekday() == time.Monday || p == Month && local.Day() == 1
	}
	const quarter = Time(15 * time.Minute)
	for begins = t / quarter * quarter; !starts(begins); {
		begins -= quarter
	}
	for ends = t/quarter*quarter + quarter; !starts(ends); {
		ends += quarter
	}
	return begins, ends
}
