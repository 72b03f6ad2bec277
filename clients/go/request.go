package watermaster

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// Request asks for one call to a provider. Fields that are also in Call and unset here are taken
// from the context, then from the Options. The service tells what breaks a rule as a CallError.
type Request struct {
	// A model by name or alias, or a route; a route, given anywhere, goes before the model.
	Model string
	Route string

	// Tokens of the prompt, cached ones included: an upper bound.
	InputTokens int64
	// Upper bound of what is produced over all choices, reasoning included. Nil: the model's
	// maximum. 0: nothing is (embeddings).
	MaxOutputTokens *int64
	// How many of InputTokens will surely be read from the provider's cache. Nil: none.
	CachedInputTokens *int64
	// Upper bounds in other units: "images", "audio_seconds".
	Units map[string]int64

	// The rest of Call; see there.
	Project       string
	PriorityClass string
	RequestID     string
	MaxWait       time.Duration
	MinQuality    float64
	AffinityKey   string
	Capabilities  []string
	Labels        map[string]string

	// The least number of this HTTP attempt of RequestID, from 0 on. Those that this Limiter was
	// granted before are counted anyway.
	Attempt uint32
	// Only these accounts and providers; not these accounts. Empty: any; at most 64 of each.
	Accounts, ExcludeAccounts, Providers []string

	kept bool // the caller has chosen RequestID, and may come back under it
}

// lay takes what is unset in r from a call that is made.
func (r *Request) lay(base Call) {
	c := Call{
		Project: r.Project, PriorityClass: r.PriorityClass, Route: r.Route, RequestID: r.RequestID, MaxWait: r.MaxWait,
		MinQuality: r.MinQuality, AffinityKey: r.AffinityKey, Capabilities: r.Capabilities, Labels: r.Labels,
	}.over(base)
	r.Project, r.PriorityClass, r.Route, r.RequestID, r.MaxWait = c.Project, c.PriorityClass, c.Route, c.RequestID, c.MaxWait
	r.MinQuality, r.AffinityKey, r.Capabilities, r.Labels = c.MinQuality, c.AffinityKey, c.Capabilities, c.Labels
}

// deadline is when the patience of a call that begins now ends. Zero: the service says.
func (r *Request) deadline(now time.Time) time.Time {
	if r.MaxWait == 0 {
		return time.Time{}
	}
	return now.Add(max(r.MaxWait, 0))
}

// proto is what goes to the service but for block, which each call sets.
func (r *Request) proto(l *Limiter, patience *durationpb.Duration) *watermasterv1.AcquireRequest {
	out := &watermasterv1.AcquireRequest{
		RequestId: r.RequestID, Attempt: r.Attempt, Organization: l.options.Organization, Project: r.Project,
		PriorityClass: r.PriorityClass, InputTokens: r.InputTokens, MaxOutputTokens: r.MaxOutputTokens,
		CachedInputTokens: r.CachedInputTokens, Units: r.Units, MaxWait: patience, LeaseTtl: l.ttl,
		AffinityKey: r.AffinityKey, Labels: r.Labels,
	}
	if r.Route != "" {
		out.Destination = &watermasterv1.AcquireRequest_Route{Route: r.Route}
	} else if r.Model != "" {
		out.Destination = &watermasterv1.AcquireRequest_Model{Model: r.Model}
	}
	if len(r.Accounts)+len(r.ExcludeAccounts)+len(r.Providers)+len(r.Capabilities) > 0 || r.MinQuality != 0 {
		out.Constraints = &watermasterv1.Constraints{
			Accounts: r.Accounts, ExcludeAccounts: r.ExcludeAccounts, Providers: r.Providers, Capabilities: r.Capabilities,
		}
		if r.MinQuality != 0 {
			quality := max(r.MinQuality, 0)
			out.Constraints.MinQuality = &quality
		}
	}
	return out
}

// newRequestID is a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	out := make([]byte, 0, 36)
	for i, group := 0, 0; group < 5; group++ {
		if group > 0 {
			out = append(out, '-')
		}
		end := i + [...]int{4, 2, 2, 2, 6}[group]
		out = hex.AppendEncode(out, b[i:end])
		i = end
	}
	return string(out)
}
