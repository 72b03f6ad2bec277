package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// An issuer is an authority of the tests.
type issuer struct {
	t           *testing.T
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	serial      int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	i.certificate, i.key = i.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return i
}

// sign makes a certificate for a new key.
func (i *issuer) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.serial++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(i.serial), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := i.certificate, i.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		i.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return out, key
}

// pair makes a certificate and key for a name, as PEM.
func (i *issuer) pair(name string) (certificate, key []byte) {
	i.t.Helper()
	c, k := i.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		i.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})
}

// trusting makes the configuration of a client that trusts the issuer and shows a certificate
// of another for a name; "": none.
func (i *issuer) trusting(by *issuer, name string) *tls.Config {
	i.t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(i.certificate)
	if name != "" {
		pair, err := tls.X509KeyPair(by.pair(name))
		if err != nil {
			i.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// TestServeTLS: over both ports nobody gets in without a certificate of the authority; who
// has one is known by its name, who shows a key by that; and a certificate that is replaced
// takes hold without a restart.
func TestServeTLS(t *testing.T) {
	const key = "wm_CANARY-key"
	authority, stranger := newIssuer(t), newIssuer(t)
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, err := os.ReadFile(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "credentials:\n  - {name: workers, client_certificate: workers.example, organization: acme}\n"+
		"  - {name: operator, sha256: %x, organization: '*', services: [monitor, admin]}\n", sha256.Sum256([]byte(key)))
	certificate, private := authority.pair("localhost")
	r := start(t, "--config", put("config.yaml", text), "--log-level", "debug",
		"--tls-cert", put("tls.crt", certificate), "--tls-key", put("tls.key", private), "--tls-client-ca", put("ca.crt", authority.pem()))

	for _, row := range []struct {
		name string
		tls  *tls.Config
		want codes.Code
	}{
		{"its certificate", authority.trusting(authority, "workers.example"), codes.OK},
		{"another name", authority.trusting(authority, "other.example"), codes.Unauthenticated},
		{"another authority", authority.trusting(stranger, "workers.example"), codes.Unavailable},
		{"no certificate", authority.trusting(nil, ""), codes.Unavailable},
	} {
		a, err := r.client(credentials.NewTLS(row.tls)).Acquire(t.Context(), request(row.name, 100))
		if status.Code(err) != row.want || err == nil && a.GetGranted() == nil {
			t.Errorf("gRPC with %s: got %v, %v, want %v", row.name, a, err, row.want)
		}
		body, code, err := r.post(row.tls, "", fmt.Sprintf(`{"request_id": "http %s", "project": "search", "route": "smart", "input_tokens": 1, "max_output_tokens": 1}`, row.name))
		if ok := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401}[row.want]; code != ok || (err != nil) != (ok == 0) {
			t.Errorf("HTTP with %s: got %d, %v, %s, want %d", row.name, code, err, body, ok)
		}
	}

	// A key decides alone where there is one.
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(credentials.NewTLS(authority.trusting(authority, "other.example"))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-api-key", key)
	if _, err := pb.NewMonitorServiceClient(conn).GetHeadroom(ctx, &pb.GetHeadroomRequest{}); err != nil {
		t.Errorf("headroom with the operator's key: %v", err)
	}
	if _, err := pb.NewLimiterServiceClient(conn).Acquire(ctx, request("o", 1)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("acquire with the operator's key: got %v, want PERMISSION_DENIED", err)
	}

	// The server's certificate is replaced by one of another authority, whom the clients of
	// before do not trust.
	certificate, private = stranger.pair("localhost")
	put("tls.key", private)
	put("tls.crt", certificate)
	late := time.Now().Add(20 * time.Second)
	for tries := time.NewTicker(50 * time.Millisecond); ; <-tries.C {
		trusts := stranger.trusting(authority, "workers.example")
		_, _, err := r.post(trusts, "", `{"request_id": "new", "project": "search", "route": "smart", "input_tokens": 1, "max_output_tokens": 1}`)
		if err == nil {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("the new certificate does not take hold: %v\n%s", err, r.log)
		}
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if strings.Contains(r.log.String(), "CANARY") {
		t.Error("the log tells a key")
	}
}

// post acquires over HTTP, on a connection of its own.
func (r *running) post(c *tls.Config, key, body string) (answer string, code int, err error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	q, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+r.http+"/v1/acquire", bytes.NewBufferString(body))
	if err != nil {
		return "", 0, err
	}
	q.Header.Set("Content-Type", "application/json")
	if key != "" {
		q.Header.Set("Authorization", "Bearer "+key)
	}
	a, err := client.Do(q)
	if err != nil {
		return "", 0, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return string(b), a.StatusCode, err
}
