package deploy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/certificate"
)

// patience is how long a process may take for what takes it a moment.
const patience = 30 * time.Second

// TestMain removes the binary that the tests have built.
func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// binary gives the path of a watermaster that was built as the Dockerfile says, once.
var binary = sync.OnceValues(func() (string, error) {
	image, err := readDockerfile("docker/Dockerfile")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "watermaster")
	if err != nil {
		return "", err
	}
	for _, command := range image.commands("build", "RUN") {
		if !strings.Contains(command, "go build") {
			continue
		}
		build := exec.Command("bash", "-c", strings.ReplaceAll(command, "/out/", dir+"/"))
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	return filepath.Join(dir, "watermaster"), os.Chmod(dir, 0o755)
})

func watermaster(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A site is what a deployment finds where it runs: a configuration with keys that the test
// knows, and certificates.
type site struct {
	dir    string // config/config.yaml; tls/ with tls.crt, tls.key, ca.crt; state/
	worker string // the key of search-workers
	watch  string // the key of prometheus
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	for _, dir := range []string{"config", "tls", "state"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*string{"search-workers": &s.worker, "prometheus": &s.watch} {
		var hash string
		*key, hash = access.NewKey()
		before, after, found := bytes.Cut(text, []byte("- name: "+name))
		at := bytes.Index(after, []byte("sha256: "))
		if !found || at < 0 {
			t.Fatalf("config.yaml has no credential %s with a sha256", name)
		}
		copy(after[at+len("sha256: "):], hash)
		text = append(append(before, []byte("- name: "+name)...), after...)
	}
	s.write(t, string(text))
	writeCertificates(t, filepath.Join(s.dir, "tls"))
	return s
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// write replaces the configuration in one step.
func (s *site) write(t *testing.T, text string) {
	t.Helper()
	path := s.path("config", "config.yaml")
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// change replaces a part of the configuration.
func (s *site) change(t *testing.T, old, new string) {
	t.Helper()
	text, err := os.ReadFile(s.path("config", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("the configuration has no %q", old)
	}
	s.write(t, strings.Replace(string(text), old, new, 1))
}

// A process is a server that runs as its own.
type process struct {
	t          *testing.T
	site       *site
	command    *exec.Cmd
	grpc, http string // where it is reached on this machine
	mu         sync.Mutex
	log        strings.Builder
	more       chan struct{} // of capacity 1: the log has grown
	ended      chan struct{} // closed when it has, with err
	err        error
}

// start runs a server, on ports that are free, and waits until it serves. It ends with the
// test.
func start(t *testing.T, s *site, command *exec.Cmd) *process {
	t.Helper()
	anyPort := strings.NewReplacer("0.0.0.0:8081", "0.0.0.0:0", "0.0.0.0:8080", "0.0.0.0:0")
	for i := range command.Args {
		command.Args[i] = anyPort.Replace(command.Args[i])
	}
	p := &process{t: t, site: s, command: command, more: make(chan struct{}, 1), ended: make(chan struct{})}
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%v: %v", command.Args, err)
	}
	go p.follow(output)
	t.Cleanup(func() { p.kill(); <-p.ended })
	var line struct{ Grpc, HTTP string }
	if err := json.Unmarshal([]byte(p.wait(`"msg":"serving"`)), &line); err != nil {
		t.Fatal(err)
	}
	p.grpc, p.http = local(t, line.Grpc), local(t, line.HTTP)
	return p
}

func local(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// follow collects the log, and then how the process ended.
func (p *process) follow(output io.Reader) {
	for s := bufio.NewScanner(output); s.Scan(); {
		p.mu.Lock()
		fmt.Fprintln(&p.log, s.Text())
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
	p.err = p.command.Wait()
	close(p.ended)
}

// wait returns the first line of the log that holds a text.
func (p *process) wait(text string) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		log := p.log.String()
		p.mu.Unlock()
		for line := range strings.Lines(log) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-p.more:
		case <-p.ended:
			p.t.Fatalf("it ended (%v) before it said %s:\n%s", p.err, text, log)
		case <-late:
			p.t.Fatalf("it never said %s:\n%s", text, log)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) kill() { _ = p.command.Process.Kill() } // it may have ended

// stop asks it to end, and expects that it does within a time and without an error.
func (p *process) stop(within time.Duration) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			p.t.Errorf("SIGTERM: got %v, want exit code 0", p.err)
		}
	case <-time.After(within):
		p.t.Errorf("SIGTERM: it still ran after %v", within)
	}
}

// ask acquires with a worker's key.
func (p *process) ask(request string) *pb.AcquireResponse {
	p.t.Helper()
	client, ctx := p.client()
	answer, err := client.Acquire(ctx, &pb.AcquireRequest{
		RequestId: request, PriorityClass: "interactive", Destination: &pb.AcquireRequest_Route{Route: "smart"}, InputTokens: 1200, MaxOutputTokens: proto.Int64(500),
	}, grpc.WaitForReady(true))
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// client calls the server with a worker's key, over TLS.
func (p *process) client() (pb.LimiterServiceClient, context.Context) {
	p.t.Helper()
	c, err := certificate.ClientConfig(p.site.path("tls", "ca.crt"), "", "", "watermaster", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	p.t.Cleanup(func() { cancel(); conn.Close() })
	return pb.NewLimiterServiceClient(conn), metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.site.worker)
}

// granted asks and expects a grant: the server decides, its TLS and its credentials work.
func (p *process) granted(request string) {
	p.t.Helper()
	if a := p.ask(request); a.GetGranted() == nil {
		p.t.Errorf("%s: got %v, want a grant", request, a)
	}
}

// page fetches over HTTPS, with a key unless it is "".
func (p *process) page(path, key string) (status int, body string) {
	p.t.Helper()
	c, err := certificate.ClientConfig(p.site.path("tls", "ca.crt"), "", "", "watermaster", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	c.NextProtos = nil // it is gRPC's
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c}, Timeout: patience}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "https://"+p.http+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// healthcheck runs a command that must find the server healthy.
func healthcheck(t *testing.T, command *exec.Cmd) {
	t.Helper()
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil || strings.TrimSpace(string(out)) != "SERVING" {
		t.Errorf("%v: got %q, %v; want SERVING", command.Args, out, err)
	}
}
