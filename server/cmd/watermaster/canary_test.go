package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// What must never be seen again, anywhere: each holds the word. Labels are another matter: at
// level debug they are logged.
const (
	canary      = "CANARY"
	rightKey    = "wm_CANARY-right-key"
	wrongKey    = "wm_CANARY-wrong-key"
	providerKey = "sk-CANARY0123456789"
	prompt      = "CANARY: please summarise this letter"
	labelled    = "LABELLED-VALUE"
)

const canaries = `
cold_start: trust
organizations:
  acme:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1M/min, tokens: 1G/min, concurrency: 100}}}}}
    routes: {one: {targets: [{account: a, model: m}]}}
  other:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1M/min}}}}}
credentials:
  - {name: worker, organization: acme, projects: [search], sha256: %x}
  - {name: operator, organization: "*", services: [monitor, admin], sha256: %x}
`

// A watched server, and all that was heard of it.
type listener struct {
	*running
	conn  *grpc.ClientConn
	heard []string
}

// TestCanary tells the server secrets in every way there is, over gRPC and HTTP, rightly and
// wrongly, and looks for them in all that it says: errors, answers, pages, and its log.
func TestCanary(t *testing.T) {
	for _, level := range []string{"debug", "info"} {
		t.Run(level, func(t *testing.T) {
			const operatorKey = rightKey + "-of-the-operator"
			config := fmt.Sprintf(canaries, sha256.Sum256([]byte(rightKey)), sha256.Sum256([]byte(operatorKey)))
			l := &listener{running: start(t, "--config", write(t, "config.yaml", config), "--log-level", level)}
			var err error
			if l.conn, err = grpc.NewClient(l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
				t.Fatal(err)
			}
			defer l.conn.Close()
			credentials := [][]string{
				nil, {"authorization", "Bearer " + rightKey}, {"authorization", "Bearer " + wrongKey}, {"authorization", "Basic " + wrongKey},
				{"authorization", "Bearer " + providerKey}, {"authorization", wrongKey}, {"x-api-key", rightKey}, {"x-api-key", providerKey},
				{"x-api-key", rightKey, "authorization", "Bearer " + wrongKey}, {"authorization", "Bearer " + rightKey, "authorization", "Bearer " + wrongKey},
				{"authorization", "Bearer " + strings.Repeat(wrongKey, 200)},
			}
			for _, c := range credentials {
				l.callAll(append(c, "x-prompt", prompt, "cookie", providerKey))
			}
			right := []string{"authorization", "Bearer " + rightKey}
			l.observe(right)
			l.malformed(right)
			for _, page := range []string{"/metrics", "/debug/config", "/v1/headroom?organization=acme", "/v1/headroom?organization=other", "/readyz",
				"/", "/openapi.json", "/debug/config?key=" + wrongKey, "/nowhere"} {
				for _, key := range []string{rightKey, wrongKey, operatorKey} {
					l.http("GET", page, "", "authorization", "Bearer "+key, "x-prompt", prompt)
				}
			}
			if len(l.heard) < 100 {
				t.Errorf("%d answers and errors tell little", len(l.heard))
			}
			for _, text := range l.heard {
				if strings.Contains(text, canary) {
					t.Errorf("heard: %s", text)
				}
				if strings.Contains(text, labelled) {
					t.Errorf("heard a label's value: %s", text)
				}
			}
			if err := l.end(); err != nil {
				t.Error(err)
			}
			for line := range strings.Lines(l.log.String()) {
				if strings.Contains(line, canary) {
					t.Errorf("logged: %s", line)
				}
			}
			if got, want := strings.Contains(l.log.String(), labelled), level == "debug"; got != want {
				t.Errorf("a label's value is in the log: %v, want %v", got, want)
			}
		})
	}
}

// hear notes what an answer says, and an error with its details.
func (l *listener) hear(what string, m proto.Message, err error) {
	l.t.Helper()
	if err != nil {
		s := status.Convert(err)
		l.heard = append(l.heard, fmt.Sprintf("%s: %v %s", what, err, protojson.Format(s.Proto())))
		return
	}
	l.heard = append(l.heard, what+": "+protojson.Format(m))
}

// as makes the context of a caller with metadata.
func (l *listener) as(pairs []string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	return metadata.AppendToOutgoingContext(ctx, pairs...), cancel
}

// http sends a request and hears all of the answer.
func (l *listener) http(method, path, body string, headers ...string) string {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), method, "http://"+l.running.http+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	l.heard = append(l.heard, fmt.Sprintf("%s %s: %s %v %s", method, path[:min(len(path), 20)], a.Status, a.Header, b))
	return string(b)
}

func (l *listener) acquire(id string) *pb.AcquireRequest {
	return &pb.AcquireRequest{
		RequestId: id, Project: "search", Destination: &pb.AcquireRequest_Route{Route: "one"}, InputTokens: 1, MaxOutputTokens: proto.Int64(1),
		Block: durationpb.New(0), Labels: map[string]string{"team": labelled},
	}
}

// callAll makes every call with some metadata.
func (l *listener) callAll(pairs []string) {
	ctx, cancel := l.as(pairs)
	defer cancel()
	limiter, monitor := pb.NewLimiterServiceClient(l.conn), pb.NewMonitorServiceClient(l.conn)
	a, err := limiter.Acquire(ctx, l.acquire(fmt.Sprint("a", len(l.heard))))
	l.hear("acquire", a, err)
	lease := a.GetGranted().GetLeaseId() + "x"
	renewed, err := limiter.Renew(ctx, &pb.RenewRequest{LeaseIds: []string{lease}})
	l.hear("renew", renewed, err)
	reported, err := limiter.Report(ctx, &pb.ReportRequest{LeaseId: lease, Observation: secrets(429)})
	l.hear("report", reported, err)
	released, err := limiter.Release(ctx, &pb.ReleaseRequest{LeaseId: lease, Observation: secrets(500)})
	l.hear("release", released, err)
	h, err := monitor.GetHeadroom(ctx, &pb.GetHeadroomRequest{})
	l.hear("headroom", h, err)
	stream, err := monitor.WatchHeadroom(ctx, &pb.WatchHeadroomRequest{})
	if err == nil {
		w, err := stream.Recv()
		l.hear("watch", w, err)
	}
	l.http("POST", "/v1/acquire", protojson.Format(l.acquire(fmt.Sprint("h", len(l.heard)))), pairs...)
	l.http("GET", "/v1/headroom", "", pairs...)
}

// secrets is an observation with all that a careless worker passes on.
func secrets(code uint32) *pb.Observation {
	return &pb.Observation{
		HttpStatus: code, Body: `{"error": {"type": "` + prompt + `", "code": "CANARY", "message": "` + prompt + ` ` + providerKey + `"}}`,
		Headers: map[string]string{
			"authorization": "Bearer " + providerKey, "x-api-key": providerKey, "set-cookie": canary, "retry-after": canary,
			"x-ratelimit-remaining-tokens": canary, "x-ratelimit-reset-tokens": providerKey, "X-" + canary: canary, "date": canary,
		},
	}
}

// observe ends leases with observations and usage that hold secrets.
func (l *listener) observe(pairs []string) {
	ctx, cancel := l.as(pairs)
	defer cancel()
	client := pb.NewLimiterServiceClient(l.conn)
	sent, err := structpb.NewStruct(map[string]any{"prompt_tokens": canary, canary: prompt, "usage": map[string]any{"input_tokens": providerKey}})
	if err != nil {
		l.t.Fatal(err)
	}
	for i, code := range []uint32{0, 200, 400, 401, 402, 403, 404, 413, 429, 500, 503, 529} {
		a, err := client.Acquire(ctx, l.acquire(fmt.Sprint("o", i)))
		l.hear("acquire", a, err)
		if a.GetGranted() == nil { // the pool may be closed after a refusal
			continue
		}
		lease := a.GetGranted().LeaseId
		p, err := client.Report(ctx, &pb.ReportRequest{LeaseId: lease, Observation: secrets(code), Consumption: &pb.ReportRequest_ProviderUsage{ProviderUsage: sent}})
		l.hear("report", p, err)
		request := &pb.ReleaseRequest{LeaseId: lease, Observation: secrets(code), Consumption: &pb.ReleaseRequest_ProviderUsage{ProviderUsage: sent}}
		if i%2 == 0 {
			r, err := client.Release(ctx, request)
			l.hear("release", r, err)
		} else {
			l.http("POST", "/v1/release", protojson.Format(request), pairs...)
		}
	}
	p, err := client.Report(ctx, &pb.ReportRequest{Account: "a", Model: "m", Observation: secrets(429)})
	l.hear("report", p, err)
}

// malformed sends what is refused before anybody acts on it.
func (l *listener) malformed(pairs []string) {
	ctx, cancel := l.as(pairs)
	defer cancel()
	client := pb.NewLimiterServiceClient(l.conn)
	long := strings.Repeat(canary, 2000)
	for _, change := range []func(*pb.AcquireRequest){
		func(r *pb.AcquireRequest) { r.Labels["k"] = long },
		func(r *pb.AcquireRequest) { r.AffinityKey = long },
		func(r *pb.AcquireRequest) { r.Attempt = 1001; r.Labels["k"] = canary },
	} {
		r := l.acquire("m")
		change(r)
		a, err := client.Acquire(ctx, r)
		l.hear("acquire", a, err)
		l.http("POST", "/v1/acquire", protojson.Format(r), pairs...)
	}
	for _, change := range []func(*pb.Observation){
		func(o *pb.Observation) { o.Body = long },
		func(o *pb.Observation) { o.Headers["k"] = long },
		func(o *pb.Observation) { o.HttpStatus = 1 },
		func(o *pb.Observation) { o.Body = strings.Repeat(canary, 20_000) },
		func(o *pb.Observation) { o.Body = canary + "\xff" },
	} {
		r := &pb.ReleaseRequest{LeaseId: "m", Observation: secrets(500)}
		change(r.Observation)
		a, err := client.Release(ctx, r)
		l.hear("release", a, err)
		if b, err := protojson.Marshal(r); err == nil {
			l.http("POST", "/v1/release", string(b), pairs...)
		}
	}
	for _, body := range []string{
		prompt, `"` + prompt + `"`, `{"observation": "` + prompt + `"}`, `{"observation": {"body": ` + canary + `}}`,
		`{"observation": {"http_status": "` + providerKey + `"}}`, `{"observation": {"headers": "` + providerKey + `"}}`,
		`{"observation": {"headers": ["` + providerKey + `"]}}`, `{"observation": {"headers": {"a": "b" "` + providerKey + `"}}}`,
		`{"observation": {"body": "` + canary + `\x` + canary + `"}}`, `{"observation": {"body": "` + canary + "\xff" + `"}}`,
		`{"observation": {"body": "` + canary, `{"observation": {"age": "` + providerKey + `"}}`, `{"outcome": "` + providerKey + `"}`,
		`{"usage": {"input_tokens": "` + providerKey + `"}}`, `{"usage": {"units": {"k": "` + providerKey + `"}}}`,
		`{"provider_usage": "` + providerKey + `"}`, `{"provider_usage": {"` + canary + `": ` + canary + `}}`,
		`{"provider_usage": {"` + canary + `": 1, "` + canary + `": 1}}`, `{"observation": {"headers": {"` + canary + `": "1", "` + canary + `": "2"}}}`,
	} {
		l.http("POST", "/v1/release", body, pairs...)
	}
	l.http("POST", "/v1/release?key="+wrongKey, `{}`, pairs...)
	l.http("GET", "/v1/headroom?interval="+canary, "", pairs...)
}
