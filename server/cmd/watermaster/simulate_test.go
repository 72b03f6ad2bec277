package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/server/simulate"
)

const simulateConfig = `
organizations:
  acme:
    accounts:
      main:
        margin: 0%
        pools:
          gpt: {models: [gpt-5], limits: {requests: 100/min, tokens: 100k/min}}
`

const sampleTrace = "../../../limiter/simulate/trace/testdata/azure_2023_conv.csv"

// runSimulate runs the command with a configuration of one pool.
func runSimulate(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "watermaster.yaml")
	if err := os.WriteFile(file, []byte(simulateConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := newSimulate()
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(append([]string{"--config", file, "--trace", sampleTrace}, args...))
	err = c.Execute()
	return out.String(), errs.String(), err
}

func TestSimulate(t *testing.T) {
	plot := filepath.Join(t.TempDir(), "out.svg")
	stdout, _, err := runSimulate(t, "--load", "1.5", "--jitter", "0-1s", "--seed", "4", "--plot", plot)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"azure_2023_conv.csv: 49 calls, load 1.50", "back-off alone (openai-python)", "interactive", "main/gpt tokens/min", "Watermaster: worst window"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the text lacks %q:\n%s", want, stdout)
		}
	}
	svg, err := os.ReadFile(plot)
	if err != nil || !bytes.HasPrefix(svg, []byte("<svg")) {
		t.Errorf("plot %.20q, %v", svg, err)
	}
}

func TestSimulateJSON(t *testing.T) {
	stdout, _, err := runSimulate(t, "--json", "--no-baseline", "--rows", "20")
	if err != nil {
		t.Fatal(err)
	}
	var r simulate.Report
	d := json.NewDecoder(strings.NewReader(stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() {
		t.Fatalf("standard output is not one report: %v\n%s", err, stdout)
	}
	if r.All.Offered != 20 || r.All.BackOff != nil || len(r.Limits) != 2 {
		t.Errorf("report %+v", r)
	}
}

func TestSimulateMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--shape round", "auto, bucket, sliding, fixed, quantised"},
		{"--sdk curl", "openai-python, openai-node"},
		{"--jitter 2s-1s", "such as 0-1s or 800ms"},
		{"--load 0", "a load is above 0"},
		{"--load -2", "a load is above 0"},
		{"--route smart", `unknown route "smart"`},
		{"--model gpt-6", `unknown model "gpt-6"; the nearest is "gpt-5"`},
		{"--organization globex", "there are acme"},
		{"--trace nowhere.csv", "no such file"},
		{"more", "unknown command"},
	} {
		stdout, _, err := runSimulate(t, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", c.args, err, c.want)
		}
		if stdout != "" {
			t.Errorf("%s: printed %q", c.args, stdout)
		}
	}
}

func TestParseJitter(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		text string
		want *simulate.Jitter // nil: an error
	}{
		{"0-1s", &simulate.Jitter{Min: 0, Max: time.Second}},
		{"200ms-1s", &simulate.Jitter{Min: 200 * ms, Max: time.Second}},
		{"200-800ms", &simulate.Jitter{Min: 200 * ms, Max: 800 * ms}},
		{"800ms", &simulate.Jitter{Min: 0, Max: 800 * ms}},
		{"0", &simulate.Jitter{}},
		{"1s-", nil}, {"-1s", nil}, {"x", nil}, {"1s-2", nil}, {"1-2-3s", nil},
	} {
		got, err := parseJitter(c.text)
		switch {
		case c.want == nil && err == nil:
			t.Errorf("%s: %v, want an error", c.text, *got)
		case c.want != nil && (err != nil || *got != *c.want):
			t.Errorf("%s: %v, %v, want %v", c.text, got, err, *c.want)
		}
	}
	if got, err := parseJitter(""); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
}
