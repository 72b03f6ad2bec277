package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// An examination is what `watermaster check --store` tells.
type examination struct {
	Store         string    `json:"store"` // without the password
	Worst         string    `json:"worst"` // of the findings
	Findings      []finding `json:"findings"`
	Organizations []shard   `json:"organizations,omitempty"` // of the configuration
}

type finding struct {
	Level  string `json:"level"` // ok, note, warn or fail
	What   string `json:"what"`
	Found  string `json:"found"`
	Change string `json:"change,omitempty"`
	Where  string `json:"where,omitempty"`
}

// A shard is where an organization is, and whether what it used is known there.
type shard struct {
	Organization string `json:"organization"`
	Keys         string `json:"keys"`
	Slot         *int   `json:"slot,omitempty"` // of a cluster
	Node         string `json:"node,omitempty"`
	State        string `json:"state"`
}

// checkStore examines a Redis, and tells of the organizations of a configuration if there is one.
func checkStore(c *cobra.Command, f *storeFlags, args []string, asJSON bool) error {
	ctx := c.Context()
	var cfg *config.Config
	var err error
	if len(args) > 0 {
		if cfg, err = loadConfig(args[0], c.ErrOrStderr()); err != nil {
			return err
		}
	}
	o, err := f.options(nil)
	if err != nil {
		return err
	}
	report, err := redis.Examine(ctx, f.url, o)
	if err != nil {
		return fmt.Errorf("--store %s: %w", f.name(), err)
	}
	x := examination{Store: f.name(), Worst: report.Worst().String()}
	for _, r := range report {
		x.Findings = append(x.Findings, finding{r.Level.String(), r.What, r.Found, r.Change, r.Where})
	}
	if cfg != nil && report.Worst() < redis.Fail {
		if x.Organizations, err = f.shards(ctx, o, cfg); err != nil {
			return fmt.Errorf("--store %s: %w", f.name(), err)
		}
	}
	if asJSON {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(x)
	} else {
		err = x.write(c.OutOrStdout())
	}
	if err == nil && report.Worst() == redis.Fail {
		err = errReported
	}
	return err
}

// shards says where the organizations of a configuration are.
func (f *storeFlags) shards(ctx context.Context, o redis.Options, cfg *config.Config) (list []shard, err error) {
	names := make([]string, len(cfg.Organizations))
	for i := range cfg.Organizations {
		names[i] = cfg.Organizations[i].Name
	}
	at, err := redis.Shards(ctx, f.url, o, names)
	if err != nil {
		return nil, err
	}
	log, err := redis.Open(ctx, f.url, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for i, s := range at {
		settings := &cfg.Organizations[i]
		each := shard{Organization: s.Organization, Keys: s.Keys, Node: s.Node}
		if s.Slot >= 0 {
			each.Slot = &s.Slot
		}
		until, err := known(ctx, log, settings)
		switch {
		case errors.Is(err, store.ErrNotFound):
			each.State = "none: it was idle for longer than its windows, or the start is cold: " + cfg.WithoutState(settings)
		case err != nil:
			return nil, err
		default:
			each.State = "known until " + until
		}
		list = append(list, each)
	}
	return list, nil
}

// write writes tables: what is well in a line, and what is not with what to do.
func (x *examination) write(w io.Writer) error {
	fmt.Fprintln(w, x.Store)
	places := map[string]bool{}
	for _, f := range x.Findings {
		places[f.Where] = true
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range x.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s", f.Level, f.What, f.Found)
		if f.Where != "" && len(places) > 1 {
			fmt.Fprintf(t, " (%s)", f.Where)
		}
		fmt.Fprintln(t)
		if f.Change != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Change)
		}
	}
	if err := t.Flush(); err != nil || len(x.Organizations) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORGANIZATION\tKEYS\tSLOT\tNODE\tSTATE")
	for _, s := range x.Organizations {
		slot, node := "-", "-"
		if s.Slot != nil {
			slot = fmt.Sprint(*s.Slot)
		}
		if s.Node != "" {
			node = s.Node
		}
		fmt.Fprintf(t, "%s\t%s*\t%s\t%s\t%s\n", s.Organization, s.Keys, slot, node, s.State)
	}
	return t.Flush()
}
