package store

import "time"

// SystemClock reads the wall clock, in Unix nanoseconds, and the monotonic one, in nanoseconds
// since it was made.
func SystemClock() func() (wall, monotonic int64) {
	start := time.Now()
	return func() (int64, int64) {
		now := time.Now()
		return now.UnixNano(), int64(now.Sub(start))
	}
}
