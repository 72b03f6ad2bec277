package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// table compares two runs of the same workers.
func table(p plan, without, with *result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %d workers, %v | 429s of the provider | calls that failed | used of the quota | wait p50 / p99 |\n|---|---|---|---|---|\n",
		with.workers, p.measured)
	row := func(name string, r *result) {
		var measured []call
		for _, calls := range r.calls {
			measured = append(measured, calls...)
		}
		failed := 0
		for _, c := range measured {
			if c.Outcome != "ok" {
				failed++
			}
		}
		w := waits(measured)
		fmt.Fprintf(&b, "| %s | %d | %d of %d | %.1f %% | %v / %v |\n", name,
			r.after.Refused-r.before.Refused, failed, len(measured), 100*r.used, short(quantile(w, .5)), short(quantile(w, .99)))
	}
	row("the SDKs alone, with their retries", without)
	row("the same with the wrapper", with)
	return b.String()
}

func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

const (
	begins = "<!-- fleet: written by go run ./clients/fleet --readme README.md -->\n"
	ends   = "<!-- end of fleet -->\n"
)

// write puts a text between the marks of a file.
func write(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the table: put it between the lines\n%s%s", file, begins, ends)
	}
	return os.WriteFile(file, []byte(before+begins+text+ends+after), 0o644) //nolint:gosec // a document
}
