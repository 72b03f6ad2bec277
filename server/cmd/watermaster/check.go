package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/policy"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

func newCheck() *cobra.Command {
	var against, state string
	var redis storeFlags
	var asJSON bool
	var limits string
	var merge envoy.Options
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tells what is wrong with a configuration, or the limits that it sets",
		Long: "Tells all that is wrong with a configuration, with lines and the nearest spelling; or the limits that it\n" +
			"sets, how far each can be used, and what a process without state assumes of the use before it. With\n" +
			"--against, what of an older one is kept, new and lost. With --state, whether a start with that\n" +
			"directory would find what was used; it is opened as serve does it, so not while one uses it.\n\n" +
			"With --envoy-limits, the same of a directory of limits in envoyproxy/ratelimit's format.\n\n" +
			"With --store, whether a Redis is as it has to be, what to change there (exit code 1 if something does\n" +
			"not work), and of a FILE's organizations where they are and whether what they used is known.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := redis.validate(); err != nil {
				return fmt.Errorf("check: %w", err)
			}
			if redis.url == "" && len(args) == 0 && limits == "" {
				return errors.New("check: a FILE with a configuration is needed, or --envoy-limits, or --store")
			}
			if asJSON && redis.url == "" {
				return errors.New("check: --json is for --store")
			}
			if redis.url != "" {
				return checkStore(c, &redis, args, asJSON)
			}
			var envoys *envoy.Limits
			if limits != "" {
				var err error
				if envoys, err = loadLimits(limits, merge, c.ErrOrStderr()); err != nil {
					return fmt.Errorf("check: %w", err)
				}
				if len(args) == 0 {
					return envoys.Describe(c.OutOrStdout())
				}
			}
			cfg, err := loadConfig(args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := (&server.EnvoyOptions{}).Check(cfg, envoys); err != nil {
				return fmt.Errorf("check: %w", err)
			}
			if state != "" {
				return checkState(c.Context(), c.OutOrStdout(), cfg, state)
			}
			if against == "" {
				return cfg.Describe(c.OutOrStdout())
			}
			old, err := loadConfig(against, c.ErrOrStderr())
			if err != nil {
				return err
			}
			return config.Compare(c.OutOrStdout(), old, cfg)
		},
	}
	c.Flags().StringVar(&against, "against", "", "an older `FILE`: tell what becomes of its limits instead")
	c.Flags().StringVar(&state, "state", "", "the `DIR` of serve's --state: tell what a start would find there instead")
	redis.register(c.Flags(), "the `URL` of a Redis 7 to examine, as serve's --store")
	c.Flags().BoolVar(&asJSON, "json", false, "with --store: print one JSON object")
	c.Flags().StringVar(&limits, "envoy-limits", "", "the `DIR` of serve's --envoy-limits: tell what is wrong with it, and the limits that it sets,\n"+
		"or with a FILE whether both can be served together")
	c.Flags().BoolVar(&merge.MergeDomains, "envoy-merge-domains", false, "with --envoy-limits: read files of one domain as one")
	c.MarkFlagsMutuallyExclusive("against", "state", "store")
	return c
}

// checkState tells, of each organization, whether what it used is known in a directory.
func checkState(ctx context.Context, w io.Writer, cfg *config.Config, dir string) (err error) {
	if _, err := os.Stat(dir); err != nil { // which opening it would make
		return fmt.Errorf("--state: %w", err)
	}
	log, err := file.Open(dir, file.Options{})
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORGANIZATION\tSTATE\tSTART")
	var damaged error
	for i := range cfg.Organizations {
		o := &cfg.Organizations[i]
		until, err := known(ctx, log, o)
		switch {
		case errors.Is(err, store.ErrNotFound):
			fmt.Fprintf(t, "%s\tnone\tcold: %s\n", o.Name, cfg.WithoutState(o))
		case err != nil:
			fmt.Fprintf(t, "%s\tdamaged\tnone: %v\n", o.Name, err)
			damaged = errReported
		default:
			fmt.Fprintf(t, "%s\tuntil %s\tknows what was used\n", o.Name, until)
		}
	}
	return errors.Join(t.Flush(), damaged)
}

// known says until when a log tells what an organization used.
func known(ctx context.Context, log store.Log, o *config.Organization) (until string, err error) {
	snapshot, entries, err := log.Load(ctx, o.Name)
	if errors.Is(err, store.ErrNotFound) && o.Was != "" {
		snapshot, entries, err = log.Load(ctx, o.Was)
	}
	if err != nil {
		return "", err
	}
	at := snapshot.Time
	if n := len(entries); n > 0 {
		at = entries[n-1].Time
	}
	return time.Unix(0, int64(at)).UTC().Format(time.RFC3339), nil
}

// loadConfig reads a configuration and compiles all of it. It prints every problem.
func loadConfig(path string, problems io.Writer) (*config.Config, error) {
	cfg, err := config.Load(path)
	var all config.Errors
	if errors.As(err, &all) {
		for _, p := range all {
			fmt.Fprintln(problems, p)
		}
		return nil, errReported
	}
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(problems, "warning:", w)
	}
	for i := range cfg.Organizations {
		if _, err := policy.Compile(cfg, cfg.Organizations[i].Name); err != nil {
			return nil, fmt.Errorf("%s: organization %s: %w", path, cfg.Organizations[i].Name, err)
		}
	}
	return cfg, nil
}

// loadLimits reads a directory of Envoy's limits. It prints every problem.
func loadLimits(dir string, o envoy.Options, problems io.Writer) (*envoy.Limits, error) {
	l, err := envoy.Load(dir, o)
	var all envoy.Errors
	if errors.As(err, &all) {
		for _, p := range all {
			fmt.Fprintln(problems, p)
		}
		return nil, errReported
	}
	if err != nil {
		return nil, err
	}
	for _, w := range l.Warnings {
		fmt.Fprintln(problems, "warning:", w)
	}
	return l, nil
}
