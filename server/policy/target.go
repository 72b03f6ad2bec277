package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/watermaster-project/watermaster/server/config"
)

const (
	// maxTargets bounds what one Acquire may choose from.
	maxTargets = 16
	maxQuality = 1000
)

// A TargetID names a target: the FNV-1a hash of account/pool/model. It depends on the names
// alone, so it means the same after a reload and in every replica.
type TargetID uint32

// TargetOf gives the id of a model in a pool, the pool as the engine names it
// (account/pool).
func TargetOf(pool, model string) TargetID {
	h := uint32(2166136261)
	for i := range len(pool) {
		h = (h ^ uint32(pool[i])) * 16777619
	}
	h = (h ^ '/') * 16777619
	for i := range len(model) {
		h = (h ^ uint32(model[i])) * 16777619
	}
	return TargetID(h)
}

// Target is what a worker is told of where its call goes.
type Target struct {
	ID         TargetID
	Account    string
	Pool       string // account/pool, as the engine names it
	Provider   string
	Model      string            // as the account offers it
	Attributes map[string]string // the account's, the model's over them; shared, not to be changed
	Quality    int               // 1/1000; the best that a route gives it, or 1000 if none has it
}

// A target is a model in a pool, with all that charging a call there takes.
type target struct {
	id       TargetID
	seed     uint64 // for rendezvous hashing; of the names
	account  string
	pool     string // account/pool
	provider string
	model    string // as the account offers it
	info     map[string]string
	quality  int // < 0: no route has it

	known        *config.Model // nil: `models:` doesn't say what it is
	context      int64         // 0: unknown
	maxOutput    int64         // 0: unknown
	capabilities []string
	price        config.Price
	profile      *Profile
	cached       int64 // weights of this model, 1/1000
	burndown     int64
	plan         []item // by metric, ascending
}

func (p *Policy) newTarget(cfg *config.Config, a *config.Account, profile *Profile, pool *config.Pool, m *config.PoolModel) (*target, error) {
	t := &target{
		account:  a.Name,
		pool:     a.Name + "/" + pool.Name,
		provider: a.Provider,
		model:    m.Name,
		quality:  -1,
		profile:  profile,
		known:    describe(cfg, m.Name),
		info:     a.Attributes,
	}
	t.id = TargetOf(t.pool, t.model)
	t.seed = hash64(hash64(fnvOffset64, t.pool)^'/', t.model)
	if len(m.Attributes) > 0 {
		t.info = maps.Clone(a.Attributes)
		if t.info == nil {
			t.info = map[string]string{}
		}
		maps.Copy(t.info, m.Attributes)
	}
	names := []string{m.Name}
	if k := t.known; k != nil {
		if k.Name != m.Name {
			names = append(names, k.Name)
		}
		t.context, t.maxOutput, t.capabilities = k.Context, k.MaxOutput, k.Capabilities
		t.price = k.Price
		if err := checkPrice(k); err != nil {
			return nil, err
		}
	}
	t.cached, t.burndown = profile.cached(names...), profile.burndown(names...)
	return t, p.newPlan(t, pool.Limits)
}

// maxPrice is a million dollars per million tokens.
const maxPrice = 1_000_000_000_000

func checkPrice(m *config.Model) error {
	for _, v := range []int64{m.Price.Input, m.Price.CachedInput, m.Price.CacheWrite, m.Price.Output} {
		if v < 0 || v > maxPrice {
			return &Invalid{Field: "models." + m.Name + ".price", Message: fmt.Sprintf("%d is not between 0 and %d", v, int64(maxPrice))}
		}
	}
	return nil
}

// describe finds what `models:` says of a name: by the name itself, then by an exact
// alias, then by the longest pattern.
func describe(cfg *config.Config, name string) *config.Model {
	var found *config.Model
	longest := -1
	for i := range cfg.Models {
		m := &cfg.Models[i]
		if m.Name == name {
			return m
		}
		for _, a := range m.Aliases {
			fits := len(a) // an exact alias is longer than the prefix of any pattern that fits
			prefix, pattern := strings.CutSuffix(a, "*")
			if pattern {
				fits = len(prefix)
			}
			if (a == name || pattern && strings.HasPrefix(name, prefix)) && fits > longest {
				found, longest = m, fits
			}
		}
	}
	return found
}

// Targets tells how many targets the organization has: models of pools.
func (p *Policy) Targets() int { return len(p.targets) }

// TargetID gives the id of the i-th target, 0 ≤ i < Targets().
func (p *Policy) TargetID(i int) TargetID { return p.targets[i].id }

// Target finds a target. An id may be unknown after a reload.
func (p *Policy) Target(id TargetID) (Target, bool) {
	t := p.byID[id]
	if t == nil {
		return Target{}, false
	}
	quality := t.quality
	if quality < 0 {
		quality = maxQuality
	}
	return Target{
		ID: t.id, Account: t.account, Pool: t.pool, Provider: t.provider, Model: t.model,
		Attributes: t.info, Quality: quality,
	}, true
}

// FindTarget finds the target by which an account offers a model, under any of the model's
// names.
func (p *Policy) FindTarget(account, model string) (TargetID, bool) {
	t := p.offer(account, "", model)
	if t == nil {
		return 0, false
	}
	return t.id, true
}

// A choice is a target as a route offers it.
type choice struct {
	target  *target
	quality int
	above   uint16
	group   int // equal ones are of equal preference
}

// A route is a list of choices, best first.
type route struct {
	choices    []choice
	diverted   []choice // those with when_above first; nil: there are none
	minQuality int
}

// compile orders the choices by quality, and numbers the groups of equal ones.
func (r *route) compile() {
	slices.SortStableFunc(r.choices, func(a, b choice) int { return cmp.Compare(b.quality, a.quality) })
	for i := range r.choices {
		if i > 0 {
			r.choices[i].group = r.choices[i-1].group
			if r.choices[i].quality != r.choices[i-1].quality {
				r.choices[i].group++
			}
		}
	}
	if !slices.ContainsFunc(r.choices, func(c choice) bool { return c.above > 0 }) {
		return
	}
	// The groups keep their numbers, but stand apart: those that are preferred below 0.
	r.diverted = slices.Clone(r.choices)
	for i := range r.diverted {
		if c := &r.diverted[i]; c.above > 0 {
			c.above = 0
			c.group -= len(r.choices)
		}
	}
	slices.SortStableFunc(r.diverted, func(a, b choice) int { return cmp.Compare(a.group, b.group) })
}

// wanted says whether a choice is what a request allows, its size aside.
func (c *choice) wanted(k *Constraints, minQuality int) bool {
	t := c.target
	if c.quality < minQuality {
		return false
	}
	if len(k.Accounts) > 0 && !slices.Contains(k.Accounts, t.account) {
		return false
	}
	if slices.Contains(k.ExcludeAccounts, t.account) {
		return false
	}
	if len(k.Providers) > 0 && !slices.Contains(k.Providers, t.provider) {
		return false
	}
	for _, need := range k.Capabilities {
		if !slices.Contains(t.capabilities, need) {
			return false
		}
	}
	return true
}

// fits says whether the model's context holds the prompt.
func (t *target) fits(input int64) bool { return t.context <= 0 || input <= t.context }

const fnvOffset64 = 14695981039346656037

func hash64(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// score ranks targets for an affinity key: the highest has it. Taking a target away moves
// only the keys that it had (rendezvous hashing). The mixing is splitmix64's.
func (t *target) score(key uint64) uint64 {
	x := key ^ t.seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
