package server

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// attackRate is how many frames or bytes or connections an attack makes a second, from one
// goroutine: what costs the attacker next to nothing.
const attackRate = 2000

// An attack does something to a server, attackRate times a second.
type attack struct {
	name string
	path string              // of the method that it pretends to call
	each func(w *wire) error // writes what it sends each time; the connection is made anew when it has ended
}

// attacks are over HTTP/2, each on one connection at a time.
var attacks = []attack{
	{"rapid reset", acquireMethod, func(w *wire) error {
		id := w.call(ask("a", of("quiet"), block(0)))
		return w.framer.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	{"reset of what waits", watchMethod, func(w *wire) error {
		return w.framer.WriteRSTStream(w.call(&pb.WatchHeadroomRequest{Organization: "quiet"}), http2.ErrCodeCancel)
	}},
	{"streams without end", watchMethod, func(w *wire) error { w.open(w.header, true); return nil }},
	{"pings", acquireMethod, func(w *wire) error { return w.framer.WritePing(false, [8]byte{1}) }},
	{"settings", acquireMethod, func(w *wire) error {
		return w.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 + w.next%100})
	}},
	{"windows that are nonsense", watchMethod, func(w *wire) error {
		id := w.call(&pb.WatchHeadroomRequest{Organization: "quiet"})
		for _, on := range []uint32{id, id, 0, id + 100} {
			_ = w.framer.WriteWindowUpdate(on, 1<<31-1)
		}
		return w.framer.WriteWindowUpdate(id, 0)
	}},
	{"data for nobody", acquireMethod, func(w *wire) error {
		id := w.open(w.header, true)
		_ = w.framer.WriteData(id, false, nil)
		_ = w.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		return w.framer.WriteData(id, true, make([]byte, 1<<10))
	}},
	{"16 MiB of headers", acquireMethod, func(w *wire) error { return w.headers(16<<10, 1<<10) }},
	{"headers without end", acquireMethod, func(w *wire) error { return w.headers(10, 1<<30) }},
	{"headers that unpack", acquireMethod, func(w *wire) error {
		block := headerOf(acquireMethod)
		block = append(block, 0x40, 1, 'a', 0x7f, 0x81, 0x17) // index a header of 3,072 bytes …
		block = append(block, strings.Repeat("x", 3072)...)
		block = append(block, strings.Repeat("\xbe", 8<<10)...) // … and repeat it, a byte each
		w.open(block, true)
		return nil
	}},
	{"frames of no known type", acquireMethod, func(w *wire) error { return w.framer.WriteRawFrame(0xee, 0xff, w.next, make([]byte, 100)) }},
}

// headers begins a header, or goes on with it: n frames of so many bytes.
func (w *wire) headers(size, n int) error {
	const field = "\x00\x01a\x05yyyyy" // a literal, not indexed
	fragment := []byte(strings.Repeat(field, size/len(field)))
	w.sent++
	if w.sent%n == 1 {
		w.open(append(headerOf(w.path), fragment...), false)
		return nil
	}
	return w.framer.WriteContinuation(w.next-2, w.sent%n == 0, fragment)
}

// run attacks until the context ends, and gives how many connections it took.
func (a *attack) run(ctx context.Context, address string) (connections int) {
	const batch = 4
	tick := time.NewTicker(batch * time.Second / attackRate)
	defer tick.Stop()
	var w *wire
	defer func() {
		if w != nil {
			w.conn.Close()
			<-w.closed
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return connections
		case <-tick.C:
		}
		if w == nil || w.isClosed() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return connections
			}
			w = newWire(conn, a.path)
			connections++
			go w.read()
		}
		for range batch {
			if a.each(w) != nil {
				break
			}
		}
		if w.flush() != nil {
			w.conn.Close()
			<-w.closed
		}
	}
}

// connections are opened, and go on for as long as the server lets them: each
// says something at first, and drips a little now and then.
type connections struct {
	name    string
	address func(r *remote) string
	says    string
	drip    string
	most    int // at a time
}

var slowConnections = []connections{
	{"half a TLS handshake", func(r *remote) string { return r.TLS }, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00", 200},
	{"half a preface", func(r *remote) string { return r.GRPC }, http2.ClientPreface[:5], "", 200},
	{"slow headers over HTTP", func(r *remote) string { return r.HTTP }, "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nX-Slow: ", "x", 200},
	{"slow bodies over HTTP", func(r *remote) string { return r.HTTP }, "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{", " ", 200},
}

// run opens up to 200 connections a second and drips into them.
func (c *connections) run(ctx context.Context, r *remote) (opened int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var all []net.Conn
	defer func() {
		for _, conn := range all {
			conn.Close()
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return opened
		case <-tick.C:
		}
		if len(all) < c.most {
			conn, err := net.Dial("tcp", c.address(r))
			if err != nil {
				return opened
			}
			all = append(all, conn)
			opened++
			_, _ = conn.Write([]byte(c.says))
		}
		_, _ = all[i%len(all)].Write([]byte(c.drip)) // it may be closed by now
	}
}

// An attacker attacks in one way after another.
type attacker struct {
	t    testing.TB
	ways []way
	turn int
	stop context.CancelFunc
	done chan int // the connections it took
}

type way struct {
	name string
	run  func(ctx context.Context) int
}

func (a *attacker) begin() {
	var ctx context.Context
	ctx, a.stop = context.WithCancel(a.t.Context())
	a.done = make(chan int, 1)
	run := a.ways[a.turn%len(a.ways)].run
	go func() { a.done <- run(ctx) }()
}

func (a *attacker) end() {
	a.stop()
	if n := <-a.done; n == 0 {
		a.t.Errorf("%s: no connection", a.ways[a.turn%len(a.ways)].name)
	}
	a.turn++
}

// TestAbuse attacks a server in many ways, one after the other, while a worker calls: its p99
// stays within twice of what it is alone, none of its calls fails, and of the attacks nothing
// is left.
func TestAbuse(t *testing.T) {
	heavy(t)
	const most = 2.0
	r := startRemote(t, remoteOptions{Config: fmt.Sprintf(neighbours, 1000), Speed: benchSpeed}, 4) // what is settled is soon forgotten
	good := &prober{t: t, conns: r.conns, organization: "quiet"}
	good.probe(time.Second)
	before := r.figures(true)
	a := &attacker{t: t}
	for i := range attacks {
		a.ways = append(a.ways, way{attacks[i].name, func(ctx context.Context) int { return attacks[i].run(ctx, r.GRPC) }})
	}
	for i := range slowConnections {
		a.ways = append(a.ways, way{slowConnections[i].name, func(ctx context.Context) int { return slowConnections[i].run(ctx, r) }})
	}
	c := good.compare([]int{r.cmd.Process.Pid}, len(a.ways), 700*time.Millisecond, 0, undisturbed{}, a)
	if a.turn < len(a.ways) {
		t.Errorf("%d of %d attacks were made", a.turn, len(a.ways))
	}
	// Handshakes and slow headers have 5 s, slow bodies 10 s; whoever has gone is gone at once.
	r.until("all is as before", 15*time.Second, func(f figures) bool { return f.Goroutines <= before.Goroutines && f.Waiting == 0 })
	after := r.figures(true)
	t.Logf("%d attacks, and as much time without, in %v: %d goroutines (%d before), heap %d KiB (%d), resident %d KiB (%d)", a.turn, c.Took.Round(time.Second),
		after.Goroutines, before.Goroutines, after.Heap>>10, before.Heap>>10, after.RSS>>10, before.RSS>>10)
	if after.Heap > before.Heap+8<<20 {
		t.Errorf("the heap has grown from %d to %d KiB", before.Heap>>10, after.Heap>>10)
	}
	c.judge(t, most)
}
