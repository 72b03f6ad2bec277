package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// blocks gives the blocks of a PEM file. One that is cut off or broken is an error, where
// package pem would leave it out.
func blocks(path string, data []byte) ([]*pem.Block, error) {
	var all []*pem.Block
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		all = append(all, block)
	}
	if n := bytes.Count(data, []byte("-----BEGIN ")); n != len(all) {
		return nil, fmt.Errorf("%s: of %d PEM blocks %d can be read", path, n, len(all))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: nothing in PEM, so no certificate or key", path)
	}
	return all, nil
}

// authorities reads certificates. All must be good: one that is left out is missed only
// when somebody is refused.
func authorities(path string, data []byte) (*x509.CertPool, error) {
	list, err := blocks(path, data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for i, block := range list {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: block %d is a %s, not a certificate", path, i+1, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, i+1, err)
		}
		pool.AddCert(c)
	}
	return pool, nil
}
