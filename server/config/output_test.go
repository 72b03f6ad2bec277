package config

import (
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestOutput(t *testing.T) {
	const file = `
organizations:
  o:
    accounts:
      a:
        pools:
          p: {models: [{name: m, output: OUTPUT}, n], limits: {output_tokens: 1M/min}}
`
	for _, row := range []struct {
		output, problem string
		want            limiter.Moments
	}{
		{output: "{expected: 300, deviation: 20}", want: limiter.Moments{Mean: 300, Variance: 400}},
		{output: "{expected: 1k}", want: limiter.Moments{Mean: 1000}},
		{output: "{deviation: 20}", problem: "expected is missing"},
		{output: "{expected: 0}", problem: "expected must be from 1"},
		{output: "{mean: 3, expected: 2}", problem: "mean"},
	} {
		c, err := Parse("f", []byte(strings.ReplaceAll(file, "OUTPUT", row.output)), time.Unix(1, 0))
		if row.problem != "" {
			if err == nil || !strings.Contains(err.Error(), row.problem) {
				t.Errorf("%s: got %v, want a problem with %q", row.output, err, row.problem)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		pool := c.Configure(&c.Organizations[0]).Pools[0]
		if pool.Outputs[0] != row.want || pool.Outputs[1] != (limiter.Moments{}) {
			t.Errorf("%s: got %v, want %v and nothing for n", row.output, pool.Outputs, row.want)
		}
	}
}
