package access

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"testing"
	"time"
)

// writtenAt is when the files of the tests were.
var writtenAt = time.Unix(1_700_000_000, 0)

func TestNamesOf(t *testing.T) {
	id := &url.URL{Scheme: "spiffe", Host: "acme", Path: "/worker"}
	subject := pkix.Name{CommonName: "common"}
	verified := func(c *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
	}
	for _, row := range []struct {
		name  string
		state *tls.ConnectionState
		want  []string
	}{
		{"no TLS", &tls.ConnectionState{}, nil},
		{"not verified", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: subject}}}, nil},
		{"all", verified(&x509.Certificate{Subject: subject, URIs: []*url.URL{id}, DNSNames: []string{"b", "a"}}), []string{"spiffe://acme/worker", "b", "a"}},
		{"common name", verified(&x509.Certificate{Subject: subject}), []string{"common"}},
		{"nameless", verified(&x509.Certificate{}), nil},
		{"an empty chain", &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}, nil},
	} {
		if got := NamesOf(row.state); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
