package config

import "github.com/watermaster-project/watermaster/limiter"

// Configure gives the command that puts an organization's part in force. It shares its
// slices with the configuration; neither is to be changed.
func (c *Config) Configure(o *Organization) *limiter.Configure {
	k := &limiter.Configure{
		Generation:  c.Revision,
		Hash:        c.Hash,
		Limits:      o.Limits,
		Pools:       o.poolSpecs(),
		Projects:    o.Projects,
		Template:    o.Template,
		MaxProjects: o.MaxProjects,
		MaxWaiting:  o.MaxWaiting,
		AfterLoss:   o.AfterLoss,
	}
	for _, class := range c.Classes {
		k.Classes = append(k.Classes, class.ClassSpec)
	}
	return k
}

// MetricName gives the name of a metric, that of a unit included.
func (o *Organization) MetricName(m limiter.Metric) string {
	for _, u := range o.Units {
		if limiter.Unit(u) == m {
			return u
		}
	}
	return m.String()
}
