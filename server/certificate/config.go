package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
)

// TLSConfig is for a server: TLS 1.2 or, if the client can, 1.3; with authorities,
// clients must show a certificate of theirs. protocols are offered by ALPN, the preferred
// first; none: h2.
func (f *Files) TLSConfig(protocols ...string) *tls.Config {
	if len(protocols) == 0 {
		protocols = []string{"h2"}
	}
	forClient := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := f.current()
		c := &tls.Config{
			Certificates:           []tls.Certificate{m.certificate},
			MinVersion:             tls.VersionTLS12,
			NextProtos:             protocols,
			SessionTicketsDisabled: true,
		}
		if m.authorities != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, m.authorities
		}
		return c, nil
	}
	return &tls.Config{
		GetConfigForClient:     forClient,
		MinVersion:             tls.VersionTLS12,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
	}
}

// ClientConfig is for a client: caFile has the authorities of servers ("": the system's),
// read once; certFile and keyFile its own certificate ("": none), which is taken anew when
// the files change, as a server's is. serverName is who the server must be; "": the name
// that is dialled.
func ClientConfig(caFile, certFile, keyFile, serverName string, logger *slog.Logger) (*tls.Config, error) {
	c := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if caFile != "" {
		data, err := read(caFile)
		if err == nil {
			c.RootCAs, err = authorities(caFile, data)
		}
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	if (certFile == "") != (keyFile == "") {
		return nil, errors.New("certificate: a client certificate needs both its file and that of its key")
	}
	if certFile != "" {
		f, err := Open(certFile, keyFile, "", logger)
		if err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &f.current().certificate, nil
		}
	}
	return c, nil
}
