package policy

import (
	"fmt"
	"strings"

	"github.com/watermaster-project/watermaster/server/config"
)

// Admission says what a provider counts against a limit of tokens when a call arrives.
// Limits of input_tokens count the input and limits of output_tokens the cap, whatever it
// says, but for Profile.CapInInput.
type Admission uint8

const (
	// AdmissionSum: input and the cap on the output together, as one estimate.
	AdmissionSum Admission = iota
	// AdmissionMax: the larger of the two.
	AdmissionMax
	// AdmissionInput: the input alone; a limit of tokens never counts output.
	AdmissionInput
	// AdmissionInputAndCap: both, each on its own account. The output counts when
	// OutputOn says, and so does a limit of tokens, which sums both.
	AdmissionInputAndCap
)

var admissionNames = []string{"sum", "max", "input", "input_and_cap"}

func (a Admission) String() string { return nameOf(admissionNames, int(a)) }

// OutputOn says when a provider counts the output against limits of output_tokens.
type OutputOn uint8

const (
	// OutputOnAdmission: the cap counts when the call arrives.
	OutputOnAdmission OutputOn = iota
	// OutputOnCompletion: what was produced counts when it is produced. The cap is kept
	// free until the call ends.
	OutputOnCompletion
)

var outputOnNames = []string{"admission", "completion"}

func (o OutputOn) String() string { return nameOf(outputOnNames, int(o)) }

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// A ModelWeight is a weight for the models whose name contains a part. Upper and lower
// case, and dots and dashes, are the same.
type ModelWeight struct {
	Part   string
	Weight int64 // 1/1000
}

// maxWeight bounds the weights: a thousandfold.
const maxWeight = 1_000_000

// A Profile is how a provider charges a call against the limits of a pool (providers.md
// §1.3). Weights are in 1/1000 of a token, 0 … 1,000,000.
type Profile struct {
	Provider string
	AsOf     string // when the facts were gathered: year-month

	Admission Admission
	OutputOn  OutputOn

	// Refund: what was counted on admission and not used is given back when the call
	// ends. Without it the estimate stays for the whole window.
	Refund bool

	// CachedWeight is what a token of input counts that was read from a cache. The
	// first of CachedWeights that matches the model comes before it.
	CachedWeight  int64
	CachedWeights []ModelWeight

	// CacheWriteWeight is what a token of input counts that was written to a cache.
	CacheWriteWeight int64

	// Burndown is what a token of output counts against limits of tokens when the call is
	// settled; so much is reserved for the cap, whatever the provider counts of it on
	// admission: once the output is there it cannot be refused. The first of Burndowns that
	// matches the model comes before it.
	Burndown  int64
	Burndowns []ModelWeight

	// CapInInput: limits of input_tokens count the cap on the output too, and give
	// back what was not used of it.
	CapInInput bool

	// EnqueuedInput: limits of enqueued_tokens count the input alone.
	EnqueuedInput bool

	// FailedCount: a call that failed, or was refused with 429, stays counted as it was
	// estimated on admission. Requests always stay counted, and what counts on completion
	// never does when the provider answered with an error instead.
	FailedCount bool

	Headers HeaderStyle
}

// cached gives the weight of cached input for a model of these names.
func (p *Profile) cached(names ...string) int64 {
	return weightOf(p.CachedWeights, p.CachedWeight, names)
}

// burndown gives the weight of output for a model of these names.
func (p *Profile) burndown(names ...string) int64 {
	return weightOf(p.Burndowns, p.Burndown, names)
}

func weightOf(rules []ModelWeight, otherwise int64, names []string) int64 {
	for i := range rules {
		for _, name := range names {
			if strings.Contains(plain(name), plain(rules[i].Part)) {
				return rules[i].Weight
			}
		}
	}
	return otherwise
}

func plain(model string) string {
	return strings.ReplaceAll(strings.ToLower(model), ".", "-")
}

// override replaces what a configuration says otherwise. A weight that it gives holds for
// all models.
func (p *Profile) override(o *config.ChargeOverrides) error {
	if o.Admission != nil {
		i, err := choose("charge.admission", *o.Admission, admissionNames)
		if err != nil {
			return err
		}
		p.Admission = Admission(i)
	}
	if o.OutputOn != nil {
		i, err := choose("charge.output_on", *o.OutputOn, outputOnNames)
		if err != nil {
			return err
		}
		p.OutputOn = OutputOn(i)
	}
	if o.Refund != nil {
		p.Refund = *o.Refund
	}
	if o.FailedCount != nil {
		p.FailedCount = *o.FailedCount
	}
	if o.CachedWeight != nil {
		if err := checkWeight("charge.cached_weight", *o.CachedWeight); err != nil {
			return err
		}
		p.CachedWeight, p.CachedWeights = *o.CachedWeight, nil
	}
	if o.Burndown != nil {
		if err := checkWeight("charge.burndown", *o.Burndown); err != nil {
			return err
		}
		p.Burndown, p.Burndowns = *o.Burndown, nil
	}
	return nil
}

func choose(field, value string, names []string) (int, error) {
	for i, name := range names {
		if name == value {
			return i, nil
		}
	}
	return 0, &Invalid{Field: field, Message: fmt.Sprintf("%q is none of %s", value, strings.Join(names, ", "))}
}

func checkWeight(field string, w int64) error {
	if w < 0 || w > maxWeight {
		return &Invalid{Field: field, Message: fmt.Sprintf("%d is not between 0 and %d", w, maxWeight)}
	}
	return nil
}
