package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// pem is what goes into the file of authorities.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	a := &authority{c, newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue gives a certificate for server.example, or of a client, that lasts for a while, and
// its key.
func (a *authority) issue(t *testing.T, name string, lasts time.Duration) (certificate, key []byte) {
	t.Helper()
	k := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"server.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(lasts),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// A folder has the files of a server or a client.
type folder struct {
	t                             *testing.T
	certificate, key, authorities string
}

func newFolder(t *testing.T) *folder {
	dir := t.TempDir()
	return &folder{t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")}
}

func (f *folder) put(path string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// pair puts a certificate that lasts for a day.
func (f *folder) pair(a *authority, name string) {
	f.t.Helper()
	certificate, key := a.issue(f.t, name, 24*time.Hour)
	f.put(f.certificate, certificate)
	f.put(f.key, key)
}

// open opens the files; what is logged goes to log.
func (f *folder) open(authorities string, log io.Writer) *Files {
	f.t.Helper()
	files, err := Open(f.certificate, f.key, authorities, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		f.t.Fatal(err)
	}
	return files
}

// client is the configuration of a client that trusts an authority, with the certificate in
// this folder or, for nil, without one.
func client(t *testing.T, trusts *authority, own *folder) *tls.Config {
	t.Helper()
	ca := newFolder(t)
	ca.put(ca.authorities, trusts.pem())
	if own == nil {
		own = &folder{}
	}
	c, err := ClientConfig(ca.authorities, own.certificate, own.key, "server.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connect makes a connection on which the server sends a byte: only with it does a client
// of TLS 1.3 know that it is let in. It gives what each side knows of the other.
func connect(server, client *tls.Config) (ofServer, ofClient tls.ConnectionState, err error) {
	// With a buffer, for both sides may write at once: one its handshake, the other an alert.
	listener := bufconn.Listen(64 << 10)
	defer listener.Close()
	var s *tls.Conn
	failed := make(chan error, 1)
	go func() {
		far, err := listener.Accept()
		if err != nil {
			failed <- err
			return
		}
		defer far.Close()
		s = tls.Server(far, server)
		_, err = s.Write([]byte{1})
		failed <- err
	}()
	near, err := listener.Dial()
	if err != nil {
		return ofServer, ofClient, err
	}
	c := tls.Client(near, client)
	_, err = io.ReadFull(c, make([]byte, 1))
	near.Close()
	if refused := <-failed; err != nil || refused != nil {
		return ofServer, ofClient, errors.Join(err, refused)
	}
	return c.ConnectionState(), s.ConnectionState(), nil
}

// served gives the name in the certificate that a server shows.
func served(t *testing.T, server *tls.Config, client *tls.Config) string {
	t.Helper()
	state, _, err := connect(server, client)
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// lines counts those of a log.
func lines(log *bytes.Buffer) int { return bytes.Count(log.Bytes(), []byte("\n")) }
