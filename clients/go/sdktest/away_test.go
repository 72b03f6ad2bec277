package sdktest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
)

// tap is a way to an address that can be shut, and keeps what goes along it.
type tap struct {
	to, address string

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
	sent     []byte // to the address
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	p := &tap{to: to, address: "127.0.0.1:0"}
	p.begin(t)
	t.Cleanup(p.end)
	return p
}

// begin lets connections through, at the same address as before.
func (p *tap) begin(t *testing.T) {
	t.Helper()
	p.listener = must[net.Listener](t)(net.Listen("tcp", p.address))
	p.address = p.listener.Addr().String()
	go func(l net.Listener) {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", p.to)
			if err != nil {
				from.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, from, to)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(io.MultiWriter(p, to), from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}(p.listener)
}

// end refuses connections from now on, and breaks those that are open.
func (p *tap) end() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, b...)
	return len(b), nil
}

func (p *tap) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.sent)
}

func TestClosedWhileTheServiceIsAway(t *testing.T) {
	way := newTap(t, service.Address)
	w := newWorker(t, way.address, "", watermaster.Options{Account: "main"})
	if _, err := w.openai.Chat.Completions.New(t.Context(), chat("m")); err != nil {
		t.Fatal(err)
	}
	way.end()
	_, err := w.openai.Chat.Completions.New(t.Context(), chat("m"), option.WithHeader("x-watermaster-max-wait", "0.2"))
	if status, resp := statusOf(t, err); status != 503 || !strings.Contains(wordsOf(err), "watermaster_unavailable") || resp.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("got %d: %s", status, wordsOf(err))
	}
	_, err = w.claude.Messages.New(watermaster.WithCall(t.Context(), watermaster.Call{MaxWait: 100 * time.Millisecond}), message())
	if status, _ := statusOf(t, err); status != 503 || !strings.Contains(wordsOf(err), "api_error") {
		t.Errorf("got %d: %s", status, wordsOf(err))
	}
	if n := len(w.wire.sent()); n != 1 {
		t.Errorf("%d calls reached the provider", n)
	}
	way.begin(t)
	if _, err := w.openai.Chat.Completions.New(t.Context(), chat("m")); err != nil {
		t.Errorf("the service is back: %v", err)
	}
	w.idle(t, "main")
}

func TestOpenAndLocalWhileTheServiceIsAway(t *testing.T) {
	way := newTap(t, service.Address)
	way.end()
	open := newWorker(t, way.address, "", watermaster.Options{Account: "main", WhenAway: watermaster.Open})
	local := newWorker(t, way.address, "", watermaster.Options{Account: "main", WhenAway: watermaster.Local{Requests: 1}})
	if _, err := open.openai.Chat.Completions.New(t.Context(), chat("m")); err != nil {
		t.Error(err)
	}
	if text, chunks := readChat(t, open, chat("m")); text == "" || len(chunks[0].Choices) != 1 {
		t.Errorf("got %q", text)
	}
	noWait := option.WithHeader("x-watermaster-max-wait", "0")
	if _, err := local.openai.Chat.Completions.New(t.Context(), chat("m"), noWait); err != nil {
		t.Error(err)
	}
	_, err := local.openai.Chat.Completions.New(t.Context(), chat("m"), noWait)
	if status, resp := statusOf(t, err); status != 429 || resp.Header.Get("X-Watermaster-Reason") != "LOCAL_LIMIT" {
		t.Errorf("got %d %v: %v", status, resp.Header, err)
	}
	way.begin(t)
	for end := time.Now().Add(20 * time.Second); ; { // until the service has been found again
		if _, err = local.openai.Chat.Completions.New(t.Context(), chat("m"), noWait); err == nil || time.Now().After(end) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("the service is back: %v", err)
	}
}

func TestSeveralAddresses(t *testing.T) {
	one, two := own(t, config()), own(t, config())
	w := newWorker(t, one.Address+","+two.Address, "", watermaster.Options{Account: "main"})
	for range 4 {
		if _, err := w.openai.Chat.Completions.New(t.Context(), chat("m")); err != nil {
			t.Fatal(err)
		}
	}
	one.Kill()
	for range 4 {
		if _, err := w.openai.Chat.Completions.New(t.Context(), chat("m"), option.WithHeader("x-watermaster-max-wait", "5")); err != nil {
			t.Errorf("one of two is left: %v", err)
		}
	}
}
