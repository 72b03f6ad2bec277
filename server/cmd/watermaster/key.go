package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/server/access"
)

func newKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Makes a key for a caller, and what stands for it in the configuration",
		Long: "Makes a key for a caller, and what stands for it in the configuration. The key goes to the caller and is\n" +
			"shown this once: to standard output. The configuration gets only its SHA-256, shown on standard error:\n\n" +
			"  watermaster key > key.txt",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			key, hash := access.NewKey()
			if _, err := fmt.Fprintln(c.OutOrStdout(), key); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.ErrOrStderr(), "credentials:\n  - {name: NAME, sha256: %s, organization: ORGANIZATION}\n", hash)
			return err
		},
	}
}
