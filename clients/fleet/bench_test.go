package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// BenchmarkWrapper compares a call through each SDK with the same call through the wrapper,
// against a provider that answers at once: x-wall and x-cpu are ratios within one run, where
// CPU is that of the worker's own process. KiB/stream is the memory of a stream that is
// open, bare-KiB/stream the same without the wrapper.
func BenchmarkWrapper(b *testing.B) {
	root, err := repository()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	binary, overhead := filepath.Join(dir, "watermaster"), filepath.Join(dir, "overhead")
	for _, build := range []*exec.Cmd{
		exec.Command("go", "build", "-o", binary, "./server/cmd/watermaster"),
		exec.Command("go", "-C", "clients/go/sdktest", "build", "-o", overhead, "./overhead"),
	} {
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", build.Args, err, out)
		}
	}
	for _, l := range []language{
		{"Python", []string{root + "/.bin/clients/bin/python", root + "/clients/python/tests/overhead.py"}, root + "/.bin/clients/bin/python"},
		{"TypeScript", []string{"node", "--expose-gc", root + "/clients/typescript/test/overhead.mjs"}, root + "/clients/typescript/node_modules/openai"},
		{"Go", []string{overhead}, overhead},
	} {
		if missing := missing(l); missing != "" {
			b.Logf("without %s: there is no %s; make clients installs it", l.name, missing)
			continue
		}
		for _, inFlight := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/in-flight=%d", l.name, inFlight), func(b *testing.B) {
				s := ample(b, binary, 0)
				for b.Loop() {
					took := tell(b, l, s, "--in-flight", strconv.Itoa(inFlight), "--calls", "400")
					b.ReportMetric(took["wrapped"]/took["bare"], "x-wall")
					b.ReportMetric(took["wrapped_cpu"]/took["bare_cpu"], "x-cpu")
					b.ReportMetric(1e6*took["bare"], "bare-µs")
					b.ReportMetric(1e6*took["wrapped"], "wrapped-µs")
				}
			})
		}
		b.Run(l.name+"/stream", func(b *testing.B) {
			s := ample(b, binary, 1)
			for b.Loop() {
				b.ReportMetric(tell(b, l, s, "--streams", "200")["stream"]/1024, "KiB/stream")
				alone := *s
				alone.service = ""
				b.ReportMetric(tell(b, l, &alone, "--streams", "200")["stream"]/1024, "bare-KiB/stream")
			}
		})
	}
}

// ample has room for all, at a provider that answers at once and then writes so many tokens
// a second (0: all).
func ample(b *testing.B, binary string, rate int) *stage {
	s, err := build(b.Context(), binary, b.TempDir(), budget{
		window: time.Minute, requests: 1e9, tokens: 1e12, concurrency: 1e6, rate: rate,
	}, true)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.strike)
	return s
}

// tell runs the program that measures.
func tell(b *testing.B, l language, s *stage, flags ...string) (figures map[string]float64) {
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	args := append(append(append([]string(nil), l.command[1:]...),
		"--service", s.service, "--provider", s.provider, "--organization", organization, "--project", steady), flags...)
	out, err := exec.CommandContext(ctx, l.command[0], args...).Output() //nolint:gosec // a program of this repository
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			b.Fatalf("%s: %v\n%s", l.name, err, exit.Stderr)
		}
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &figures); err != nil {
		b.Fatalf("%s says %q: %v", l.name, out, err)
	}
	return figures
}
