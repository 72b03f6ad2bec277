package standin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// Bounds of a request.
const (
	maxBody   = 32 << 20 // bytes
	maxOutput = 1 << 20  // tokens of a reply
	maxCalls  = 10_000   // at a time; more are answered 503
)

// Options describe an account. Its zero value has no limits and answers at once.
type Options struct {
	Provider provider.Config
	Latency  time.Duration // until the first byte of a reply; ≥ 0
	Rate     float64       // tokens of a reply a second; 0: all at once
	Output   int64         // tokens of a reply that the request does not bound lower; 0: 50
	// Now gives the time; nil: time.Now. Tests inject another, and wait by testing/synctest.
	Now func() time.Time
}

// A Server is one account at a provider.
type Server struct {
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	provider *provider.Provider
	start    time.Time // of the provider's time
	first    time.Time // of the calls; zero: there were none
	last     time.Time
	calls    uint64
	statuses map[int]int64 // of answers

	input, output int64 // tokens of the prompts that were accepted, and of what was produced for them
	inFlight      int
}

// New makes an account whose limits are unused. Errors are those of provider.New.
func New(o Options) (*Server, error) {
	if o.Latency < 0 || o.Rate < 0 || o.Output < 0 || o.Output > maxOutput {
		return nil, fmt.Errorf("standin: latency and rate are not below 0, and a reply has at most %d tokens", maxOutput)
	}
	o.Output = cmp.Or(o.Output, 50)
	if o.Provider.Charge.DefaultMaxOutput == 0 {
		o.Provider.Charge.DefaultMaxOutput = o.Output
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, mux: http.NewServeMux()}
	if err := s.Reset(); err != nil {
		return nil, fmt.Errorf("standin: %w", err)
	}
	for _, path := range []string{"/v1/chat/completions", "/chat/completions", "/openai/deployments/{deployment}/chat/completions"} {
		s.mux.Handle("POST "+path, s.api(openAI{}, chat{}))
	}
	for _, path := range []string{"/v1/responses", "/responses"} {
		s.mux.Handle("POST "+path, s.api(openAI{}, responses{}))
	}
	s.mux.Handle("POST /v1/messages", s.api(anthropic{}, messages{}))
	s.mux.HandleFunc("GET /v1/models", s.models)
	s.mux.HandleFunc("GET /report", s.report)
	s.mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Reset(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("GET /{$}", s.index)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, openAI{}, &failure{status: http.StatusNotFound, kind: "invalid_request_error",
			message: fmt.Sprintf("Invalid URL (%s %s): GET / lists what there is", r.Method, r.URL.Path)})
	})
	return s, nil
}

// Reset forgets what was used and seen. Calls in flight end as if they had never been.
func (s *Server) Reset() error {
	p, err := provider.New(s.options.Provider)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.provider, s.start = p, s.options.Now()
	s.first, s.last, s.statuses = time.Time{}, time.Time{}, map[int]int64{}
	s.input, s.output = 0, 0
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// An ask is what a request asks for, whatever its form.
type ask struct {
	Model     string
	Input     int64 // tokens
	MaxOutput int64 // of all choices; 0: not bounded
	Choices   int64 // ≥ 1
	Stream    bool
	Usage     bool   // of OpenAI's streams: told at the end
	Tool      string // to be called; "": none
	Seed      uint64 // of the reply's text
}

// A form is one API: how it is asked and how it answers.
type form interface {
	read(body map[string]any) (ask, *failure)
	plain(c *call) any
	stream(c *call, w *stream)
}

// A wording is how a provider authenticates, tells limits and refuses.
type wording interface {
	key(r *http.Request) bool
	header(h http.Header, limits []provider.Standing, now time.Time)
	body(f *failure, id string) any
	id() string // the name of the header with the request's id
	throttled(a *ask, v *provider.Verdict, at *provider.Standing, requested int64, h http.Header) *failure
}

// A call is a request that is answered.
type call struct {
	ask
	id     string // of the request
	number uint64
	output int64 // tokens of each choice
	cached int64 // tokens of the input
	now    time.Time
	text   []string // the reply, a token each
}

func (s *Server) api(words wording, f form) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls++
		number := s.calls
		s.mu.Unlock()
		id := fmt.Sprintf("req_%012d", number)
		w.Header().Set(words.id(), id)
		if failed := s.answer(w, r, words, f, number, id); failed != nil {
			failed.id = id
			s.fail(w, words, failed)
		}
	})
}

// answer serves one request, or says why not.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, words wording, f form, number uint64, id string) *failure {
	if !words.key(r) {
		return &failure{status: http.StatusUnauthorized, kind: "authentication_error", code: "invalid_api_key",
			message: "You didn't provide an API key: any will do here."}
	}
	body, failed := read(w, r)
	if failed != nil {
		return failed
	}
	a, failed := f.read(body)
	if failed != nil {
		return failed
	}
	if name := r.PathValue("deployment"); name != "" {
		a.Model = name
	}
	wish, failed := wishOf(r.Header)
	if failed != nil {
		return failed
	}
	c := &call{ask: a, id: id, number: number, now: s.options.Now(), cached: min(wish.cached, a.Input)}
	c.output = s.options.Output
	if wish.output >= 0 {
		c.output = wish.output
	}
	if a.MaxOutput > 0 {
		c.output = min(c.output, a.MaxOutput/a.Choices)
	}
	c.text = compose(c)

	life := s.options.Latency + wish.delay
	if s.options.Rate > 0 {
		life += time.Duration(float64(c.output) / s.options.Rate * float64(time.Second))
	}
	end, failed := s.arrive(words, c, life, w.Header())
	if failed != nil {
		return failed
	}
	produced := int64(0)
	done := func() { end(produced * a.Choices) }
	defer done()
	if !sleep(r, s.options.Latency+wish.delay) {
		return nil // the caller has gone
	}
	if wish.status > 0 {
		return failureOf(wish.status)
	}
	if a.Stream {
		out := &stream{w: w, r: r, cut: wish.cut, split: wish.split, rate: s.options.Rate, produced: &produced, done: done}
		out.begin()
		s.count(http.StatusOK)
		f.stream(c, out)
		return nil
	}
	if !sleep(r, life-s.options.Latency-wish.delay) {
		return nil
	}
	produced = c.output
	done()
	s.send(w, http.StatusOK, f.plain(c))
	return nil
}

// arrive lets the account judge a call. end ends it, having produced so many tokens; only the
// first end counts.
func (s *Server) arrive(words wording, c *call, life time.Duration, h http.Header) (end func(output int64), failed *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight >= maxCalls {
		return nil, failureOf(http.StatusServiceUnavailable)
	}
	now := s.options.Now()
	if s.last = now; s.first.IsZero() {
		s.first = now
	}
	p, at := s.provider, now.Sub(s.start)
	x := provider.Call{ID: c.number, Input: c.Input, Cached: c.cached, MaxOutput: c.MaxOutput, Output: c.output * c.Choices, Life: life}
	v := p.Arrive(at, x)
	list := make([]provider.Standing, p.Limits())
	for i := range list {
		list[i] = p.Standing(at, i)
	}
	words.header(h, list, now)
	if !v.OK {
		return nil, words.throttled(&c.ask, &v, &list[v.Limit], p.Asks(v.Limit, x), h)
	}
	s.inFlight++
	ended := false
	return func(output int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ended {
			return
		}
		ended = true
		s.inFlight--
		if p == s.provider { // it was not reset meanwhile
			s.input, s.output = s.input+c.Input, s.output+output
			p.Complete(s.options.Now().Sub(s.start), x.ID, output)
		}
	}, nil
}

// read reads a body.
func read(w http.ResponseWriter, r *http.Request) (body map[string]any, failed *failure) {
	bad := func(message string) *failure {
		return &failure{status: http.StatusBadRequest, kind: "invalid_request_error", message: message}
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := d.Decode(&body)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		f := bad(fmt.Sprintf("The request exceeds %d bytes.", large.Limit))
		f.status, f.kind = http.StatusRequestEntityTooLarge, "request_too_large"
		return nil, f
	}
	if err != nil {
		return nil, bad("We could not parse the JSON body of your request: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("We could not parse the JSON body of your request: something follows it.")
	}
	return body, nil
}

// A wish is what the headers of a request ask for: see the package's description.
type wish struct {
	status, cut, split int
	delay              time.Duration
	output, cached     int64
}

func wishOf(h http.Header) (w wish, failed *failure) {
	number := func(name string, unset, most int64) int64 {
		text := h.Get("x-standin-" + name)
		if text == "" {
			return unset
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > most {
			failed = &failure{status: http.StatusBadRequest, kind: "invalid_request_error",
				message: fmt.Sprintf("x-standin-%s: %q is not a number from 0 to %d", name, text, most)}
		}
		return n
	}
	w.status, w.cut = int(number("status", 0, 599)), int(number("cut", -1, 1<<30))
	w.split, w.output, w.cached = int(number("split", 0, 1<<20)), number("output", -1, maxOutput), number("cached", 0, 1<<32)
	if text := h.Get("x-standin-delay"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > time.Hour {
			failed = &failure{status: http.StatusBadRequest, kind: "invalid_request_error",
				message: fmt.Sprintf("x-standin-delay: %q is not a duration up to 1h", text)}
		}
		w.delay = d
	}
	if w.status != 0 && w.status < 400 {
		failed = &failure{status: http.StatusBadRequest, kind: "invalid_request_error", message: "x-standin-status: an error has 400 to 599"}
	}
	return w, failed
}

// sleep waits, and says false if the caller has gone.
func sleep(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (s *Server) count(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[status]++
}

func (s *Server) send(w http.ResponseWriter, status int, body any) {
	s.count(status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}

func (s *Server) fail(w http.ResponseWriter, words wording, f *failure) {
	s.send(w, f.status, words.body(f, f.id))
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	s.send(w, http.StatusOK, map[string]any{"object": "list", "data": []any{
		map[string]any{"id": "standin", "object": "model", "created": 1700000000, "owned_by": "watermaster"},
	}, "has_more": false})
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	var b strings.Builder
	b.WriteString("A strict stand-in for an LLM provider. Any key and any model will do.\n\n")
	for _, line := range []string{
		"POST /v1/chat/completions   as OpenAI's, plain and streamed", "POST /v1/responses          likewise",
		"POST /v1/messages           as Anthropic's, plain and streamed", "GET  /report                what it has seen, as JSON",
		"POST /reset                 forgets that",
	} {
		b.WriteString(line + "\n")
	}
	b.WriteString("\n" + s.Report().String())
	_, _ = io.WriteString(w, b.String()) // the caller may have gone
}
