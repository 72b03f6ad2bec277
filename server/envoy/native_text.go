package envoy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// write writes the organization that a domain is, or only what is to be said of it.
func (x *translator) write(b *bytes.Buffer) {
	name := x.organizationName
	if x.said {
		fmt.Fprintf(b, "  %s:\n", yamlText(name))
		if name != x.domain.Name {
			fmt.Fprintf(b, "    # serve --envoy-domain %s takes requests of the domain as its\n", yamlText(x.domain.Name+"="+name))
		}
		if limits := x.limitsText(x.organization...); limits != "" {
			fmt.Fprintf(b, "    limits: %s\n", limits)
		}
		x.writeAccount(b)
		x.writeProjects(b)
	} else {
		fmt.Fprintf(b, "  # The domain %s has no equivalent.\n", yamlText(x.domain.Name))
	}
	if len(x.without) > 0 {
		b.WriteString("    # Not the same, or not here:\n")
	}
	for _, p := range x.without {
		fmt.Fprintf(b, "    #   %s\n", oneLine(fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)))
	}
}

// writeAccount writes the account that has the models. What counts a call at once, as
// envoyproxy/ratelimit does, is a D near 0.
func (x *translator) writeAccount(b *bytes.Buffer) {
	fmt.Fprintf(b, "    accounts:\n      %s:\n", yamlText(x.Account))
	b.WriteString("        margin: 0%\n" +
		"        start_within: 1ms   # calls count from the decision on; for workers that draw on it remove this line\n" +
		"        transit: 0s         # and this\n" +
		"        pools:\n")
	taken := make(map[string]bool)
	for _, m := range x.models {
		limits := x.limitsText(m.rule)
		if limits != "" {
			limits = ", limits: " + limits
		}
		fmt.Fprintf(b, "          %s: {models: [%s]%s}\n", yamlText(unique(nameOf(m.name, nameLetters), taken)), yamlText(m.name), limits)
	}
	if len(x.models) == 0 {
		b.WriteString("          any: {models: [any]}   # an account has a model: put in yours\n")
	} else if x.modelKey != "model" {
		fmt.Fprintf(b, "          # Envoy sends the entry model in place of %s\n", oneLine(x.modelKey))
	}
}

func (x *translator) writeProjects(b *bytes.Buffer) {
	if x.projectKey == "" {
		return
	}
	b.WriteString("    max_projects: 1000000\n")
	if x.projectKey != "project" {
		fmt.Fprintf(b, "    # Envoy sends the entry project in place of %s\n", oneLine(x.projectKey))
	}
	if len(x.projects) == 0 {
		b.WriteString("    projects: {}\n")
	} else {
		b.WriteString("    projects:\n")
	}
	for _, p := range x.projects {
		fmt.Fprintf(b, "      %s\n", x.projectText(p))
	}
	for _, p := range x.unsaid {
		b.WriteString("      # Others are refused: among them are some that had limits of their own, which cannot be said (below).\n" +
			"      # If this may hold for them too:\n")
		fmt.Fprintf(b, "      # %s\n", x.projectText(p))
	}
}

func (x *translator) projectText(p nativeLimit) string {
	limits := x.limitsText(p.rule)
	if limits != "" {
		limits = "limits: " + limits
	}
	return fmt.Sprintf("%s: {%s}", yamlText(p.name), limits)
}

// limitsText writes limits of the metric, the least of each window, or nothing.
func (x *translator) limitsText(rules ...*Rule) string {
	rules = slices.DeleteFunc(slices.Clone(rules), func(r *Rule) bool { return r == nil })
	slices.SortFunc(rules, func(a, b *Rule) int {
		return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.RequestsPerUnit, b.RequestsPerUnit))
	})
	rules = slices.CompactFunc(rules, func(a, b *Rule) bool { return a.Window == b.Window })
	var all []string
	for _, r := range rules {
		all = append(all, fmt.Sprintf("%d/%s", r.RequestsPerUnit, windowNames[r.Unit]))
	}
	switch len(all) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("{%s: %s}", x.Metric, all[0])
	}
	return fmt.Sprintf("{%s: [%s]}", x.Metric, strings.Join(all, ", "))
}

// yamlText writes a text as YAML reads it back: between quotes, unless it is plainly a word.
func yamlText(s string) string {
	if plainWord(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

func plainWord(s string) bool {
	switch strings.ToLower(s) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	if c := s[0] | 0x20; c < 'a' || c > 'z' {
		return false
	}
	return nameOf(s, "._-/") == s
}

// oneLine is a text that stays in its comment.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029 {
			return ' '
		}
		return c
	}, s)
}
