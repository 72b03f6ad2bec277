package watermaster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// A failure is repeated as the service advises, at most so often as the options say, and each
// attempt has a lease of its own.
func TestRepeated(t *testing.T) {
	retry := &watermasterv1.Advice{Retry: true, RetryAfter: durationpb.New(3 * time.Second)}
	elsewhere := &watermasterv1.Advice{Retry: true, OtherTarget: true, RetryAfter: durationpb.New(3 * time.Second)}
	long := &watermasterv1.Advice{Retry: true, RetryAfter: durationpb.New(time.Hour)}
	var never *watermasterv1.Advice
	for _, row := range []struct {
		name     string
		retries  int
		counted  string // the SDK's own retries
		advice   *watermasterv1.Advice
		statuses []int // of the answers, in turn; the last again and again
		header   []string
		only     bool // there is no other account
		sent     int
		took     time.Duration
		status   int
		should   string // x-should-retry
		exclude  int    // how often an account was kept away from
	}{
		{"as advised", 0, "", retry, []int{500, 500, 200}, nil, false, 3, 6 * time.Second, 200, "", 0},
		{"at most twice", 0, "", retry, []int{500}, nil, false, 3, 6 * time.Second, 500, "false", 0},
		{"five times", 5, "", retry, []int{500}, nil, false, 6, 15 * time.Second, 500, "false", 0},
		{"the SDK has done so itself", 0, "1", retry, []int{500}, nil, false, 2, 3 * time.Second, 500, "false", 0},
		{"never", NoRetries, "", retry, []int{500}, nil, false, 1, 0, 500, "", 0},
		{"advised not to", 0, "", &watermasterv1.Advice{}, []int{500}, nil, false, 1, 0, 500, "false", 0},
		{"beyond the patience", 0, "", long, []int{500}, nil, false, 1, 0, 500, "false", 0},
		{"without advice", 0, "", never, []int{503, 503, 200}, nil, false, 3, 1500 * time.Millisecond, 200, "", 0},
		{"without advice, as the provider says", 0, "", never, []int{429, 200}, []string{"Retry-After", "7"}, false, 2, 7 * time.Second, 200, "", 0},
		{"without advice, what is wrong stays", 0, "", never, []int{400}, nil, false, 1, 0, 400, "false", 0},
		{"without advice, the provider forbids it", 0, "", never, []int{500}, []string{"X-Should-Retry", "false"}, false, 1, 0, 500, "false", 0},
		{"elsewhere at once", 0, "", elsewhere, []int{429, 200}, nil, false, 2, 0, 200, "", 1},
		{"elsewhere, but there is nothing", 0, "", elsewhere, []int{429, 200}, nil, true, 2, 3 * time.Second, 200, "", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := &fake{release: func(_ context.Context, in *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
					if in.GetObservation().GetHttpStatus() < 400 {
						return &watermasterv1.ReleaseResponse{}, nil
					}
					return &watermasterv1.ReleaseResponse{Advice: row.advice}, nil
				}}
				excluded := 0
				f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
					if len(in.GetConstraints().GetExcludeAccounts()) > 0 {
						excluded++
						if row.only {
							return rejectAnswer(&watermasterv1.Rejected{Reason: watermasterv1.Reason_REASON_NO_TARGET}), nil
						}
					}
					return f.grant(in), nil
				}
				n.serve(one, f)
				l := n.limiter(one, Options{Retries: row.retries})
				sent := 0
				tr := NewTransport(l, provider(func(req *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(req.Body)
					if string(body) != chatBody {
						t.Errorf("sent %q", body)
					}
					status := row.statuses[min(sent, len(row.statuses)-1)]
					sent++
					return respond(status, jsonKind, strings.NewReader(good), row.header...)
				}))
				begun := time.Now()
				resp, err := tr.RoundTrip(newPost(t.Context(), chatURL, chatBody, "X-Stainless-Retry-Count", row.counted))
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != good {
					t.Errorf("got %q, %v", body, err)
				}
				took := time.Since(begun)
				n.end(l)
				if sent != row.sent || took != row.took || resp.StatusCode != row.status || excluded != row.exclude {
					t.Errorf("sent %d times in %v, excluded %d times: %d", sent, took, excluded, resp.StatusCode)
				}
				if got := resp.Header.Get("X-Should-Retry"); got != row.should {
					t.Errorf("x-should-retry: %q", got)
				}
				var attempts []uint32
				for _, in := range f.asked() {
					if in.GetRequestId() != f.asked()[0].GetRequestId() {
						t.Error("another id")
					}
					attempts = append(attempts, in.GetAttempt())
				}
				if !slices.IsSorted(attempts) || len(f.released()) != sent {
					t.Errorf("attempts %v, %d releases", attempts, len(f.released()))
				}
			})
		})
	}
}

// A refusal to repeat hands back what the provider said; a context that ends ends the call.
func TestNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := &fake{}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			if in.GetAttempt() > 0 {
				return rejectAnswer(&watermasterv1.Rejected{Reason: watermasterv1.Reason_REASON_RETRY_BUDGET}), nil
			}
			return f.grant(in), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) { return respond(503, jsonKind, strings.NewReader("words")) }))
		resp, err := tr.RoundTrip(newPost(t.Context(), chatURL, chatBody))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 503 || string(body) != "words" || resp.Header.Get("X-Should-Retry") != "false" || resp.Header.Get("X-Watermaster-Reason") != "" {
			t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err = tr.RoundTrip(newPost(ctx, chatURL, chatBody)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		n.end(l)
		if len(f.released()) != 2 {
			t.Errorf("%d releases", len(f.released()))
		}
	})
}
