package config

import (
	"fmt"
	"strings"
)

// maxName is the longest name, in bytes.
const maxName = 128

// template is the name of the project that stands for those without one.
const template = "*"

// checkName accepts the names of organizations, accounts, pools, projects, routes and
// classes. The engine joins some of them by a slash, so they have none themselves.
func checkName(s string) error { return checkLetters(s, "._:@-") }

// checkPath accepts the names of models and limits, which may have slashes.
func checkPath(s string) error { return checkLetters(s, "._:@-/") }

// checkProject accepts the name of a project, or the template's.
func checkProject(s string) error {
	if s == template {
		return nil
	}
	return checkName(s)
}

// checkMetric accepts the names of units.
func checkMetric(s string) error {
	if s == "" || len(s) > maxName || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return fmt.Errorf("%s must be 1 to %d of a-z 0-9 _", quote(s), maxName)
	}
	return nil
}

func checkLetters(s, more string) error {
	good := s != "" && len(s) <= maxName
	for _, c := range []byte(s) {
		good = good && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte(more, c) >= 0)
	}
	if !good {
		return fmt.Errorf("the name %s must be 1 to %d of A-Z a-z 0-9 %s", quote(s), maxName,
			strings.Join(strings.Split(more, ""), " "))
	}
	return nil
}

// renames checks `was:` among the things of one scope.
type renames struct {
	*reader
	kind string // of what is renamed, for messages
	list []rename
	has  map[string]bool
}

type rename struct {
	at        *node // the former name
	name, was string
}

// add takes note of a thing and gives its former name, or "".
func (s *renames) add(f fields, name string, check func(string) error) (was string) {
	if s.has == nil {
		s.has = make(map[string]bool)
	}
	s.has[name] = true
	if was = f.text("was", ""); was == "" {
		return ""
	}
	if err := check(was); err != nil {
		f.fail(f.value("was"), "", "was: %v", err)
		return ""
	}
	s.list = append(s.list, rename{f.value("was"), name, was})
	return was
}

// check tells of former names that cannot have been: those still in use, and those that
// two claim.
func (s *renames) check() {
	heir := make(map[string]string)
	for _, m := range s.list {
		switch {
		case m.was == m.name:
			s.fail(m.at, "", "was: %s %s has that name already", s.kind, quote(m.name))
		case s.has[m.was]:
			s.fail(m.at, "", "was: there still is %s %s, so its counters stay there", s.kind, quote(m.was))
		case heir[m.was] != "":
			s.fail(m.at, "", "was: %s %s claims %s already", s.kind, quote(heir[m.was]), quote(m.was))
		default:
			heir[m.was] = m.name
		}
	}
}
