package limiter

import "hash/fnv"

// A Metric is what a limit counts. The first ones are built in; any other is a
// unit that the configuration names (images, audio_seconds …), see [Unit].
type Metric uint16

const (
	Requests       Metric = iota // one per call
	InputTokens                  // tokens of the prompt
	OutputTokens                 // tokens produced
	Tokens                       // both
	Cost                         // micro-USD
	Concurrency                  // calls in flight
	EnqueuedTokens               // tokens of calls in flight

	builtinMetrics
)

// unitBit marks a metric that the configuration names.
const unitBit = 1 << 15

var metricNames = [builtinMetrics]string{
	"requests", "input_tokens", "output_tokens", "tokens", "cost", "concurrency", "enqueued_tokens",
}

// Unit gives the metric of a unit's name. It depends on the name alone, so that
// replicas that hold different configurations mean the same; two names that
// collide must be refused where the configuration is read.
func Unit(name string) Metric {
	h := fnv.New32a()
	h.Write([]byte(name))
	return unitBit | Metric(h.Sum32()&(unitBit-1))
}

// BuiltinMetric finds a built-in metric by its name.
func BuiltinMetric(name string) (m Metric, ok bool) {
	for i, n := range metricNames {
		if n == name {
			return Metric(i), true
		}
	}
	return 0, false
}

// BuiltinMetrics lists the names of the built-in metrics.
func BuiltinMetrics() []string { return append([]string(nil), metricNames[:]...) }

// String gives the name of a built-in metric; a unit's name is known only to the
// configuration, so it reads "unit".
func (m Metric) String() string {
	if m < builtinMetrics {
		return metricNames[m]
	}
	return "unit"
}
