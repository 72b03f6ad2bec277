package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// A batch whose answer was lost is sent again until it is seen: it is in the log as often
// as it was sent at most, with the same bytes, and no other is lost or out of order.
func TestLostReplies(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Address())
	w := newWriter(t, open(t, p.URL(), options(t, newClock())), 1)
	lost := 0
	for i := range 300 {
		b, sent := w.batch(fmt.Sprint(i)), 1
		p.LoseReplies(i % 3)
		for err := w.try(b); err != nil; err = w.try(b) {
			wants(t, "Append", err, store.ErrUnavailable)
			if sent++; sent > 10 {
				t.Fatal(err)
			}
			lost++
		}
		n := 0
		for _, e := range w.had {
			if e.Number != b.Number {
				continue
			}
			if n++; string(e.Payload) != fmt.Sprint(i) {
				t.Fatalf("batch %d came back as %q", b.Number, e.Payload)
			}
		}
		if n < 1 || n > sent {
			t.Fatalf("batch %d was sent %d times and is in the log %d times", b.Number, sent, n)
		}
	}
	if lost < 100 {
		t.Errorf("only %d replies were lost", lost)
	}
	last := uint64(0)
	for _, e := range w.had {
		if e.Number != last && e.Number != last+1 {
			t.Fatalf("batch %d after %d", e.Number, last)
		}
		last = e.Number
	}
}

// What was acknowledged outlives kill -9 of the server. (With appendfsync everysec it need
// not where the disk is slow: while it syncs, writing may be put off by up to 2 s.)
func TestServerKilled(t *testing.T) {
	s := redistest.Start(t, "--appendfsync", "always")
	l := open(t, s.URL(), options(t, newClock()))
	w := newWriter(t, l, 1)
	for round := range 5 {
		killed := make(chan struct{})
		go func() {
			time.Sleep(time.Duration(round*17+5) * time.Millisecond) // amid appends
			s.Kill()
			close(killed)
		}()
		var acknowledged []store.Entry
		b := w.batch("x")
		for {
			before := len(w.had)
			if err := w.try(b); err != nil {
				wants(t, "Append", err, store.ErrUnavailable)
				break
			}
			acknowledged = append(acknowledged, w.had[before:]...)
			b = w.batch("x")
		}
		<-killed
		s.Restart()
		if err := w.try(b); !errors.Is(err, store.ErrBroken) {
			t.Fatalf("got %v of a server that was started again, want ErrBroken", err)
		}
		w.load()
		in := map[store.Position]store.Entry{}
		for _, e := range w.had {
			in[e.Position] = e
		}
		for _, e := range acknowledged {
			if in[e.Position].Time != e.Time {
				t.Fatalf("%v of %d that were acknowledged is not as it was", e.Position, len(acknowledged))
			}
		}
		w.append("goes on")
	}
}

// A server that does not answer is told within the timeout; when it answers again the log
// goes on where it was.
func TestServerPaused(t *testing.T) {
	s := redistest.Start(t)
	o := options(t, newClock())
	o.Timeout = 100 * time.Millisecond
	w := newWriter(t, open(t, s.URL(), o), 1)
	goroutines := runtime.NumGoroutine()
	s.Pause()
	b := w.batch("x")
	for range 5 {
		late, start := lateness(), time.Now()
		err := w.try(b)
		took, slack := time.Since(start), late()
		wants(t, "Append", err, store.ErrUnavailable)
		if took < 90*time.Millisecond || took > 150*time.Millisecond+2*slack {
			t.Errorf("it took %v, want the timeout of 100ms; the machine was late by up to %v", took, slack)
		}
	}
	if grown := runtime.NumGoroutine() - goroutines; grown > 10 {
		t.Errorf("%d goroutines more than before", grown)
	}
	s.Continue()
	for end := time.Now().Add(2 * time.Second); ; {
		if err := w.try(b); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A caller that gives up has its own error, not the log's.
func TestCallerGivesUp(t *testing.T) {
	s := redistest.Start(t)
	l := open(t, s.URL(), options(t, newClock()))
	newWriter(t, l, 1)
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := l.Load(ctx, acme)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want %v alone", err, context.DeadlineExceeded)
	}
}

// One of the two keys is as good as none, and the log can begin anew.
func TestOneKeyMissing(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	for i, half := range []string{"log", "snap"} {
		t.Run(half, func(t *testing.T) {
			l := open(t, s.URL(), options(t, newClock()))
			w := newWriter(t, l, uint64(i+1))
			at := w.append("x").Position
			must(t, c.Del(t.Context(), "wm:{acme}:"+half).Err())
			_, _, err := l.Load(t.Context(), acme)
			wants(t, "Load", err, store.ErrNotFound)
			wants(t, "Install", l.Install(t.Context(), acme, store.Snapshot{Position: at}), store.ErrNotFound)
			must(t, l.Create(t.Context(), acme, store.Snapshot{Position: at, State: []byte("known")}))
			_, err = l.Append(t.Context(), acme, at, store.Batch{}, nil)
			wants(t, "Append after a position of the old log", err, store.ErrBroken)
			if got := w.load(); string(got.State) != "known" {
				t.Errorf("got state %q", got.State)
			}
			w.join()
		})
	}
}

// What a server refuses is ErrUnavailable, and says what to do.
func TestRefusals(t *testing.T) {
	set := func(name, value string) []any { return []any{"config", "set", name, value} }
	for _, row := range []struct {
		want     string
		do, undo []any
	}{
		{"a replica", []any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
		{"too few replicas", set("min-replicas-to-write", "1"), set("min-replicas-to-write", "0")},
		{"memory is full", set("maxmemory", "1"), set("maxmemory", "0")},
		{"may not do this", []any{"acl", "setuser", "default", "-xadd"}, []any{"acl", "setuser", "default", "+xadd"}},
	} {
		t.Run(row.want, func(t *testing.T) {
			s := redistest.Start(t)
			c := admin(t, s.Address())
			w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
			must(t, c.Do(t.Context(), row.do...).Err())
			b := w.batch("x")
			err := w.try(b)
			wants(t, "Append", err, store.ErrUnavailable)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q, want it to say %q", err, row.want)
			}
			must(t, c.Do(t.Context(), row.undo...).Err())
			if err := w.try(b); errors.Is(err, store.ErrBroken) { // its replication id may be another
				w.load()
				err = w.try(b)
				must(t, err)
			} else {
				must(t, err)
			}
		})
	}
}

// A server that reads its data is unavailable, and says so; then everything is there.
func TestServerLoading(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	for range 200 {
		w.append("x")
	}
	had := w.had
	must(t, c.Eval(t.Context(), "for i = 1, 1500 do redis.call('SET', 'x' .. i, string.rep(i, 2000)) end return 1", nil).Err())
	must(t, c.BgRewriteAOF(t.Context()).Err())
	for end := time.Now().Add(10 * time.Second); strings.Contains(c.Info(t.Context(), "persistence").Val(), "in_progress:1") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.Kill()
	s.Launch("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024") // µs a key
	b, loading := w.batch("y"), 0
	untilBroken(t, "Append", func() error { return w.try(b) })
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		_, _, err := w.log.Load(t.Context(), acme)
		if err == nil {
			break
		}
		wants(t, "Load", err, store.ErrUnavailable)
		if strings.Contains(err.Error(), "still reading its data") {
			loading++
		}
	}
	if loading == 0 {
		t.Error("it was never told that the server reads its data")
	}
	w.load()
	for i, e := range had {
		if w.had[i].Position != e.Position || w.had[i].Time != e.Time {
			t.Fatalf("entry %d is %v, and was %v", i, w.had[i].Position, e.Position)
		}
	}
	w.send(b)
}

// A server that cannot write to its disk takes no writes: that is unavailable, and breaks
// nothing.
func TestServerCannotSave(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "no", "--save", "3600 1", "--enable-protected-configs", "yes")
	c := admin(t, s.Address())
	w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	save := func(status string) {
		t.Helper()
		must(t, c.BgSave(t.Context()).Err())
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			info := c.Info(t.Context(), "persistence").Val()
			if strings.Contains(info, "rdb_bgsave_in_progress:0") && strings.Contains(info, "rdb_last_bgsave_status:"+status) {
				return
			}
		}
		t.Fatalf("saving is not %s", status)
	}
	must(t, c.Save(t.Context()).Err())
	gone := t.TempDir()
	must(t, c.ConfigSet(t.Context(), "dir", gone).Err())
	must(t, os.RemoveAll(gone))
	save("err")
	b := w.batch("x")
	err := w.try(b)
	wants(t, "Append", err, store.ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "cannot write its data to the disk") {
		t.Errorf("got %v, want it to say why", err)
	}
	w.read() // it can still be read
	has(t, examine(t, s.URL(), options(t, newClock())), redis.Warn, "persistence", "the last snapshot to the disk failed", "BGSAVE")
	must(t, c.ConfigSet(t.Context(), "dir", s.Dir).Err())
	save("ok")
	w.send(b)
}

// Keys that somebody else uses are not taken for a server that is away.
func TestForeignKey(t *testing.T) {
	s := redistest.Start(t)
	must(t, admin(t, s.Address()).Set(t.Context(), "wm:{acme}:log", "x", 0).Err())
	_, _, err := open(t, s.URL(), options(t, newClock())).Load(t.Context(), acme)
	if err == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want an error of its own", err)
	}
}

// Open says that it cannot.
func TestOpenFails(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "secret")
	o := options(t, newClock())
	for _, row := range []struct{ url, want string }{
		{s.URL(), "check user and password"},
		{"redis://:wrong@" + s.Address(), "check user and password"},
		{"redis://127.0.0.1:1", "refused"},
		{"http://127.0.0.1", "redis://"},
		{"rediss://:secret@" + s.Address(), ""},
	} {
		l, err := redis.Open(t.Context(), row.url, o)
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", row.url)
		} else if !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%s: got %v, want it to say %q", row.url, err, row.want)
		}
	}
	o.Password = "secret"
	newWriter(t, open(t, s.URL(), o), 1)
}
