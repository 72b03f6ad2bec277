package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// certificate writes a certificate for 127.0.0.1 that vouches for itself, and its key.
func certificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return certificate, key
}

func TestTLS(t *testing.T) {
	certificate, key := certificate(t)
	port := redistest.FreePort(t)
	redistest.Start(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
	url := fmt.Sprintf("rediss://127.0.0.1:%d", port)
	o := options(t, newClock())
	for what, files := range map[string]redis.TLS{
		"a server that nobody vouches for": {},
		"no certificate of our own":        {CA: certificate},
		"a key alone":                      {CA: certificate, Key: key},
		"a file that is not there":         {CA: certificate + ".gone"},
		"another name":                     {CA: certificate, Certificate: certificate, Key: key, ServerName: "elsewhere"},
	} {
		o.TLS = files
		if l, err := redis.Open(t.Context(), url, o); err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", what)
		}
	}
	o.TLS = redis.TLS{CA: certificate, Certificate: certificate, Key: key}
	newWriter(t, open(t, url, o), 1).append("x")
	if _, err := redis.Open(t.Context(), "redis://127.0.0.1:1", o); err == nil {
		t.Error("files for TLS are taken where there is none")
	}
}
