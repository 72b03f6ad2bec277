package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/server/envoy"
)

func newImportEnvoy() *cobra.Command {
	var t envoy.Translation
	var o envoy.Options
	c := &cobra.Command{
		Use:   "import-envoy DIR",
		Short: "Prints the configuration that limits of envoyproxy/ratelimit are as watermaster's own",
		Long: "Reads a directory of limits in envoyproxy/ratelimit's format and prints the configuration of watermaster's\n" +
			"own that says the same: a domain is an organization, values of --project-key are projects (and the key\n" +
			"alone is the template \"*\"), values of --model-key are models. What has no equivalent is told on stderr\n" +
			"and in comments. Nothing that is printed admits what its limit would refuse; where windows were aligned\n" +
			"to the clock, they slide.\n\n" +
			"To serve the directory as it is, instead: serve --envoy-limits DIR.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if t.Metric != "requests" && t.Metric != "tokens" {
				return fmt.Errorf("import-envoy: --metric %q: requests or tokens", t.Metric)
			}
			for _, key := range t.OrganizationKeys {
				if k, v, _ := strings.Cut(key, "="); k == "" || v == "" {
					return fmt.Errorf("import-envoy: --organization-key %q: write KEY=VALUE", key)
				}
			}
			return importEnvoy(c.OutOrStdout(), c.ErrOrStderr(), args[0], o, t)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&t.ProjectKeys, "project-key", []string{"project", "user", "tenant", "api_key", "user_id", "team", "customer"},
		"the `KEYS` whose values are projects: of each domain, the first that it has")
	f.StringSliceVar(&t.ModelKeys, "model-key", []string{"model", "model_name"}, "the `KEYS` whose values are models, likewise")
	f.StringSliceVar(&t.OrganizationKeys, "organization-key", nil, "`KEY=VALUE` of an entry that every request has: its limit is the organization's")
	f.StringVar(&t.Account, "account", "imported", "the `NAME` of the account that has the models")
	f.StringVar(&t.Metric, "metric", "requests", "what the limits count: requests, or tokens if Envoy sends them as hits_addend")
	f.BoolVar(&o.MergeDomains, "envoy-merge-domains", false, "read files of one domain as one")
	return c
}

func importEnvoy(out, problems io.Writer, dir string, o envoy.Options, t envoy.Translation) error {
	l, err := loadLimits(dir, o, problems)
	if err != nil {
		return fmt.Errorf("import-envoy: %w", err)
	}
	text, without := l.Native(t)
	for _, p := range without {
		fmt.Fprintln(problems, p)
	}
	_, err = out.Write(text)
	return err
}
