package watermaster

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// BenchmarkRequest reads a long prompt.
func BenchmarkRequest(b *testing.B) {
	prose := strings.Repeat("The rain in Spain stays mainly in the plain, and \"nowhere\" else.\n", 2_000)
	for _, row := range []struct{ name, text string }{
		{"prose", prose},
		{"chinese", strings.Repeat("请用中文解释限流算法。", 4_000)},
		{"base64", strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVph", 4_000)},
	} {
		b.Run(row.name, func(b *testing.B) {
			quoted, _ := json.Marshal(row.text)
			body := []byte(`{"model":"gpt-5","max_tokens":10,"messages":[{"role":"user","content":` + string(quoted) + `}]}`)
			u := parseURL(b, chatURL)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if r, ok := readPayload(http.MethodPost, u, body, false); !ok || r.tokens < 1_000 {
					b.Fatal(r.tokens)
				}
			}
		})
	}
}

// BenchmarkStream reads a stream of small chunks, in pieces as they come.
func BenchmarkStream(b *testing.B) {
	text := []byte(strings.Repeat(chunk, 1_000) + extra + done)
	for _, hide := range []bool{false, true} {
		b.Run(map[bool]string{false: "forwarded", true: "held"}[hide], func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s := newStream(wireChat, hide)
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 4<<10)
					s.feed(rest[:n])
					s.out = s.out[:0]
					rest = rest[n:]
				}
				if s.end(); !s.ended {
					b.Fatal("not ended")
				}
			}
		})
	}
}

// BenchmarkUsage reads a large answer of embeddings.
func BenchmarkUsage(b *testing.B) {
	text := []byte(`{"data":[{"embedding":[` + strings.Repeat("0.0123456789,", 100_000) + `0]}],"usage":{"prompt_tokens":9}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var p plain
		p.feed(text)
		if string(p.usage) != `{"prompt_tokens":9}` {
			b.Fatal(string(p.usage))
		}
	}
}

// BenchmarkRoundTrip is a whole call but for the network: what the client adds, with and without
// the service's calls.
func BenchmarkRoundTrip(b *testing.B) {
	base := provider(func(*http.Request) (*http.Response, error) { return respond(200, jsonKind, strings.NewReader(good)) })
	run := func(b *testing.B, rt http.RoundTripper) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := rt.RoundTrip(newPost(context.Background(), chatURL, chatBody))
			if err != nil || resp.StatusCode != 200 {
				b.Fatal(resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	b.Run("bare", func(b *testing.B) { run(b, base) })
	b.Run("limited", func(b *testing.B) {
		n := &network{nodes: map[string]*fake{}}
		f := n.serve(one, &fake{})
		f.release = func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
			return &watermasterv1.ReleaseResponse{}, nil
		}
		l, err := New(one, Options{DialOptions: []grpc.DialOption{grpc.WithContextDialer(n.dial)}})
		if err != nil {
			b.Fatal(err)
		}
		defer n.end(l)
		run(b, NewTransport(l, base))
	})
}
