package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// written is when the files of the tests were.
var written = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// A brokenFile is a file with something wrong in it, and all that is to be said of it.
type brokenFile struct {
	name, file string
	want       []string
}

// atTop puts lines into a configuration, from its second line on.
func atTop(lines string) string {
	return "organizations: {o: {accounts: {a: {pools: {p: {models: [m]}}}}}}\n" + lines + "\n"
}

// inOrganization puts lines into an organization, from the fourth line and fifth column on.
func inOrganization(lines string) string {
	return "organizations:\n  o:\n" +
		"    accounts: {a: {pools: {p: {models: [m]}}}, b: {provider: groq, pools: {q: {models: [n, m]}}}}\n    " +
		strings.ReplaceAll(lines, "\n", "\n    ") + "\n"
}

// inAccount puts fields into an account, in the fourth line.
func inAccount(fields string) string {
	return "organizations:\n  o:\n    accounts:\n      a: {" + fields + ", pools: {p: {models: [m]}}}\n"
}

// inPool puts limits into a pool, in the sixth line from column 36 on.
func inPool(limits string) string {
	return "organizations:\n  o:\n    accounts:\n      a:\n        pools:\n          p: {models: [m], limits: " + limits + "}\n"
}

// unitNames gives the names of n units.
func unitNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "u%d, ", i)
	}
	return b.String()
}

var brokenFiles = []brokenFile{
	{"not YAML", "a: [1", []string{
		`f:2:1: not YAML: while parsing a flow sequence, did not find expected ',' or ']'`,
	}},
	{"empty", "# nothing", []string{
		`f: the file is empty`,
	}},
	{"two documents", atTop(`---
a: 1`), []string{
		`f:2:1: a second document begins here: a configuration is one document`,
	}},
	{"unknown anchor", "a: *b", []string{
		`f:1:4: not YAML: unknown anchor 'b' referenced`,
	}},
	{"an anchor in itself", "a: &a [*a]", []string{
		`f:1:4: nested too deeply, or an anchor that contains itself`,
	}},
	{"a tag", atTop("revision: !secret 3"), []string{
		`f:2:11: tag "!secret": tags are not used here`,
	}},
	{"duplicate key", atTop(`revision: 1
revision: 2`), []string{
		`f:3:1: "revision" is given twice, first in line 2`,
	}},
	{"merge of a scalar", atTop("<<: 3"), []string{
		`f:2:5: << merges mappings, not "3"`,
	}},
	{"key that is a list", atTop("[a]: 3"), []string{
		`f:2:1: a key must be text, not a list`,
	}},
	{"root is a list", "- a", []string{
		`f:1:1: a configuration is a mapping, not a list`,
	}},
	{"unknown key", atTop("presure: {}"), []string{
		`f:2:1: unknown key "presure" in the configuration (did you mean "pressure"?)`,
	}},
	{"unknown keys everywhere", inAccount("merge: 1, margn: 10%"), []string{
		`f:4:11: unknown key "merge" in the account a`,
		`f:4:21: unknown key "margn" in the account a (did you mean "margin"?)`,
	}},
	{"no organizations", "models: {}", []string{
		`f:1:1: there are no organizations`,
	}},
	{"organizations empty", "organizations: {}", []string{
		`f:1:1: there are no organizations`,
	}},
	{"organization without accounts", `organizations:
  o: {limits: {tokens: 1M/min}}`, []string{
		`f:2:3: the organization o has no accounts, so nothing to divide`,
	}},
	{"account without pools", `organizations:
  o:
    accounts:
      a: {provider: openai}`, []string{
		`f:4:7: the account a has no pools, so no models`,
	}},
	{"pool without models", `organizations:
  o:
    accounts:
      a:
        pools:
          p: {limits: {tokens: 1M/min}}`, []string{
		"f:6:11: no model can reach the pool a/p: list its `models`",
	}},
	{"pools is a list", `organizations:
  o:
    accounts:
      a: {pools: [p]}`, []string{
		`f:4:18: pools must be a mapping, not a list`,
	}},
	{"bad names", `organizations:
  o/1:
    accounts: {a: {pools: {p: {models: [m]}}}}
  'o ': {}`, []string{
		`f:2:3: organizations: the name "o/1" must be 1 to 128 of A-Z a-z 0-9 . _ : @ -`,
		`f:4:3: organizations: the name "o " must be 1 to 128 of A-Z a-z 0-9 . _ : @ -`,
	}},
	{"provider", inAccount("provider: opanai"), []string{
		`f:4:21: provider must be one of openai, azure, anthropic, gemini, bedrock, mistral, groq, deepseek, generic, not "opanai" (did you mean "openai"?)`,
	}},
	{"margin without a percent", inAccount("margin: 10"), []string{
		`f:4:19: margin: "10" is more than the whole (did you mean "10%"?)`,
	}},
	{"margin of all", inAccount("margin: 100%"), []string{
		`f:4:19: margin must be from 0% to 99.9999%, not 100%`,
	}},
	{"margin of words", inAccount("margin: little"), []string{
		`f:4:19: margin: "little" is not a share such as 10% or 0.1`,
	}},
	{"start_within without a unit", inAccount("start_within: 2"), []string{
		`f:4:25: start_within: "2" is not a duration such as 700ms, 10s or 2m (did you mean "2s"?)`,
	}},
	{"start_within too long", inAccount("start_within: 2m"), []string{
		`f:4:25: start_within must be from 1ms to 1m, not 2m`,
	}},
	{"charge", inAccount("charge: {admission: sun, refund: maybe, burndown: -1, cached_weight: 2%%}"), []string{
		`f:4:31: admission must be one of sum, max, input, input_and_cap, not "sun" (did you mean "sum"?)`,
		`f:4:44: refund must be true or false, not "maybe"`,
		`f:4:61: burndown must be from 0 to 1000, not -1`,
		`f:4:80: cached_weight: "2%%" is not a share such as 10% or 0.1`,
	}},
	{"units", `units: [images, requests, Audio, images]
organizations: {o: {accounts: {a: {pools: {p: {models: [m]}}}}}}`, []string{
		`f:1:17: requests is built in: it is not a unit`,
		`f:1:27: the unit "Audio" must be 1 to 128 of a-z 0-9 _`,
		`f:1:34: "images" is listed twice in units`,
	}},
	{"too many units", "units: [" + unitNames(257) + "]\n" + least, []string{
		"f:1:1: more than 256 units",
	}},
	{"units that collide", `organizations:
  o:
    units: [uqta, ukad]
    accounts: {a: {pools: {p: {models: [m]}}}}`, []string{
		`f:3:19: the units uqta and ukad cannot be told apart: their hashes are equal; rename one`,
	}},
	{"model in two pools", `organizations:
  o:
    accounts:
      a:
        pools:
          p: {models: [m, n]}
          q: {models: [x, m, x]}`, []string{
		`f:7:27: the model "m" is in the pool a/p already: a call must know its pool`,
		`f:7:30: the model "x" is listed twice in the pool a/q`,
	}},
	{"model without a name", `organizations:
  o:
    accounts:
      a:
        pools:
          p: {models: [{attributes: {a: b}}, {name: 'a b'}, m]}`, []string{
		`f:6:24: a model of the pool a/p has no name`,
		`f:6:53: models: the name "a b" must be 1 to 128 of A-Z a-z 0-9 . _ : @ - /`,
	}},
	{"slip of a model", `models: {gpt-5: {}}
organizations: {o: {accounts: {a: {pools: {p: {models: [gtp-5, llama]}}}}}}`, []string{
		"f:2:57: unknown model \"gtp-5\": it is not in `models`, nor an alias there; if it is another model, add it (did you mean \"gpt-5\"?)",
	}},
	{"models", `models:
  m: {aliases: [n, 'm-*-x', 'k*'], context: -1, price: {input: 1.23456789}}
  n: {aliases: ['k*'], max_output: 1.5}
organizations: {o: {accounts: {a: {pools: {p: {models: [m]}}}}}}`, []string{
		`f:2:17: the alias "n" belongs to the model n already`,
		`f:2:20: the alias "m-*-x" must be a name, with one * at its end at most`,
		`f:2:45: context must be from 1 to 1000000000, not -1`,
		`f:2:56: the price of m has no output, in USD per million tokens`,
		`f:2:64: input: "1.23456789" has more decimals than are counted`,
		`f:3:17: the alias "k*" belongs to the model m already`,
		`f:3:36: max_output: "1.5" is not a whole number`,
	}},
	{"route without targets", inOrganization("routes: {r: {}}"), []string{
		`f:4:14: the route r has no targets`,
	}},
	{"route to nowhere", inOrganization(`routes:
  r:
    targets:
      - {account: c, model: m}
      - {account: a, model: n}
      - {account: b, model: n}
      - {account: a}`), []string{
		`f:7:23: unknown account "c" in the route r`,
		`f:8:33: the account a has no pool with the model "n"`,
		`f:10:13: a target of the route r has no model`,
	}},
	{"route twice the same", inOrganization(`routes:
  r:
    targets:
      - {account: a, model: m}
      - {account: a, model: m}`), []string{
		`f:8:13: m at a is listed twice in the route r`,
	}},
	{"min_quality", inOrganization(`routes:
  r:
    targets: [{account: a, model: m, quality: 0.8}]
    min_quality: 0.9`), []string{
		`f:7:9: min_quality is above every target of the route r: the best is 0.8`,
	}},
	{"when_above", inOrganization(`routes:
  r:
    targets:
      - {account: a, model: m, when_above: 80%}
      - {account: b, model: m, when_above: 80%}`), []string{
		`f:7:36: when_above: the route r has no better target than m at a to be used first`,
	}},
	{"quality", inOrganization(`routes:
  r:
    targets:
      - {account: a, model: m, quality: 2, when_above: 0%}`), []string{
		`f:7:45: quality: "2" is more than the whole (did you mean "2%"?)`,
		`f:7:60: when_above must be from 0.1% to 100%, not 0%`,
	}},
	{"project", inOrganization(`projects:
  p: {weight: 0}
  'a b': {}
  '*': {was: p}
  q: {weight: 1.5, limits: {tokens: 1M/s}}`), []string{
		`f:5:19: weight must be from 1 to 1000000, not 0`,
		`f:6:7: projects: the name "a b" must be 1 to 128 of A-Z a-z 0-9 . _ : @ -`,
		`f:7:13: was: the template "*" is not a project, and has no counters`,
		`f:8:19: weight: "1.5" is not a whole number`,
		`f:8:41: tokens: at D = 1s (start_within + transit) a window must be longer than 2s, not s`,
	}},
	{"renames", inOrganization(`projects:
  a: {was: b}
  b: {}
  c: {was: z}
  d: {was: z}
  e: {was: e}`), []string{
		`f:5:16: was: there still is project "b", so its counters stay there`,
		`f:8:16: was: project "c" claims "z" already`,
		`f:9:16: was: project "e" has that name already`,
	}},
	{"max_projects", inOrganization(`projects: {a: {}, b: {}}
max_projects: 1
max_waiting: 0`), []string{
		`f:5:5: max_projects is 1, and 2 are named`,
		`f:6:18: max_waiting must be from 1 to 1000000, not 0`,
	}},
	{"class standard", atTop("priority_classes: {standart: {}}"), []string{
		`f:2:20: there is no class standard: it is the class of a request that says nothing (did you mean "standard"?)`,
	}},
	{"reserves", atTop(`priority_classes:
  standard: {weight: 2, reserve: 60%}
  low: {weight: 1, reserve: 40%}`), []string{
		`f:2:1: the reserves of the classes add up to 100%, so that nothing is left for the lightest`,
	}},
	{"class", atTop(`priority_classes:
  standard: {weight: 0, max_wait: 8day, paced: yes, max_waiting: many}`), []string{
		`f:3:22: weight must be from 1 to 1000000, not 0`,
		`f:3:35: max_wait must be from 0s to 168h, not 8day`,
		`f:3:48: paced must be true or false, not "yes"`,
		`f:3:66: max_waiting: "many" is not a number`,
	}},
	{"pressure", atTop(`pressure:
  elevated: {at: 95%, max_tool_calls: 0}
  hgh: {}`), []string{
		`f:3:3: high begins at 90%: it must be above the level below it, at 95%`,
		`f:3:39: max_tool_calls must be from 1 to 1000000, not 0`,
		`f:4:3: unknown key "hgh" in the pressure (did you mean "high"?)`,
	}},
	{"revision", atTop("revision: 0"), []string{
		`f:2:11: revision must be from 1 to 9223372036854775807, not 0`,
	}},
	{"variables", atTop(`revision: ${WATERMASTER_UNSET}
pressure: {high: {agent_profile: "${A B}${C"}}`), []string{
		`f:2:11: the environment has no WATERMASTER_UNSET: set it, or write ${WATERMASTER_UNSET:-otherwise}`,
		`f:3:34: "A B" is no name of an environment variable`,
		`f:3:34: "${C" has no closing }`,
	}},
	{"a value that is missing", inAccount("provider: , margin: []"), []string{
		`f:4:21: provider has no value`,
		`f:4:31: margin must be text, not a list`,
	}},
	{"an error behind an anchor", `x-a: &a {tokens: 1M/min, request: 5/min}
organizations:
  o:
    limits: *a
    accounts: {a: {pools: {p: {models: [m], limits: *a}}}}`, []string{
		"f:1:26: unknown metric \"request\" in the limits of the pool a/p: what is not built in must be listed in `units` (did you mean \"requests\"?)",
		"f:1:26: unknown metric \"request\" in the limits of the organization o: what is not built in must be listed in `units` (did you mean \"requests\"?)",
	}},
	{"more targets than are looked at", inOrganization("routes: {r: {targets: [" + strings.Repeat("{account: a, model: m}, ", 17) + "]}}"), []string{
		`f:4:412: the route r has more than 16 targets`,
	}},
	{"more classes than there is room for", atTop("priority_classes: {standard: {}, c0: {}, c1: {}, c2: {}, c3: {}, c4: {}, c5: {}, c6: {}, c7: {}, c8: {}, c9: {}, c10: {}, c11: {}, c12: {}, c13: {}, c14: {}, c15: {}}"), []string{
		`f:2:159: more than 16 priority classes`,
	}},
	{"a list of the same twice", atTop("models: {a: {capabilities: [tools, tools, [x]]}}"), []string{
		`f:2:36: "tools" is listed twice in capabilities`,
		`f:2:43: capabilities must list names, not a list`,
	}},
	{"attributes", inAccount("attributes: {a: [b], c: 1}"), []string{
		`f:4:27: attributes: a must be text, not a list`,
	}},
	{"a merge of what is wrong, told once", `x-a: &a {margin: x}
organizations:
  o:
    accounts:
      a: {<<: *a, pools: {p: {models: [m]}}}
      b: {<<: *a, pools: {p: {models: [m]}}}`, []string{
		`f:1:18: margin: "x" is not a share such as 10% or 0.1`,
	}},
	{"two merges in one mapping", `x-a: &a {margin: 5%}
organizations:
  o:
    accounts:
      a: {<<: *a, <<: *a, pools: {p: {models: [m]}}}`, []string{
		`f:5:19: "<<" is given twice, first in line 5`,
	}},
	{"quality finer than is counted", inOrganization("routes: {r: {targets: [{account: a, model: m, quality: 0.12345}]}}"), []string{
		`f:4:60: quality: "0.12345" has more decimals than are counted`,
	}},
	{"project and organization with cost of nothing", inOrganization(`limits: {cost: $5/day}
projects: {p: {limits: {cost: $1/h}}}`), []string{
		"f:4:14: no call can reach this limit of cost: no model in a pool has a price; give one in `models`",
		"f:5:29: no call can reach this limit of cost: no model in a pool has a price; give one in `models`",
	}},
}

func TestBroken(t *testing.T) {
	for _, row := range slices.Concat(brokenFiles, brokenLimits, brokenCredentials) {
		t.Run(row.name, func(t *testing.T) {
			c, err := Parse("f", []byte(row.file), written)
			if err == nil {
				t.Fatalf("got %+v, want %s", c, row.want)
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
			var list Errors
			if !errors.As(err, &list) {
				t.Errorf("an error of type %T", err)
			}
		})
	}
}
