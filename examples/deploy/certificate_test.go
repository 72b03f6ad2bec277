package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// serverNames are those that the files here say the server's certificate is for.
var serverNames = []string{"watermaster", "watermaster.watermaster.svc", "watermaster-http.watermaster.svc", "localhost"}

// writeCertificates writes tls.crt, tls.key and the authority's ca.crt into a directory, for
// anybody to read: what runs unprivileged reads them.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "watermaster"}, DNSNames: serverNames,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	root, leaf := newKey(t), newKey(t)
	writePEM(t, dir, "ca.crt", "CERTIFICATE", func() ([]byte, error) {
		return x509.CreateCertificate(rand.Reader, authority, authority, root.Public(), root)
	})
	writePEM(t, dir, "tls.crt", "CERTIFICATE", func() ([]byte, error) {
		return x509.CreateCertificate(rand.Reader, server, authority, leaf.Public(), root)
	})
	writePEM(t, dir, "tls.key", "PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(leaf) })
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, dir, name, kind string, der func() ([]byte, error)) {
	t.Helper()
	b, err := der()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
