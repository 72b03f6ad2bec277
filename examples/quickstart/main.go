package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

func main() {
	var (
		address = flag.String("addr", cmp.Or(os.Getenv("WATERMASTER_ADDRESS"), "127.0.0.1:8081"), "the watermaster's gRPC `address`")
		file    = flag.String("trace", "", "`FILE` of requests, CSV with t_ms or TIMESTAMP, input and output tokens; default: two minutes of Azure's")
		speed   = flag.Float64("speed", 1, "how fast the trace is replayed")
		workers = flag.Int("workers", 200, "how many calls may wait or run at once")
		length  = flag.Duration("for", time.Minute, "how long to go on")
		model   = flag.String("route", "smart", "what to ask for")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *address, *file, *model, *speed, *workers, *length)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, address, file, route string, speed float64, workers int, length time.Duration) (err error) {
	rows, err := readTrace(file)
	if err != nil {
		return err
	}
	if !(speed > 0) || workers < 1 {
		return fmt.Errorf("--speed and --workers must be above 0")
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	upstream, err := newUpstream()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	f := &fleet{
		limiter: pb.NewLimiterServiceClient(conn), provider: upstream, route: route, out: out,
		run: time.Now().UnixNano(), waits: map[string][]time.Duration{},
	}
	if err := f.replay(ctx, rows, speed, workers); err != nil {
		return err
	}
	f.report()
	return nil
}
