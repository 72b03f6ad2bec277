package config

import (
	"os"
	"strings"
)

// expand replaces ${VAR} and ${VAR:-otherwise} by environment variables; $${ is a plain
// ${. It comes behind the parsing, so that no value of a variable can change the file's
// structure. The dollar of an amount of money stays what it is.
func (r *reader) expand(at *node, text string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String()
		}
		if plain, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(plain + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		inside, rest, found := strings.Cut(rest, "}")
		if !found {
			r.fail(at, "", "%s has no closing }", quote("${"+inside))
			return b.String()
		}
		value := r.variable(at, inside)
		// The value is part of what the file says, so a change of it must change the hash.
		r.hash.Write(append([]byte{0}, value...))
		b.WriteString(value)
		text = rest
	}
}

// variable gives the value of NAME or NAME:-otherwise, where otherwise also stands in for
// a variable that is empty.
func (r *reader) variable(at *node, inside string) string {
	name, otherwise, has := strings.Cut(inside, ":-")
	if !isVariable(name) {
		r.fail(at, "", "%s is no name of an environment variable", quote(name))
		return ""
	}
	value, set := os.LookupEnv(name)
	switch {
	case has && value == "":
		return otherwise
	case !set:
		r.fail(at, "", "the environment has no %s: set it, or write ${%s:-otherwise}", name, name)
	}
	return value
}

func isVariable(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
