package watermaster

import (
	"math"
	"strings"
	"sync"
)

// What an estimate's correction starts with: Claude's tokenizer makes about 30 % more tokens
// of a text than OpenAI's, and an estimate by bytes is less certain than a count.
const (
	ratioOfClaude     = 1.3
	deviationOfBytes  = 0.1
	deviationOfCounts = 0.02
	leastFactor       = 0.5
	mostFactor        = 8.0
	leastToLearnFrom  = 50    // tokens
	mostModels        = 1_024 // names come from callers
)

// ratios learn by how much the input's estimates are wrong, model by model, as TCP learns a
// round trip's time: a mean and its deviation, each an eighth of the way to what was seen.
type ratios struct {
	mu     sync.Mutex
	models map[string]*ratio
}

// ratio is what was seen of a model: actual over estimated tokens.
type ratio struct{ mean, deviation float64 }

// of gives a model's; counted: a tokenizer makes its estimates.
func (r *ratios) of(model string, counted bool) *ratio {
	if known := r.models[model]; known != nil {
		return known
	}
	if r.models == nil {
		r.models = make(map[string]*ratio)
	}
	if len(r.models) >= mostModels {
		for name := range r.models {
			delete(r.models, name)
			break
		}
	}
	fresh := &ratio{mean: 1, deviation: deviationOfBytes}
	if strings.HasPrefix(model, "claude") {
		fresh.mean = ratioOfClaude
	}
	if counted {
		fresh.deviation = deviationOfCounts
	}
	r.models[model] = fresh
	return fresh
}

// corrected gives the bound to ask for.
func (r *ratios) corrected(model string, counted bool, estimate int64) int64 {
	r.mu.Lock()
	seen := r.of(model, counted)
	factor := min(max(seen.mean+2*seen.deviation, leastFactor), mostFactor)
	r.mu.Unlock()
	return int64(min(math.Ceil(float64(estimate)*factor), most))
}

// learn takes what a call used.
func (r *ratios) learn(model string, counted bool, estimate, actual int64) {
	if estimate < leastToLearnFrom || actual < 0 {
		return
	}
	x := float64(actual) / float64(estimate)
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.of(model, counted)
	seen.deviation += (math.Abs(x-seen.mean) - seen.deviation) / 8
	seen.mean += (x - seen.mean) / 8
}
