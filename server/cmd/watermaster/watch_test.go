package main

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a watch of a directory of limits sees, look by look.
func TestWatchDirectory(t *testing.T) {
	root := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		do(os.MkdirAll(filepath.Dir(path), 0o755))
		do(os.WriteFile(path, []byte(text), 0o600))
	}
	dir := filepath.Join(root, "limits")
	put("limits/..v1/a.yaml", "domain: a")
	put("limits/..v2/a.yaml", "domain: b")
	do(os.Symlink("..v1", filepath.Join(dir, "..data")))
	do(os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")))
	synctest.Test(t, func(t *testing.T) {
		const every = time.Second
		var changes atomic.Int32
		asked := make(chan os.Signal)
		go watch(t.Context(), dir, stampOf(dir), every, asked, func() { changes.Add(1) })
		time.Sleep(every / 2) // looks are between the steps
		look := func() { time.Sleep(every); synctest.Wait() }
		for _, step := range []struct {
			what string
			do   func()
			want int32 // changes, after it
		}{
			{"nothing", func() {}, 0},
			{"a file more", func() { put("limits/b.yaml", "domain: b") }, 0},
			{"it settles", func() {}, 1},
			{"and stays", func() {}, 1},
			{"a file in a subdirectory", func() { put("limits/sub/c.yaml", "domain: c") }, 1},
			{"which is being written", func() { put("limits/sub/c.yaml", "domain: cc") }, 1},
			{"and is there", func() {}, 2},
			{"a hidden file", func() { put("limits/.d.yaml", "domain: d") }, 2},
			{"does not count", func() {}, 2},
			{"a swapped link, as Kubernetes does it", func() {
				do(os.Symlink("..v2", filepath.Join(dir, "..new")))
				do(os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
			}, 2},
			{"is seen", func() {}, 3},
			{"a file less", func() { do(os.Remove(filepath.Join(dir, "b.yaml"))) }, 3},
			{"is seen too", func() {}, 4},
			{"the directory goes", func() { do(os.Rename(dir, dir+"-old")) }, 4},
			{"and is waited for", func() {}, 4},
			{"and comes back as it was", func() { do(os.Rename(dir+"-old", dir)) }, 4},
			{"which is no change", func() {}, 4},
			{"being asked", func() { asked <- os.Interrupt }, 5},
		} {
			step.do()
			look()
			if got := changes.Load(); got != step.want {
				t.Errorf("%s: got %d changes, want %d", step.what, got, step.want)
			}
		}
	})
}

// TestWatchMissing: what is gone for long is told once, and is no change when it is back as it was.
func TestWatchMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("a: b"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const every = time.Second
		var told atomic.Int32
		go watch(t.Context(), path, stampOf(path), every, nil, func() { told.Add(1) })
		time.Sleep(every / 2)
		for _, step := range []struct {
			from, to string
			looks    time.Duration
			want     int32
		}{
			{path, path + ".old", missedLooks - 1, 0},
			{"", "", 1, 1},
			{"", "", 3 * missedLooks, 1},
			{path + ".old", path, 3, 1},
		} {
			if step.from != "" {
				if err := os.Rename(step.from, step.to); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(step.looks * every)
			synctest.Wait()
			if got := told.Load(); got != step.want {
				t.Errorf("%+v: told %d times", step, got)
			}
		}
	})
}
