package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A Clock is the wall clock of a server, which the test sets.
type Clock struct {
	t    testing.TB
	file string
}

// StartWithClock starts a server whose wall clock the test sets. Without libfaketime the
// test is skipped.
func StartWithClock(t testing.TB, args ...string) (*Server, *Clock) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if len(found) == 0 {
		t.Skip("libfaketime is not installed: make tools (or apt-get install faketime) installs it")
	}
	c := &Clock{t, filepath.Join(t.TempDir(), "clock")}
	c.Set(0)
	// libfaketime cannot do with the allocator that Debian's redis-server is linked to: the
	// C library's own comes before it.
	allocator := filepath.Join(filepath.Dir(filepath.Dir(found[0])), "libc.so.6")
	env := []string{
		"LD_PRELOAD=" + found[0] + " " + allocator, "FAKETIME_TIMESTAMP_FILE=" + c.file,
		"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1",
	}
	return start(t, env, args), c
}

// Set sets the clock to the real time and d, which may be negative. It goes on from there.
func (c *Clock) Set(d time.Duration) { c.write(fmt.Sprintf("%+f", d.Seconds())) }

// Run sets the clock to the real time and d, from where it goes at another speed.
func (c *Clock) Run(d time.Duration, speed float64) {
	c.write(fmt.Sprintf("%+f x%f", d.Seconds(), speed))
}

// Stop stops the clock at an instant.
func (c *Clock) Stop(at time.Time) { c.write(at.Local().Format(time.DateTime)) }

// write replaces the file at once: the server reads it all the time.
func (c *Clock) write(text string) {
	c.t.Helper()
	next := c.file + ".next"
	if err := os.WriteFile(next, []byte(text+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(next, c.file); err != nil {
		c.t.Fatal(err)
	}
}
