package watermaster

import (
	"io"
	"mime"
	"net/http"
	"runtime"
	"sync"
)

// body is the body of a good answer as the caller has it. The lease of its call ends as soon
// as the answer has told all, or else when it is closed, fails or becomes garbage.
type body struct {
	reading *reading
	cleanup runtime.Cleanup
}

// reading is the part of a body that outlives it.
type reading struct {
	source io.ReadCloser
	call   *call
	lease  *Lease
	status int
	header http.Header

	mu     sync.Mutex // of all below; never held while the source is read
	stream *stream    // of an answer that is events
	plain  *plain     // of any other
	hide   bool
	at     int   // what of stream.out the caller has
	err    error // that ends the source, behind stream.out
	done   bool  // the lease has ended
}

func newBody(c *call, lease *Lease, resp *http.Response) *body {
	r := &reading{source: resp.Body, call: c, lease: lease, status: resp.StatusCode, header: resp.Header.Clone()}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "text/event-stream" {
		r.hide = c.asksUsage(lease)
		s := newStream(c.payload.wire, r.hide)
		r.stream = &s
	} else {
		r.plain = &plain{}
	}
	if r.hide { // it becomes shorter
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	b := &body{reading: r}
	b.cleanup = runtime.AddCleanup(b, (*reading).abandon, r)
	return b
}

// Read gives the answer as it comes; where an event has to be hidden, event by event.
func (b *body) Read(p []byte) (n int, err error) {
	if b.reading.hide {
		n, err = b.reading.readEvents(p)
	} else {
		n, err = b.reading.read(p)
	}
	runtime.KeepAlive(b) // or it might be taken for garbage while the source is awaited
	return n, err
}

// Close ends the call. What had not yet told all may have used more.
func (b *body) Close() error {
	b.cleanup.Stop()
	err := b.reading.close()
	runtime.KeepAlive(b)
	return err
}

func (r *reading) read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(p[:n], err)
	return n, err
}

func (r *reading) readEvents(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, err := r.ready(p); n > 0 || err != nil {
			return n, err
		}
		n, err := r.source.Read(p)
		r.mu.Lock()
		r.take(p[:n], err)
		r.err = err
		r.mu.Unlock()
	}
}

// ready gives what may go to the caller, and behind that the source's end.
func (r *reading) ready(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream
	n := copy(p, s.out[r.at:])
	if r.at += n; r.at == len(s.out) {
		s.out, r.at = s.out[:0], 0
	}
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

// take looks at what has come, and ends the lease when all has been told.
func (r *reading) take(p []byte, err error) {
	if r.done && !r.hide {
		return
	}
	if r.plain != nil {
		r.plain.feed(p)
		if r.plain.state == plainWhole || err == io.EOF {
			r.settle(OutcomeUnspecified)
		}
	} else {
		r.stream.feed(p)
		if err != nil {
			r.stream.end()
		}
		if r.stream.ended || r.stream.failure != nil {
			r.settle(OutcomeUnspecified)
		}
	}
	if err != nil {
		r.settle(OutcomeUnknown)
	}
}

func (r *reading) close() error {
	r.mu.Lock()
	r.settle(OutcomeUnknown)
	r.mu.Unlock()
	return r.source.Close()
}

// abandon closes a body that nobody has closed.
func (r *reading) abandon() { _ = r.close() }

// settle ends the lease, once, with what has been told so far.
func (r *reading) settle(outcome Outcome) {
	if r.done {
		return
	}
	r.done = true
	c := r.call
	var id string
	var used amounts
	end := End{Outcome: outcome, Observation: observe(r.status, r.header, nil)}
	if s := r.stream; s != nil {
		used, id = s.last, s.id
		if s.failure != nil {
			end.Observation = observe(s.failure.status, r.header, s.failure.wrapped())
		}
	} else {
		t := newTally(c.payload.wire)
		if len(r.plain.usage) > 0 {
			t.add(r.plain.usage)
		}
		used, id = t.last, decode(r.plain.id)
	}
	end.Usage = used.usage()
	r.lease.Release(end)
	if outcome == OutcomeUnspecified {
		c.learn(used, id)
	}
}

// wrapped gives the error as the body of an answer would have it.
func (f *failure) wrapped() []byte {
	return append(append([]byte(`{"error":`), f.body...), '}')
}

// learn takes from a good call what helps to estimate the next.
func (c *call) learn(used amounts, id string) {
	t := c.transport
	if c.payload.textOnly && used.input >= 0 {
		t.ratios.learn(c.payload.model, c.counted, c.estimate, used.input)
	}
	if c.payload.wire == wireResponses && id != "" && used.input >= 0 {
		t.known.add(id, used.input+max(used.output, 0))
	}
}

// mostResponses is how many responses are remembered.
const mostResponses = 1_024

// responses remembers how many tokens a response and all that it went on from have: the input of
// one that goes on from it. The oldest are forgotten.
type responses struct {
	mu    sync.Mutex
	byID  map[string]int64
	order []string // a ring, once it is full
	next  int
}

func (r *responses) tokens(id string) int64 {
	if id == "" {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

func (r *responses) add(id string, tokens int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[string]int64)
	}
	if _, known := r.byID[id]; !known {
		if len(r.order) < mostResponses {
			r.order = append(r.order, id)
		} else {
			delete(r.byID, r.order[r.next])
			r.order[r.next] = id
			r.next = (r.next + 1) % mostResponses
		}
	}
	r.byID[id] = tokens
}
