package provider

import (
	"fmt"
	"time"
)

// A Metric is what a limit counts.
type Metric uint8

const (
	Requests     Metric = iota // one per call
	Tokens                     // input and output
	InputTokens                // tokens of the prompt
	OutputTokens               // tokens produced
	Concurrency                // calls in flight

	metrics
)

var metricNames = [metrics]string{"requests", "tokens", "input_tokens", "output_tokens", "concurrency"}

func (m Metric) String() string {
	if m < metrics {
		return metricNames[m]
	}
	return fmt.Sprintf("Metric(%d)", uint8(m))
}

// A Shape is how a limit judges.
type Shape uint8

const (
	Bucket  Shape = 1 + iota // linear refill at Quota per Window, up to Burst
	Sliding                  // no window (s, s+Window] over Quota
	Fixed                    // no window [Phase+k·Window, Phase+(k+1)·Window) over Quota
	Stock                    // held from arrival to completion; Concurrency only

	shapes
)

var shapeNames = [shapes]string{"", "bucket", "sliding", "fixed", "stock"}

func (s Shape) String() string {
	if s > 0 && s < shapes {
		return shapeNames[s]
	}
	return fmt.Sprintf("Shape(%d)", uint8(s))
}

// A Limit is one quota.
type Limit struct {
	Metric Metric
	Quota  int64         // per Window, in the metric's unit; 1 … 2⁴⁸
	Window time.Duration // 1 ns … 100 days; 0 for a Stock
	Shape  Shape
	Phase  time.Duration // Fixed: where one window starts, any value
	Burst  int64         // Bucket: what it holds when full; 0 means Quota; ≤ 2⁴⁸

	// Parts above 1 makes the limit quantised: beside the whole, Quota/Parts per
	// Window/Parts (rounded down) is judged as PartShape, and becomes a limit of its
	// own in the report. 6000 requests a minute in 60 parts are 100 a second. A Bucket
	// part holds its own quota when full.
	Parts     int64
	PartShape Shape // Bucket, Sliding or Fixed
}

const (
	most      = 1 << 48 // of any quota, burst or amount: sums stay far from 2⁶³
	maxWindow = 100 * 24 * time.Hour
)

func (l Limit) String() string {
	if l.Shape == Stock {
		return fmt.Sprintf("%d %v", l.Quota, l.Metric)
	}
	return fmt.Sprintf("%d %v per %v, %v", l.Quota, l.Metric, l.Window, l.Shape)
}

// bound is what the limit may stand at, by its own shape.
func (l Limit) bound() int64 {
	if l.Shape == Bucket && l.Burst > 0 {
		return l.Burst
	}
	return l.Quota
}

func (l Limit) validate() error {
	switch {
	case l.Metric >= metrics:
		return fmt.Errorf("unknown metric %v", l.Metric)
	case l.Shape == 0 || l.Shape >= shapes:
		return fmt.Errorf("%v: unknown shape %v", l.Metric, l.Shape)
	case (l.Shape == Stock) != (l.Metric == Concurrency):
		return fmt.Errorf("%v: a stock counts concurrency, and nothing else does", l.Metric)
	case l.Quota < 1 || l.Quota > most:
		return fmt.Errorf("%v: quota %d is not within 1 … 2⁴⁸", l.Metric, l.Quota)
	case l.Burst < 0 || l.Burst > most:
		return fmt.Errorf("%v: burst %d is not within 0 … 2⁴⁸", l.Metric, l.Burst)
	case l.Shape == Stock && l.Window != 0:
		return fmt.Errorf("%v: a stock has no window", l.Metric)
	case l.Shape != Stock && (l.Window < 1 || l.Window > maxWindow):
		return fmt.Errorf("%v: window %v is not within 1 ns … 100 days", l.Metric, l.Window)
	case l.Parts < 0:
		return fmt.Errorf("%v: %d parts", l.Metric, l.Parts)
	case l.Parts > 1 && (l.Shape == Stock || l.PartShape == 0 || l.PartShape >= Stock):
		return fmt.Errorf("%v: parts need a window and a part shape of bucket, sliding or fixed", l.Metric)
	case l.Parts > 1 && (l.Quota < l.Parts || int64(l.Window) < l.Parts):
		return fmt.Errorf("%v: %d parts leave nothing of the quota or the window", l.Metric, l.Parts)
	}
	return nil
}

// split gives the limits that are judged: the whole, then its parts' limit if it has one.
func (l Limit) split() []Limit {
	whole := l
	whole.Parts, whole.PartShape = 0, 0
	if l.Parts < 2 {
		return []Limit{whole}
	}
	return []Limit{whole, {
		Metric: l.Metric,
		Quota:  l.Quota / l.Parts,
		Window: l.Window / time.Duration(l.Parts),
		Shape:  l.PartShape,
		Phase:  l.Phase,
	}}
}
