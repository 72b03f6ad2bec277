package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// nodes are the places that connections are made to: the address, what the sentinels say is
// the master, or a cluster's nodes.
type nodes struct {
	mu sync.Mutex
	at map[string]*node
}

// A node is one of them. All its connections are to the same server: when another answers,
// those to the one before are ended, for what they would be told may be lost.
type node struct {
	client *client
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	identity string // of the server that was met last
	open     map[*connection]struct{}
}

// node gives that of a name.
func (c *client) node(name string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *node {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	if c.nodes.at == nil {
		c.nodes.at = map[string]*node{}
	}
	n := c.nodes.at[name]
	if n == nil {
		n = &node{client: c, dial: dial, open: map[*connection]struct{}{}}
		c.nodes.at[name] = n
	}
	return n
}

// connect makes a connection. Where it cannot, it is one that says why when it is used:
// after some errors the client would try again once a second only.
func (n *node) connect(ctx context.Context, network, address string) (net.Conn, error) {
	inner, err := n.dial(ctx, network, address)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return unreachable{fmt.Errorf("%w", err)}, nil // the client takes one layer off
	}
	if err != nil { // what is wrong with TLS is told as it was: the client knows it only here
		return nil, err
	}
	c := &connection{Conn: inner, node: n}
	n.mu.Lock()
	n.open[c] = struct{}{}
	n.mu.Unlock()
	if raw, ok := inner.(syscall.Conn); ok { // so the client can see that it has ended
		return struct {
			*connection
			syscall.Conn
		}{c, raw}, nil
	}
	return c, nil
}

// greet sees who answers on a new connection, before anything else is sent on it. Who is
// met for the first time is counted first, which is when all transactions of before are
// fenced off.
func (n *node) greet(ctx context.Context, c *goredis.Conn) error {
	identity, sentinel, err := identify(ctx, c)
	if err != nil || sentinel {
		return err
	}
	n.mu.Lock()
	before := n.identity
	if identity == before {
		n.mu.Unlock()
		return nil
	}
	n.client.known.Add(1)
	n.identity = identity
	var end []*connection
	if before != "" {
		for c := range n.open {
			end = append(end, c)
		}
	}
	n.mu.Unlock()
	if before == "" {
		return nil
	}
	for _, c := range end {
		_ = c.Close()
	}
	return ErrOtherServer // this connection was ended as well
}

// A connection is known to its node until it is closed.
type connection struct {
	net.Conn
	node *node
	once sync.Once
}

// Close implements net.Conn.
func (c *connection) Close() (err error) {
	c.once.Do(func() {
		c.node.mu.Lock()
		delete(c.node.open, c)
		c.node.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}

// unreachable is a connection that could not be made.
type unreachable struct{ err error }

func (u unreachable) Read([]byte) (int, error)         { return 0, u.err }
func (u unreachable) Write([]byte) (int, error)        { return 0, u.err }
func (u unreachable) Close() error                     { return nil }
func (u unreachable) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (u unreachable) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (u unreachable) SetDeadline(time.Time) error      { return nil }
func (u unreachable) SetReadDeadline(time.Time) error  { return nil }
func (u unreachable) SetWriteDeadline(time.Time) error { return nil }
