package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/envoy"
)

// envoyFlags say how Envoy's rate-limit service answers.
type envoyFlags struct {
	limits       string
	mergeDomains bool
	domains      map[string]string
	shadow       bool
	headers      string
	metadata     bool
	chargeAlways bool
}

// defaultHeaders are what --envoy-headers alone says.
var defaultHeaders = strings.Join([]string{envoy.DefaultHeaders.Limit, envoy.DefaultHeaders.Remaining, envoy.DefaultHeaders.Reset}, ",")

func (f *envoyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.limits, "envoy-limits", "", "the `DIR` of limits of Envoy's domains, in the format of envoyproxy/ratelimit; read again when it changes")
	flags.BoolVar(&f.mergeDomains, "envoy-merge-domains", false, "with --envoy-limits: read several files of one domain as one, instead of refusing them")
	flags.StringToStringVar(&f.domains, "envoy-domain", nil, "`NAME=ORG`: the domain NAME draws on the budgets of organization ORG; may be given several times")
	flags.BoolVar(&f.shadow, "envoy-shadow", false, "answer Envoy OK whatever is over; the statuses and metrics tell the truth")
	flags.StringVar(&f.headers, "envoy-headers", "", "add headers that tell of the tightest limit; the `NAMES` of limit, remaining and reset can be\n"+
		"given, parted by commas, an empty one being left out")
	flags.Lookup("envoy-headers").NoOptDefVal = defaultHeaders
	flags.BoolVar(&f.metadata, "envoy-dynamic-metadata", false, "tell the filters behind in Envoy what was asked and decided")
	flags.BoolVar(&f.chargeAlways, "envoy-charge-always", false, "with --envoy-limits: charge every descriptor, also of a request that is over another's limit, and also\n"+
		"what is over, as envoyproxy/ratelimit does; by default all are charged or none is")
}

func (f *envoyFlags) validate() error {
	var all []error
	if f.limits == "" && f.mergeDomains {
		all = append(all, errors.New("--envoy-merge-domains says how --envoy-limits is read: give that too"))
	}
	if f.limits == "" && f.chargeAlways {
		all = append(all, errors.New("--envoy-charge-always says how --envoy-limits are charged: give that too"))
	}
	_, err := f.headerNames()
	return errors.Join(append(all, err)...)
}

// headerNames reads --envoy-headers; nil: none are added.
func (f *envoyFlags) headerNames() (*envoy.Headers, error) {
	switch f.headers {
	case "", "false":
		return nil, nil
	case "true":
		return &envoy.DefaultHeaders, nil
	}
	names := strings.Split(f.headers, ",")
	bad := len(names) != 3
	for _, n := range names {
		bad = bad || strings.ContainsFunc(n, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("():;<=>?@[]{}/\\\"", c) })
	}
	if bad {
		return nil, fmt.Errorf("--envoy-headers %q: give three names, of limit, remaining and reset, as in %s", f.headers, defaultHeaders)
	}
	return &envoy.Headers{Limit: names[0], Remaining: names[1], Reset: names[2]}, nil
}

// options gives what the server is told; the limits are still missing.
func (f *envoyFlags) options() (o server.EnvoyOptions, err error) {
	o.Domains, o.ChargeAlways, o.Shadow, o.DynamicMetadata = f.domains, f.chargeAlways, f.shadow, f.metadata
	o.Headers, err = f.headerNames()
	return o, err
}

// load reads the limits; nil: there is no directory of them. It prints every problem.
func (f *envoyFlags) load(problems io.Writer) (*envoy.Limits, error) {
	if f.limits == "" {
		return nil, nil
	}
	l, err := loadLimits(f.limits, envoy.Options{MergeDomains: f.mergeDomains}, problems)
	if err != nil && !errors.Is(err, errReported) {
		err = fmt.Errorf("--envoy-limits: %w", err)
	}
	return l, err
}

// reloadLimits reads the directory again and puts its limits in force: again if a store that
// is away keeps a new domain from being begun.
func (s *service) reloadLimits(ctx context.Context) {
	for {
		err := s.putLimits(ctx)
		if err == nil || !mayReturn(err) {
			return
		}
		t := time.NewTimer(tellEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *service) putLimits(ctx context.Context) error {
	var problems strings.Builder
	limits, err := s.flags.envoy.load(&problems)
	if err == nil {
		err = s.server.ReloadLimits(ctx, limits)
	}
	s.server.LimitsLoaded(err)
	for line := range strings.Lines(problems.String()) {
		s.logger.Warn("limits of Envoy's domains", "problem", strings.TrimSpace(line))
	}
	if err != nil {
		told := err
		if errors.Is(err, errReported) {
			told = errors.New("they are wrong")
		}
		s.logger.Error("the limits of Envoy's domains were not reloaded: those before stay in force", "directory", s.flags.envoy.limits, "error", told)
		return err
	}
	s.logger.Info("the limits of Envoy's domains are in force", "directory", s.flags.envoy.limits, "domains", limits.Domains(), "limits", len(limits.Rules)-len(limits.Domains()))
	return nil
}
