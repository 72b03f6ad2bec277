package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/watermaster-project/watermaster/server/config"
)

// The keys of the tests.
const (
	workerKey  = "wm_worker-CANARY-1"
	rotatedKey = "wm_worker-CANARY-2"
	otherKey   = "wm_other-CANARY-3"
	adminKey   = "wm_admin-CANARY-4"
	envoyKey   = "wm_envoy-CANARY-5"
	formerKey  = "wm_former-CANARY-6" // in nobody's list any more
)

func digests(keys ...string) (all []config.Digest) {
	for _, k := range keys {
		all = append(all, sha256.Sum256([]byte(k)))
	}
	return all
}

func testCredentials() []config.Credential {
	both := []string{config.ServiceLimiter, config.ServiceMonitor}
	return []config.Credential{
		{Name: "admin", SHA256: digests(adminKey), Certificates: []string{"console.acme.example"}, Organization: "*",
			Services: []string{config.ServiceAdmin, config.ServiceMonitor}},
		{Name: "envoy", SHA256: digests(envoyKey), Organization: "acme", Services: []string{config.ServiceEnvoy}},
		{Name: "other", SHA256: digests(otherKey), Organization: "umbrella", Services: both},
		{Name: "workers", SHA256: digests(workerKey, rotatedKey), Certificates: []string{"spiffe://acme/worker"}, Organization: "acme",
			Projects: []string{"search", "ads-*"}, PriorityClasses: []string{"interactive", "standard"}, Services: both},
	}
}

func bearer(key string) metadata.MD { return metadata.Pairs("authorization", "Bearer "+key) }
func apiKey(key string) metadata.MD { return metadata.Pairs("x-api-key", key) }

// calls are methods, and who has them: by the credentials' names, * for all.
var calls = []struct{ method, holders string }{
	{"/watermaster.v1.LimiterService/Acquire", "workers other"},
	{"/watermaster.v1.LimiterService/Renew", "workers other"},
	{"/watermaster.v1.LimiterService/Release", "workers other"},
	{"/watermaster.v1.LimiterService/Report", "workers other"},
	{"/watermaster.v1.MonitorService/GetHeadroom", "workers other admin"},
	{"/watermaster.v1.MonitorService/WatchHeadroom", "workers other admin"},
	{"/watermaster.v1.AdminService/Pause", "admin"},
	{"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit", "envoy"},
	{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "workers other admin envoy"},
	{"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "workers other admin envoy"},
	{"/grpc.health.v1.Health/Check", "*"},
	{"/grpc.health.v1.Health/Watch", "*"},
	{"/grpc.health.v1.Health/List", ""},
	{"/grpc.channelz.v1.Channelz/GetServers", ""},
	{"/watermaster.v1.SecretService/Get", ""},
	{"/watermaster.v2.LimiterService/Acquire", ""},
	{"/watermaster.v1.LimiterService/", ""},
	{"/watermaster.v1.LimiterService", ""},
	{"watermaster.v1.LimiterService/Acquire", ""},
	{"//watermaster.v1.LimiterService/Acquire", ""},
	{"/watermaster.v1.LimiterService/Acquire/", ""},
	{"/watermaster.v1.MonitorService/../AdminService/Pause", ""},
	{"/watermaster.v1.limiterservice/Acquire", ""},
	{"/grpc.health.v1.Health/Check/", ""},
	{"/", ""},
	{"", ""},
}

// Every call by everybody: it goes to the one that it is from, or is refused for the
// reason that is so, without a word of the key.
func TestEveryCall(t *testing.T) {
	const (
		unauthenticated = "unauthenticated"
		nobody          = ""
	)
	l := Compile(testCredentials())
	callers := []struct {
		what  string
		md    metadata.MD
		names []string
		who   string // the credential, or nobody
	}{
		{"right", bearer(workerKey), nil, "workers"},
		{"right, while it is rotated", bearer(rotatedKey), nil, "workers"},
		{"right, in the other header", apiKey(workerKey), nil, "workers"},
		{"right, in both headers", metadata.Join(apiKey(workerKey), bearer(workerKey)), nil, "workers"},
		{"right, another way to write the scheme", metadata.Pairs("authorization", "bEARER  "+workerKey), nil, "workers"},
		{"right, with a certificate of nobody", bearer(workerKey), []string{"nobody"}, "workers"},
		{"another organization's", bearer(otherKey), nil, "other"},
		{"for other services", bearer(envoyKey), nil, "envoy"},
		{"admin", apiKey(adminKey), nil, "admin"},
		{"certificate", nil, []string{"w.example", "spiffe://acme/worker"}, "workers"},
		{"another certificate", nil, []string{"console.acme.example"}, "admin"},
		{"none", nil, nil, nobody},
		{"a certificate of nobody", nil, []string{"nobody", ""}, nobody},
		{"wrong", bearer("wm_wrong-CANARY"), nil, nobody},
		{"expired", bearer(formerKey), nil, nobody},
		{"wrong, with a right certificate", bearer(formerKey), []string{"console.acme.example"}, nobody},
		{"the hash for the key", bearer(fmt.Sprintf("%x", sha256.Sum256([]byte(workerKey)))), nil, nobody},
		{"nearly", bearer(workerKey[:len(workerKey)-1]), nil, nobody},
		{"another scheme", metadata.Pairs("authorization", "Basic "+workerKey), nil, nobody},
		{"without a scheme", metadata.Pairs("authorization", workerKey), nil, nobody},
		{"the scheme alone", metadata.Pairs("authorization", "Bearer "), nil, nobody},
		{"the scheme without a space", metadata.Pairs("authorization", "Bearer"+workerKey), nil, nobody},
		{"empty", apiKey(""), nil, nobody},
		{"two", metadata.Join(bearer(workerKey), bearer(adminKey)), nil, nobody},
		{"two in two headers", metadata.Join(bearer(workerKey), apiKey(adminKey)), nil, nobody},
		{"two in one", bearer(workerKey + ", Bearer " + adminKey), nil, nobody},
		{"right, and one that is malformed", metadata.Join(apiKey(workerKey), metadata.Pairs("authorization", "Basic CANARY")), nil, nobody},
		{"with a newline", apiKey(workerKey + "\n"), nil, nobody},
		{"long", bearer(workerKey + strings.Repeat("x", maxKey)), nil, nobody},
		{"long in the other header", apiKey(workerKey + strings.Repeat("x", maxKey)), nil, nobody},
		{"many spaces", metadata.Pairs("authorization", "Bearer "+strings.Repeat(" ", maxKey)+workerKey), nil, nobody},
	}
	for _, call := range calls {
		holders := strings.Fields(call.holders)
		for _, caller := range callers {
			want := caller.who
			switch {
			case call.holders == "*":
				want = nobody
			case call.holders == "":
				want = whatMethod
			case caller.who == nobody:
				want = unauthenticated
			case !slices.Contains(holders, caller.who):
				want = whatService
			}
			c, err := l.Authorize(call.method, caller.md, caller.names)
			var got string
			var denied *Denied
			var unknown *Unauthenticated
			switch {
			case errors.As(err, &unknown):
				got = unauthenticated
			case errors.As(err, &denied):
				got = denied.What
			case c != nil:
				got = c.Name()
			}
			if got != want || err != nil && c != nil {
				t.Errorf("%s, key %s: got %q, %v; want %q", call.method, caller.what, got, err, want)
			}
			if err != nil && (strings.Contains(err.Error(), "CANARY") || err.Error() == "" || strings.Contains(err.Error(), fmt.Sprintf("%x", sha256.Sum256([]byte(workerKey))))) {
				t.Errorf("%s, key %s: the error is %q", call.method, caller.what, err)
			}
		}
	}
}

// What a request names is the credential's, or is refused.
func TestRequest(t *testing.T) {
	l := Compile(append(testCredentials(),
		config.Credential{Name: "prefix", SHA256: digests("prefix"), Organization: "acme", Projects: []string{"ads-*", "search"}},
		config.Credential{Name: "first", SHA256: digests("first"), Organization: "acme", Projects: []string{"search", "*"}},
		config.Credential{Name: "batch", SHA256: digests("batch"), Organization: "acme", PriorityClasses: []string{"batch"}},
	))
	type answer struct{ name, denied string }
	organization := func(c *Credential, s string) (string, error) { return c.Organization(s) }
	project := func(c *Credential, s string) (string, error) { return c.Project(s) }
	class := func(c *Credential, s string) (string, error) { return s, c.Class(s) }
	for _, row := range []struct {
		what  string
		ask   func(*Credential, string) (string, error)
		key   string
		asked string
		want  answer
	}{
		{"organization", organization, workerKey, "", answer{"acme", ""}},
		{"organization", organization, workerKey, "acme", answer{"acme", ""}},
		{"organization", organization, workerKey, "umbrella", answer{"", `organization "umbrella"`}},
		{"organization", organization, workerKey, "*", answer{"", `organization "*"`}},
		{"organization", organization, workerKey, "Acme", answer{"", `organization "Acme"`}},
		{"organization", organization, otherKey, "", answer{"umbrella", ""}},
		{"organization", organization, adminKey, "", answer{"", ""}},
		{"organization", organization, adminKey, "umbrella", answer{"umbrella", ""}},

		{"project", project, workerKey, "", answer{"search", ""}},
		{"project", project, workerKey, "search", answer{"search", ""}},
		{"project", project, workerKey, "ads-eu", answer{"ads-eu", ""}},
		{"project", project, workerKey, "ads-", answer{"ads-", ""}},
		{"project", project, workerKey, "ads", answer{"", `project "ads"`}},
		{"project", project, workerKey, "search-2", answer{"", `project "search-2"`}},
		{"project", project, workerKey, "*", answer{"", `project "*"`}},
		{"project", project, otherKey, "", answer{"", ""}},
		{"project", project, otherKey, "anything", answer{"anything", ""}},
		{"project", project, "prefix", "", answer{"", "project \"\""}},
		{"project", project, "prefix", "search", answer{"search", ""}},
		{"project", project, "first", "", answer{"search", ""}},
		{"project", project, "first", "anything", answer{"anything", ""}},

		{"class", class, workerKey, "", answer{"", ""}},
		{"class", class, workerKey, "interactive", answer{"interactive", ""}},
		{"class", class, workerKey, "batch", answer{"batch", `priority class "batch"`}},
		{"class", class, otherKey, "batch", answer{"batch", ""}},
		{"class", class, "batch", "batch", answer{"batch", ""}},
		{"class", class, "batch", "", answer{"", `priority class "standard"`}},
	} {
		c, ok := l.Find(row.key)
		if !ok {
			t.Fatalf("%s is not found", row.key)
		}
		name, err := row.ask(c, row.asked)
		got := answer{name: name}
		var denied *Denied
		if errors.As(err, &denied) {
			got.denied = fmt.Sprintf("%s %q", denied.What, denied.Name)
		}
		if got != row.want {
			t.Errorf("%s %q of %s: got %+v, want %+v", row.what, row.asked, c.Name(), got, row.want)
		}
	}
}

func TestDeniedText(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{&Denied{whatProject, "x\n"}, `the credential is not for the project "x\n"`},
		{&Denied{whatProject, ""}, `the credential is for some only: name the project`},
		{&Denied{whatMethod, "/a.B/C"}, `there is no method "/a.B/C"`},
		{&Denied{whatClass, strings.Repeat("y", 1000)}, `the credential is not for the priority class "` + strings.Repeat("y", 128) + `"`},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("got %s, want %s", got, row.want)
		}
	}
}
