package policy

import (
	"encoding/binary"

	"github.com/watermaster-project/watermaster/limiter"
)

// A selection gathers the targets of one request.
type selection struct {
	req        *Request
	minQuality int
	cmd        *limiter.Acquire
	tooLarge   int64 // the largest context that the prompt exceeds; 0: it exceeds none
}

// selectTargets puts at most maxTargets of the choices that the request accepts into the command.
func selectTargets(req *Request, choices []choice, minQuality int, cmd *limiter.Acquire) error {
	s := selection{req: req, minQuality: minQuality, cmd: cmd}
	cmd.Targets = cmd.Targets[:0]
	rank := uint8(0)
	for i := 0; i < len(choices) && len(cmd.Targets) < maxTargets; {
		j := i + 1
		for j < len(choices) && choices[j].group == choices[i].group {
			j++
		}
		before := len(cmd.Targets)
		s.addGroup(choices[i:j], rank)
		if len(cmd.Targets) > before {
			rank += 2
		}
		i = j
	}
	if len(cmd.Targets) == 0 && s.tooLarge > 0 {
		return &TooLarge{Input: req.InputTokens, Context: s.tooLarge}
	}
	return nil
}

// addGroup adds choices of equal preference.
func (s *selection) addGroup(group []choice, rank uint8) {
	favourite := -1
	if s.req.AffinityKey != "" && len(group) > 1 {
		if favourite = s.favourite(group); favourite >= 0 {
			s.add(&group[favourite], rank)
			rank++
		}
	}
	// If not all may fit, each request begins elsewhere, so that none is always left out.
	start := 0
	if room := maxTargets - len(s.cmd.Targets); len(group) > room {
		start = int(binary.BigEndian.Uint32(s.cmd.Key[:]) % uint32(len(group)))
	}
	for k := range group {
		if len(s.cmd.Targets) == maxTargets {
			return
		}
		i := start + k
		if i >= len(group) {
			i -= len(group)
		}
		if i != favourite && s.usable(&group[i]) {
			s.add(&group[i], rank)
		}
	}
}

// favourite gives the choice that the affinity key names among those that can be used; < 0:
// there is none.
func (s *selection) favourite(group []choice) int {
	key := hash64(fnvOffset64, s.req.AffinityKey)
	best, high := -1, uint64(0)
	for i := range group {
		if score := group[i].target.score(key); (best < 0 || score > high) && s.usable(&group[i]) {
			best, high = i, score
		}
	}
	return best
}

func (s *selection) usable(c *choice) bool {
	if !c.wanted(&s.req.Constraints, s.minQuality) {
		return false
	}
	if !c.target.fits(s.req.InputTokens) {
		s.tooLarge = max(s.tooLarge, c.target.context)
		return false
	}
	return true
}

// add appends a target, in the memory that the command had for it before.
func (s *selection) add(c *choice, rank uint8) {
	n := len(s.cmd.Targets)
	if n < cap(s.cmd.Targets) {
		s.cmd.Targets = s.cmd.Targets[:n+1]
	} else {
		s.cmd.Targets = append(s.cmd.Targets, limiter.Target{})
	}
	t, out := c.target, &s.cmd.Targets[n]
	out.Pool, out.Model, out.Rank, out.Above = t.pool, t.model, rank, c.above
	u := use{
		input:  s.req.InputTokens,
		cached: min(s.req.CachedInputTokens, s.req.InputTokens),
		output: t.maxOutputFor(s.req),
	}
	out.Charges = t.appendCharges(out.Charges[:0], &u, s.req.Units)
}

// maxOutputFor gives the cap on the output that is charged; see Acquire.
func (t *target) maxOutputFor(req *Request) int64 {
	if req.MaxOutputTokens.Set {
		return req.MaxOutputTokens.Value
	}
	n := t.maxOutput
	if n <= 0 {
		n = defaultMaxOutput
	}
	if t.context > 0 {
		n = max(1, min(n, t.context-req.InputTokens))
	}
	return min(n, maxTokens)
}
