package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzRequests: no request makes the service panic or fail, and every refusal is a Status.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/v1/acquire", "", `{"request_id": "r", "project": "search", "route": "one", "block": "0s"}`, "application/json", "Bearer x")
	f.Add("POST", "/v1/renew", "", `{"lease_ids": ["a"]}`, "", "")
	f.Add("POST", "/v1/release", "", `{"lease_id": "a", "provider_usage": {"a": [1, {"b": null}]}}`, "", "")
	f.Add("POST", "/v1/report", "", `{"account": "main", "model": "gpt", "observation": {"http_status": 429, "headers": {"retry-after": "1"}}}`, "", "")
	f.Add("GET", "/v1/headroom", "account=main&pool=gpt&project=search", "", "", "")
	f.Add("GET", "/v1/headroom", "account=%ff&x[y]=z", "", "", "\xff")
	f.Add("GET", "/v1/headroom/watch", "interval=1s", "", "", "")
	f.Add("PATCH", "/v1/../v1//acquire", "a;b", "\x00", "text/plain", "")
	f.Add("POST", "/v1/release", "", `{"lease_id": "a", "provider_usage": `+strings.Repeat(`{"a":`, 5000), "", "")
	f.Add("POST", "/v1/acquire", "", `{"request_id": "\ud800", "block": "-315576000000s", "constraints": {"min_quality": "NaN"}}`, "", "")
	w := newWorldBehind(f, nothing)
	f.Fuzz(func(t *testing.T, method, path, query, body, contentType, authorization string) {
		// A wait is cut short: what waits is fine.
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", authorization)
		a := httptest.NewRecorder()
		w.web.ServeHTTP(a, r)
		if late := ctx.Err() != nil && a.Code == http.StatusGatewayTimeout; a.Code >= 500 && !late {
			t.Fatalf("got %d %s", a.Code, a.Body)
		}
		if a.Code == http.StatusOK || method == http.MethodHead {
			return
		}
		var s struct {
			Code    int
			Message string
			Details []any
		}
		if err := json.Unmarshal(a.Body.Bytes(), &s); err != nil || s.Code == 0 || s.Message == "" {
			t.Fatalf("got %d %q: %v", a.Code, a.Body, err)
		}
	})
}
