package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Options say how a log behaves. The zero value is a sound default.
type Options struct {
	// Timeout bounds an Append, a Nudge, and the making of a connection. Load, Create and
	// Install, which carry whole states, have ten times as much. Default: 100 ms; at least 1 ms.
	Timeout time.Duration
	// Yield is how long Create lets processes go first that have come further in the log
	// that was lost. Default: 300 ms.
	Yield time.Duration
	// User and Password stand for those of the URL, where it has none. A password in a URL
	// shows up in lists of processes.
	User, Password string
	// TLS is used with the schemes that begin with rediss.
	TLS TLS
	// Connections is how many there are to one Redis server at most, apart from the one
	// for nudges. Default: 16; an organization uses one at a time.
	Connections int
	// Clock reads the wall clock, in Unix nanoseconds, and a monotonic one, in nanoseconds
	// since any instant. Default: the system's.
	Clock func() (wall, monotonic int64)
	// Logger takes what was lost or is odd; nil: nobody.
	Logger *slog.Logger
	// OnNudge is called for each organization whose log is to be read, instead of sending
	// it to Nudged. It does not wait.
	OnNudge func(organization string)

	// What follows is for simulations, in which nothing happens but by these.

	// Transport carries the commands, to no URL. Default: what the URL names.
	Transport Transport
	// Wait returns when d has passed, done is closed, or ctx has ended. Default: by a timer.
	Wait func(ctx context.Context, d time.Duration, done <-chan struct{})
	// Go does something that nobody waits for. Default: in a goroutine of the log.
	Go func(func())
	// Random gives numbers that nobody can foresee. Default: crypto/rand.
	Random func() uint64
}

// TLS names files in PEM. They are read by Open.
type TLS struct {
	CA               string // whom to trust; "": whom the system trusts
	Certificate, Key string // who we are; both or none
	ServerName       string // in the server's certificate; "": its host name
}

const (
	defaultTimeout     = 100 * time.Millisecond
	defaultYield       = 300 * time.Millisecond
	defaultConnections = 16
	longTimeouts       = 10 // times Timeout
)

// defaults fills in what is not given.
func (o *Options) defaults() error {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Timeout < time.Millisecond {
		return fmt.Errorf("redis: a timeout of %v is too short: at least 1ms", o.Timeout)
	}
	if o.Yield == 0 {
		o.Yield = defaultYield
	}
	if o.Yield < 0 {
		return fmt.Errorf("redis: nobody can yield for %v", o.Yield)
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Connections < 1 {
		return fmt.Errorf("redis: %d connections are too few", o.Connections)
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Random == nil {
		o.Random = random
	}
	if o.Clock == nil {
		o.Clock = store.SystemClock()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration, done <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-ctx.Done():
	}
}

// random gives a number that nobody else has.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.BigEndian.Uint64(b[:])
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("redis: read the authorities to trust: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis: %s has no certificate in PEM", t.CA)
		}
	}
	if (t.Certificate == "") != (t.Key == "") {
		return nil, errors.New("redis: a certificate needs its key, and a key its certificate")
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("redis: read the certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
