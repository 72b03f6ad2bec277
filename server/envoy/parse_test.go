package envoy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// problems gives what is told of files, a line each.
func problems(err error) []string {
	var all Errors
	if !errors.As(err, &all) {
		return nil
	}
	var lines []string
	for _, p := range all {
		lines = append(lines, p.String())
	}
	return lines
}

// What envoyproxy/ratelimit rejects, with its place; and what is rejected beside.
func TestRejected(t *testing.T) {
	for _, row := range []struct{ rule, text, want string }{
		{"empty domain", "domain: \"\"\ndescriptors: []", `a:1:1: the domain is empty`},
		{"no domain", "descriptors: []", `a:1:1: the domain is empty`},
		{"empty file", "", `a: the file is empty: it needs a domain`},
		{"only a comment", "# nothing\n", `a: the file is empty: it needs a domain`},
		{"empty key", "domain: d\ndescriptors:\n  - key: ''\n    value: x", `a:3:5: the key is empty`},
		{"no key", "domain: d\ndescriptors:\n  - value: x", `a:3:5: the key is empty`},
		{"the same key twice", "domain: d\ndescriptors:\n  - key: k\n  - key: k", `a:4:5: d.k is given twice, first in a:3`},
		{"the same key_value twice", "domain: d\ndescriptors:\n  - key: k\n    value: v\n  - key: k_v", `a:5:5: d.k_v is given twice, first in a:3`},
		{"twice, nested", "domain: d\ndescriptors:\n  - key: o\n    descriptors:\n      - key: k\n      - key: k", `a:6:9: d.o.k is given twice, first in a:5`},
		{"a bad unit", limit("unit: minut, requests_per_unit: 1"), `a:4:24: "minut" is no unit: it is one of second, minute, hour, day, week, month, year (did you mean "minute"?)`},
		{"the unit UNKNOWN", limit("unit: unknown, requests_per_unit: 1"), `"unknown" is no unit`},
		{"no unit", limit("requests_per_unit: 1"), `a:4:17: the limit has no unit`},
		{"an empty limit", limit(""), `a:4:17: the limit has no unit`},
		{"an unknown key", "domain: d\ndescriptors:\n  - key: k\n    rate_limits: {}", `a:4:5: unknown key "rate_limits" in a descriptor (did you mean "rate_limit"?)`},
		{"an unknown key of a limit", limit("unit: day, request_per_unit: 1"), `unknown key "request_per_unit" in a rate_limit (did you mean "requests_per_unit"?)`},
		{"an unknown key of the file", "domain: d\nx-anchors: 1", `a:2:1: unknown key "x-anchors" in a file of limits`},
		{"a key that is no text", "domain: d\n? [a]\n: b", `a key must be text, not a list`},
		{"unlimited with a unit", limit("unlimited: true, unit: day"), `a limit that is unlimited has no unit`},
		{"replaces of itself", limit("unit: day, name: n, replaces: [{name: n}]"), `limit "n" replaces itself`},
		{"replaces without a name", limit("unit: day, replaces: [{name: ''}]"), `an item of replaces has no name`},
		{"replaces of texts", limit("unit: day, replaces: [n]"), `an item of replaces must be a mapping, not "n"`},
		{"share_threshold without a wildcard", "domain: d\ndescriptors:\n  - key: k\n    value: v\n    share_threshold: true", `a:5:5: share_threshold needs a value with a wildcard (such as files/*), not "v"`},
		{"a list of something else", "domain: d\ndescriptors:\n  - k", `a:3:5: a descriptor must be a mapping, not "k"`},
		{"no list", "domain: d\ndescriptors: {key: k}", `a:2:14: descriptors must be a list, not a mapping`},
		{"no mapping", "- domain: d", `a:1:1: a file of limits must be a mapping, not a list`},
		{"not YAML", "domain: d\ndescriptors: [", `not YAML`},
		{"a negative quota", limit("unit: day, requests_per_unit: -1"), `requests_per_unit must be a whole number from 0 to 4294967295, not "-1"`},
		{"a quota beyond 32 bits", limit("unit: day, requests_per_unit: 4294967296"), `not "4294967296"`},
		{"a quota in quotes", limit(`unit: day, requests_per_unit: "1"`), `requests_per_unit must be a whole number`},
		{"half a request", limit("unit: day, requests_per_unit: 0.5"), `requests_per_unit must be a whole number`},
		{"a flag in quotes", "domain: d\ndescriptors:\n  - key: k\n    shadow_mode: 'true'", `a:4:18: shadow_mode must be true or false, not "true"`},
		{"a key of YAML twice", "domain: d\ndomain: e", `a:2:1: "domain" is given twice, first in line 1`},
		{"two documents", "domain: d\n---\ndomain: e", `a second document begins here`},
		{"tags", "domain: !x d", `tags are not used here`},
		{"metadata that is none", "domain: d\ndescriptors:\n  - key: k\n    metadata: x", `a:4:15: metadata must be a mapping, not "x"`},
		{"long texts", "domain: " + strings.Repeat("d", maxText+1), `domain is longer than 4096 bytes`},
		{"an anchor within itself", "domain: d\ndescriptors: &a\n  - key: k\n    descriptors: *a", `too much, or nested too deeply`},
		{"a merge of itself", "domain: d\ndescriptors:\n  - &a\n    key: k\n    <<: *a", `too much, or nested too deeply`},
		{"aliases that unfold", bomb(), `more than 200000 descriptors`},
		{"a large file", "domain: d\n#" + strings.Repeat("x", MaxFile), `a: larger than 1 MiB`},
	} {
		_, err := Parse([]File{{"a", []byte(row.text)}}, Options{})
		got := problems(err)
		if !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, row.want) }) {
			t.Errorf("%s: got %q, want %q", row.rule, got, row.want)
		}
	}
}

// limit is a file with one limit, of that content.
func limit(content string) string {
	return "domain: d\ndescriptors:\n  - key: k\n    rate_limit: {" + content + "}"
}

// bomb is a file whose aliases stand for 10^9 descriptors.
func bomb() string {
	var b strings.Builder
	b.WriteString("domain: d\ndescriptors:\n")
	for i := range 9 {
		fmt.Fprintf(&b, "  - key: k%d\n    descriptors: &a%d\n", i, i)
		for j := range 10 {
			fmt.Fprintf(&b, "      - {key: k%d", j)
			if i > 0 {
				fmt.Fprintf(&b, ", descriptors: *a%d", i-1)
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

// All problems of all files are told at once, by file and line.
func TestAllProblems(t *testing.T) {
	_, err := Parse([]File{
		{"b", []byte("domain: d\ndescriptors:\n  - key: k\n    rate_limit: {unit: dya}\n  - keys: k")},
		{"a", []byte("domain: d")},
	}, Options{})
	got := problems(err)
	want := []string{
		`a:1:1: domain "d" is given twice, first in b:1 (--envoy-merge-domains reads both as one)`,
		`b:4:24: "dya" is no unit: it is one of second, minute, hour, day, week, month, year (did you mean "day"?)`,
		`b:5:5: the key is empty: a descriptor needs one`,
		`b:5:5: unknown key "keys" in a descriptor (did you mean "key"?)`,
	}
	slices.Sort(got) // of one place in any order
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMergeDomains(t *testing.T) {
	files := []File{
		{"a", []byte("domain: d\ndescriptors: [{key: k, rate_limit: {unit: day}}]")},
		{"b", []byte("domain: d\ndescriptors: [{key: l, rate_limit: {unit: day}}]")},
	}
	l, err := Parse(files, Options{MergeDomains: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(l.Rules), 3; got != want { // an override
		t.Errorf("got %d rules, want %d", got, want)
	}
	files[1].Data = files[0].Data
	_, err = Parse(files, Options{MergeDomains: true})
	if got, want := problems(err), []string{`b:2:16: d.k is given twice, first in a:2`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What envoyproxy/ratelimit's YAML takes is taken.
func TestAccepted(t *testing.T) {
	for _, row := range []struct {
		rule, text string
		want       string // of the first limit
	}{
		{"units in capitals", limit("unit: MINUTE, requests_per_unit: 5"), "d.k 5/1m0s"},
		{"a week", limit("unit: week, requests_per_unit: 5"), "d.k 5/168h0m0s"},
		{"a month is 30 days", limit("unit: Month, requests_per_unit: 5"), "d.k 5/720h0m0s"},
		{"a year is 365 days", limit("unit: year, requests_per_unit: 5"), "d.k 5/8760h0m0s"},
		{"no quota is 0", limit("unit: day"), "d.k 0/24h0m0s"},
		{"octal and underscores", limit("unit: day, requests_per_unit: 0_10"), "d.k 8/24h0m0s"},
		{"hexadecimal", limit("unit: day, requests_per_unit: 0xff"), "d.k 255/24h0m0s"},
		{"the largest quota", limit("unit: day, requests_per_unit: 4294967295"), "d.k 4294967295/24h0m0s"},
		{"unlimited", limit("unlimited: yes"), "d.k 0/0s unlimited"},
		{"unlimited with a quota", limit("unlimited: true, requests_per_unit: 5"), "d.k 5/0s unlimited"},
		{"a numeric value", "domain: d\ndescriptors: [{key: 7, value: 1.50, rate_limit: {unit: day}}]", "d.7_1.50 0/24h0m0s"},
		{"a value like a word of YAML", "domain: d\ndescriptors: [{key: on, value: yes, rate_limit: {unit: day}}]", "d.on_yes 0/24h0m0s"},
		{"a null value", "domain: d\ndescriptors: [{key: k, value: ~, rate_limit: {unit: day}}]", "d.k 0/24h0m0s"},
		{"a null limit", "domain: d\ndescriptors: [{key: k, rate_limit: null}, {key: l, rate_limit: {unit: day}}]", "d.l 0/24h0m0s"},
		{"null descriptors", "domain: d\ndescriptors: [{key: k, descriptors: , rate_limit: {unit: day}}]", "d.k 0/24h0m0s"},
		{"flags of YAML 1.1", "domain: d\ndescriptors: [{key: k, shadow_mode: on, quota_mode: y, detailed_metric: Yes, rate_limit: {unit: day}}]", "d.k 0/24h0m0s shadow quota detailed"},
		{"anchors and merges", "domain: d\ndescriptors:\n  - key: k\n    rate_limit: &l {unit: day, requests_per_unit: 3}\n  - key: m\n    rate_limit: {<<: *l, unit: hour}", "d.k 3/24h0m0s d.m 3/1h0m0s"},
		{"an alias", "domain: d\ndescriptors:\n  - key: k\n    rate_limit: &l {unit: day, requests_per_unit: 3}\n  - key: m\n    rate_limit: *l", "d.k 3/24h0m0s d.m 3/24h0m0s"},
		{"no descriptors", "domain: d", ""},
	} {
		l := parse(t, row.text)
		var got []string
		for _, r := range l.Rules {
			if r.Override {
				continue
			}
			got = append(got, fmt.Sprintf("%s %d/%v", r.Path, r.RequestsPerUnit, r.Window))
			for _, flag := range []struct {
				set  bool
				word string
			}{{r.Unlimited, "unlimited"}, {r.Shadow, "shadow"}, {r.Quota, "quota"}, {r.Detailed, "detailed"}} {
				if flag.set {
					got = append(got, flag.word)
				}
			}
		}
		if got := strings.Join(got, " "); got != row.want {
			t.Errorf("%s: got %q, want %q", row.rule, got, row.want)
		}
	}
}

// A key that is one elsewhere does nothing there, and this is told; a limit that is replaced
// but does not exist likewise.
func TestWarnings(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - key: k
    unit: day
    rate_limit: {unit: day, shadow_mode: true, name: n, replaces: [{name: m}]}
`)
	var got []string
	for _, w := range l.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`limits.yaml:5:5: unit has no effect in a descriptor: it belongs in a rate_limit`,
		`limits.yaml:6:29: shadow_mode has no effect in a rate_limit: it belongs beside rate_limit`,
		`limits.yaml:6:69: replaces "m", but no limit of domain d has this name`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if l.Rules[1].Shadow {
		t.Error("shadow_mode within a rate_limit has an effect")
	}
}

// What of a rule metrics and people see.
func TestRules(t *testing.T) {
	l, err := Parse([]File{
		{"b.yaml", []byte("domain: b\ndescriptors:\n  - key: k\n    value: v\n    descriptors:\n      - key: l\n        rate_limit: {unit: day, requests_per_unit: 1, name: n}")},
		{"a.yaml", []byte("domain: a")},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Domains(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("domains: got %q, want %q", got, want)
	}
	if l.Domain("c") != nil {
		t.Error("there is a domain c")
	}
	r := l.Rules[1]
	if got, want := fmt.Sprint(r.ID, r.Domain, r.Path, r.Name, r.File, r.Line), "1b b.k_v.l n b.yaml 7"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %s, want %s", got, want)
	}
	for i, r := range l.Rules {
		if r.ID != i {
			t.Errorf("rule %s: got ID %d, want %d", r.Path, r.ID, i)
		}
	}
}
