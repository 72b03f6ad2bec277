package policy

import (
	"fmt"

	"github.com/watermaster-project/watermaster/server/spelling"
)

// NotFound tells that a request names something that the configuration does not have: a
// mistake of the caller, not a decision.
type NotFound struct {
	Kind    string // organization, project, route, model, priority class
	Name    string
	Nearest string // the most similar name there is; "": none is similar
}

// NewNotFound tells of a name that is none of those there are, with the one that was probably
// meant.
func NewNotFound(kind, name string, known []string) *NotFound {
	return &NotFound{Kind: kind, Name: name, Nearest: spelling.Nearest(name, known)}
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
