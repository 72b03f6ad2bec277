package certificate

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the files are looked at, at most.
	lookEvery = time.Second
	// maxFile is the largest file that is read, in bytes.
	maxFile = 1 << 20
)

// Files are a certificate, its key and, if the other side must show one too, the
// authorities of its certificates. They may be used by many at once.
type Files struct {
	certificate, key string // paths
	authorities      string // path; "": none
	logger           *slog.Logger

	inUse    atomic.Pointer[material]
	reloads  atomic.Int64
	failures atomic.Int64

	lock   sync.Mutex // held by the one that looks
	looked time.Time
	seen   fingerprint // what the files were then
}

// material is what files hold.
type material struct {
	certificate tls.Certificate
	authorities *x509.CertPool // nil: none
	of          fingerprint
}

// A fingerprint stands for the contents of all files; the key is not kept.
type fingerprint [sha256.Size]byte

// Open reads a certificate and its key from PEM files. clientCAFile has the authorities
// of clients' certificates; "": clients need none. logger, which may be nil, takes what
// happens when the files change.
func Open(certFile, keyFile, clientCAFile string, logger *slog.Logger) (*Files, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := &Files{certificate: certFile, key: keyFile, authorities: clientCAFile, logger: logger, looked: time.Now()}
	c := f.read()
	m, err := f.parse(c)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	f.seen = c.of
	f.inUse.Store(m)
	return f, nil
}

// NotAfter is when the certificate in use expires.
func (f *Files) NotAfter() time.Time { return f.current().certificate.Leaf.NotAfter }

// Reloads counts how often changed files were put to use.
func (f *Files) Reloads() int64 { return f.reloads.Load() }

// Failures counts how often changed files could not be used.
func (f *Files) Failures() int64 { return f.failures.Load() }

// current gives what is in use, after a look at the files if the last is a second ago.
// Only one looks at a time; nobody waits for it.
func (f *Files) current() *material {
	if f.lock.TryLock() {
		if now := time.Now(); now.Sub(f.looked) >= lookEvery {
			f.looked = now
			f.look()
		}
		f.lock.Unlock()
	}
	return f.inUse.Load()
}

// look puts to use what is new.
func (f *Files) look() {
	c := f.read()
	if c.of == f.seen { // whatever it was, it has been told
		return
	}
	m, err := f.parse(c)
	if err != nil { // perhaps between the replacement of one file and the next
		if again := f.read(); again.of != c.of {
			c = again
			m, err = f.parse(c)
		}
	}
	f.seen = c.of
	switch {
	case c.of == f.inUse.Load().of:
	case err != nil:
		f.failures.Add(1)
		f.logger.Error("changed certificate files cannot be used: the former stay in use",
			"error", err, "expires", f.inUse.Load().certificate.Leaf.NotAfter)
	default:
		f.inUse.Store(m)
		f.reloads.Add(1)
		f.logger.Info("changed certificate files are in use", "file", f.certificate, "expires", m.certificate.Leaf.NotAfter)
	}
}

// contents are what the files hold, or why they cannot be read.
type contents struct {
	certificate, key, authorities []byte
	err                           error
	of                            fingerprint
}

func (f *Files) read() contents {
	var c contents
	hash := sha256.New()
	take := func(to *[]byte, path string) {
		data, err := read(path)
		if err != nil {
			data = []byte(err.Error())
			c.err = cmp.Or(c.err, err)
		}
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		hash.Write(data)
		*to = data
	}
	take(&c.certificate, f.certificate)
	take(&c.key, f.key)
	if f.authorities != "" {
		take(&c.authorities, f.authorities)
	}
	hash.Sum(c.of[:0])
	return c
}

func (f *Files) parse(c contents) (*material, error) {
	if c.err != nil {
		return nil, c.err
	}
	m := &material{of: c.of}
	if _, err := blocks(f.certificate, c.certificate); err != nil {
		return nil, err
	}
	var err error
	if m.certificate, err = tls.X509KeyPair(c.certificate, c.key); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", f.certificate, f.key, err)
	}
	if end := m.certificate.Leaf.NotAfter; time.Now().After(end) {
		return nil, fmt.Errorf("%s: expired on %s: renew it", f.certificate, end.Format(time.RFC3339))
	}
	if f.authorities != "" {
		if m.authorities, err = authorities(f.authorities, c.authorities); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// read reads a file of bounded size.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than 1 MiB", path)
	}
	return data, nil
}
