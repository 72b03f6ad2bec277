package config

import (
	"cmp"
	"slices"

	"github.com/watermaster-project/watermaster/limiter"
)

// maxWeight bounds the weights of projects and classes, as the engine does.
const maxWeight = 1_000_000

// readProjects reads `projects:`. Without any, whoever comes is a project of weight 1;
// with some, those that are not named are refused unless there is a template.
func (r *organizationReader) readProjects(f fields) (named []limiter.ProjectSpec, all *limiter.ProjectSpec) {
	entries := f.named("projects", checkProject)
	if f.value("projects") == nil {
		return nil, &limiter.ProjectSpec{Weight: 1}
	}
	former := renames{reader: r.reader, kind: "project"}
	for _, e := range entries {
		what := "the project " + e.key.text
		f := r.fields(e.value, what, "was", "weight", "limits")
		p := limiter.ProjectSpec{Weight: int(f.whole("weight", 1, 1, maxWeight)), Limits: r.readOwn(f, what)}
		if e.key.text == template {
			if f.value("was") != nil {
				r.fail(f.where("was"), "", "was: the template %q is not a project, and has no counters", template)
			}
			all = &p
			continue
		}
		p.Name = e.key.text
		p.Was = former.add(f, p.Name, checkName)
		named = append(named, p)
	}
	former.check()
	slices.SortFunc(named, func(a, b limiter.ProjectSpec) int { return cmp.Compare(a.Name, b.Name) })
	return named, all
}
