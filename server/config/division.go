package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/watermaster-project/watermaster/limiter"
)

// describeAway writes, of every limit, what each replica may grant while the shared log
// cannot be reached, one a line.
func (c *Config) describeAway(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORGANIZATION\tSCOPE\tLIMIT\tWHEN AWAY\tREPLICAS\tEACH AT MOST\tNOTE")
	models := c.offered()
	for s := range c.scopes() {
		for i := range s.limits {
			fmt.Fprintln(t, strings.TrimRight(c.division(s, &s.limits[i], models), "\t"))
		}
	}
	return t.Flush()
}

// division tells how a limit is divided.
func (c *Config) division(s scope, l *limiter.LimitSpec, models map[string]*Model) string {
	o := s.organization
	away, replicas, note := "as accounts", fmt.Sprint(o.MaxReplicas), ""
	var p Amount
	a, pool := s.pool()
	if a == nil {
		p = o.OwnPart(l, Free(l))
	} else {
		away, p = a.Away.String(), o.PoolPart(a, l, Free(l))
		if note = tooLarge(l, p, pool, models); p == (Amount{}) && a.Away.Policy != AwayClosed {
			note = "too little to be divided: the pool grants nothing"
		}
	}
	each := amountText(l.Metric, p.Quota)
	switch {
	case p == Unlimited:
		replicas, each = "any", "all"
	case p == Amount{}:
		each = "nothing"
	case l.Shape == limiter.TokenBucket && p.Burst != p.Quota:
		each += ", burst " + amountText(l.Metric, p.Burst)
	}
	return strings.Join([]string{o.Name, s.String(), l.Name, away, replicas, each, note}, "\t")
}

// tooLarge says which calls a part of a pool's limit never lets through.
func tooLarge(l *limiter.LimitSpec, p Amount, pool *Pool, models map[string]*Model) string {
	if p == (Amount{}) || p == Unlimited {
		return ""
	}
	most := p.Quota
	if l.Shape == limiter.TokenBucket {
		most = p.Burst - inflow(p.Quota, l)
	}
	var name string
	largest := most
	for i := range pool.Models {
		m := models[pool.Models[i].Name]
		if size := m.largest(l.Metric); size > largest {
			name, largest = pool.Models[i].Name, size
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("calls above %s wait, and those of %s may take %s",
		amountText(l.Metric, most), name, amountText(l.Metric, largest))
}

// largest gives how much of a metric a call may take; 0: unknown.
func (m *Model) largest(metric limiter.Metric) int64 {
	switch {
	case m == nil:
	case metric == limiter.Tokens, metric == limiter.InputTokens:
		return m.Context
	case metric == limiter.OutputTokens:
		return m.MaxOutput
	}
	return 0
}

// offered gives what `models:` says of the models that pools offer, by their names there.
func (c *Config) offered() map[string]*Model {
	var x modelIndex
	x.exact, x.prefixes = map[string]string{}, map[string]string{}
	known := map[string]*Model{}
	for i := range c.Models {
		m := &c.Models[i]
		known[m.Name], x.exact[m.Name] = m, m.Name
		for _, a := range m.Aliases {
			if prefix, pattern := strings.CutSuffix(a, "*"); pattern {
				x.prefixes[prefix] = m.Name
			} else {
				x.exact[a] = m.Name
			}
		}
	}
	offered := map[string]*Model{}
	for s := range c.scopes() {
		if _, p := s.pool(); p != nil {
			for i := range p.Models {
				name, _ := x.find(p.Models[i].Name)
				offered[p.Models[i].Name] = known[name]
			}
		}
	}
	return offered
}
