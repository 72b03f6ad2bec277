package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/watermaster-project/watermaster/limiter"
)

// Bounds and defaults of a request.
const (
	maxRequestID   = 256     // bytes
	maxName        = 256     // bytes
	maxConstraints = 64      // entries a list
	maxUnits       = 64      // entries
	maxTokens      = 1 << 40 // of any count of tokens
	maxAmount      = 1 << 50 // of a charge: the engine's own bound

	defaultClass     = "standard"
	defaultTTL       = 10 * time.Minute
	minTTL, maxTTL   = time.Second, 24 * time.Hour
	maxMaxWait       = 24 * time.Hour
	defaultMaxOutput = 4096
)

// Optional is a value that may have been left out.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some gives a value that was not left out.
func Some[T any](v T) Optional[T] { return Optional[T]{v, true} }

// A Request is what a worker asks for.
type Request struct {
	RequestID string // 1 … 256 bytes
	Attempt   uint32 // HTTP attempts before this one
	Project   string // required
	Route     string // either a route …
	Model     string // … or a model, under any of its names
	Class     string // priority class; "": standard

	// Upper bounds of what the call will use, 0 … 2⁴⁰ tokens.
	InputTokens       int64           // the whole prompt, cached tokens included
	CachedInputTokens int64           // how much of it is surely read from a cache: a lower bound; more than all is all
	MaxOutputTokens   Optional[int64] // over all choices; 0: none; unset: see Acquire

	// Units are amounts of what the configuration names (images …), 0 … 2⁵⁰. A unit that no
	// limit counts is ignored; a limit of a unit that the request leaves out isn't touched.
	Units map[string]int64

	MaxWait     Optional[time.Duration] // 0 … 24 h; 0: never queue; unset: the class's
	TTL         Optional[time.Duration] // of the lease, 1 s … 24 h; unset: 10 min
	AffinityKey string                  // ≤ 256 bytes; calls with the same key go to the same target if they can
	Constraints Constraints

	// Divert: targets with when_above come first, for the class is under pressure that
	// says so.
	Divert bool

	Arrived limiter.Time    // log time of the RPC
	Lease   limiter.LeaseID // the lease's name should it be granted
}

// Constraints say which targets a request accepts; lists of at most 64. Of names that don't
// exist nothing is wrong: there is just no target.
type Constraints struct {
	Accounts        []string // empty: all
	ExcludeAccounts []string
	Providers       []string      // empty: all
	Capabilities    []string      // the model must have them all
	MinQuality      Optional[int] // 1/1000; unset: the route's
}

// Key gives the engine's name of an attempt: the SHA-256 of the attempt (four bytes, big
// endian) and the request's id, cut to 16 bytes.
func Key(requestID string, attempt uint32) (key limiter.Key) {
	var buf [4 + maxRequestID]byte
	binary.BigEndian.PutUint32(buf[:4], attempt)
	var sum [sha256.Size]byte
	if len(requestID) <= maxRequestID {
		n := copy(buf[4:], requestID)
		sum = sha256.Sum256(buf[:4+n])
	} else {
		sum = sha256.Sum256(append(buf[:4], requestID...))
	}
	copy(key[:], sum[:])
	return key
}

// Acquire fills the command that asks the engine, reusing its lists: in the steady state
// nothing is allocated. The strings of the command are the request's and the policy's own.
//
// Targets come in the order of preference, at most 16: by quality, the best first. Equal ones
// have one rank, and the engine spreads calls over them by headroom; with an affinity key
// the one that rendezvous hashing names has a better rank than its equals. Ranks are even
// for groups of equals and their favourites, odd for the others. A command without targets
// is left when the constraints or the quality let none pass: the engine answers NoTarget.
//
// The cap on the output, where the request leaves it out, is the model's max_output, or 4096
// if that is unknown, and at most what the context leaves beside the prompt but not below 1. A
// cap that the request gives is charged as it is, since it is over all choices.
//
// Errors: NotFound, Invalid, and TooLarge if the prompt alone rules out every target that
// else would do. The command is undefined then.
func (p *Policy) Acquire(req *Request, cmd *limiter.Acquire) error {
	class, maxWait, err := p.check(req)
	if err != nil {
		return err
	}
	cmd.Key = Key(req.RequestID, req.Attempt)
	cmd.Lease = req.Lease
	cmd.Project = req.Project
	cmd.Class = class
	cmd.Arrived = req.Arrived
	cmd.MaxWait = maxWait
	cmd.Unpaced = false // a draw may have used it before
	cmd.TTL = defaultTTL
	if req.TTL.Set {
		cmd.TTL = req.TTL.Value
	}

	var choices []choice
	minQuality := 0
	if req.Route != "" {
		r := p.routes[req.Route]
		if r == nil {
			return NewNotFound("route", req.Route, p.names.route)
		}
		choices, minQuality = r.choices, r.minQuality
		if req.Divert && r.diverted != nil {
			choices = r.diverted
		}
	} else if choices = p.choices(req.Model); choices == nil {
		return NewNotFound("model", req.Model, p.names.model)
	}
	if req.Constraints.MinQuality.Set {
		minQuality = req.Constraints.MinQuality.Value
	}
	return selectTargets(req, choices, minQuality, cmd)
}

// check judges what doesn't depend on a target.
func (p *Policy) check(req *Request) (class string, maxWait time.Duration, err error) {
	switch {
	case req.RequestID == "" || len(req.RequestID) > maxRequestID:
		return "", 0, &Invalid{"request_id", fmt.Sprintf("must have 1 to %d bytes", maxRequestID)}
	case req.Route == "" && req.Model == "":
		return "", 0, &Invalid{"route", "a route or a model is needed"}
	case req.Route != "" && req.Model != "":
		return "", 0, &Invalid{"model", "a route is given already"}
	case len(req.AffinityKey) > maxName:
		return "", 0, &Invalid{"affinity_key", fmt.Sprintf("must not exceed %d bytes", maxName)}
	case req.MaxWait.Set && (req.MaxWait.Value < 0 || req.MaxWait.Value > maxMaxWait):
		return "", 0, &Invalid{"max_wait", "must be between 0 and 24h"}
	case req.TTL.Set && (req.TTL.Value < minTTL || req.TTL.Value > maxTTL):
		return "", 0, &Invalid{"lease_ttl", "must be between 1s and 24h"}
	}
	if err := checkAmounts(req); err != nil {
		return "", 0, err
	}
	if err := checkConstraints(&req.Constraints); err != nil {
		return "", 0, err
	}
	class, maxWait, err = p.checkOwner(req.Project, req.Class)
	if err == nil && req.MaxWait.Set {
		maxWait = req.MaxWait.Value
	}
	return class, maxWait, err
}

// checkOwner judges the names of a project and of a class, "" being the standard one, and gives
// the class and the longest wait in it.
func (p *Policy) checkOwner(project, asked string) (class string, maxWait time.Duration, err error) {
	if _, ok := p.projects[project]; !ok {
		if err := p.checkUnnamed(project); err != nil {
			return "", 0, err
		}
	}
	class = asked
	if class == "" {
		class = defaultClass
	}
	maxWait, ok := p.classes[class]
	if !ok {
		return "", 0, NewNotFound("priority class", class, p.names.class)
	}
	return class, maxWait, nil
}

// checkUnnamed judges the name of a project that the configuration doesn't name.
func (p *Policy) checkUnnamed(project string) error {
	switch {
	case project == "":
		return &Invalid{"project", "is needed"}
	case project == "*":
		return &Invalid{"project", `"*" is the template, not a project`}
	case len(project) > maxName:
		return &Invalid{"project", fmt.Sprintf("must not exceed %d bytes", maxName)}
	}
	for _, r := range project {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return &Invalid{"project", "must be printable"}
		}
	}
	if !p.template {
		return NewNotFound("project", project, p.names.project)
	}
	return nil
}

func checkAmounts(req *Request) error {
	switch {
	case req.InputTokens < 0 || req.InputTokens > maxTokens:
		return &Invalid{"input_tokens", "must be between 0 and 2^40"}
	case req.CachedInputTokens < 0:
		return &Invalid{"cached_input_tokens", "must not be negative"}
	case req.MaxOutputTokens.Set && (req.MaxOutputTokens.Value < 0 || req.MaxOutputTokens.Value > maxTokens):
		return &Invalid{"max_output_tokens", "must be between 0 and 2^40"}
	case len(req.Units) > maxUnits:
		return &Invalid{"units", fmt.Sprintf("must not exceed %d entries", maxUnits)}
	}
	for _, v := range req.Units {
		if v < 0 || v > maxAmount {
			return &Invalid{"units", "amounts must be between 0 and 2^50"}
		}
	}
	return nil
}

func checkConstraints(k *Constraints) error {
	for _, l := range [...]struct {
		field string
		list  []string
	}{
		{"constraints.accounts", k.Accounts},
		{"constraints.exclude_accounts", k.ExcludeAccounts},
		{"constraints.providers", k.Providers},
		{"constraints.capabilities", k.Capabilities},
	} {
		if len(l.list) > maxConstraints {
			return &Invalid{l.field, fmt.Sprintf("must not exceed %d entries", maxConstraints)}
		}
	}
	if k.MinQuality.Set && (k.MinQuality.Value < 0 || k.MinQuality.Value > maxQuality) {
		return &Invalid{"constraints.min_quality", "must be between 0 and 1"}
	}
	return nil
}
