package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var (
		length   = flag.Duration("duration", time.Minute, "how long to go on, at least 10s")
		workers  = flag.Int("workers", 200, "how many workers there are")
		replicas = flag.Int("replicas", 3, "how many replicas of the watermaster there are, at least 2")
		binary   = flag.String("watermaster", "", "the watermaster's `FILE`; default: built from this tree")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *binary, *workers, *replicas, *length)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, binary string, workers, replicas int, length time.Duration) (err error) {
	if workers < 1 || replicas < 2 || length < 10*time.Second {
		return errors.New("at least a worker, two replicas and ten seconds are needed")
	}
	dir, err := os.MkdirTemp("", "watermaster-demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(out, "starting redis-server and %d replicas …\n", replicas)
	s, err := newStage(ctx, dir, binary, replicas)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintf(out, "%d workers for %v\n", workers, length)
	t, err := tell(ctx, out, s, workers, length)
	if err != nil {
		return err
	}
	return t.report()
}
