package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

var torture = flag.Bool("torture", false, "run the long figures")

// figure is the short or the long one.
func figure[T any](short, long T) T {
	if *torture {
		return long
	}
	return short
}

// atOnce is how many tests run at once: nearly all that they do is wait.
const atOnce = "5"

func TestMain(m *testing.M) {
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(s string) bool { return len(s) > 14 && s[:14] == "-test.parallel" }) {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// binary gives the path of a watermaster, which is built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "watermaster")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "watermaster")
	if out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// heavy begins a test that takes real time, beside others that do.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes real time; without -short it runs")
	}
	t.Parallel()
}

// eventually looks until something is so, and gives how long that took. Then the test ends.
func eventually(t *testing.T, what string, within time.Duration, so func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !so() {
		if time.Since(start) > within {
			t.Fatalf("after %v it is still not so: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
