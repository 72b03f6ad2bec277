package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// TestDialRefuses: mistakes in flags are told before anything is sent.
func TestDialRefuses(t *testing.T) {
	key := write(t, "key", "wm_secret\n")
	empty := write(t, "empty", " \n")
	two := write(t, "two", "wm_secret\nwm_other\n")
	for _, tt := range []struct {
		flags dialFlags
		want  string // part of the error; "": none
	}{
		{dialFlags{address: "127.0.0.1:8081"}, ""},
		{dialFlags{address: "localhost:8081", keyFile: key}, ""},
		{dialFlags{address: "127.9.9.9:8081", keyFile: key}, ""},
		{dialFlags{address: "[::1]:8081", keyFile: key}, ""},
		{dialFlags{address: "unix:/run/watermaster.sock", keyFile: key}, ""},
		{dialFlags{address: "example.com:8081"}, ""},
		{dialFlags{address: "example.com:8081", keyFile: key}, "unencrypted"},
		{dialFlags{address: "10.0.0.7:8081", keyFile: key}, "--insecure"},
		{dialFlags{address: "localhost.example.com:8081", keyFile: key}, "unencrypted"},
		{dialFlags{address: "127.0.0.1.example.com:8081", keyFile: key}, "unencrypted"},
		{dialFlags{address: "10.0.0.7:8081", keyFile: key, insecure: true}, ""},
		{dialFlags{address: "10.0.0.7:8081", keyFile: key, tls: true}, ""},
		{dialFlags{address: "10.0.0.7:8081", keyFile: key, serverName: "watermaster"}, ""},
		{dialFlags{address: "8081"}, "HOST:PORT"},
		{dialFlags{address: ":8081"}, "HOST:PORT"},
		{dialFlags{address: "host:"}, "HOST:PORT"},
		{dialFlags{address: "http://host:8081"}, "HOST:PORT"},
		{dialFlags{address: "dns:///host:8081"}, "HOST:PORT"},
		{dialFlags{address: "unix:"}, "unix:PATH"},
		{dialFlags{address: "localhost:1", keyFile: "nowhere"}, "--key-file"},
		{dialFlags{address: "localhost:1", keyFile: empty}, "empty"},
		{dialFlags{address: "localhost:1", keyFile: two}, "one word"},
		{dialFlags{address: "localhost:1", ca: "nowhere"}, "--tls-ca"},
		{dialFlags{address: "localhost:1", ca: key}, "no certificate"},
		{dialFlags{address: "localhost:1", cert: key}, "give both"},
		{dialFlags{address: "localhost:1", key: key}, "give both"},
		{dialFlags{address: "localhost:1", cert: key, key: key}, "--tls-client-cert, --tls-client-key"},
	} {
		conn, err := tt.flags.dial()
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.flags, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "wm_") {
			t.Errorf("an error tells the key: %v", err)
		}
	}
	t.Setenv(keyVariable, "wm_of_environment")
	for _, address := range []string{"10.0.0.7:8081", "example.com:443"} {
		if _, err := (&dialFlags{address: address}).dial(); err == nil || !strings.Contains(err.Error(), "unencrypted") {
			t.Errorf("%s: %v, want that the key of the environment is kept", address, err)
		}
	}
}

// An authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", nil)
	return a
}

// path is that of a file with a certificate or key.
func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// sign writes NAME.pem and NAME.key. Without a parent the certificate is its own.
func (a *authority) sign(t *testing.T, name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, with := template, key
	if parent != nil {
		by, with = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestDialTLS: a server that wants certificates, and a key that it gets.
func TestDialTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	a.sign(t, "watermaster.test", a)
	a.sign(t, "worker", a)
	pair, err := tls.LoadX509KeyPair(a.path("watermaster.test.pem"), a.path("watermaster.test.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	got := make(chan []string, 1)
	l := startLive(t, "127.0.0.1:0",
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			got <- metadata.ValueFromIncomingContext(ctx, "authorization")
			return handler(ctx, req)
		}))
	t.Setenv(keyVariable, "wm_of_environment")
	good := dialFlags{
		address: l.address, ca: a.path("ca.pem"), cert: a.path("worker.pem"), key: a.path("worker.key"),
		serverName: "watermaster.test", keyFile: write(t, "key", "wm_secret\n"),
	}
	change := func(f func(*dialFlags)) dialFlags {
		c := good
		f(&c)
		return c
	}
	for _, tt := range []struct {
		name  string
		flags dialFlags
		key   string // that the server got; "": it could not be reached
	}{
		{"all in order", good, "wm_secret"},
		{"the key of the environment", change(func(f *dialFlags) { f.keyFile = "" }), "wm_of_environment"},
		{"another authority", change(func(f *dialFlags) { f.ca = stranger.path("ca.pem") }), ""},
		{"the system's authorities", change(func(f *dialFlags) { f.ca, f.tls = "", true }), ""},
		{"another name", change(func(f *dialFlags) { f.serverName = "" }), ""},
		{"no certificate", change(func(f *dialFlags) { f.cert, f.key = "", "" }), ""},
		{"in the clear", dialFlags{address: l.address}, ""},
	} {
		conn, err := tt.flags.dial()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		stop()
		conn.Close()
		if tt.key == "" {
			if err == nil {
				t.Errorf("%s: the server was reached", tt.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if sent := <-got; !slices.Equal(sent, []string{"Bearer " + tt.key}) {
			t.Errorf("%s: sent %q, want Bearer %s", tt.name, sent, tt.key)
		}
	}
}
