//go:build linux || darwin

package file_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

func init() {
	child["append"] = func(dir string) { appendForEver(dir, file.DefaultSync) }
	child["append always"] = func(dir string) { appendForEver(dir, file.Always) }
	child["full"] = appendToAFullDisk
	child["open"] = func(dir string) {
		_, err := file.Open(dir, file.Options{})
		fmt.Println(err)
	}
}

// run starts a child. The test ends it, if it does not end by itself.
func run(t *testing.T, what, dir string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, dir)
	c.Env = append(os.Environ(), childVariable+"="+what)
	c.Stderr = t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c, out
}

const crashOrganizations = 16

func crashName(i int) string { return fmt.Sprint("organization ", i) }

// appendForEver appends the numbers that follow the last to each of many organizations,
// and prints each when it was acknowledged.
func appendForEver(dir string, sync file.Sync) {
	l, err := file.Open(dir, file.Options{Sync: sync})
	if err != nil {
		panic(err)
	}
	for i := range crashOrganizations {
		go func() {
			if err := appendNumbers(l, i); err != nil {
				panic(err)
			}
		}()
	}
	select {}
}

func appendNumbers(l *file.Log, i int) error {
	ctx, name := context.Background(), crashName(i)
	s, entries, err := l.Load(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		if err := l.Create(ctx, name, store.Snapshot{}); err != nil {
			return err
		}
		s, entries, err = l.Load(ctx, name)
	}
	if err != nil {
		return err
	}
	n, at := uint64(0), s.Position
	if len(s.State) > 0 {
		n = binary.LittleEndian.Uint64(s.State)
	}
	for _, e := range entries {
		at = e.Position
		if !e.Join {
			n = binary.LittleEndian.Uint64(e.Payload)
		}
	}
	incarnation := rand.Uint64() | 1
	r := rand.New(rand.NewPCG(incarnation, 0))
	for number := uint64(1); ; number++ {
		claim, joined := l.Now(name)
		b := store.Batch{Incarnation: incarnation, Number: number, Claim: claim, Join: !joined}
		if !b.Join {
			n++
			b.Payload = binary.LittleEndian.AppendUint64(nil, n)
			b.Payload = append(b.Payload, make([]byte, r.IntN(2000))...)
		}
		entries, err = l.Append(ctx, name, at, b, entries[:0])
		if err != nil {
			return err
		}
		at = entries[len(entries)-1].Position
		if _, err := fmt.Printf("%d %d\n", i, n); err != nil {
			return err
		}
		if number%100 == 99 {
			state := binary.LittleEndian.AppendUint64(nil, n)
			state = append(state, make([]byte, r.IntN(50_000))...)
			if err := l.Install(ctx, name, store.Snapshot{Position: at, State: state}); err != nil {
				return err
			}
		}
	}
}

// TestKill kills a process under load, again and again: every number that it was told is in
// the log, in order, and the log is open within a second.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	var acknowledged [crashOrganizations]uint64
	var total, worst = 0, time.Duration(0)
	for round := range rounds {
		what := "append"
		if round%4 == 3 {
			what = "append always"
		}
		c, out := run(t, what, dir)
		time.AfterFunc(time.Duration(20+rand.IntN(200))*time.Millisecond, func() { _ = c.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var i int
			var n uint64
			if _, err := fmt.Sscan(lines.Text(), &i, &n); err != nil {
				continue // cut off
			}
			acknowledged[i] = max(acknowledged[i], n)
			total++
		}
		_ = c.Wait() // it was killed
		start := time.Now()
		l, err := file.Open(dir, file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range acknowledged {
			checkNumbers(t, l, crashName(i), n)
		}
		worst = max(worst, time.Since(start))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged in %d rounds; opened and loaded within %v", total, rounds, worst)
	if total < 100*rounds {
		t.Errorf("only %d were acknowledged: this shows nothing", total)
	}
	if worst > time.Second {
		t.Errorf("it took %v to open and load, want at most 1 s", worst)
	}
}

// checkNumbers checks that an organization's log has the numbers up to n at least.
func checkNumbers(t *testing.T, l *file.Log, name string, n uint64) {
	t.Helper()
	s, entries, err := l.Load(t.Context(), name)
	if errors.Is(err, store.ErrNotFound) && n == 0 {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	if len(s.State) > 0 {
		last = binary.LittleEndian.Uint64(s.State)
	}
	for _, e := range entries {
		if e.Join {
			continue
		}
		got := binary.LittleEndian.Uint64(e.Payload)
		if got != last+1 {
			t.Fatalf("%s: %d follows %d", name, got, last)
		}
		last = got
	}
	if last < n {
		t.Errorf("%s: the log ends at %d, and %d was acknowledged", name, last, n)
	}
}

// appendToAFullDisk appends while files may not grow, and afterwards.
func appendToAFullDisk(dir string) {
	l, err := file.Open(dir, file.Options{Sync: file.Always})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
		panic(err)
	}
	s, _, err := l.Load(ctx, "acme")
	if err != nil {
		panic(err)
	}
	at, number := s.Position, uint64(0)
	try := func(size int) error {
		claim, joined := l.Now("acme")
		b := store.Batch{Incarnation: 1, Number: number + 1, Claim: claim, Join: !joined}
		b.Payload = append(binary.LittleEndian.AppendUint64(nil, number+1), make([]byte, size)...)
		got, err := l.Append(ctx, "acme", at, b, nil)
		if err != nil {
			return err
		}
		at = got[len(got)-1].Position
		number++
		return nil
	}
	limit := func(n uint64) {
		var r syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
		r.Cur = min(n, r.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
	}
	for range 10 {
		fmt.Println("room:", try(100))
	}
	limit(5000)
	for range 10 {
		fmt.Println("large:", try(10_000))
	}
	fmt.Println("small:", try(100))
	fmt.Println("install:", l.Install(ctx, "acme", store.Snapshot{Position: at, State: make([]byte, 10_000)}))
	fmt.Println("after install:", try(100))
	limit(1 << 62)
	fmt.Println("room again:", try(10_000))
	fmt.Println("install again:", l.Install(ctx, "acme", store.Snapshot{Position: at, State: binary.LittleEndian.AppendUint64(nil, number)}))
	fmt.Println("at last:", try(100))
	fmt.Println("number", number)
}

// A full disk is an error, what was written of an entry is undone, and with room again it
// goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	c, out := run(t, "full", dir)
	number := uint64(0)
	failures := map[string]int{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, err, _ := strings.Cut(lines.Text(), ": ")
		if _, scan := fmt.Sscanf(what, "number %d", &number); scan == nil {
			continue
		}
		full := what == "large" || what == "install"
		if (err != "<nil>") != full || full && !strings.Contains(err, store.ErrUnavailable.Error()) {
			t.Errorf("%s: got %s", what, err)
		}
		failures[what]++
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if failures["large"] != 10 || number != 14 {
		t.Errorf("got %d failures and %d entries, want 10 and 14", failures["large"], number)
	}
	l := open(t, dir, file.Options{})
	_, entries, err := l.Load(t.Context(), "acme")
	if err != nil || len(entries) != 1 || entries[0].Number != number {
		t.Errorf("got %s, %v; want entry %d", texts(entries), err, number)
	}
	checkNumbers(t, l, "acme", number)
}

// One process has the log.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	again := func() string {
		c, out := run(t, "open", dir)
		got, err := io.ReadAll(out)
		if err := errors.Join(err, c.Wait()); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(got))
	}
	got := again()
	for _, want := range []string{dir, fmt.Sprint(os.Getpid()), "End that one"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	if _, err := file.Open(dir, file.Options{}); err == nil {
		t.Error("the same process has opened it twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := again(); got != "<nil>" {
		t.Errorf("got %q after it was closed", got)
	}
}

// Many callers for many organizations at once, while snapshots are installed and the log is
// closed under them.
func TestCloseUnderLoad(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: file.Sync(time.Millisecond)})
	var acknowledged [8]uint64
	var all sync.WaitGroup
	for i := range acknowledged {
		w := newWriter(t, l, crashName(i), 1)
		all.Go(func() {
			for n := uint64(1); ; n++ {
				b := w.batch(string(binary.LittleEndian.AppendUint64(nil, n)))
				if err := w.try(b); errors.Is(err, store.ErrClosed) {
					return
				} else if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				acknowledged[i] = n
				if n%50 != 0 {
					continue
				}
				state := store.Snapshot{Position: w.at, State: binary.LittleEndian.AppendUint64(nil, n)}
				all.Go(func() {
					err := l.Install(t.Context(), w.organization, state)
					if err != nil && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrStale) {
						t.Errorf("Install: %v", err)
					}
				})
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	l = open(t, dir, file.Options{})
	for i, n := range acknowledged {
		checkNumbers(t, l, crashName(i), n)
	}
}
