package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot puts the commands together.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "watermaster",
		Short:         "Shares out the rate limits of LLM providers among fleets of workers",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServe(),
		newCheck(),
		newImportEnvoy(),
		newSimulate(),
		newProvider(),
		newKey(),
		newTop(),
		newHealthcheck(),
		newVersion(),
	)
	for _, c := range root.Commands() {
		describeEnvironment(c)
	}
	return root
}

const environmentPrefix = "WATERMASTER_"

// variable gives the environment variable of a flag: --log-level is WATERMASTER_LOG_LEVEL.
func variable(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// describeEnvironment makes the flags that a command line leaves out come from the
// environment.
func describeEnvironment(c *cobra.Command) {
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := fromEnvironment(c.Flags()); err != nil {
			return err
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}

func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, set := os.LookupEnv(variable(f.Name))
		if f.Changed || !set || err != nil || f.Name == "help" {
			return
		}
		err = flags.Set(f.Name, value)
	})
	return err
}
