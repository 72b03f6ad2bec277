package limiter

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrCodec says that bytes are not what an encoder of this package wrote; of commands, also
// that a later version may have.
var ErrCodec = errors.New("limiter: malformed encoding")

// ErrVersion says that a later version of this package wrote a snapshot.
var ErrVersion = errors.New("limiter: written by a later version")

// Every snapshot and every Configure begins with its version, and former ones are read; the
// other commands have a kind that is never given a new meaning.
const (
	// A snapshot is written in the first version that says all of it, like a Configure.
	snapshotVersion         = 2
	snapshotVersionCounters = 3 // with counters
	// A Configure is written in the first version that says all of it, so that an earlier build
	// beside this one reads it too.
	configureVersion     = 1
	configureVersionLoss = 2 // with AfterLoss
)

// maxList bounds the lists that a decoder believes before it has seen their elements.
const maxList = 1 << 20

// A writer appends: unsigned and signed varints, strings with their length.
type writer struct{ b []byte }

func (w *writer) uint(x uint64)  { w.b = binary.AppendUvarint(w.b, x) }
func (w *writer) int(x int64)    { w.b = binary.AppendVarint(w.b, x) }
func (w *writer) time(t Time)    { w.int(int64(t)) }
func (w *writer) fixed(x uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, x) }
func (w *writer) key(k *Key)     { w.b = append(w.b, k[:]...) }
func (w *writer) span(d time.Duration) {
	w.int(int64(d))
}

func (w *writer) bool(b bool) {
	if b {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) string(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) lease(id LeaseID) {
	w.fixed(id.Incarnation)
	w.uint(id.Count)
}

func (w *writer) charges(cs []Charge) {
	w.uint(uint64(len(cs)))
	for i := range cs {
		w.uint(uint64(cs[i].Metric))
		w.b = append(w.b, byte(cs[i].Flags))
		w.int(cs[i].Amount)
	}
}

// A reader is total: past the first error every read gives zero, and bad says so.
type reader struct {
	b      []byte
	bad    bool
	former bool              // a snapshot of the version before is read
	names  map[string]string // strings seen before, so that a name is allocated once
}

// maxNames bounds the strings that a reader remembers.
const maxNames = 1 << 14

func (r *reader) fail() {
	r.bad = true
	r.b = nil
}

func (r *reader) uint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) int() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) time() Time          { return Time(r.int()) }
func (r *reader) span() time.Duration { return time.Duration(r.int()) }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *reader) bool() bool {
	switch r.byte() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail()
	return false
}

func (r *reader) fixed() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	x := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return x
}

func (r *reader) key() (k Key) {
	if len(r.b) < len(k) {
		r.fail()
		return k
	}
	copy(k[:], r.b)
	r.b = r.b[len(k):]
	return k
}

func (r *reader) string() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	b := r.b[:n]
	r.b = r.b[n:]
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if r.names == nil || len(r.names) >= maxNames {
		r.names = map[string]string{}
	}
	r.names[s] = s
	return s
}

// length reads how many elements follow, each at least least bytes long.
func (r *reader) length(least int) int {
	n := r.uint()
	if n > maxList || n*uint64(least) > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) lease() LeaseID { return LeaseID{r.fixed(), r.uint()} }

func (r *reader) metric() Metric {
	x := r.uint()
	if x > 1<<16-1 {
		r.fail()
	}
	return Metric(x)
}

// amount reads what a charge carries, within its bounds.
func (r *reader) amount() int64 { return min(max(r.int(), 0), maxAmount) }

// charges reads into a slice that is used again.
func (r *reader) charges(cs []Charge) []Charge {
	cs = cs[:0]
	for n := r.length(3); n > 0; n-- {
		cs = append(cs, Charge{r.metric(), ChargeFlags(r.byte()), r.amount()})
	}
	return cs
}
