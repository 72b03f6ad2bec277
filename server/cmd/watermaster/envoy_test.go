package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const perUser = `domain: gateway
descriptors:
  - key: user
    rate_limit: {unit: hour, requests_per_unit: 2}
`

// json asks at /json for a user of a domain.
func (r *running) json(domain, user string) (code int, body string) {
	r.t.Helper()
	req := `{"domain":"` + domain + `","descriptors":[{"entries":[{"key":"user","value":"` + user + `"}]}]}`
	answer, err := http.Post("http://"+r.http+"/json", "application/json", strings.NewReader(req))
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// TestServeEnvoyLimits: a directory alone is served; what changes there takes hold, what is
// wrong is told with its line and changes nothing.
func TestServeEnvoyLimits(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) {
		t.Helper()
		path := filepath.Join(dir, "gateway.yaml")
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	put(perUser)
	r := start(t, "--envoy-limits", dir, "--envoy-headers=X-Limit,,X-Reset")
	want := func(domain, user string, want int, says string) {
		t.Helper()
		if code, body := r.json(domain, user); code != want || !strings.Contains(body, says) {
			t.Errorf("%s of %s: got %d %s, want %d %s", user, domain, code, body, want, says)
		}
	}
	want("gateway", "alice", 200, `"responseHeadersToAdd":[{"key":"X-Limit","value":"2"},{"key":"X-Reset","value":"3600"}]`)
	want("gateway", "alice", 200, `"OK"`)
	want("gateway", "alice", 429, `"OVER_LIMIT"`)
	put(strings.Replace(perUser, "requests_per_unit: 2", "requests_per_unit: 3", 1))
	r.log.wait(t, "limits of Envoy's domains are in force")
	want("gateway", "alice", 200, `"requestsPerUnit":3`)
	want("gateway", "alice", 429, `"OVER_LIMIT"`)
	put(strings.Replace(perUser, "unit: hour", "unit: fortnight", 1))
	r.log.wait(t, "limits of Envoy's domains were not reloaded")
	if line := r.log.wait(t, "fortnight"); !strings.Contains(line, "gateway.yaml:4:") {
		t.Errorf("got %s, want the file and the line", line)
	}
	want("gateway", "alice", 429, `"OVER_LIMIT"`)
	body, _ := r.fetch("/metrics")
	for _, line := range []string{
		`watermaster_ratelimit_config_loads_total{result="ok"} 2`, `watermaster_ratelimit_config_loads_total{result="failed"} 1`,
		"watermaster_ratelimit_config_last_load_successful 0", `watermaster_ratelimit_over_limit_hits_total{domain="gateway",rule="gateway.user"} 3`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
	put(strings.Replace(perUser, "gateway", "other", 1))
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if code, body := r.json("other", "alice"); strings.Contains(body, "currentLimit") {
			break
		} else if time.Since(start) > 20*time.Second {
			t.Fatalf("a new domain is not there: %d %s", code, body)
		}
	}
	want("gateway", "alice", 200, `"statuses":[{"code":"OK"}]`)
	if body, _ := r.fetch("/debug/config"); !strings.Contains(body, "there is none") {
		t.Errorf("/debug/config: got %s", body)
	}
}

// TestServeEnvoyRefuses: what could not be told apart, or is said in vain, does not start.
func TestServeEnvoyRefuses(t *testing.T) {
	dir := filepath.Dir(write(t, "a.yaml", perUser))
	acme := filepath.Dir(write(t, "a.yaml", strings.Replace(perUser, "gateway", "acme", 1)))
	broken := filepath.Dir(write(t, "a.yaml", strings.Replace(perUser, "key: user", "kee: user", 1)))
	for _, row := range []struct {
		args string
		want string
	}{
		{"", "--config FILE is needed, or --envoy-limits"},
		{"--config " + quickstart + " --envoy-limits " + acme, "acme is an organization, and a domain"},
		{"--config " + quickstart + " --envoy-limits " + dir + " --envoy-domain gateway=acme", "has limits of its own"},
		{"--config " + quickstart + " --envoy-domain mesh=nowhere", "the configuration does not have"},
		{"--envoy-limits " + broken, "a.yaml:3:"},
		{"--envoy-limits " + filepath.Join(dir, "nothing"), "--envoy-limits: "},
		{"--config " + quickstart + " --envoy-charge-always", "give that too"},
		{"--envoy-limits " + dir + " --envoy-headers=One,Two", "give three names"},
	} {
		out, err := execute(t, append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", ""}, strings.Fields(row.args)...)...)
		if err == nil || !strings.Contains(out+err.Error(), row.want) {
			t.Errorf("%s: got %v, %s, want %q", row.args, err, out, row.want)
		}
	}
}

// TestCheckEnvoyBeside: a directory and a configuration that cannot be served together.
func TestCheckEnvoyBeside(t *testing.T) {
	acme := filepath.Dir(write(t, "a.yaml", strings.Replace(perUser, "gateway", "acme", 1)))
	if _, err := execute(t, "check", "--envoy-limits", acme, quickstart); err == nil || !strings.Contains(err.Error(), "acme is an organization") {
		t.Errorf("got %v", err)
	}
}
