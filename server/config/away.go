package config

// Into how many parts is divided what is granted while the shared log cannot be reached.
const (
	defaultReplicas = 8
	mostReplicas    = 64
)

// AwayPolicy says what a replica grants on its own while the log that all share cannot be
// reached.
type AwayPolicy uint8

const (
	// AwayMargin: its part of the margin that is kept free below the quota. All parts
	// together are within it, so no quota is exceeded whoever else still reaches the log.
	AwayMargin AwayPolicy = iota
	// AwayClosed: nothing.
	AwayClosed
	// AwayOpen: everything.
	AwayOpen
	// AwayShare: its part of a share of what was free when the log was last read. No quota
	// is exceeded while the log is away for all; while it is away for some only, the others
	// may grant the same once more.
	AwayShare
	// AwayPolicies is how many there are.
	AwayPolicies
)

var awayWords = []string{"margin", "closed", "open"} // by number; AwayShare is a mapping

// String is the policy's word.
func (p AwayPolicy) String() string {
	if int(p) < len(awayWords) {
		return awayWords[p]
	}
	return "share"
}

// Away is a policy with what it needs to know.
type Away struct {
	Policy AwayPolicy
	Share  uint32 // parts per million, 1 … 1,000,000, of AwayShare; else 0
}

// String is how it is written.
func (a Away) String() string {
	if a.Policy != AwayShare {
		return a.Policy.String()
	}
	return "share " + fraction(int64(a.Share)*100, 6) + "%"
}

// away reads `when_away:`, a word or {share: 80%}.
func (f fields) away(key string) (a Away) {
	if n := f.value(key); n != nil && n.kind == mapping {
		g := f.reader.fields(n, key, "share")
		if g.value("share") == nil {
			f.fail(n, "", "%s: share is missing: how much of what is free to hand out, such as {share: 80%%}", key)
			return a
		}
		return Away{AwayShare, uint32(g.share("share", 6, million, 1, million))}
	}
	word := f.choice(key, awayWords...)
	for i, w := range awayWords {
		if w == word {
			a.Policy = AwayPolicy(i)
		}
	}
	return a
}
