package limiter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// absurd are the numbers that arithmetic goes wrong with.
var absurd = []int64{0, 1, -1, 2, 1 << 31, 1<<50 - 1, 1 << 50, 1<<50 + 1, 1 << 60, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1}

// distort replaces some of the numbers of a command by absurd ones.
func distort(r *rand.Rand, v reflect.Value, often int) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			distort(r, v.Elem(), often)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			distort(r, v.Field(i), often)
		}
	case reflect.Slice:
		if r.IntN(often) == 0 && v.Len() > 0 {
			v.Set(v.Slice(0, r.IntN(v.Len()+1)))
		}
		for i := range v.Len() {
			distort(r, v.Index(i), often)
		}
	case reflect.Int, reflect.Int64, reflect.Int32:
		if r.IntN(often) == 0 {
			v.SetInt(absurd[r.IntN(len(absurd))])
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		if r.IntN(2*often) == 0 {
			v.SetUint(uint64(absurd[r.IntN(len(absurd))]))
		}
	}
}

// TestNothingIsTooAbsurd applies commands full of numbers that make no sense: zero quotas,
// endless windows, negative weights, times at both ends. Nothing may panic, and all that
// counts something must still agree with it.
func TestNothingIsTooAbsurd(t *testing.T) {
	count, length := sequences()
	eachSeed(t, count/4, func(seed uint64) error {
		g, r := newGenerator(seed), rand.New(rand.NewPCG(seed, 99))
		g.hits = seed%2 == 0
		e := New()
		often := 3 + r.IntN(60)
		var d Decoder
		for i := 0; i <= length; i++ {
			c, now := Command(g.config), g.now
			if i > 0 {
				c, now = g.next(e.NextAt())
			}
			c, _, _ = new(Decoder).Command(AppendCommand(nil, c)) // a copy
			distort(r, reflect.ValueOf(c), often)
			if r.IntN(200) == 0 {
				now = Time(absurd[r.IntN(len(absurd))])
			}
			b := AppendCommand(nil, c)
			c, _, err := d.Command(b) // as a log would bring it
			if err != nil {
				continue
			}
			if process, number, ok := g.entry(c); ok {
				e.Begin(process, number, now)
			}
			if err := applySafely(e, c, now, g); err != nil {
				return fmt.Errorf("step %d: %w\nafter %s", i, err, describe(c))
			}
			if i%16 == 15 {
				snapshot := e.Snapshot(nil)
				l, err := Load(snapshot)
				if err != nil {
					return fmt.Errorf("step %d: %w\nafter %s", i, err, describe(c))
				}
				if again := l.Snapshot(nil); !bytes.Equal(again, snapshot) {
					return fmt.Errorf("step %d: a loaded engine has another snapshot", i)
				}
			}
		}
		return nil
	})
}

// applySafely applies a command and checks the engine; a panic is an error.
func applySafely(e *Engine, c Command, now Time, g *generator) (err error) {
	if *seedFlag == 0 {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
	}
	events := e.Apply(c, now, nil)
	if g != nil {
		g.learn(events)
	}
	return consistent(e)
}

// FuzzDecoder: no bytes panic, and what decodes is encoded so that it decodes the same.
func FuzzDecoder(f *testing.F) {
	for _, s := range samples {
		f.Add(AppendCommand(nil, s.command))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, d2 Decoder
		for len(b) > 0 {
			c, rest, err := d.Command(b)
			if err != nil {
				return
			}
			again, left, err := d2.Command(AppendCommand(nil, c))
			if err != nil || len(left) > 0 || !alike(again, c) {
				t.Fatalf("%+v\nencodes as what decodes as\n%+v\nwith %d bytes left: %v", c, again, len(left), err)
			}
			b = rest
		}
	})
}

// story is a sequence of commands with the time before each and who sends it, as FuzzApply
// reads it.
func story(seed uint64, length int) []byte {
	g := newGenerator(seed)
	g.hits = seed%2 == 0
	e := New()
	b := binary.AppendVarint(nil, int64(g.now))
	b = append(b, 0)
	b = AppendCommand(b, g.config)
	e.Apply(g.config, g.now, nil)
	for range length {
		before := g.now
		c, now := g.next(e.NextAt())
		process, number, ok := g.entry(c)
		if ok {
			e.Begin(process, number, now)
		}
		g.learn(e.Apply(c, now, nil))
		b = binary.AppendVarint(b, int64(now-before))
		b = binary.AppendUvarint(b, process)
		if process > 0 {
			b = binary.AppendUvarint(b, number)
		}
		b = AppendCommand(b, c)
	}
	return b
}

// FuzzApply: no sequence of commands panics or leaves the engine inconsistent.
func FuzzApply(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(story(seed+1, 12))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := New()
		var d Decoder
		now := Time(0)
		for len(b) > 0 {
			step, n := binary.Varint(b)
			if n <= 0 {
				return
			}
			b = b[n:]
			process, n := binary.Uvarint(b)
			if n <= 0 {
				return
			}
			b = b[n:]
			var number uint64
			if process > 0 {
				if number, n = binary.Uvarint(b); n <= 0 {
					return
				}
				b = b[n:]
			}
			c, rest, err := d.Command(b)
			if err != nil {
				return
			}
			b = rest
			now += Time(step)
			if process > 0 {
				e.Begin(process, number, now)
			}
			e.Apply(c, now, nil)
			if err := consistent(e); err != nil {
				t.Fatalf("%s: %v", describe(c), err)
			}
		}
		if _, err := Load(e.Snapshot(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// loadSafely loads a snapshot, whatever it is, and goes on from there.
func loadSafely(b []byte) (err error) {
	if *seedFlag == 0 {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\nloaded %x", p, b)
			}
		}()
	}
	e, err := Load(b)
	if err != nil {
		return nil
	}
	g := newGenerator(1)
	g.now = e.Now()
	for range 12 {
		c, now := g.next(e.NextAt())
		g.learn(e.Apply(c, now, nil))
	}
	look(e, g)
	e.Snapshot(nil)
	return nil
}

// snapshotOf is how an engine stands in the midst of a random sequence.
func snapshotOf(seed uint64) []byte {
	g := newGenerator(seed)
	e := New()
	e.Apply(g.config, g.now, nil)
	for range 20 {
		c, now := g.next(e.NextAt())
		g.learn(e.Apply(c, now, nil))
	}
	return e.Snapshot(nil)
}

// TestDamagedSnapshots changes every byte of some snapshots, one by one, and cuts them.
func TestDamagedSnapshots(t *testing.T) {
	count, _ := sequences()
	eachSeed(t, count/1000, func(seed uint64) error {
		b := snapshotOf(seed)
		for i := range b {
			if _, err := Load(b[:i]); err == nil {
				return fmt.Errorf("%d of %d bytes load", i, len(b))
			}
			for _, x := range []byte{0x01, 0x02, 0x03, 0x40, 0x80, 0xFF} {
				b[i] ^= x
				if err := loadSafely(b); err != nil {
					return fmt.Errorf("byte %d ^ %x: %w", i, x, err)
				}
				b[i] ^= x
			}
		}
		return nil
	})
}

// FuzzLoad: no bytes panic, neither when they are loaded nor afterwards.
func FuzzLoad(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(snapshotOf(seed + 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := loadSafely(b); err != nil {
			t.Fatal(err)
		}
	})
}
