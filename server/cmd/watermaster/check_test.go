package main

import (
	"bytes"
	"errors"
	"fmt"
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

// TestCheckState: before a start one can know whether it would be a cold one.
func TestCheckState(t *testing.T) {
	dir := t.TempDir()
	want := func(status error, texts ...string) {
		t.Helper()
		out, err := execute(t, "check", quickstart, "--state", dir)
		if (err == nil) != (status == nil) {
			t.Errorf("got %v, want %v", err, status)
		}
		for _, text := range texts {
			if !strings.Contains(out+fmt.Sprint(err), text) {
				t.Errorf("got %s%v, want %q", out, err, text)
			}
		}
	}
	want(nil, "acme", "none", "cold: trust")
	r := start(t, "--config", quickstart, "--state", dir)
	want(errReported, "another process")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	want(nil, "acme", "until 2", "knows what was used")
	segments, err := filepath.Glob(filepath.Join(dir, "acme", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/8] ^= 0xFF
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(errReported, "damaged", "acme")
	dir = filepath.Join(dir, "nowhere")
	want(errReported, "nowhere")
	if _, err := os.Stat(dir); err == nil {
		t.Error("it made the directory")
	}
}
