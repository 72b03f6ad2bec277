package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestOpenSaysWhatToDo: an error of Open says what is wrong, and whether waiting cures it; it
// never has the password.
func TestOpenSaysWhatToDo(t *testing.T) {
	certificate, key := certificate(t)
	secure := redistest.FreePort(t)
	server := redistest.Start(t, "--tls-port", fmt.Sprint(secure), "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", certificate, "--requirepass", "s3cret")
	stopped := redistest.Start(t)
	stopped.Kill()
	clear, tls := fmt.Sprintf("127.0.0.1:%d", server.Port), fmt.Sprintf("127.0.0.1:%d", secure)
	trusted := redis.TLS{CA: certificate}
	for _, row := range []struct {
		url   string
		files redis.TLS
		want  string
		setup bool
	}{
		{stopped.URL(), redis.TLS{}, "connection refused", false},
		{"redis+sentinel://" + stopped.Address() + "/main", redis.TLS{}, "sentinels", false},
		{"redis://" + clear, redis.TLS{}, "check user and password", true},
		{"redis://:wr0ng@" + clear, redis.TLS{}, "check user and password", true},
		{"redis+cluster://:s3cret@" + clear, redis.TLS{}, "redis://", true},
		{"redis://:s3cret@" + tls, redis.TLS{}, "rediss", false},
		{"rediss://:s3cret@" + clear, redis.TLS{}, "TLS", false},
		{"rediss://:s3cret@" + tls, redis.TLS{}, "authority", true},
		{"rediss://:s3cret@" + tls, redis.TLS{CA: certificate, ServerName: "elsewhere"}, "the name", true},
		{"rediss://:s3cret@" + tls, trusted, "ask for a certificate", false},
	} {
		l, err := redis.Open(t.Context(), row.url, redis.Options{TLS: row.files, Timeout: 50 * time.Millisecond})
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", row.url)
			continue
		}
		if !strings.Contains(err.Error(), row.want) || !errors.Is(err, store.ErrUnavailable) || errors.Is(err, redis.ErrSetup) != row.setup {
			t.Errorf("%s: got %v, want %s, setup %v", row.url, err, row.want, row.setup)
		}
		if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: the error has the password: %v", row.url, err)
		}
	}
}
