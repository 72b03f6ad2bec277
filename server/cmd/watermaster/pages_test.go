package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var repository = filepath.Join("..", "..", "..")

// pages are those whose commands a reader may type, from the repository's root.
var pages = []string{"README.md", "server/OPERATIONS.md", "server/RUNBOOK.md", "server/ENVOY.md", redisPage}

// redisPage needs a Redis, which not every machine has.
const redisPage = "server/REDIS.md"

// A block is a fenced block of a page.
type block struct {
	line   int // of its first
	info   string
	script string
}

func blocks(t *testing.T, page string) (list []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	open, number := (*block)(nil), 0
	for line := range strings.Lines(string(text)) {
		number++
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{line: number + 1, info: strings.TrimSpace(info)}
		case fence:
			list, open = append(list, *open), nil
		case open != nil:
			open.script += line
		}
	}
	if open != nil {
		t.Fatalf("%s: the block of line %d does not end", page, open.line)
	}
	return list
}

// blockTime is more than any block takes.
const blockTime = 5 * time.Minute

// TestPages runs every block of shell of every page, in order, in one shell, in a copy of what
// is in version control. A block marked "background" goes on while the later ones run. What
// cannot be run here is marked "console".
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs other processes, which -short leaves out")
	}
	for _, program := range []string{"bash", "git", "make", "curl", "openssl", "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here (`make tools` installs what is missing): the pages' commands are not run", program)
		}
	}
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("redis-server"); page == redisPage && err != nil {
				t.Skip("redis-server is not installed: make tools (or apt-get install redis-server) installs it")
			}
			s := newShell(t, clone(t))
			for _, b := range blocks(t, page) {
				switch b.info {
				case "sh":
					s.run(page, b, false)
				case "sh background":
					s.run(page, b, true)
				case "console", "json", "yaml", "ini", "python", "":
				default:
					t.Errorf("%s:%d: a block of %q: this test does not know whether to run it", page, b.line, b.info)
				}
			}
		})
	}
}

// clone copies what is in version control into a directory.
func clone(t *testing.T) string {
	t.Helper()
	list := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z") // whoever owns the clone
	list.Dir = repository
	names, err := list.Output()
	if err != nil {
		t.Skipf("not a clone (git ls-files: %v): nobody can say which files one has", err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		from, to := filepath.Join(repository, name), filepath.Join(dir, name)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatalf("git knows %s: %v", name, err)
		}
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, b, info.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A shell is one that a reader has open: what a block sets, the next one has.
type shell struct {
	t     *testing.T
	stdin io.Writer
	lines chan string   // of output, both kinds
	ended chan struct{} // closed when the shell has; what it started may go on
	ports *strings.Replacer
	http  string // where a page's server serves HTTP
}

// newShell opens a shell in a directory. The ports of the pages become others, that are free.
func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	grpc, http, pprof, redis := freePort(t), freePort(t), freePort(t), freePort(t)
	s := &shell{
		t: t, lines: make(chan string, 1000), ended: make(chan struct{}), http: "127.0.0.1:" + http,
		ports: strings.NewReplacer(":8081", ":"+grpc, ":8080", ":"+http, ":6060", ":"+pprof,
			":8082", ":"+freePort(t), ":8083", ":"+freePort(t), ":6379", ":"+redis, "port 6379", "port "+redis),
	}
	command := exec.Command("bash", "-euo", "pipefail", "-s")
	command.Dir = dir
	home := t.TempDir()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, environmentPrefix) && !strings.HasPrefix(v, "MAKE") {
			command.Env = append(command.Env, v)
		}
	}
	command.Env = append(command.Env,
		"WATERMASTER_GRPC=127.0.0.1:"+grpc, "WATERMASTER_HTTP=127.0.0.1:"+http, "WATERMASTER_ADDRESS=127.0.0.1:"+grpc,
		"GOBIN="+home, "PATH="+home+":"+os.Getenv("PATH"), "TERM=dumb")
	// A session of its own ends as a whole, whatever the page has started.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = write, write
	if s.stdin, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		r := bufio.NewScanner(output)
		for r.Buffer(nil, 1<<20); r.Scan(); {
			select {
			case s.lines <- r.Text():
			case <-t.Context().Done(): // nobody asks any more
			}
		}
	}()
	go func() { defer close(s.ended); _ = command.Wait() }() // it ends early where a command failed
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGTERM) // all may have ended
		select {
		case <-read: // nobody holds the other end
		case <-time.After(30 * time.Second):
		}
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		<-s.ended
		<-read
		output.Close()
	})
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run runs a block to its end, or in the background until it serves.
func (s *shell) run(page string, b block, background bool) {
	s.t.Helper()
	const done = "the block is done"
	script := s.ports.Replace(b.script)
	if background {
		script = "{\n" + script + "} </dev/null &\n"
	} else {
		script = "{\n" + script + "} </dev/null\n"
	}
	if _, err := fmt.Fprintf(s.stdin, "%s\necho; echo '%s'\n", script, done); err != nil {
		s.t.Fatalf("%s:%d: %v", page, b.line, err)
	}
	var said bytes.Buffer
	late, ended := time.After(blockTime), s.ended
	var silent <-chan time.Time
	for over := false; !over; {
		select {
		case line := <-s.lines:
			if over = line == done; !over {
				fmt.Fprintln(&said, line)
			}
		case <-ended:
			ended, silent = nil, time.After(time.Second) // for its last words to arrive
		case <-silent:
			s.t.Fatalf("%s:%d: a command of the block failed:\n%s\nIt said:\n%s", page, b.line, script, said.String())
		case <-late:
			s.t.Fatalf("%s:%d: the block still runs after %v:\n%s\nIt said:\n%s", page, b.line, blockTime, script, said.String())
		}
	}
	if testing.Verbose() {
		s.t.Logf("%s:%d:\n%s%s", page, b.line, script, said.String())
	}
	if background {
		s.await(page, b)
	}
}

// await returns when something listens where a page's server does.
func (s *shell) await(page string, b block) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), blockTime)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.http)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s:%d: nothing serves at %s after %v", page, b.line, s.http, blockTime)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestPagesAreShort: a page that nobody reads to its end helps nobody.
func TestPagesAreShort(t *testing.T) {
	most := map[string]int{
		"clients/README.md": 100, "clients/python/README.md": 100, "clients/typescript/README.md": 100, "clients/go/README.md": 100,
	}
	for _, page := range pages {
		most[page] = 200
	}
	for page, most := range most {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n >= most {
			t.Errorf("%s has %d lines, want less than %d", page, n, most)
		}
	}
}

// TestPagesLinks: every link to a file leads to one.
func TestPagesLinks(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range append(pages, "server/METRICS.md", "examples/envoy/README.md", "examples/workers/README.md", "clients/README.md", "clients/testdata/README.md",
		"clients/python/README.md", "clients/typescript/README.md", "clients/go/README.md", "server/simulate/PROOF.md", "examples/deploy/systemd/README.md",
		"examples/deploy/kubernetes/README.md") {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(repository, filepath.Dir(page), string(m[1]))); err != nil {
				t.Errorf("%s: a link leads nowhere: %s", page, m[1])
			}
		}
	}
}

// TestPageOfFlags: the tables of server/OPERATIONS.md and, of Envoy's, of server/ENVOY.md have
// every flag of serve, its default, and no other.
func TestPageOfFlags(t *testing.T) {
	var text []byte
	for _, page := range []string{"OPERATIONS.md", "ENVOY.md"} {
		part, err := os.ReadFile(filepath.Join(repository, "server", page))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)[^`]*` \\|([^|]*)\\|").FindAllSubmatch(text, -1) {
		told[string(row[1])] = strings.Trim(string(row[2]), "` ")
	}
	serve := newServe()
	serve.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		got, ok := told[f.Name]
		if !ok {
			t.Errorf("--%s is not in the table", f.Name)
		}
		want := f.DefValue
		if want == "false" {
			want = ""
		}
		if got != want {
			t.Errorf("--%s: the table says %q by default, want %q", f.Name, got, want)
		}
		delete(told, f.Name)
	})
	for name := range told {
		t.Errorf("the table has --%s, and serve does not", name)
	}
}

// TestPagesNameCommands: every command of watermaster is told of in the pages.
func TestPagesNameCommands(t *testing.T) {
	var all []byte
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	for _, c := range newRoot().Commands() {
		if !isTold(all, c) {
			t.Errorf("no page tells of watermaster %s", c.Name())
		}
	}
}

func isTold(text []byte, c *cobra.Command) bool {
	return bytes.Contains(text, []byte("watermaster "+c.Name())) || bytes.Contains(text, []byte("watermaster`, `"+c.Name()))
}

// TestPagesNameMetrics: what the pages say to look at is in the list of all metrics, which another
// test holds to what is served.
func TestPagesNameMetrics(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(repository, "server", "METRICS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`watermaster_[a-z_]+`).FindAll(text, -1) {
			if name = bytes.TrimSuffix(name, []byte("_bucket")); !bytes.Contains(list, append(append([]byte("`"), name...), '`')) {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
	}
}
