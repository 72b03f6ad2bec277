package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/cmd/watermaster/top"
)

const topHelp = `Shows how an organization's limits stand: what is used, reserved and left of each, its trend, who
waits for how long, and what is closed. On a terminal it is live; ? tells its keys, q quits.

With --plain, --json or --count, or where standard output is no terminal, it prints one table, or as many
as --count says, one every --interval. --json prints each as a watermaster.v1.Headroom in one line.`

const topExamples = `  watermaster top
  watermaster top --account openai-main --sort waiting
  watermaster top --plain --consumers 3
  watermaster top --json --count 0 --interval 10s | jq -c '.limits[] | [.scope, .name, .utilization]'`

// topFlags are the flags of `watermaster top`.
type topFlags struct {
	dial                                 dialFlags
	organization, account, pool, project string
	interval                             time.Duration
	count, consumers                     int
	plain, json                          bool
	sort                                 string
}

func newTop() *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:     "top",
		Short:   "Shows a running server's limits, live",
		Long:    topHelp + "\n\n" + dialHelp,
		Example: topExamples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			live := !f.plain && !f.json && !c.Flags().Changed("count") &&
				isTerminal(c.OutOrStdout()) && os.Getenv("TERM") != "dumb"
			return f.run(c, live)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.organization, "organization", "", "the organization's `NAME` (default that of the key, or the only one)")
	flags.StringVar(&f.account, "account", "", "of pools only those of this account")
	flags.StringVar(&f.pool, "pool", "", "of pools only this one")
	flags.StringVar(&f.project, "project", "", "of projects only this one")
	flags.StringVar(&f.sort, "sort", string(top.ByUse), "what comes first: "+choices(top.Orders()))
	flags.DurationVar(&f.interval, "interval", time.Second, "the least time from one state to the next, 100ms to 1h")
	flags.IntVar(&f.count, "count", 1, "print `N` tables and end; 0: until interrupted")
	flags.IntVar(&f.consumers, "consumers", 0, "tell the `N` projects, at most 10, that use most of each limit; live: of the marked one")
	flags.BoolVar(&f.plain, "plain", false, "print tables as plain text, also on a terminal")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	f.dial.register(flags)
	return c
}

func (f *topFlags) check() error {
	switch {
	case !slices.Contains(top.Orders(), top.Order(f.sort)):
		return fmt.Errorf("--sort %q: there are %s", f.sort, choices(top.Orders()))
	case f.interval < 100*time.Millisecond || f.interval > time.Hour:
		return fmt.Errorf("--interval %s: it is 100ms to 1h", f.interval)
	case f.count < 0:
		return fmt.Errorf("--count %d: it is 0 or more", f.count)
	case f.consumers < 0 || f.consumers > 10:
		return fmt.Errorf("--consumers %d: it is 0 to 10", f.consumers)
	}
	return nil
}

func (f *topFlags) run(c *cobra.Command, live bool) (err error) {
	conn, err := f.dial.dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	client := pb.NewMonitorServiceClient(conn)
	if live {
		return f.failed(top.Live{
			Client: client,
			Request: &pb.WatchHeadroomRequest{
				Organization: f.organization, Account: f.account, Pool: f.pool, Project: f.project,
				Interval: durationpb.New(f.interval), Log: true,
			},
			State: top.State{
				Address: f.dial.address, Order: top.Order(f.sort), Details: f.consumers > 0,
				Palette: palette(), Zone: time.Local,
			},
			Output: c.OutOrStdout(),
		}.Run(c.Context()))
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return f.failed(top.Text{
		Client: client,
		Request: &pb.GetHeadroomRequest{
			Organization: f.organization, Account: f.account, Pool: f.pool, Project: f.project, Log: true,
		},
		Every: f.interval, Count: f.count, JSON: f.json,
		Order: top.Order(f.sort), Consumers: f.consumers, Width: widthOf(c.OutOrStdout()), Zone: time.Local,
		Trouble: c.ErrOrStderr(),
	}.Print(ctx, c.OutOrStdout()))
}

// failed tells which server an error is from.
func (f *topFlags) failed(err error) error {
	if s, ok := status.FromError(err); ok && err != nil {
		return fmt.Errorf("top: %s: %s (%s)", f.dial.address, top.Reason(err), s.Code())
	}
	return err
}

// palette follows https://no-color.org.
func palette() top.Palette {
	if os.Getenv("NO_COLOR") != "" {
		return top.Mono
	}
	return top.Color
}

// widthOf gives a terminal's width, and 0 for anything else.
func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}
