package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

// ErrSetup says that it is no matter of time: somebody has to change how Redis is set up or
// how it is asked. Open wraps it beside store.ErrUnavailable.
var ErrSetup = errors.New("it stays so until somebody changes it")

// diagnose says of an error of Open whether waiting cures it, and what else may. secure: it was
// asked over TLS.
func diagnose(err error, secure bool) error {
	var record tls.RecordHeaderError
	switch {
	case goredis.IsAuthError(err), goredis.IsPermissionError(err): // it says what to do
		return fmt.Errorf("%w (%w)", err, ErrSetup)
	case errors.As(err, &record):
		return setup("the server does not speak TLS on this port: write redis for rediss, or give its tls-port", err)
	case distrusts(err):
		return setup("the server's certificate is not one that is trusted: give the authority that signed it, and the name that it is for", err)
	case secure && (strings.Contains(err.Error(), "remote error: tls:") || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%w (the server refuses this side of TLS: does it ask for a certificate?)", err)
	case strings.Contains(err.Error(), "cluster support disabled"):
		return setup("the server is of no cluster: write redis:// for redis+cluster://", err)
	case goredis.HasErrorPrefix(err, "MOVED"):
		return setup("the server is of a cluster: write redis+cluster:// for redis://", err)
	case secure && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w (does the server speak TLS on this port?)", err)
	case !secure && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%w (does the server want TLS on this port? then write rediss)", err)
	}
	return err
}

// distrusts says whether the server's certificate is what is wrong.
func distrusts(err error) bool {
	var doubt *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &doubt) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

func setup(advice string, err error) error { return fmt.Errorf("%s: %w (%w)", advice, err, ErrSetup) }
