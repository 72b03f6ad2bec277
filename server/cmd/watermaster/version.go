package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is that of the module, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	if text == "" || text == "(devel)" {
		text = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text = "devel-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return text
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tells the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "watermaster", version())
			return err
		},
	}
}
