package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/web"
	"github.com/watermaster-project/watermaster/store/memory"
	"github.com/watermaster-project/watermaster/store/redis"
)

// What is measured is measured on a server in a process of its own: the test's binary, started
// again. It says where it listens, and answers each line with its figures.

// remoteVariable has a remoteOptions as JSON, in the environment of a server's process.
const remoteVariable = "WATERMASTER_TEST_SERVER"

type remoteOptions struct {
	Config string
	Speed  int64  // of log time; 0: 1. Over a store it goes at it from remote.hurry on
	Store  string // URL of the log in Redis; "": it is in memory
	Limits string // of a domain of Envoy's; "": there are none
}

// remoteAddresses are where a server's process listens.
type remoteAddresses struct{ GRPC, TLS, HTTP string }

// figures are what a server's process tells of itself.
type figures struct {
	CPU        int64 // µs
	RSS        int64 // bytes
	Heap       int64 // bytes in use, stacks included
	Goroutines int
	Slots      int64 // held of limits without a window
	Waiting    int   // in the engines
	Places     int
	Counted    int64 // Server.waiting
}

// serveRemote is the server's process.
func serveRemote(options string) {
	var o remoteOptions
	must(json.Unmarshal([]byte(options), &o))
	debug.SetGCPercent(400) // as `watermaster serve` does
	cfg, err := config.Parse("test.yaml", []byte(o.Config), time.Unix(1, 0))
	must(err)
	var limits *envoy.Limits
	if o.Limits != "" {
		limits, err = envoy.Parse([]envoy.File{{Name: "test.yaml", Data: []byte(o.Limits)}}, envoy.Options{})
		must(err)
	}
	clock := newRemoteClock(o.Speed)
	served := Options{Config: cfg, Log: memory.Open(memory.Options{Clock: clock.wall}), Peer: web.PeerOf, Envoy: EnvoyOptions{Limits: limits}}
	if o.Store == "" {
		clock.hurry()
	} else {
		served.SnapshotEvery = 256 << 10 // as `watermaster serve` has it
		served.Log, err = redis.Open(context.Background(), o.Store, redis.Options{
			Timeout: 10 * time.Second, // it is not to be measured how it fails
			Clock:   func() (wall, monotonic int64) { return clock.wall(), clock.monotonic() },
		})
		must(err)
	}
	s, err := New(context.Background(), served)
	must(err)
	plain := s.NewGRPC()
	plain.RegisterService(&emptyService, nil)
	if strings.HasPrefix(o.Store, "redis://") {
		least, err := newFloor(o.Store)
		must(err)
		plain.RegisterService(least.service(), nil)
	}
	secure := s.NewGRPC(grpc.Creds(encrypted()))
	w, err := web.New(web.Options{NewGRPC: s.NewGRPC, Ready: s.Ready, Authorize: s.AuthorizeHTTP})
	must(err)
	var at remoteAddresses
	for _, l := range []struct {
		address *string
		serve   func(net.Listener) error
	}{{&at.GRPC, plain.Serve}, {&at.TLS, secure.Serve}, {&at.HTTP, w.HTTPServer("").Serve}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		*l.address = listener.Addr().String()
		go func() { _ = l.serve(listener) }()
	}
	tell := json.NewEncoder(os.Stdout)
	must(tell.Encode(at))
	stop := profileBench()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "gc":
			debug.FreeOSMemory()
		case "hurry":
			clock.hurry()
		}
		must(tell.Encode(s.figures()))
	}
	stop()
	os.Exit(0)
}

// A remoteClock is what a server's process has for a clock. It goes at another speed from when
// it is told to: a process that joins a shared log has to do that in real time.
type remoteClock struct {
	start time.Time
	speed int64
	slow  atomic.Int64 // for so many ns it goes as others do
}

func newRemoteClock(speed int64) *remoteClock {
	c := &remoteClock{start: time.Now(), speed: max(1, speed)}
	c.slow.Store(math.MaxInt64)
	return c
}

func (c *remoteClock) hurry() { c.slow.CompareAndSwap(math.MaxInt64, int64(time.Since(c.start))) }

func (c *remoteClock) monotonic() int64 {
	d := int64(time.Since(c.start))
	return d + max(0, d-c.slow.Load())*(c.speed-1)
}

func (c *remoteClock) wall() int64 { return c.start.UnixNano() + c.monotonic() }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// encrypted is TLS with a certificate of its own, for 127.0.0.1.
func encrypted() credentials.TransportCredentials {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
}

func (s *Server) figures() (f figures) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	f.CPU = u.Utime.Nano()/1000 + u.Stime.Nano()/1000
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, _ := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		f.RSS = pages * int64(os.Getpagesize())
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Heap = int64(m.HeapAlloc + m.StackInuse)
	f.Goroutines = runtime.NumGoroutine()
	for _, o := range s.directory.Load().list {
		o.replica.Lock()
		_, waiting := o.engine().Counts()
		f.Waiting, f.Places = f.Waiting+waiting, f.Places+len(o.places)
		for _, l := range o.engine().Limits(o.now()) {
			if l.Spec.Shape == limiter.Stock {
				f.Slots += l.Held
			}
		}
		o.replica.Unlock()
	}
	f.Counted = s.waiting.Load()
	return f
}

// A remote is the server's process as a test sees it.
type remote struct {
	remoteAddresses
	t     testing.TB
	conns []*grpc.ClientConn
	in    io.WriteCloser
	out   *bufio.Scanner
	cmd   *exec.Cmd
}

// startRemote starts a server's process, which ends with the test.
func startRemote(t testing.TB, o remoteOptions, connections int) *remote {
	t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{t: t, cmd: exec.Command(os.Args[0], "-test.run=^$")}
	r.cmd.Env = append(os.Environ(), remoteVariable+"="+string(options))
	r.cmd.Stderr = os.Stderr
	r.in, _ = r.cmd.StdinPipe()
	out, _ := r.cmd.StdoutPipe()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	r.out = bufio.NewScanner(out)
	r.read(&r.remoteAddresses)
	for range connections {
		r.conns = append(r.conns, r.dial())
	}
	return r
}

func (r *remote) read(to any) {
	r.t.Helper()
	if !r.out.Scan() {
		r.t.Fatalf("the server's process has ended: %v", r.out.Err())
	}
	if err := json.Unmarshal(r.out.Bytes(), to); err != nil {
		r.t.Fatal(err)
	}
}

// dial makes a connection that the test's end closes.
func (r *remote) dial(more ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	c, err := grpc.NewClient(r.GRPC, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *remote) stop() {
	for _, c := range r.conns {
		c.Close()
	}
	r.in.Close()
	_ = r.cmd.Wait()
}

// figures asks how the server's process does; rest: after its garbage is collected.
func (r *remote) figures(rest bool) figures {
	r.t.Helper()
	return r.tell(map[bool]string{true: "gc"}[rest])
}

// hurry lets its log time go at remoteOptions.Speed.
func (r *remote) hurry() {
	r.t.Helper()
	r.tell("hurry")
}

func (r *remote) tell(what string) (f figures) {
	r.t.Helper()
	fmt.Fprintln(r.in, what)
	r.read(&f)
	return f
}

// until waits for what the network brings about, and gives the figures that show it.
func (r *remote) until(what string, within time.Duration, is func(figures) bool) figures {
	r.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		f := r.figures(false)
		if is(f) {
			return f
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within %v: %+v", what, within, f)
		}
	}
}
