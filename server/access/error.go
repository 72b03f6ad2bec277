package access

import "fmt"

// Unauthenticated tells that a call presents nothing that is known: no key, not one that
// could be read, or a wrong one. Its text says which, and never the key.
type Unauthenticated struct{ message string }

func (e *Unauthenticated) Error() string { return e.message }

// Denied tells that a credential is not for what a call asks.
type Denied struct {
	What string // organization, project, priority class, service, method
	Name string // what was asked for; it comes from the caller
}

func (e *Denied) Error() string {
	name := e.Name
	if len(name) > 128 {
		name = name[:128]
	}
	switch {
	case e.What == whatMethod:
		return fmt.Sprintf("there is no method %q", name)
	case name == "":
		return fmt.Sprintf("the credential is for some only: name the %s", e.What)
	}
	return fmt.Sprintf("the credential is not for the %s %q", e.What, name)
}

// What a call can be denied.
const (
	whatOrganization = "organization"
	whatProject      = "project"
	whatClass        = "priority class"
	whatService      = "service"
	whatMethod       = "method"
)
