package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// canary stands for a secret. It is no hash and has no prefix that would give it away.
const canary = "Canary-5f1d"

func TestRedacted(t *testing.T) {
	t.Setenv("WM_CANARY", canary)
	file := `# where it runs: https://admin:` + canary + `@vault.example/
x-token: ` + canary + `
x-shared: &shared ` + canary + `
x-limits: &limits {tokens: [3M/min, 10M/day], input_tokens: {quota: 1M, window: min}}
x-list: {tokens: [` + canary + `], keys: {a: ` + canary + `}}
organizations:
  acme: # token: ` + canary + `
    limits: *limits
    accounts:
      secret-lab:
        provider: openai # the account of the lab
        attributes:
          base_url: https://user:` + canary + `@api.example/v1 # not the proxy
          query: https://api.example/v1?api-key=` + canary + `
          deployment: gpt-5
          Authorization: Bearer ` + canary + `
          apiKey: ` + canary + `
          credentials: ` + canary + `
          region: ${WM_CANARY}
          zone: ${WM_NONE:-` + canary + `}
          token: *shared
          private: |
            two lines
            ` + canary + `
        pools: {token-pool: {models: [{name: m, attributes: {deployment: large, client_certificate: ` + canary + `}}], limits: {tokens: 2M/min}}}
    projects: {key: {weight: 3}}
credentials:
  # - name: former
  #   sha256: ` + canary + `
  - {name: workers, organization: acme, client_certificate: w.example, sha256: *hash}
x-hash: &hash2 ` + hashOf(canary) + `
`
	file = strings.Replace(file, "*hash}", hashOf("workers")+"}", 1)
	out, err := mustParse(t, file).Redacted()
	if err != nil {
		t.Fatal(err)
	}
	want := `# where it runs: https://REDACTED@vault.example/
x-token: REDACTED
x-shared: &shared REDACTED
x-limits: &limits {tokens: [3M/min, 10M/day], input_tokens: {quota: 1M, window: min}}
x-list: {tokens: [REDACTED], keys: {REDACTED: REDACTED}}
organizations:
  acme: # token: REDACTED
    limits: *limits
    accounts:
      secret-lab:
        provider: openai # the account of the lab
        attributes:
          base_url: https://REDACTED@api.example/v1 # not the proxy
          query: https://api.example/v1?api-key=REDACTED
          deployment: gpt-5
          Authorization: REDACTED
          apiKey: REDACTED
          credentials: REDACTED
          region: REDACTED
          zone: REDACTED
          token: *shared
          private: REDACTED
        pools: {token-pool: {models: [{name: m, attributes: {deployment: large, client_certificate: REDACTED}}], limits: {tokens: 2M/min}}}
    projects: {key: {weight: 3}}
credentials:
# - name: former
#   sha256: REDACTED
- {name: workers, organization: acme, client_certificate: w.example, sha256: REDACTED}
x-hash: &hash2 REDACTED
`
	if got := string(out); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What aliases and merges put under a secret key, or take out of a secret mapping, is
// secret where it stands.
func TestRedactedAliases(t *testing.T) {
	for _, file := range []string{
		"x-a: &a CANARY\nx-b: {password: *a}",
		"x-a: &a [CANARY, {b: CANARY}]\nx-b: {password: *a}",
		"x-a: &a {b: CANARY}\nx-b: {secret: {<<: *a}}",
		"x-a: &a {b: CANARY}\nx-b: {secret: {<<: [*a, *a]}}",
		"x-a: &a CANARY\nx-b: &b {c: *a}\nx-c: {secret: *b}",
		"x-a: &a password\nx-b: {*a : CANARY}",
		"x-a: {? [password] : CANARY}",
		"x-a: {? {password: CANARY}}",
		"x-a: {secret: &b {c: CANARY}, d: *b}",
		"x-a: {secret: &b [*b, CANARY]}",
		"x-a: {b: {tokens: {quota: CANARY}}}",
		"x-a: {b: {tokens: {name: CANARY}}}",
		"x-a: {b: {tokens: {CANARY: 5}}}",
		"x-a: {b: {tokens: [[1M/min], CANARY]}}",
		"x-a: {'${WM_NEVER}': CANARY}",
		"x-a: {'${WM_NEVER:-CANARY}': 5}",
		"x-a: {secret: !!binary CANARY}",
		"x-a: !!binary CANARY",
		"x-a: {!!binary dG9rZW4=: CANARY}",
		"x-a: |\n  -----BEGIN EC PRIVATE KEY-----\n  CANARY\n",
		"x-a: [wm_CANARY, 'bearer aaaaaaaaaaaaaaaaaaaa.CANARY', password=CANARY]",
		"x-a: //user:pass word@CANARY@host/",
		"# password: |\n#   CANARY\nx-a: b",
		"x-a: b\n# https://user:CANARY@host\n",
		"priority_classes: {x-b: {password: CANARY}, standard: }",
	} {
		c := mustParse(t, strings.ReplaceAll(file, "CANARY", canary)+"\n"+least)
		out, err := c.Redacted()
		if err != nil || strings.Contains(string(out), canary) || !strings.Contains(string(out), redacted) {
			t.Errorf("%s: got %v,\n%s", file, err, out)
		}
	}
}

// What is no secret stays.
func TestRedactedKeeps(t *testing.T) {
	for _, file := range []string{least, withCredentials(""), inOrganization("limits: {tokens: [2M/min, {quota: 1k, window: 1h30m, name: other}]}\n" +
		"projects: {secrets: {}, token: {limits: {tokens: 5/min}}}")} {
		out, err := mustParse(t, file).Redacted()
		if err != nil || strings.Contains(string(out), redacted) || len(out) < len(strings.TrimSpace(file))-20 {
			t.Errorf("%s: got %v,\n%s", file, err, out)
		}
	}
	if _, err := (&Config{}).Redacted(); err == nil {
		t.Error("a configuration without a file was written")
	}
}

// A configuration that is printed does not show its file.
func TestSourceIsNotPrinted(t *testing.T) {
	c := mustParse(t, "x-a: "+canary+"\n"+least)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, c); strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%d", canary[0])+" "+fmt.Sprintf("%d", canary[1])) {
			t.Errorf("%s shows the file", verb)
		}
	}
}

// FuzzRedacted puts a canary where secrets are, in whatever style and company: it is
// never in the output, which is YAML.
func FuzzRedacted(f *testing.F) {
	words := []string{"key", "token", "secret", "password", "authorization", "api_key", "private", "sha256", "apiKey", "PASSWD"}
	for i := range words {
		f.Add(uint8(i), uint8(i), uint8(i), "x-", "_id", "a b", "c:\n#")
		f.Add(uint8(i), uint8(i+3), uint8(1<<i), "", "", "", "")
	}
	f.Fuzz(func(t *testing.T, word, where, style uint8, before, after, left, right string) {
		key := before + words[int(word)%len(words)] + after
		value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: left + canary + right, Style: yaml.Style(style) &^ (yaml.TaggedStyle | yaml.FlowStyle)}
		var document yaml.Node
		if err := yaml.Load([]byte(inAccount("attributes: {region: eu}")), &document); err != nil {
			t.Fatal(err)
		}
		top := document.Content[0]
		add := func(at *yaml.Node, key string, value *yaml.Node) {
			at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
		}
		attributes := child(child(child(child(child(top, "organizations"), "o"), "accounts"), "a"), "attributes")
		switch where % 8 {
		case 0:
			add(attributes, key, value)
		case 1:
			add(top, "x-"+key, value)
		case 2: // below a list below a mapping
			list := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{value}, Style: yaml.Style(style) & yaml.FlowStyle}
			inner := &yaml.Node{Kind: yaml.MappingNode}
			add(inner, left+"l", list)
			outer := &yaml.Node{Kind: yaml.MappingNode}
			add(outer, key, inner)
			add(child(top, "organizations"), "x-"+left, outer)
		case 3: // behind an alias
			value.Anchor = "canary"
			add(top, "x-a", value)
			outer := &yaml.Node{Kind: yaml.MappingNode}
			add(outer, key, &yaml.Node{Kind: yaml.AliasNode, Value: "canary", Alias: value})
			add(top, "x-b", outer)
		case 4: // the user or password of a URL
			value.Value = "https://" + strings.NewReplacer("\n", "", "\r", "", "\u0085", "", "\u2028", "", "\u2029", "").Replace(left+canary+right) + "@host/" + before
			add(attributes, "base"+strings.Trim(after, "x-"), value)
		case 5: // what stands for a variable without a value
			value.Value = strings.ReplaceAll(left, "$", "") + "${WM_NEVER_SET:-" + canary + "}" + strings.ReplaceAll(right, "$", "")
			add(attributes, "region2", value)
		case 6: // commented out
			value.Value = "plain"
			value.LineComment = "# " + strings.NewReplacer("\n", " ", "\r", " ").Replace(strings.ToValidUTF8(key, "")) + ": " + canary
			add(top, "x-c", value)
		case 7: // a key of a mapping that is secret
			outer := &yaml.Node{Kind: yaml.MappingNode}
			add(outer, canary+right, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: left})
			add(top, "x-"+key, outer)
		}
		file, err := yaml.Dump(&document)
		if err != nil || !bytes.Contains(file, []byte(canary)) { // a style that this text cannot have
			t.Skip()
		}
		c, err := Parse("f", file, written)
		if err != nil {
			t.Skip()
		}
		out, err := c.Redacted()
		if err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
		if bytes.Contains(out, []byte(canary)) {
			t.Errorf("of\n%s\nthere is left\n%s", file, out)
		}
		var again yaml.Node
		if err := yaml.Load(out, &again); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// child gives the value under a key.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	panic("no " + key)
}
