package web

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"
)

// ticketKey is the metadata that names a request to our own side of the connection.
const ticketKey = "watermaster-ticket"

// PeerOf tells who has made a call: of one that came by HTTP the client of that connection,
// with the certificates that it showed (a credentials.TLSInfo, nil without TLS), of any other
// what peer.FromContext tells. It is for the interceptors and handlers of the gRPC server.
// False: that is not known, and nothing may be assumed; the client may have gone.
//
// It cannot be forged. Only a connection within the process has an address of our type, and
// over that the gateway alone sends metadata, with a ticket that is good for one request.
func PeerOf(ctx context.Context) (*peer.Peer, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	of, ok := p.Addr.(*clients)
	if !ok {
		return p, true
	}
	tickets := metadata.ValueFromIncomingContext(ctx, ticketKey)
	if len(tickets) != 1 {
		return nil, false
	}
	return of.find(tickets[0])
}

// clients are those whose requests are in the gateway, by their tickets. It is also the
// address of the gateway's end of the connection.
type clients struct{ byTicket sync.Map }

// enter gives a request a ticket, which leave takes back.
func (c *clients) enter(r *http.Request) (ticket string, leave func()) {
	p := &peer.Peer{Addr: addressOf(r.RemoteAddr)}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{
			State:          *r.TLS,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}
	}
	ticket = rand.Text()
	c.byTicket.Store(ticket, p)
	return ticket, func() { c.byTicket.Delete(ticket) }
}

func (c *clients) find(ticket string) (*peer.Peer, bool) {
	p, ok := c.byTicket.Load(ticket)
	if !ok {
		return nil, false
	}
	return p.(*peer.Peer), true
}

// Network implements net.Addr.
func (c *clients) Network() string { return "bufconn" }

func (c *clients) String() string { return "gateway" }

// listen makes the listener of the connection.
func (c *clients) listen() *listener { return &listener{bufconn.Listen(1 << 20), c} }

// A listener accepts connections that know whose they are.
type listener struct {
	*bufconn.Listener
	from *clients
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &connection{c, l.from}, nil
}

type connection struct {
	net.Conn
	from *clients
}

func (c *connection) RemoteAddr() net.Addr { return c.from }

// addressOf reads the address of a client as net/http tells it.
func addressOf(remote string) net.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return &net.UnixAddr{Name: remote, Net: "unix"}
}
