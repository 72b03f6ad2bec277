package access

import (
	"slices"
	"strings"

	"github.com/watermaster-project/watermaster/server/config"
)

// standard is the class of a request that names none.
const standard = "standard"

// A Credential says what its holder may use. It does not change.
type Credential struct {
	name         string
	organization string // "*": any

	project  string          // what an empty field takes; "": nothing
	projects map[string]bool // nil: all
	prefixes []string        // of further projects
	classes  map[string]bool // nil: all
	services map[string]bool
}

func newCredential(c *config.Credential) *Credential {
	k := &Credential{name: c.Name, organization: c.Organization, classes: set(c.PriorityClasses), services: set(c.Services)}
	if len(c.Projects) == 0 {
		return k
	}
	k.projects = make(map[string]bool)
	for i, p := range c.Projects {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			k.prefixes = append(k.prefixes, prefix)
			continue
		}
		if i == 0 {
			k.project = p
		}
		k.projects[p] = true
	}
	return k
}

// set gives nil for nothing.
func set(words []string) map[string]bool {
	if len(words) == 0 {
		return nil
	}
	s := make(map[string]bool, len(words))
	for _, w := range words {
		s[w] = true
	}
	return s
}

// Name is for logs and metrics.
func (c *Credential) Name() string { return c.name }

// Allows says whether the credential is for a service, as [ServiceOf] names it.
func (c *Credential) Allows(service string) bool {
	return service == Reflection || c.services[service]
}

// Organization gives the organization of a request that asks for one, or for none ("").
// It is "" only where the credential is for any and the request names none.
func (c *Credential) Organization(asked string) (string, error) {
	switch {
	case c.organization == "*", asked == c.organization:
		return asked, nil
	case asked == "":
		return c.organization, nil
	}
	return "", &Denied{whatOrganization, asked}
}

// Project gives the project of a request that asks for one, or for none ("").
// It is "" only where the credential is for all and the request names none.
func (c *Credential) Project(asked string) (string, error) {
	if c.projects == nil {
		return asked, nil
	}
	if asked == "" && c.project != "" {
		return c.project, nil
	}
	if c.projects[asked] || slices.ContainsFunc(c.prefixes, func(p string) bool { return strings.HasPrefix(asked, p) }) {
		return asked, nil
	}
	return "", &Denied{whatProject, asked}
}

// Class says whether a request may be of a priority class; none ("") is standard.
func (c *Credential) Class(asked string) error {
	class := asked
	if class == "" {
		class = standard
	}
	if c.classes != nil && !c.classes[class] {
		return &Denied{whatClass, class}
	}
	return nil
}

// AnyProject says whether the credential is for all projects.
func (c *Credential) AnyProject() bool { return c.projects == nil }

// AnyOrganization says whether the credential is for all organizations.
func (c *Credential) AnyOrganization() bool { return c.organization == "*" }
