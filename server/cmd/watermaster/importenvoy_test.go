package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What import-envoy prints is a configuration; what it cannot say goes to stderr.
func TestImportEnvoy(t *testing.T) {
	dir := filepath.Dir(write(t, "limits.yaml", `
domain: gateway
descriptors:
  - {key: account_id, rate_limit: {unit: minute, requests_per_unit: 60}}
  - {key: llm, value: gpt-5, rate_limit: {unit: minute, requests_per_unit: 100000}}
  - {key: path, rate_limit: {unit: minute, requests_per_unit: 5}}
`))
	var out, problems bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetErr(&problems)
	c.SetArgs([]string{"import-envoy", dir, "--project-key", "account_id", "--model-key", "llm", "--account", "openai", "--metric", "tokens"})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := problems.String(), "limits.yaml:6:1: gateway.path: path is neither a project nor a model"; !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("stderr: got %q, want %q", got, want)
	}
	checked, err := execute(t, "check", write(t, "native.yaml", out.String()))
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, checked, out.String())
	}
	for _, want := range []string{"gateway", "project *", "tokens/min", "60", "pool openai/gpt-5", "100,000"} {
		if !strings.Contains(checked, want) {
			t.Errorf("%s is not among\n%s", want, checked)
		}
	}
	if strings.Contains(checked, "warning") {
		t.Errorf("it warns: %s", checked)
	}
}

func TestImportEnvoyFails(t *testing.T) {
	broken := filepath.Dir(write(t, "limits.yaml", "domain: d\ndescriptors: [{kye: a}]"))
	out, err := execute(t, "import-envoy", broken)
	if !errors.Is(err, errReported) || !strings.Contains(out, `limits.yaml:2:16: unknown key "kye" in a descriptor (did you mean "key"?)`) {
		t.Errorf("got %v: %s", err, out)
	}
	for _, args := range [][]string{
		{filepath.Join(broken, "none")}, {broken, "--metric", "cost"}, {broken, "--organization-key", "all"},
	} {
		if _, err := execute(t, append([]string{"import-envoy"}, args...)...); err == nil || errors.Is(err, errReported) || errors.Is(err, os.ErrPermission) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

// check tells of a directory of Envoy's limits what it tells of a configuration.
func TestCheckEnvoyLimits(t *testing.T) {
	dir := filepath.Dir(write(t, "limits.yaml", `
domain: gateway
descriptors:
  - {key: user, rate_limit: {unit: minute, requests_per_unit: 60, name: n}}
  - {key: user, value: a*, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 5, replaces: [{name: n}]}}
  - {key: free, rate_limit: {unlimited: true, shadow_mode: true}}
`))
	out, err := execute(t, "check", "--envoy-limits", dir)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(strings.ReplaceAll(out, dir+"/", "")), " ")
	for _, want := range []string{
		"gateway.user 60/minute enforced n - limits.yaml:4",
		"gateway.user_a* 5/day shadow - n limits.yaml:5",
		"gateway.free unlimited - - - limits.yaml:6",
		"warning: limits.yaml:6:47: shadow_mode has no effect in a rate_limit: it belongs beside rate_limit",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not among\n%s", want, out)
		}
	}
	if out, err := execute(t, "check", quickstart, "--envoy-limits", dir); err != nil || !strings.Contains(out, "openai-main/gpt-5") {
		t.Errorf("with a FILE: got %v: %s", err, out)
	}
	broken := filepath.Dir(write(t, "limits.yaml", "domain: d\ndescriptors: [{kye: a}]"))
	if out, err := execute(t, "check", quickstart, "--envoy-limits", broken); !errors.Is(err, errReported) || !strings.Contains(out, "limits.yaml:2:16:") {
		t.Errorf("a broken one: got %v: %s", err, out)
	}
}
