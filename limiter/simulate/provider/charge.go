package provider

import "fmt"

// An Estimate is what a provider counts of a call's output when the call arrives.
type Estimate uint8

const (
	// EstimateSum counts input + max output.
	EstimateSum Estimate = iota
	// EstimateMax counts the larger of input and max output.
	EstimateMax
	// EstimateInput counts the input; output is counted as it is produced.
	EstimateInput
)

// Charge says what a provider counts and when. The zero value counts input + max
// output on admission and never corrects it; cached input is free.
type Charge struct {
	Estimate Estimate

	// Settle: at completion the actual amount replaces the estimate. Too much is
	// credited: into the window that holds the charge (nothing once that is gone), to a
	// bucket up to its burst. Too little is charged then. Without it estimates stand.
	Settle bool

	// Steps: with EstimateInput, output is counted in so many equal steps over
	// Call.Life, the last one at completion. 0 and 1 count all of it at completion.
	Steps int

	// Burndown multiplies output, 1 … 1000; 0 means 1. An estimate's max output is
	// multiplied only with BurnEstimate; the actual output always.
	Burndown     int64
	BurnEstimate bool

	CachedPerMille   int64 // weight of cached input, 0 (free) … 1000 (as any other); rounded up
	DefaultMaxOutput int64 // taken where Call.MaxOutput is 0, 0 … 2³²
}

func (c Charge) validate() error {
	switch {
	case c.Estimate > EstimateInput:
		return fmt.Errorf("unknown estimate %d", c.Estimate)
	case c.Steps < 0 || c.Steps > 1000:
		return fmt.Errorf("%d steps are not within 0 … 1000", c.Steps)
	case c.Burndown < 0 || c.Burndown > 1000:
		return fmt.Errorf("burndown %d is not within 0 … 1000", c.Burndown)
	case c.CachedPerMille < 0 || c.CachedPerMille > 1000:
		return fmt.Errorf("cached weight %d‰ is not within 0 … 1000", c.CachedPerMille)
	case c.DefaultMaxOutput < 0 || c.DefaultMaxOutput > mostTokens:
		return fmt.Errorf("default max output %d is not within 0 … 2³²", c.DefaultMaxOutput)
	case c.Settle && c.Estimate == EstimateInput:
		return fmt.Errorf("there is no estimate to settle where output is counted as it is produced")
	}
	return nil
}

// burned is what output counts as.
func (c Charge) burned(output int64) int64 { return output * max(c.Burndown, 1) }

// input is what a call's input counts as.
func (c Charge) input(call Call) int64 {
	return call.Input - call.Cached + (call.Cached*c.CachedPerMille+999)/1000
}

// admission is what a call asks of a limit when it arrives.
func (c Charge) admission(m Metric, call Call) int64 {
	output := call.MaxOutput
	if output == 0 {
		output = c.DefaultMaxOutput
	}
	if c.BurnEstimate {
		output = c.burned(output)
	}
	if c.Estimate == EstimateInput {
		output = 0
	}
	switch m {
	case Requests, Concurrency:
		return 1
	case InputTokens:
		return c.input(call)
	case OutputTokens:
		return output
	}
	if c.Estimate == EstimateMax {
		return max(c.input(call), output)
	}
	return c.input(call) + output
}

// actual is what a call has cost a limit when it is over.
func (c Charge) actual(m Metric, call Call, output int64) int64 {
	switch m {
	case Tokens:
		return c.input(call) + c.burned(output)
	case OutputTokens:
		return c.burned(output)
	}
	return c.admission(m, call)
}

// countsOutput says whether a metric counts output at all.
func (m Metric) countsOutput() bool { return m == Tokens || m == OutputTokens }
