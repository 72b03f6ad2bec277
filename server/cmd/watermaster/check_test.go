package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// execute runs a command line and gives all that it prints.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	out, err := execute(t, "check", quickstart)
	if err != nil || !strings.Contains(out, "openai-main/gpt-5") || !strings.Contains(out, "tokens/min") {
		t.Errorf("got %v:\n%s", err, out)
	}
	broken := write(t, "broken.yaml", "organizations:\n  acme:\n    acounts: {}\n    routes: {r: {targets: [{account: a, model: m}]}}\n")
	out, err = execute(t, "check", broken)
	if !errors.Is(err, errReported) || !strings.Contains(out, "broken.yaml:3:") || strings.Count(out, "broken.yaml:") < 2 {
		t.Errorf("got %v, want all problems with their lines:\n%s", err, out)
	}
	if _, err := execute(t, "check", "nowhere.yaml"); err == nil || errors.Is(err, errReported) {
		t.Errorf("got %v, want a word on the file", err)
	}
}

func TestCheckAgainst(t *testing.T) {
	text, err := os.ReadFile(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	changed := write(t, "changed.yaml", strings.Replace(string(text), "requests: 300/min", "requests: 400/min, concurrency: 10", 1))
	changed2, err := os.ReadFile(changed)
	if err != nil || !strings.Contains(string(changed2), "400/min") {
		t.Fatal("the quickstart's limits are others: change this test")
	}
	out, err := execute(t, "check", changed, "--against", quickstart)
	if err != nil || !strings.Contains(out, "kept") || !strings.Contains(out, "new") || !strings.Contains(out, "300 -> 400") {
		t.Errorf("got %v:\n%s", err, out)
	}
}

func TestVersion(t *testing.T) {
	out, err := execute(t, "version")
	if err != nil || !strings.HasPrefix(out, "watermaster ") {
		t.Errorf("got %q, %v", out, err)
	}
}
