package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/web"
)

// TestRateLimit: what envoyproxy/ratelimit answers at /json.
func TestRateLimit(t *testing.T) {
	w := newWorld(t, web.Options{})
	limits, err := envoy.Parse([]envoy.File{{Name: "a.yaml", Data: []byte(`
domain: gateway
descriptors:
  - key: user
    rate_limit: {unit: hour, requests_per_unit: 1}
`)}}, envoy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.ReloadLimits(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	const alice = `{"domain": "gateway", "descriptors": [{"entries": [{"key": "user", "value": "alice"}]}]}`
	for _, row := range []struct {
		what, body string
		code       int
		says       string
	}{
		{"first", alice, 200, `{"overallCode":"OK","statuses":[{"code":"OK","currentLimit":{"requestsPerUnit":1,"unit":"HOUR"},"durationUntilReset":"3600s"}]}`},
		{"second", alice, 429, `{"overallCode":"OVER_LIMIT","statuses":[{"code":"OVER_LIMIT",`},
		{"snake case", strings.Replace(alice, `"domain"`, `"hits_addend": 0, "domain"`, 1), 429, `"OVER_LIMIT"`},
		{"nobody's", strings.Replace(alice, "gateway", "nowhere", 1), 200, `{"overallCode":"OK","statuses":[{"code":"OK"}]}`},
		{"no JSON", `{"domain": `, 400, "ends too early"},
		{"empty", "", 400, "body is empty"},
		{"an unknown field", `{"domian": "gateway"}`, 400, `did you mean`},
		{"no domain", `{"descriptors": [{}]}`, 400, "domain is empty"},
		{"no descriptors", `{"domain": "gateway"}`, 400, "descriptors"},
		{"too large", `{"domain": "` + strings.Repeat("x", 256<<10) + `"}`, 413, "256 KiB"},
		{"large", strings.Replace(alice, `"gateway"`, `"gateway"`+strings.Repeat(" ", 200<<10), 1), 429, `"OVER_LIMIT"`},
	} {
		a := w.do(http.MethodPost, "/json", row.body, "Content-Type: application/x-www-form-urlencoded")
		if a.StatusCode != row.code || !strings.Contains(a.text, row.says) || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s, want %d %s", row.what, a.StatusCode, a.text, row.code, row.says)
		}
	}
	if a := w.do(http.MethodGet, "/json", ""); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d", a.StatusCode)
	}
	if a := w.do(http.MethodPost, "/json", alice, "Sec-Fetch-Site: cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("by a page of another origin: got %d", a.StatusCode)
	}
}
