package file

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Options say how a log behaves. The zero value is a sound default.
type Options struct {
	// Sync says when entries are on the disk itself. Default: DefaultSync.
	Sync Sync
	// Clock reads the wall clock, in Unix nanoseconds, and a monotonic one, in nanoseconds
	// since any instant. Default: the system's.
	Clock func() (wall, monotonic int64)
	// Logger takes what was cut, damaged, lost or not synced; nil: nobody.
	Logger *slog.Logger
}

// Sync is how long an entry may be in the operating system's hands alone before it is
// synced to the disk (and for as long as that takes); or Always, or Never.
type Sync time.Duration

const (
	// DefaultSync is what 0 stands for.
	DefaultSync = Sync(100 * time.Millisecond)
	// Always: an entry is on the disk before Append returns.
	Always Sync = -1
	// Never: whenever the operating system finds the time.
	Never Sync = -2
)

// ParseSync reads "always", "never" or a time such as "100ms".
func ParseSync(text string) (Sync, error) {
	switch text {
	case "always":
		return Always, nil
	case "never":
		return Never, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > time.Minute {
		return 0, fmt.Errorf("%q: always, never, or a time from 1ms to 1m", text)
	}
	return Sync(d), nil
}

// String gives what ParseSync reads.
func (s Sync) String() string {
	switch s {
	case Always:
		return "always"
	case Never:
		return "never"
	}
	return time.Duration(s).String()
}

// defaults fills in what is not given.
func (o *Options) defaults() error {
	if o.Sync == 0 {
		o.Sync = DefaultSync
	}
	if o.Sync < Never {
		return fmt.Errorf("file: a sync every %v cannot be", time.Duration(o.Sync))
	}
	if o.Clock == nil {
		o.Clock = store.SystemClock()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
