package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/examples/demo/fleet"
)

// report prints what it has come to. The error says what must not have happened.
func (t *story) report() error {
	w, c := t.out, t.fleet.Tally()
	seen, refused := t.upstream.Report()
	now := t.upstream.Since()
	use := t.upstream.Use(0, now)
	fmt.Fprintf(w, "\nprovider 429s: %d of %d calls\n", len(refused), seen.Calls)
	for i, l := range seen.Limits {
		fmt.Fprintf(w, "%-12s worst window %5.1f %% of the quota, %5.1f %% of it used over %.0f s\n",
			l.Metric, 100*l.Worst.Float(), 100*use[i], now.Seconds())
	}
	gap, began := c.Gap(0, t.length)
	fmt.Fprintf(w, "longest time without a grant: %v, at %.1f s\n", gap.Round(time.Millisecond), began.Seconds())
	fmt.Fprintf(w, "\n%-12s %7s %10s %10s %10s\n", "waits", "calls", "p50", "p99", "longest")
	for _, class := range slices.Sorted(maps.Keys(c.Waits)) {
		at := func(percent int) time.Duration { return c.Wait(class, percent).Round(time.Millisecond) }
		fmt.Fprintf(w, "%-12s %7d %10v %10v %10v\n", class, len(c.Waits[class]), at(50), at(99), at(100))
	}
	fmt.Fprintf(w, "\n%d errors that workers saw and got over, %d granted too late to be sent\n", fleet.All(c.Errors), c.Late)
	list := func(what string, of map[string]int64) {
		for _, kind := range slices.Sorted(maps.Keys(of)) {
			fmt.Fprintf(w, "%6d  %s%s\n", of[kind], what, kind)
		}
	}
	list("", c.Errors)
	list("refused: ", c.Refused)
	list("LOST: ", c.Lost)
	for _, r := range refused[:min(5, len(refused))] {
		fmt.Fprintf(w, "429 at %v: %+v\n", r.At, r.Verdict)
	}
	switch {
	case len(refused) > 0:
		return fmt.Errorf("the provider refused %d calls", len(refused))
	case c.Sent == 0:
		return errors.New("no call was sent")
	}
	return nil
}
