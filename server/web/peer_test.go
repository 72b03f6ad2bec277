package web_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/web"
)

// A witness is an interceptor that sees what credentials are checked by.
type witness struct {
	lock     sync.Mutex
	metadata metadata.MD
	peer     *peer.Peer
	known    bool
}

func (o *witness) see(ctx context.Context) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.metadata, _ = metadata.FromIncomingContext(ctx)
	o.peer, o.known = web.PeerOf(ctx)
}

func (o *witness) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			o.see(ctx)
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			o.see(s.Context())
			return next(srv, s)
		}),
	}
}

// subject is the name on the verified certificate; "" for none.
func (o *witness) subject() string {
	if !o.known {
		return "unknown"
	}
	info, ok := o.peer.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return ""
	}
	return info.State.VerifiedChains[0][0].Subject.CommonName
}

// TestMetadata: of the headers, the credentials reach gRPC and nothing else does.
func TestMetadata(t *testing.T) {
	var seen witness
	w := newWorld(t, nothing, seen.options()...)
	a := w.do("GET", "/v1/headroom", "",
		"Authorization: Bearer secret", "X-Api-Key: key", "X-Request-Id: r", "Cookie: c=1", "Accept: */*",
		"Grpc-Metadata-X-Api-Key: forged", "Grpc-Metadata-Watermaster-Ticket: forged", "Watermaster-Ticket: forged",
		"Grpcgateway-Authorization: forged", "Grpc-Timeout: 1n", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: forged")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("got %s %s", a.Status, a.text)
	}
	md := seen.metadata
	if got := md["authorization"]; !slices.Equal(got, []string{"Bearer secret"}) {
		t.Errorf("authorization: got %q", got)
	}
	if got := md["x-api-key"]; !slices.Equal(got, []string{"key"}) {
		t.Errorf("x-api-key: got %q", got)
	}
	if got := md["watermaster-ticket"]; len(got) != 1 || got[0] == "forged" {
		t.Errorf("ticket: got %q", got)
	}
	for _, name := range []string{"authorization", "x-api-key", "watermaster-ticket", ":authority", "content-type", "user-agent", "grpc-accept-encoding"} {
		delete(md, name)
	}
	if len(md) != 0 {
		t.Errorf("also there: %v", slices.Sorted(maps.Keys(md)))
	}
	if addr, ok := seen.peer.Addr.(*net.TCPAddr); !ok || !addr.IP.IsLoopback() || seen.peer.AuthInfo != nil {
		t.Errorf("got the peer %v", seen.peer)
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Grpc-") {
			t.Errorf("the answer has the header %s", name)
		}
	}
}

// TestCertificates: the verified certificate of an HTTP connection reaches the interceptors of
// unary calls and streams, and no client can claim another's.
func TestCertificates(t *testing.T) {
	ca := newAuthority(t)
	var seen witness
	w := newWorldBehind(t, nothing, seen.options()...)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.issue("server")},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: ca.pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.http.Serve(l) }()
	w.url = "https://" + l.Addr().String()

	// ask gives the ticket with which the request was in the gateway.
	ask := func(cert *tls.Certificate, path string, headers ...string) string {
		t.Helper()
		config := &tls.Config{RootCAs: ca.pool}
		if cert != nil {
			config.Certificates = []tls.Certificate{*cert}
		}
		w.client = &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer w.client.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", w.url+path, nil)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		a, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusOK {
			t.Fatal(a.Status)
		}
		seen.lock.Lock()
		defer seen.lock.Unlock()
		return seen.metadata["watermaster-ticket"][0]
	}
	alice := ca.issue("alice")
	spent := ask(&alice, "/v1/headroom")
	if got := seen.subject(); got != "alice" {
		t.Errorf("with a certificate: got %q, want alice", got)
	}
	ask(&alice, "/v1/headroom/watch")
	if got := seen.subject(); got != "alice" {
		t.Errorf("a stream: got %q, want alice", got)
	}
	ask(nil, "/v1/headroom", "Watermaster-Ticket: "+spent, "Grpc-Metadata-Watermaster-Ticket: "+spent, "X-Forwarded-Client-Cert: Subject=\"CN=alice\"")
	if got := seen.subject(); got != "" {
		t.Errorf("with headers alone: got %q, want nobody", got)
	}
}

// TestTicketsByGRPC: a ticket is worth nothing to those who call by gRPC, even one of a
// request that is in the gateway now.
func TestTicketsByGRPC(t *testing.T) {
	var seen witness
	w := newWorld(t, nothing, seen.options()...)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", w.url+"/v1/headroom/watch", nil)
	a, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	live := seen.metadata["watermaster-ticket"][0]

	// Even if the gateway's very server could be reached by the network.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.grpc.Serve(l) }() // the gateway's end stops it
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "watermaster-ticket", live)
	if _, err := pb.NewMonitorServiceClient(conn).GetHeadroom(ctx, &pb.GetHeadroomRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := seen.metadata["watermaster-ticket"]; len(got) != 1 || got[0] != live {
		t.Fatalf("the ticket did not arrive: %q", got)
	}
	// The peer is the gRPC client itself: it has another port than the HTTP client.
	if p, ok := seen.peer.Addr.(*net.TCPAddr); !ok || seen.peer.LocalAddr == nil || seen.peer.LocalAddr.String() != l.Addr().String() {
		t.Errorf("got the peer %v, %v", p, seen.peer)
	}
}

// An authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for a name, good for both sides.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
