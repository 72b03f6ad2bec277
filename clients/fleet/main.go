package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := show(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func show(ctx context.Context) error {
	var (
		workers  = flag.Int("workers", 200, "workers in all, in three languages")
		measured = flag.Duration("for", time.Minute, "how long to measure each run, after two holds to warm up; rounded to whole holds (a window and the longest way to it), as calls come in bursts of that period")
		readme   = flag.String("readme", "", "write the table between the marks of this `FILE`, too")
	)
	flag.Parse()
	root, err := repository()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := plan{
		root: root, binary: root + "/.bin/watermaster", dir: dir, languages: languages(root),
		workers: *workers, crews: 3, budget: standard, warm: 2 * standard.hold(), measured: max(1, measured.Round(standard.hold())/standard.hold()) * standard.hold(),
		ttl: 5 * time.Second, progress: os.Stderr,
	}
	p.say("without the wrapper:")
	without, err := p.run(ctx)
	if err != nil {
		return err
	}
	p.say("with the wrapper:")
	p.wrapped = true
	with, err := p.run(ctx)
	if err != nil {
		return err
	}
	text := table(p, without, with)
	fmt.Print(text)
	if *readme != "" {
		return write(*readme, text)
	}
	return nil
}

// standard is the budget of the table and of the test.
var standard = budget{window: 6 * time.Second, requests: 150, tokens: 60_000, concurrency: 60, latency: latency, rate: rate}

// repository finds the root of the repository above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "clients", "fleet")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("run it within a clone of the repository")
}
