package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// A line leads to Redis, and fails as networks do.
type line struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

// connect makes a line to an address, until the test ends.
func connect(t *testing.T, target string) *line {
	t.Helper()
	s := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{t, toxiproxy.NewProxy(s, t.Name(), "127.0.0.1:0", target)}
	must(t, l.proxy.Start())
	t.Cleanup(func() {
		l.heal()
		l.proxy.Stop()
	})
	return l
}

func (l *line) url() string { return "redis://" + l.proxy.Listen }

// partition lets nothing through in either direction. Connections can be made, and stay.
func (l *line) partition() {
	l.add(`{"name": "there", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`)
	l.add(`{"name": "back", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
}

// mute lets requests through and no replies.
func (l *line) mute() {
	l.add(`{"name": "back", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
}

// slow makes every reply late.
func (l *line) slow(d time.Duration) {
	l.add(fmt.Sprintf(`{"name": "late", "type": "latency", "stream": "downstream", "attributes": {"latency": %d}}`, d.Milliseconds()))
}

// refuse ends all connections, and lets none be made until it is healed.
func (l *line) refuse() { l.proxy.Stop() }

func (l *line) add(toxic string) {
	l.t.Helper()
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	must(l.t, err)
}

// heal undoes everything. Connections that nothing could pass are ended.
func (l *line) heal() {
	l.t.Helper()
	l.proxy.Toxics.ResetToxics(context.WithoutCancel(l.t.Context()))
	if !l.proxy.Enabled {
		must(l.t, l.proxy.Start())
	}
}
