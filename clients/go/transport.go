package watermaster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Transport is an http.RoundTripper that holds a lease for each call to a provider. It goes
// below the official SDKs, by option.WithHTTPClient, and below anything else that speaks as
// they do:
//
//	client := openai.NewClient(option.WithHTTPClient(&http.Client{Transport: watermaster.NewTransport(limiter, nil)}))
//
// A POST of JSON to a path that ends in /chat/completions, /completions, /responses, /embeddings,
// /messages or /images/generations waits until the service lets it go, goes to the target of its
// grant, and is released with its usage when its body has been read, closed or dropped. All
// other requests pass. What a request wants is said by Options, WithCall, or headers such as
// X-Watermaster-Max-Wait, which go no further.
//
// What the service refuses is an answer of status 429 in the provider's own form, with the
// reason in X-Watermaster-Reason; a service that is away is a 503, a request that it finds wrong
// a 4xx. Failures are repeated as the service advises, at most Options.Retries times, and
// then say X-Should-Retry: false, so that an SDK does not repeat them once more.
//
// It is safe for concurrent use. One for each process and provider will do.
type Transport struct {
	limiter *Limiter
	base    http.RoundTripper
	keys    keyring
	retries int
	ratios  ratios
	known   responses
	pause   func(context.Context, time.Duration) error // between attempts
}

// NewTransport makes a Transport that sends by base; nil: http.DefaultTransport. The Limiter's
// Options say whose keys there are (Account, Keys) and how often failures are repeated.
func NewTransport(limiter *Limiter, base http.RoundTripper) *Transport {
	if base == nil {
		base = http.DefaultTransport
	}
	o := &limiter.options
	return &Transport{
		limiter: limiter, base: base, keys: keyring{o.Account, o.Keys}, retries: o.retries(), pause: sleep,
	}
}

// CloseIdleConnections closes those of the transport below, if it can.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip holds a lease for one call; see Transport. It never changes req.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	header := withoutCallHeaders(req.Header)
	if req.Method != http.MethodPost || req.Body == nil || wireOf(req.URL.Path) == "" || req.Header.Get("Content-Encoding") != "" {
		return t.pass(req, header)
	}
	body, err := readAll(req.Body, req.ContentLength)
	if closing := req.Body.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, err
	}
	p, ok := readPayload(req.Method, req.URL, body, t.limiter.options.Tokenizer != nil)
	if !ok {
		out := *req
		setBody(&out, body)
		return t.pass(&out, header)
	}
	said, err := callOfHeaders(req.Header)
	if err != nil {
		return answer(req, p.wire, http.StatusBadRequest, said.RequestID, errorBody{
			"watermaster: " + err.Error(), "invalid_request_error", "invalid_argument", "invalid_request_error",
		}), nil
	}
	return t.newCall(req, header, p, said).run()
}

// pass sends a request that is not limited.
func (t *Transport) pass(req *http.Request, header http.Header) (*http.Response, error) {
	if len(header) != len(req.Header) {
		out := *req
		out.Header = header
		req = &out
	}
	return t.base.RoundTrip(req)
}

// mostAhead bounds what is made ready for a body by what its length is said to be.
const mostAhead = 64 << 20

func readAll(r io.Reader, length int64) ([]byte, error) {
	if length <= 0 || length > mostAhead {
		return io.ReadAll(r)
	}
	var b bytes.Buffer
	b.Grow(int(length) + bytes.MinRead) // so that the end is found without growing
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

func setBody(req *http.Request, body []byte) {
	setBodyOf(req, body, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil })
}

func setBodyOf(req *http.Request, body []byte, get func() (io.ReadCloser, error)) {
	req.GetBody = get
	req.Body, _ = req.GetBody()
	req.ContentLength, req.TransferEncoding = int64(len(body)), nil
}

// departing is the body of a request that goes now. It is first read when there is a connection
// to write it to, which may have taken longer than the grant allows.
type departing struct {
	io.Reader
	lease *Lease
	gone  bool
}

func (d *departing) Read(p []byte) (int, error) {
	if !d.gone {
		if err := d.lease.Start(); err != nil {
			return 0, err
		}
		d.gone = true
	}
	return d.Reader.Read(p)
}

func (d *departing) Close() error { return nil }

// outgoing is the request as it goes to the provider.
func (c *call) outgoing(ctx context.Context, lease *Lease, w *way, body []byte) *http.Request {
	out := c.req.WithContext(ctx)
	out.Header = c.header.Clone()
	// An answer that the caller had asked to be compressed would come so, and its usage could
	// not be read. Without this header net/http asks for gzip itself, and undoes it.
	out.Header.Del("Accept-Encoding")
	w.apply(out.Header)
	if w.url != c.req.URL {
		out.URL = w.url
		if !strings.EqualFold(w.url.Host, c.req.URL.Host) {
			out.Host = ""
		}
	}
	setBodyOf(out, body, func() (io.ReadCloser, error) {
		return &departing{Reader: bytes.NewReader(body), lease: lease}, nil
	})
	return out
}

// ended says whether an error is that of the request's own context.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Cause(ctx)))
}
