package watermaster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"time"
)

// call is one request of a caller, over all of its attempts.
type call struct {
	transport *Transport
	req       *http.Request
	header    http.Header // without those for us
	payload   payload
	ask       Request
	deadline  time.Time // of the caller's patience; zero: it has set none
	begun     time.Time
	own       bool  // the request id is ours: nobody else counts its attempts
	estimate  int64 // of the input's tokens, uncorrected
	counted   bool  // a tokenizer made it
	left      int   // how often it may still be repeated
	repeated  int
	failure   *http.Response // the last one, where it has been repeated since
	broken    error          // likewise
	detour    *detour        // of the attempt that is asked for
}

func (t *Transport) newCall(req *http.Request, header http.Header, p payload, said Call) *call {
	now := time.Now()
	c := &call{transport: t, req: req, header: header, payload: p, begun: now, left: max(t.retries-retryCount(req.Header), 0)}
	c.ask = Request{
		Model: p.model, Route: said.Route, MaxOutputTokens: p.output, Units: p.units(),
		Project: said.Project, PriorityClass: said.PriorityClass, RequestID: said.RequestID, MaxWait: said.MaxWait,
		MinQuality: said.MinQuality, AffinityKey: said.AffinityKey,
		Attempt: uint32(min(retryCount(req.Header), 1_000)), Accounts: t.keys.accounts(), Providers: t.keys.providers(p.wire, req.URL.Hostname()),
	}
	t.limiter.settle(req.Context(), &c.ask)
	if c.own = c.ask.RequestID == ""; c.own {
		c.ask.RequestID = newRequestID()
	}
	c.deadline = c.ask.deadline(now)
	c.count()
	return c
}

// count estimates the input.
func (c *call) count() {
	t, p := c.transport, &c.payload
	c.estimate = p.tokens + t.known.tokens(p.previous)
	if tokenizer := t.limiter.options.Tokenizer; tokenizer != nil {
		var texts int64
		c.counted = true
		p.eachText(func(text string) {
			if c.counted {
				n, ok := tokenizer(p.model, text)
				c.counted = ok
				texts += int64(max(n, 0))
			}
		})
		if !c.counted {
			texts = p.guess()
		}
		c.estimate += texts
	}
	c.ask.InputTokens = t.ratios.corrected(p.model, c.counted, c.estimate)
}

// run makes attempts until one has an answer to hand on.
func (c *call) run() (*http.Response, error) {
	ctx, t := c.req.Context(), c.transport
	for {
		lease, err := c.acquire(ctx)
		switch {
		case err == nil:
		case ended(ctx, err):
			c.forget()
			return nil, err
		case c.failure != nil || c.broken != nil:
			wait, ok := c.back(err)
			if !ok {
				return c.failure, c.broken // the provider's own says more than our refusal to repeat it
			}
			if err := t.pause(ctx, wait); err != nil {
				c.forget()
				return nil, err
			}
			continue
		default:
			return failed(c.req, c.payload.wire, c.ask.RequestID, err), nil
		}
		c.detour = nil
		w := way{url: c.req.URL}
		if lease.ID != "" {
			var ok bool
			if w, ok = t.keys.follow(c.req.URL, &c.payload, c.ask.Route != "", &lease.Target); !ok {
				c.giveBack(lease)
				if !c.exclude(lease.Target.Account) { // or it would be granted again and again
					return failed(c.req, c.payload.wire, c.ask.RequestID, &Rejected{
						Reason: NoTarget, Message: "the service grants " + lease.Target.Account + ", of which there is no key here", Pressure: lease.Pressure,
					}), nil
				}
				continue
			}
		}
		body := c.payload.rewritten(w.model, c.asksUsage(lease))
		if lease.Start() != nil {
			c.giveBack(lease)
			continue
		}
		resp, err := c.attempt(ctx, lease, &w, body)
		if errors.Is(err, ErrTooLate) {
			continue
		}
		if resp != nil {
			c.tell(resp, lease, lease.Waited)
		}
		wait, again := c.again(resp, err)
		c.forget()
		if !again {
			return c.last(resp), err
		}
		c.failure, c.broken = c.last(resp), err
		if err := t.pause(ctx, wait); err != nil {
			c.forget()
			return nil, err
		}
	}
}

// forget closes the failure that another attempt has replaced.
func (c *call) forget() {
	if c.failure != nil {
		_ = c.failure.Body.Close()
		c.failure = nil
	}
}

func (c *call) acquire(ctx context.Context) (*Lease, error) {
	if c.own {
		return c.transport.limiter.ask(ctx, &c.ask, c.deadline)
	}
	return c.transport.limiter.acquire(ctx, &c.ask, c.deadline)
}

// giveBack ends a lease under which nothing was sent.
func (c *call) giveBack(lease *Lease) {
	lease.Release(End{Outcome: OutcomeUnsent})
	c.ask.Attempt++
}

// mostExcluded is how many accounts a request may exclude; see limiter.proto.
const mostExcluded = 64

// exclude keeps further attempts away from an account, unless they are already.
func (c *call) exclude(account string) bool {
	if slices.Contains(c.ask.ExcludeAccounts, account) || len(c.ask.ExcludeAccounts) == mostExcluded {
		return false
	}
	c.ask.ExcludeAccounts = append(c.ask.ExcludeAccounts, account)
	return true
}

// asksUsage says whether the usage of the stream is asked for on our behalf. Mistral tells
// it unasked, and takes no such option.
func (c *call) asksUsage(lease *Lease) bool {
	return c.payload.askUsage && lease.ID != "" && lease.Target.Provider != "mistral"
}

// attempt sends the request once, and sees to it that the lease ends.
func (c *call) attempt(ctx context.Context, lease *Lease, w *way, body []byte) (*http.Response, error) {
	var line connection
	out := c.outgoing(httptrace.WithClientTrace(ctx, line.trace()), lease, w, body)
	resp, err := c.transport.base.RoundTrip(out)
	c.ask.Attempt++
	switch {
	case errors.Is(err, ErrTooLate): // nothing but headers may have left
		lease.Release(End{Outcome: OutcomeUnsent})
		return nil, err
	case err != nil && line.none():
		lease.Release(End{Outcome: OutcomeUnsent})
		return nil, &unsentError{err}
	case err != nil:
		lease.Release(End{Outcome: OutcomeUnknown})
		return nil, err
	case resp.StatusCode >= 400:
		c.fail(ctx, resp, lease)
		return resp, nil
	}
	own := *resp // net/http holds its own while the body is not read, and would hold ours: it could never be garbage
	resp = &own
	resp.Body = newBody(c, lease, resp)
	return resp, nil
}

// mostErrorBody is how much of an error's body is read before it is handed on.
const mostErrorBody = 1 << 20

// fail ends the lease of a call that the provider refused or failed, and keeps the answer
// with what the service advises.
func (c *call) fail(ctx context.Context, resp *http.Response, lease *Lease) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostErrorBody+1))
	source := resp.Body
	if err == nil && len(body) <= mostErrorBody {
		_ = source.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
	} else {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), source), source}
	}
	end := End{Observation: observe(resp.StatusCode, resp.Header, body)}
	failure := &failedBody{ReadCloser: resp.Body}
	resp.Body = failure
	if c.left == 0 {
		lease.Release(end)
		return
	}
	if failure.advice = lease.ReleaseForAdvice(ctx, end); failure.advice != nil && failure.advice.OtherTarget {
		failure.account = lease.Target.Account
	}
}

// failedBody is the body of a failure, with what the service advises.
type failedBody struct {
	io.ReadCloser
	advice  *Advice
	account string // that another attempt should not go to; "": any
}

// unsentError is of an attempt for which no connection could be made.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// connection tells whether a request may have reached the provider.
type connection struct {
	mu         sync.Mutex
	asked, got bool
}

func (l *connection) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { l.set(&l.asked) },
		GotConn: func(httptrace.GotConnInfo) { l.set(&l.got) },
	}
}

func (l *connection) set(flag *bool) {
	l.mu.Lock()
	*flag = true
	l.mu.Unlock()
}

// none says that there was no connection. A transport that tells nothing may have had one.
func (l *connection) none() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked && !l.got
}

// tell says in an answer's headers where the call went and how scarce things are.
func (c *call) tell(resp *http.Response, lease *Lease, waited time.Duration) {
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	h := resp.Header
	h.Set(headerRequestID, headerSafe(c.ask.RequestID))
	if lease.ID == "" {
		return
	}
	h.Set(headerAccount, headerSafe(lease.Target.Account))
	h.Set(headerModel, headerSafe(lease.Target.Model))
	h.Set(headerWaited, seconds(waited))
	lease.Pressure.tell(h)
}

// tell says in an answer's headers how scarce things are, where it is known.
func (p *Pressure) tell(h http.Header) {
	if p.Level != PressureUnspecified {
		h.Set(headerPressure, p.Level.String())
	}
	if p.MaxToolCalls != nil {
		h.Set(headerMaxToolCalls, strconv.FormatUint(uint64(*p.MaxToolCalls), 10))
	}
	if p.AgentProfile != "" {
		h.Set(headerAgentProfile, headerSafe(p.AgentProfile))
	}
}
