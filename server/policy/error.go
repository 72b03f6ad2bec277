package policy

import "fmt"

// NotFound tells that a request names something that the configuration does not have: a
// mistake of the caller, not a decision.
type NotFound struct {
	Kind    string // organization, project, route, model, priority class
	Name    string
	Nearest string // the most similar name there is; "": none is similar
}

func (e *NotFound) Error() string {
	if e.Nearest == "" {
		return fmt.Sprintf("unknown %s %q", e.Kind, e.Name)
	}
	return fmt.Sprintf("unknown %s %q; the nearest is %q", e.Kind, e.Name, e.Nearest)
}

// Invalid tells that a field of a request has a value that it can't have.
type Invalid struct {
	Field   string // as the request spells it: max_wait, constraints.accounts …
	Message string
}

func (e *Invalid) Error() string { return e.Field + ": " + e.Message }

// TooLarge tells that the prompt exceeds the context of every model that could have
// answered. It is a decision, never an error of the caller: the service answers
// REASON_TOO_LARGE without asking the engine.
type TooLarge struct {
	Input   int64 // tokens of the prompt
	Context int64 // of the largest model, in tokens
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("a prompt of %d tokens exceeds the largest context, %d", e.Input, e.Context)
}

// nearestLength bounds the names that are compared.
const nearestLength = 64

// nearest finds the name most similar to a wrong one: at most a third of its letters
// apart. Of equals the first wins.
func nearest(wrong string, names []string) string {
	if len(wrong) > nearestLength {
		return ""
	}
	best, bound := "", max(1, len(wrong)/3)+1
	for _, name := range names {
		if d := distance(wrong, name, bound); d < bound {
			best, bound = name, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours
// between two names, or gives bound when it is at least that.
func distance(a, b string, bound int) int {
	if len(b) > nearestLength || max(len(a)-len(b), len(b)-len(a)) >= bound {
		return bound
	}
	var rows [3][nearestLength + 1]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		now, last, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			d := min(last[j]+1, now[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			now[j] = d
		}
	}
	return min(bound, rows[len(a)%3][len(b)])
}
