package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
)

func newCheck() *cobra.Command {
	var against string
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Tells what is wrong with a configuration, or the limits that it sets",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(args[0], c.ErrOrStderr())
			if err != nil {
				return err
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
	return c
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
