package deploy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// A database is a Redis with the files here, of a site with the password for it.
type database struct {
	clear, secure string // host:port
}

// newDatabase starts a Redis as redis.conf and users.acl say, with a password that the test
// makes, and puts that and the authority for its certificate into the site's store/.
func newDatabase(t *testing.T, s *site) database {
	t.Helper()
	const password = "a password of this test"
	users, err := os.ReadFile("redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(password))
	placeholder := regexp.MustCompile(`#[0-9a-f]{64}`)
	if n := len(placeholder.FindAll(users, -1)); n != 1 {
		t.Fatalf("users.acl has %d hashes of passwords, want 1", n)
	}
	if !strings.Contains(string(users), redis.MinimalACL) {
		t.Errorf("users.acl: want %s", redis.MinimalACL)
	}
	users = placeholder.ReplaceAll(users, []byte("#"+hex.EncodeToString(hash[:])))
	authority, err := os.ReadFile(s.path("tls", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("store"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"users.acl": users, "password": []byte(password + "\n"), "ca.crt": authority} {
		if err := os.WriteFile(s.path("store", name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := filepath.Abs("redis/redis.conf")
	if err != nil {
		t.Fatal(err)
	}
	port := redistest.FreePort(t)
	r := redistest.Start(t, "--include", conf, "--aclfile", s.path("store", "users.acl"), "--tls-port", fmt.Sprint(port), "--tls-auth-clients", "no",
		"--tls-cert-file", s.path("tls", "tls.crt"), "--tls-key-file", s.path("tls", "tls.key"), "--tls-ca-cert-file", s.path("tls", "ca.crt"))
	return database{clear: r.Address(), secure: fmt.Sprintf("127.0.0.1:%d", port)}
}

// asksAt makes a command's --store lead to the test's Redis.
func (d database) asksAt(t *testing.T, args []string) {
	t.Helper()
	found := false
	for i, a := range args {
		for host, address := range map[string]string{"redis.redis.svc:6379": d.secure, "redis.example:6379": d.secure, "redis:6379": d.clear} {
			if at := strings.TrimSuffix(a, "@"+host); at != a {
				args[i], found = at+"@"+address, true
			}
		}
	}
	if !found {
		t.Fatalf("no --store in %q", args)
	}
}

// isOneWith releases at the other process what this one grants.
func (p *process) isOneWith(other *process) {
	p.t.Helper()
	a := p.ask("a call")
	if a.GetGranted() == nil {
		p.t.Fatalf("got %v, want a grant", a)
	}
	client, ctx := other.client()
	if _, err := client.Release(ctx, &pb.ReleaseRequest{LeaseId: a.GetGranted().GetLeaseId()}); err != nil {
		p.t.Errorf("the other process, of what one granted: %v", err)
	}
}

// TestUnitWithRedis: two machines with the unit and what is dropped in are one service.
func TestUnitWithRedis(t *testing.T) {
	skipIfShort(t)
	u, s := readUnit(t, dropIn), newSite(t)
	d := newDatabase(t, s)
	begin := func() *process {
		command := u.command(t, s, u.one(t, "Service.ExecStart"))
		d.asksAt(t, command.Args)
		return start(t, s, command)
	}
	one, two := begin(), begin()
	one.isOneWith(two)
	holdsGrace(t, strings.Fields(u.one(t, "Service.ExecStart"))[1:], duration(t, u.one(t, "Service.TimeoutStopSec")))
	one.stop(patience)
	two.stop(patience)
}

// TestPodsWithRedis: pods without a volume are one service, with the image and no file but
// those that are mounted.
func TestPodsWithRedis(t *testing.T) {
	o := manifestsOf(t, "kubernetes-redis")["StatefulSet/watermaster"]
	skipIfShort(t)
	s := newSite(t)
	d := newDatabase(t, s)
	c := newContainer(t, s)
	c.mount(t, s.path("store"), "/etc/watermaster-store")
	begin := func() *process {
		args := append(slices.Clone(c.entry), texts(o, pod+"containers.0.args")...)
		d.asksAt(t, args)
		return start(t, s, c.command(args...))
	}
	one, two := begin(), begin()
	one.isOneWith(two)
	one.stop(terminationGrace(o))
	two.stop(terminationGrace(o))
	if list, err := os.ReadDir(filepath.Join(c.root, "state")); err != nil || len(list) > 0 {
		t.Errorf("state is kept in the container: %v, %v", list, err)
	}
}

// TestPodsOfRedisFindTheirFiles: what one replica has and three must not, and the way to Redis.
func TestPodsOfRedisFindTheirFiles(t *testing.T) {
	all := manifestsOf(t, "kubernetes-redis")
	o := all["StatefulSet/watermaster"]
	args := texts(o, pod+"containers.0.args")
	if n, _ := at(o, "spec.replicas").(int); n < 2 {
		t.Errorf("%d replicas", n)
	}
	if at(o, "spec.volumeClaimTemplates") != nil || flagOf(args, "--state") != "" {
		t.Error("there is a volume, or a state on it")
	}
	var mounted []string
	for _, m := range list(o, pod+"containers.0.volumeMounts") {
		mounted = append(mounted, fmt.Sprint(at(m, "mountPath")))
		if named(o, pod+"volumes", fmt.Sprint(at(m, "name"))) == nil {
			t.Errorf("%v: there is no such volume", m)
		}
	}
	for _, flag := range []string{"--config", "--tls-cert", "--store-password-file", "--store-ca"} {
		if dir := filepath.Dir(flagOf(args, flag)); !slices.Contains(mounted, dir) {
			t.Errorf("%s is in %s: mounted are %v", flag, dir, mounted)
		}
	}
	single := texts(statefulSet(t), pod+"containers.0.args")
	for _, flag := range []string{"--grpc", "--http", "--tls-cert", "--max-waiting", "--drain-delay", "--grace"} {
		if got, want := flagOf(args, flag), flagOf(single, flag); got != want {
			t.Errorf("%s is %s, and of one replica %s", flag, got, want)
		}
	}
	_, host, _ := strings.Cut(flagOf(args, "--store"), "@")
	host, port, _ := strings.Cut(host, ":")
	namespace := strings.Split(host, ".")[1]
	out := fmt.Sprint(at(all["NetworkPolicy/watermaster"], "spec.egress"))
	if !strings.Contains(out, "kubernetes.io/metadata.name:"+namespace) || !strings.Contains(out, port) || !strings.Contains(out, "53") {
		t.Errorf("the policy lets out %s: want Redis's namespace %s at %s, and DNS", out, namespace, port)
	}
	if in := at(all["NetworkPolicy/watermaster"], "spec.ingress.0.from.0.podSelector.matchLabels"); fmt.Sprint(in) != "map[watermaster-client:true]" {
		t.Errorf("the policy lets in %v", in)
	}
}

// TestComposeWithRedis: three services that differ in their ports alone, and a Redis with the
// files here.
func TestComposeWithRedis(t *testing.T) {
	var file struct {
		Watermaster any `yaml:"x-watermaster"`
		Services    map[string]struct {
			Image   string
			Command []string
			Ports   []string
			Volumes []string
			Grace   string            `yaml:"stop_grace_period"`
			Limit   string            `yaml:"mem_limit"`
			Env     map[string]string `yaml:"environment"`
			Rest    map[string]any    `yaml:",inline"`
		}
		Volumes map[string]any
	}
	strictly(t, "docker/compose-redis.yaml", &file)
	ports := map[string]bool{}
	for name, s := range file.Services {
		for _, p := range s.Ports {
			if host, _, _ := strings.Cut(p, ":"); ports[host] {
				t.Errorf("%s: port %s is another's, too", name, host)
			} else {
				ports[host] = true
			}
		}
		if name == "redis" {
			if want := []string{"redis-server", "/etc/redis/redis.conf", "--aclfile", "/etc/redis/users.acl", "--dir", "/data"}; !slices.Equal(s.Command, want) ||
				len(s.Ports) > 0 || !slices.Contains(s.Volumes, "redis:/data") {
				t.Errorf("redis is %+v", s)
			}
			continue
		}
		holdsGrace(t, s.Command, duration(t, s.Grace))
		fits(t, s.Command, s.Env["GOMEMLIMIT"], s.Limit)
		if !slices.Contains(s.Volumes, "./store:/etc/watermaster-store:ro") || flagOf(s.Command, "--store") != "redis://watermaster@redis:6379" ||
			s.Rest["read_only"] != true {
			t.Errorf("%s is %+v", name, s)
		}
	}
	if len(file.Services) != 4 {
		t.Errorf("%d services, want three and Redis", len(file.Services))
	}
	for _, path := range []string{"redis/redis.conf", "redis/users.acl"} {
		if text, err := os.ReadFile(path); err != nil || len(bytes.TrimSpace(text)) == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}
