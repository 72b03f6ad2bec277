package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/watermaster-project/watermaster/store"
)

const acme = "acme"

// A process reads and writes the log of one organization as a replica does.
type process struct {
	*testing.T
	log          store.Log
	organization string
	incarnation  uint64
	number       uint64
	at           store.Position // of the last entry that it had
	had          []store.Entry  // since it loaded; payloads are copies
}

// newProcess creates the organization's log if need be, loads it and joins.
func newProcess(t *testing.T, l store.Log, organization string, incarnation uint64) *process {
	t.Helper()
	p := &process{T: t, log: l, organization: organization, incarnation: incarnation}
	p.load()
	p.join()
	return p
}

// load brings the process to the log's end.
func (p *process) load() store.Snapshot {
	p.Helper()
	s, tail, err := p.log.Load(p.Context(), p.organization)
	if errors.Is(err, store.ErrNotFound) {
		if err := p.log.Create(p.Context(), p.organization, store.Snapshot{}); err != nil && !errors.Is(err, store.ErrExists) {
			p.Fatalf("Create: %v", err)
		}
		s, tail, err = p.log.Load(p.Context(), p.organization)
	}
	if err != nil {
		p.Fatalf("Load: %v", err)
	}
	p.at, p.had = s.Position, nil
	if err := p.take(tail); err != nil {
		p.Fatal(err)
	}
	return s
}

// take notes entries, and checks that they follow each other.
func (p *process) take(entries []store.Entry) error {
	for _, e := range entries {
		if e.Compare(p.at) <= 0 {
			return fmt.Errorf("entry at %v after one at %v", e.Position, p.at)
		}
		if n := len(p.had); n > 0 && e.Time < p.had[n-1].Time {
			return fmt.Errorf("entry at %v has time %d, the one before %d", e.Position, e.Time, p.had[n-1].Time)
		}
		e.Payload = bytes.Clone(e.Payload)
		p.had = append(p.had, e)
		p.at = e.Position
	}
	return nil
}

// batch closes the next batch.
func (p *process) batch(payload string) store.Batch {
	p.number++
	claim, _ := p.log.Now(p.organization)
	return store.Batch{Incarnation: p.incarnation, Number: p.number, Claim: claim, Payload: []byte(payload)}
}

// join appends a join.
func (p *process) join() {
	p.Helper()
	b := p.batch("join")
	b.Join = true
	p.send(b)
}

// append appends a payload and returns all that came back.
func (p *process) append(payload string) []store.Entry {
	p.Helper()
	return p.send(p.batch(payload))
}

// read appends nothing.
func (p *process) read() []store.Entry {
	p.Helper()
	return p.send(store.Batch{})
}

// send appends a batch and checks that it came back.
func (p *process) send(b store.Batch) []store.Entry {
	p.Helper()
	got, err := p.try(b)
	if err != nil {
		p.Fatalf("Append %d: %v", b.Number, err)
	}
	return got
}

// try does what send does, for any goroutine.
func (p *process) try(b store.Batch) ([]store.Entry, error) {
	got, err := p.log.Append(p.Context(), p.organization, p.at, b, nil)
	if err != nil {
		return nil, err
	}
	before := len(p.had)
	if err := p.take(got); err != nil {
		return nil, err
	}
	if b.Number == 0 {
		return p.had[before:], nil
	}
	for _, e := range p.had[before:] {
		if e.Incarnation != b.Incarnation || e.Number != b.Number {
			continue
		}
		if !bytes.Equal(e.Payload, b.Payload) || e.Join != b.Join {
			return nil, fmt.Errorf("batch %d came back as %q, join %v; want %q, join %v", b.Number, e.Payload, e.Join, b.Payload, b.Join)
		}
		return p.had[before:], nil
	}
	return nil, fmt.Errorf("batch %d is not in what came back: %v", b.Number, texts(got))
}

// texts shows entries.
func texts(entries []store.Entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d/%d %s", e.Incarnation, e.Number, e.Payload))
	}
	return out
}

// same says where two readers differ.
func same(t *testing.T, got, want []store.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d entries %v, want %d %v", len(got), texts(got), len(want), texts(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Position != w.Position || g.Time != w.Time || g.Join != w.Join || !bytes.Equal(g.Payload, w.Payload) {
			t.Fatalf("entry %d: got %+v, want %+v", i, g, w)
		}
	}
}

// wants checks an error.
func wants(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}
