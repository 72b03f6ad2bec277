package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestCredentials(t *testing.T) {
	t.Setenv("WM_HASH", hashOf("from the environment"))
	got := mustParse(t, withCredentials(`
- name: workers
  sha256: [`+hashOf("old")+`, `+strings.ToUpper(hashOf("new"))+`]
  client_certificate: [workers.acme.example, 'spiffe://acme/worker 1']
  organization: acme
  projects: [search, ads-*]
  priority_classes: [standard, interactive]
  services: [envoy, limiter]
- {name: least, sha256: "${WM_HASH}", organization: umbrella}
- {name: all, sha256: `+hashOf("all")+`, organization: "*", projects: [lab, ads-eu, anything, team/*, "*"], services: [admin]}
- {name: certificate, client_certificate: c, organization: acme, projects: ["*"]}
`)).Credentials
	both := []string{"limiter", "monitor"}
	want := []Credential{
		{Name: "all", SHA256: []Digest{digest(hashOf("all"))}, Organization: "*",
			Projects: []string{"lab", "ads-eu", "anything", "team/*", "*"}, Services: []string{"admin"}},
		{Name: "certificate", Certificates: []string{"c"}, Organization: "acme", Projects: []string{"*"}, Services: both},
		{Name: "least", SHA256: []Digest{digest(hashOf("from the environment"))}, Organization: "umbrella", Services: both},
		{Name: "workers", SHA256: []Digest{digest(hashOf("old")), digest(hashOf("new"))},
			Certificates: []string{"workers.acme.example", "spiffe://acme/worker 1"}, Organization: "acme",
			Projects: []string{"search", "ads-*"}, PriorityClasses: []string{"standard", "interactive"}, Services: []string{"envoy", "limiter"}},
	}
	for i := range want {
		if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("got\n%+v\nwant\n%+v", got, want)
		}
		for j, key := range want[i].SHA256 { // printed they are all alike
			if got[i].SHA256[j] != key {
				t.Errorf("%s: another key %d", want[i].Name, j)
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d credentials, want %d", len(got), len(want))
	}
	if c := mustParse(t, least+"credentials:\n"); c.Credentials != nil {
		t.Errorf("got %+v, want none", c.Credentials)
	}
}

func TestTooManyCredentials(t *testing.T) {
	var b strings.Builder
	for i := range maxCredentials {
		fmt.Fprintf(&b, "- {name: c%d, organization: acme, sha256: %s}\n", i, hashOf(fmt.Sprint("key ", i)))
	}
	file := withCredentials(b.String())
	if c := mustParse(t, file); len(c.Credentials) != maxCredentials {
		t.Errorf("got %d credentials", len(c.Credentials))
	}
	_, err := Parse("f", []byte(strings.TrimSpace(file)+"\n- {name: last}\n"), written)
	if got, want := message(err), "f:10007:3: more than 10,000 credentials"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whoever takes a key for its hash reads of it, and does not read it in the log.
func TestMessagesKeepKeys(t *testing.T) {
	const key = "CANARY"
	for _, file := range []string{
		atTop("credentials: " + key),
		withCredentials("- " + key),
		withCredentials("- [" + key + "]"),
		withCredentials("- {name: w, organization: acme, sha256: " + key + "}"),
		withCredentials("- {name: w, organization: acme, sha256: [[" + key + "]]}"),
		withCredentials("- {name: w, organization: acme, sha256: {a: " + key + "}}"),
		withCredentials("- {name: w, organization: acme, sha265: " + key + "}"),
		withCredentials("- {name: w, organization: acme, sha256: [" + key + "," + key + "]}"),
	} {
		if _, err := Parse("f", []byte(file), written); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v, want an error without the key", file, err)
		}
	}
}

func TestDigestDoesNotShow(t *testing.T) {
	c := Credential{Name: "w", SHA256: []Digest{digest(hashOf("a key"))}}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		string(text), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%x", c), fmt.Sprintf("%d", c.SHA256[0]),
	} {
		first := c.SHA256[0][0]
		for _, leak := range []string{hashOf("a key")[:8], fmt.Sprintf("%d, ", first), fmt.Sprintf("%d ", first), fmt.Sprintf("%#x", first)} {
			if strings.Contains(got, leak) || !strings.Contains(got, redacted) {
				t.Errorf("got %s", got)
			}
		}
	}
}

func TestDescribeCredentials(t *testing.T) {
	c := mustParse(t, withCredentials("- {name: workers, organization: acme, projects: [search, ads-*], services: [envoy], sha256: ["+hashOf("a")+", "+hashOf("b")+"]}\n"+
		"- {name: console, organization: '*', priority_classes: [standard], client_certificate: console.example}"))
	var b strings.Builder
	if err := c.Describe(&b); err != nil {
		t.Fatal(err)
	}
	want := `
ORGANIZATION  MAX PROJECTS  MAX WAITING  RETRY BUDGET  WITHOUT STATE
acme          1,000         10,000       20%           as configured: no window is of ten minutes or less
umbrella      1,000         10,000       20%           as configured: no window is of ten minutes or less

ORGANIZATION  SCOPE  LIMIT  WHEN AWAY  REPLICAS  EACH AT MOST  NOTE

CREDENTIAL  ORGANIZATION  PROJECTS      CLASSES   SERVICES         KEYS  CERTIFICATES
console     *             all           standard  limiter,monitor  0     console.example
workers     acme          search,ads-*  all       envoy            2     -
`
	if _, got, _ := strings.Cut(b.String(), "\n\n"); "\n"+got != want {
		t.Errorf("got%s\nwant%s", b.String(), want)
	}
	if strings.Contains(b.String(), hashOf("a")[:8]) {
		t.Errorf("a hash is shown: %s", b.String())
	}
}

func TestColdStart(t *testing.T) {
	file := func(top, organization string) string {
		return top + "\norganizations: {o: {" + organization + " accounts: {a: {pools: {p: {models: [m]}}}}}}"
	}
	for _, row := range []struct {
		top, organization string
		want              limiter.ColdStart
	}{
		{"", "", limiter.Pace},
		{"cold_start: trust", "", limiter.Trust},
		{"cold_start: trust", "cold_start: wait,", limiter.Wait},
		{"cold_start: wait", "cold_start: pace,", limiter.Pace},
	} {
		if got := mustParse(t, file(row.top, row.organization)).Organizations[0].ColdStart; got != row.want {
			t.Errorf("%s, %s: got %v, want %v", row.top, row.organization, got, row.want)
		}
	}
}
