package certificate

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TLS 1.3 and HTTP/2 are agreed on, 1.2 is the least, and no ticket is given out.
func TestVersions(t *testing.T) {
	ca, folder := newAuthority(t, "ca"), newFolder(t)
	folder.pair(ca, "server")
	server := folder.open("", &bytes.Buffer{}).TLSConfig()
	for _, row := range []struct {
		most    uint16
		want    uint16
		refused string
	}{
		{0, tls.VersionTLS13, ""},
		{tls.VersionTLS12, tls.VersionTLS12, ""},
		{tls.VersionTLS11, 0, "protocol version"},
		{tls.VersionTLS10, 0, "protocol version"},
	} {
		c := client(t, ca, nil)
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, row.most
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for range 2 {
			state, _, err := connect(server, c)
			if row.refused != "" {
				if err == nil || !strings.Contains(err.Error(), row.refused) {
					t.Errorf("%x: got %v, want %s", row.most, err, row.refused)
				}
				continue
			}
			if err != nil || state.Version != row.want || state.NegotiatedProtocol != "h2" || state.DidResume {
				t.Errorf("%x: got %x, %q, resumed %v, %v", row.most, state.Version, state.NegotiatedProtocol, state.DidResume, err)
			}
		}
	}
}

func TestProtocols(t *testing.T) {
	ca, folder := newAuthority(t, "ca"), newFolder(t)
	folder.pair(ca, "server")
	files := folder.open("", &bytes.Buffer{})
	c := client(t, ca, nil)
	c.NextProtos = []string{"h3"}
	if _, _, err := connect(files.TLSConfig(), c); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("got %v, want that h2 is needed", err)
	}
	c.NextProtos = []string{"http/1.1"}
	state, _, err := connect(files.TLSConfig("h2", "http/1.1"), c)
	if err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("got %q, %v; want http/1.1", state.NegotiatedProtocol, err)
	}
}

// With authorities a client needs a certificate of theirs that is good now.
func TestClientCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, stranger := newAuthority(t, "ca"), newAuthority(t, "ca") // of the same name
		folder := newFolder(t)
		folder.pair(ca, "server")
		folder.put(folder.authorities, ca.pem())
		files := folder.open(folder.authorities, &bytes.Buffer{})
		good, wrong, brief := newFolder(t), newFolder(t), newFolder(t)
		good.pair(ca, "client")
		wrong.pair(stranger, "client")
		certificate, key := ca.issue(t, "client", time.Minute)
		brief.put(brief.certificate, certificate)
		brief.put(brief.key, key)

		for _, row := range []struct {
			name   string
			client *tls.Config
			want   string
		}{
			{"good", client(t, ca, good), ""},
			{"good for a while", client(t, ca, brief), ""},
			{"none", client(t, ca, nil), "client didn't provide a certificate"},
			{"of a stranger", client(t, ca, wrong), "unknown authority"},
			{"that does not trust the server", client(t, stranger, good), "unknown authority"},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				row.client.MaxVersion = version
				_, of, err := connect(files.TLSConfig(), row.client)
				if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
					t.Errorf("%s, %x: got %v, want %s", row.name, version, err, row.want)
				}
				if row.want == "" && (err != nil || len(of.VerifiedChains) != 1 || of.PeerCertificates[0].Subject.CommonName != "client") {
					t.Errorf("%s, %x: got %v, %d chains", row.name, version, err, len(of.VerifiedChains))
				}
			}
		}
		expired := client(t, ca, brief)
		time.Sleep(time.Hour)
		if _, _, err := connect(files.TLSConfig(), expired); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v, want that the client's certificate has expired", err)
		}
	})
}

// Another authority takes hold as another certificate does, on either side.
func TestAuthorityIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, new := newAuthority(t, "old"), newAuthority(t, "new")
		folder, own := newFolder(t), newFolder(t)
		folder.pair(old, "server")
		folder.put(folder.authorities, old.pem())
		own.pair(old, "client")
		server := folder.open(folder.authorities, &bytes.Buffer{}).TLSConfig()
		c := client(t, old, own)
		if _, _, err := connect(server, c); err != nil {
			t.Fatal(err)
		}
		folder.put(folder.authorities, new.pem())
		time.Sleep(lookEvery)
		if _, _, err := connect(server, c); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("got %v, want that the old authority's client is refused", err)
		}
		own.pair(new, "client")
		time.Sleep(lookEvery)
		if _, _, err := connect(server, c); err != nil {
			t.Errorf("the new authority's client is refused: %v", err)
		}
	})
}

func TestServerName(t *testing.T) {
	ca, folder := newAuthority(t, "ca"), newFolder(t)
	folder.pair(ca, "server")
	folder.put(folder.authorities, ca.pem())
	server := folder.open("", &bytes.Buffer{}).TLSConfig()
	c, err := ClientConfig(folder.authorities, "", "", "other.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := connect(server, c); err == nil || !strings.Contains(err.Error(), "server.example, not other.example") {
		t.Errorf("got %v, want that it is another server", err)
	}
}

func TestClientConfigErrors(t *testing.T) {
	folder := newFolder(t)
	folder.put(folder.authorities, []byte("hello"))
	for _, row := range []struct{ ca, certificate, key, want string }{
		{"nowhere", "", "", "open nowhere"},
		{folder.authorities, "", "", "nothing in PEM"},
		{"", "a", "", "needs both"},
		{"", "", "a", "needs both"},
		{"", "nowhere", "nowhere", "open nowhere"},
	} {
		if _, err := ClientConfig(row.ca, row.certificate, row.key, "", nil); err == nil || !strings.Contains(err.Error(), "certificate: ") || !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %s", err, row.want)
		}
	}
	if c, err := ClientConfig("", "", "", "", nil); err != nil || c.RootCAs != nil || c.GetClientCertificate != nil {
		t.Errorf("got %+v, %v; want the system's authorities and no certificate", c, err)
	}
}
