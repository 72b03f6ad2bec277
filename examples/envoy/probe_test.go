package envoy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestProbe(t *testing.T) {
	r := startRecorder(t)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		switch q.URL.Path {
		case "/plain":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"id":"x","usage":{"total_tokens":77}}`)
		case "/nousage":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"id":"x"}`)
		case "/error":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(429)
			fmt.Fprint(w, `{"error":{"message":"x"}}`)
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(503)
			fmt.Fprint(w, `oops`)
		case "/empty":
			w.WriteHeader(500)
		case "/sse", "/ssenousage", "/cut", "/gone":
			w.Header().Set("Content-Type", "text/event-stream")
			f := w.(http.Flusher)
			for i := range 3 {
				fmt.Fprintf(w, "data: {\"choices\":[%d],\"usage\":null}\n\n", i)
				f.Flush()
				time.Sleep(5*time.Millisecond)
			}
			if q.URL.Path == "/cut" { panic(http.ErrAbortHandler) }
			if q.URL.Path == "/gone" { <-q.Context().Done(); return }
			if q.URL.Path == "/sse" { fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"total_tokens\":55}}\n\n") }
			fmt.Fprint(w, "data: [DONE]\n\n")
		case "/slow":
			<-q.Context().Done()
		}
	}))
	defer up.Close()
	g := startGateway(t, "tokens.yaml", r.address, up.URL)
	do := func(ctx context.Context, path, body string, hdr ...string) string {
		q, _ := http.NewRequestWithContext(ctx, "POST", g.url+path, strings.NewReader(body))
		q.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(hdr); i += 2 { q.Header.Set(hdr[i], hdr[i+1]) }
		a, err := http.DefaultClient.Do(q)
		if err != nil { return err.Error() }
		defer a.Body.Close()
		b, _ := io.ReadAll(a.Body)
		return fmt.Sprint(a.StatusCode, " ", a.Header.Get("X-Request-Id"), " ", string(b))
	}
	body := `{"model":"gpt-5","max_tokens":500,"messages":[{"role":"user","content":"hello there how are you"}]}`
	show := func(name, out string) {
		time.Sleep(250*time.Millisecond)
		r.mu.Lock()
		fmt.Printf("== %s -> %q\n", name, out)
		for _, q := range r.requests { fmt.Println("   ", describe(q)) }
		r.mu.Unlock()
		r.answer(false, nil)
	}
	bg := context.Background()
	show("plain", do(bg, "/plain", body))
	show("plain id", do(bg, "/plain", body, "x-request-id", "r-1", "x-lease", "L"))
	show("plain uuid", do(bg, "/plain", body, "x-request-id", "aef4b2d4-5f0f-4d7e-9a3b-0123456789ab"))
	show("no max", do(bg, "/plain", `{"model":"m"}`))
	show("bad json", do(bg, "/plain", `{"model`))
	for _, p := range []string{"/nousage", "/error", "/html", "/empty", "/sse", "/ssenousage", "/cut"} {
		show(p, do(bg, p, body))
	}
	ctx, c := context.WithTimeout(bg, 100*time.Millisecond)
	show("client gone in stream", do(ctx, "/gone", body)); c()
	ctx, c = context.WithTimeout(bg, 100*time.Millisecond)
	show("client gone before headers", do(ctx, "/slow", body)); c()
	r.answer(true, nil)
	show("denied", do(bg, "/plain", body))
	r.answer(false, status.Error(codes.Unavailable, "x"))
	show("rls error", do(bg, "/plain", body))
	up.Close()
	show("upstream away", do(bg, "/plain", body))
}
