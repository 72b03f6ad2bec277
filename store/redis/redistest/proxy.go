package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy stands between a log and its server, and fails as networks do.
type Proxy struct {
	listener net.Listener
	done     sync.WaitGroup

	mu          sync.Mutex
	target      string
	cut         int // replies that are still to be lost
	cuts        int // how often all connections were ended: one that was being made then is not kept
	connections map[net.Conn]struct{}
	closed      bool
}

// StartProxy starts a proxy to an address, until the test ends.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, connections: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// Address gives host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// URL gives what redis.Open takes.
func (p *Proxy) URL() string { return "redis://" + p.Address() }

// LoseReplies ends the next n connections on which the server answers, before the answer.
func (p *Proxy) LoseReplies(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = n
}

// Point sends new connections to another server, and ends those that there are.
func (p *Proxy) Point(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.Cut()
}

// Redirect sends new connections to another server. Those that there are stay.
func (p *Proxy) Redirect(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
	for c := range p.connections {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, cuts := p.target, p.cuts
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil || !p.add(cuts, client, server) {
			_ = client.Close()
			continue
		}
		end := func() {
			_ = client.Close()
			_ = server.Close()
		}
		p.done.Go(func() {
			_, _ = io.Copy(server, client)
			end()
		})
		p.done.Go(func() {
			p.replies(client, server)
			end()
			p.remove(client, server)
		})
	}
}

// add keeps the two ends of a connection, unless it was made before the latest cut.
func (p *Proxy) add(cuts int, connections ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || cuts != p.cuts {
		for _, c := range connections {
			_ = c.Close()
		}
		return false
	}
	for _, c := range connections {
		p.connections[c] = struct{}{}
	}
	return true
}

func (p *Proxy) remove(connections ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range connections {
		delete(p.connections, c)
	}
}

// replies hands on what the server says until it is to be lost.
func (p *Proxy) replies(client, server net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		lose := p.cut > 0
		if lose {
			p.cut--
		}
		p.mu.Unlock()
		if lose {
			return
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}
