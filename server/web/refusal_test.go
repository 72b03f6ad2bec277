package web_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// TestRefusals: whatever is wrong with a request is a google.rpc.Status that says where, and
// what to do.
func TestRefusals(t *testing.T) {
	const acquire, release, get, watch = "/v1/acquire", "/v1/release", "/v1/headroom", "/v1/headroom/watch"
	long := strings.Repeat("x", 64<<10)
	tests := []struct {
		method, path, body string
		headers            []string
		http               int
		code               codes.Code
		says               string // a part of the message
		field              string // that the details name
	}{
		// The body.
		{"POST", acquire, "", nil, 400, codes.InvalidArgument, "the body is empty: send a JSON object of watermaster.v1.AcquireRequest", ""},
		{"POST", acquire, " \n", nil, 400, codes.InvalidArgument, "the body is empty", ""},
		{"POST", acquire, "{", nil, 400, codes.InvalidArgument, "the body is no AcquireRequest: the JSON ends too early", ""},
		{"POST", acquire, "{\n\"route\": one}", nil, 400, codes.InvalidArgument, "line 2, column 10: ", ""},
		{"POST", acquire, "[]", nil, 400, codes.InvalidArgument, "line 1, column 1: unexpected token [", ""},
		{"POST", acquire, `{} {"route": "one"}`, nil, 400, codes.InvalidArgument, "line 1, column 4: unexpected token {", ""},
		{"POST", acquire, `{"request_id": "\xff"}`, nil, 400, codes.InvalidArgument, "line 1, column", ""},
		{"POST", acquire, `{"input_token": 5}`, nil, 400, codes.InvalidArgument, `line 1, column 2: unknown field "input_token": did you mean "input_tokens"?`, "input_token"},
		{"POST", acquire, `{"inputToken": 5}`, nil, 400, codes.InvalidArgument, `did you mean "input_tokens"?`, "inputToken"},
		{"POST", acquire, `{"nonsense": 5}`, nil, 400, codes.InvalidArgument, `unknown field "nonsense"`, "nonsense"},
		{"POST", acquire, "{\"constraints\":\n {\"acounts\": []}}", nil, 400, codes.InvalidArgument, `line 2, column 3: unknown field "acounts": did you mean "constraints.accounts"?`, "acounts"},
		{"POST", release, `{"lease_id": "x", "output_tokens": 5}`, nil, 400, codes.InvalidArgument, `did you mean "usage.output_tokens"?`, "output_tokens"},
		{"POST", acquire, `{"input_tokens": "many"}`, nil, 400, codes.InvalidArgument, `line 1, column 18: invalid value for int64 field`, "input_tokens"},
		{"POST", acquire, `{"input_tokens": 1.5}`, nil, 400, codes.InvalidArgument, "invalid value", "input_tokens"},
		{"POST", acquire, `{"input_tokens": -1}`, nil, 400, codes.InvalidArgument, "input_tokens", "destination"},
		{"POST", acquire, `{"attempt": 4294967296}`, nil, 400, codes.InvalidArgument, "invalid value", "attempt"},
		{"POST", acquire, `{"block": 5}`, nil, 400, codes.InvalidArgument, "line 1, column 11: ", ""},
		{"POST", acquire, `{"block": "5m"}`, nil, 400, codes.InvalidArgument, `a duration is seconds, as in "0.7s"`, ""},
		{"POST", acquire, `{"route": "a", "model": "b"}`, nil, 400, codes.InvalidArgument, "line 1, column 16: ", "model"},
		{"POST", acquire, `{"route": "a", "route": "b"}`, nil, 400, codes.InvalidArgument, "line 1, column 16: duplicate field", "route"},
		{"POST", release, `{"lease_id": "x", "outcome": "OUTCOME_FINE"}`, nil, 400, codes.InvalidArgument, "OUTCOME_FINE", "outcome"},
		{"POST", release, `{"provider_usage": ` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 201), nil, 400, codes.InvalidArgument, "depth", ""},
		{"POST", release, `{"provider_usage": {"a": "` + long + `"}}`, nil, 413, codes.InvalidArgument, "larger than 64 KiB", ""},
		{"POST", release, `{"provider_usage": {"a": [` + strings.Repeat("0,", 20_000) + `0]}}`, nil, 413, codes.InvalidArgument, "larger than 64 KiB", ""}, // as a message
		{"POST", release, long, nil, 400, codes.InvalidArgument, "line 1, column 1: ", ""},
		{"POST", acquire, `{"request_id": ` + strings.Repeat("1", 60_000) + "}", nil, 400, codes.InvalidArgument, "…", ""},
		{"GET", get, "{}", nil, 400, codes.InvalidArgument, "GET /v1/headroom takes its fields as query parameters", ""},

		// The query.
		{"POST", acquire + "?block=0s", "{}", nil, 400, codes.InvalidArgument, `no query ("?block=…")`, ""},
		{"GET", get + "?accuont=main", "", nil, 400, codes.InvalidArgument, `there is no query parameter "accuont": did you mean "account"?`, "accuont"},
		{"GET", get + "?headroom.time=1", "", nil, 400, codes.InvalidArgument, "there is no query parameter", "headroom.time"},
		{"GET", get + "?account=a&account=b", "", nil, 400, codes.InvalidArgument, "too many values", "account"},
		{"GET", get + "?account=%zz", "", nil, 400, codes.InvalidArgument, "the query cannot be read", ""},
		{"GET", get + "?account=%ff", "", nil, 400, codes.InvalidArgument, "not UTF-8", "account"},
		{"GET", watch + "?interval=often", "", nil, 400, codes.InvalidArgument, "the query parameter interval cannot be read", "interval"},
		{"GET", watch + "?interval=1ms", "", nil, 400, codes.InvalidArgument, "interval", "interval"},

		// What the service says.
		{"POST", acquire, `{"request_id": "r", "project": "search", "route": "onee"}`, nil, 404, codes.NotFound, "onee", ""},
		{"POST", acquire, `{"request_id": "r", "project": "search"}`, nil, 400, codes.InvalidArgument, "destination", "destination"},
		{"POST", release, `{"lease_id": "gone"}`, nil, 404, codes.NotFound, "unknown lease", ""},

		// Paths and methods.
		{"GET", "/v1/acquire", "", nil, 405, codes.Unimplemented, "/v1/acquire takes POST, not GET", ""},
		{"POST", get, "{}", nil, 405, codes.Unimplemented, "/v1/headroom takes GET, not POST", ""},
		{"DELETE", "/healthz", "", nil, 405, codes.Unimplemented, "/healthz takes GET or HEAD, not DELETE", ""},
		{"OPTIONS", acquire, "", nil, 405, codes.Unimplemented, "takes POST", ""},
		{"POST", "/v1/acquir", "{}", nil, 404, codes.NotFound, `there is nothing at "/v1/acquir": did you mean /v1/acquire?`, ""},
		{"POST", "/v1/acquire/", "{}", nil, 404, codes.NotFound, "did you mean /v1/acquire?", ""},
		{"POST", "/v1/acquire:now", "{}", nil, 404, codes.NotFound, "there is nothing at", ""},
		{"GET", "/metrics", "", nil, 404, codes.NotFound, "/ lists what there is", ""},
		{"GET", "//", "", nil, 404, codes.NotFound, "there is nothing at", ""},
		{"GET", "/" + long[:5000], "", nil, 404, codes.NotFound, "there is nothing at", ""},

		// Headers.
		{"POST", acquire, "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, codes.InvalidArgument, "Content-Type: application/json", ""},
		{"POST", acquire, "{}", []string{"Content-Type: application/json; charset=latin1"}, 415, codes.InvalidArgument, "send UTF-8", ""},
		{"POST", acquire, "{}", []string{"Content-Type: ;"}, 415, codes.InvalidArgument, "Content-Type: application/json", ""},
		{"POST", acquire, "{}", []string{"Content-Encoding: gzip"}, 415, codes.InvalidArgument, "without Content-Encoding", ""},
		{"POST", acquire, "{}", []string{"Content-Type: application/json; charset=UTF-8"}, 400, codes.InvalidArgument, "request_id", "destination"},
		{"POST", acquire, "{}", []string{"X-Api-Key: " + long[:4000]}, 431, codes.InvalidArgument, "x-api-key has more than 3072 bytes", "x-api-key"},
		{"POST", acquire, "{}", []string{"X-Api-Key: a", "X-Api-Key: b"}, 400, codes.InvalidArgument, "x-api-key is there 2 times", "x-api-key"},
		{"POST", acquire, "{}", []string{"Authorization: Bearer ключ"}, 400, codes.InvalidArgument, "printable ASCII", "authorization"},
		{"POST", acquire, "{}", []string{"Origin: https://elsewhere.example"}, 403, codes.PermissionDenied, "other origins", ""},
		{"POST", acquire, "{}", []string{"Sec-Fetch-Site: cross-site"}, 403, codes.PermissionDenied, "other origins", ""},
	}
	w := newWorld(t, nothing)
	for _, tt := range tests {
		name := tt.method + " " + tt.path[:min(len(tt.path), 40)] + " " + tt.body[:min(len(tt.body), 60)]
		t.Run(name, func(t *testing.T) {
			a := w.do(tt.method, tt.path, tt.body, tt.headers...)
			message, _ := at(a.json, "message").(string)
			if a.StatusCode != tt.http || at(a.json, "code") != float64(tt.code) || !strings.Contains(message, tt.says) {
				t.Fatalf("got %s %s, want %d, code %d and %q", a.Status, a.text, tt.http, tt.code, tt.says)
			}
			if got := a.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if len(a.text) > 4096 {
				t.Errorf("an answer of %d bytes", len(a.text))
			}
			if field := at(a.json, "details", 0, "field_violations", 0, "field"); tt.field != "" && field != tt.field {
				t.Errorf("the details name %v, want %s: %s", field, tt.field, a.text)
			}
			if tt.http == 405 && a.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
	if a := w.do("HEAD", "/nowhere", ""); a.StatusCode != 404 || a.text != "" {
		t.Errorf("HEAD: got %s %q", a.Status, a.text)
	}
}

// failing makes calls fail with the error that the request's project names.
func failing(errs map[string]error) grpc.ServerOption {
	return grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if r, ok := req.(*pb.GetHeadroomRequest); ok {
			if err := errs[r.Project]; err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	})
}

// TestErrorsOfCalls gives every code of gRPC its status, and the delay that an error asks for
// its header.
func TestErrorsOfCalls(t *testing.T) {
	retry := func(c codes.Code, d time.Duration) error {
		s, err := status.New(c, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	tests := []struct {
		err        error
		http       int
		retryAfter string
	}{
		{retry(codes.Unavailable, time.Second), 503, "1"},
		{retry(codes.Unavailable, 1500*time.Millisecond), 503, "2"},
		{retry(codes.ResourceExhausted, time.Nanosecond), 429, "1"},
		{retry(codes.Unavailable, 0), 503, ""},
		{status.Error(codes.ResourceExhausted, "enough"), 429, ""},
		{status.Error(codes.Unauthenticated, "who are you?"), 401, ""},
		{status.Error(codes.PermissionDenied, "not for you"), 403, ""},
		{status.Error(codes.DeadlineExceeded, "too late"), 504, ""},
		{status.Error(codes.Internal, "our fault"), 500, ""},
		{status.Error(codes.Unimplemented, "some day"), 501, ""},
		{status.Error(codes.FailedPrecondition, "not now"), 400, ""},
	}
	errs := map[string]error{}
	for i, tt := range tests {
		errs[strconv.Itoa(i)] = tt.err
	}
	w := newWorld(t, nothing, failing(errs))
	for i, tt := range tests {
		a := w.do("GET", fmt.Sprintf("/v1/headroom?project=%d", i), "")
		want := status.Convert(tt.err)
		if a.StatusCode != tt.http || at(a.json, "code") != float64(want.Code()) || at(a.json, "message") != want.Message() ||
			a.Header.Get("Retry-After") != tt.retryAfter {
			t.Errorf("%v: got %s %s, Retry-After %q; want %d, %q", tt.err, a.Status, a.text, a.Header.Get("Retry-After"), tt.http, tt.retryAfter)
		}
		if len(want.Details()) > 0 && at(a.json, "details", 0, "@type") != "type.googleapis.com/google.rpc.RetryInfo" {
			t.Errorf("%v: got %s, want the details", tt.err, a.text)
		}
		if got := a.Header.Get("WWW-Authenticate"); (got == "Bearer") != (tt.http == http.StatusUnauthorized) {
			t.Errorf("%v: WWW-Authenticate %q", tt.err, got)
		}
	}
}
